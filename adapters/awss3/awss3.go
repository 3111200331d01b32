// Package awss3 writes events as objects into buckets of Amazon S3, and of servers that are compatible with it.
package awss3

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/internal/awsconf"
)

const (
	// maxKey and maxMetadata are limits of S3, in bytes
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).
	maxKey      = 1024
	maxMetadata = 2 << 10

	operation   = "PutObject"
	keyTemplate = "key_template"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type.
type Type struct{}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "aws_s3",
		Label:        "Amazon S3",
		Description:  "Writes each event as an object into a bucket of Amazon S3 or of a compatible store.",
		Needs:        "a bucket and credentials that may write into it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   60,
		Config: append([]adapters.Field{
			{Key: "bucket", Label: "Bucket", Type: adapters.FieldText, Required: true, MaxLength: 63,
				Help:        "Name of the bucket. S3 console, Buckets.",
				Placeholder: "example-events",
				Pattern:     `[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]`,
				PatternHelp: "must be a bucket's name: 3 to 63 small letters, digits, dots and dashes"},
			awsconf.Region(true, "The region of the bucket, as in the bucket's properties. Compatible stores often want us-east-1."),
			{Key: keyTemplate, Label: "Object key", Type: adapters.FieldText, Expression: true,
				Help: "Expression that gives the object's key. Empty gives date, topic and id of the event, like " +
					"2026/05/03/order.created/evt_1.json. Keep the event's id in it: an event whose key is taken replaces that object.",
				Placeholder: `"orders/" + data.customer_id + "/" + id + ".json"`},
			{Key: "storage_class", Label: "Storage class", Type: adapters.FieldSelect,
				Help:    "Empty leaves it to the bucket, which is STANDARD on S3.",
				Options: storageClasses()},
		}, awsconf.Access()...),
		Credentials: awsconf.Credentials(),
	}
}

func storageClasses() (out []adapters.Option) {
	for _, c := range []types.StorageClass{types.StorageClassStandard, types.StorageClassIntelligentTiering, types.StorageClassStandardIa,
		types.StorageClassOnezoneIa, types.StorageClassGlacierIr, types.StorageClassGlacier, types.StorageClassDeepArchive} {
		out = append(out, adapters.Option{Value: string(c), Label: string(c)})
	}
	return out
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	_, errs := awsconf.ReadNamed(s, "bucket")
	return errs
}

// Borrows implements adapters.Borrower.
func (Type) Borrows(s adapters.Settings) string { return awsconf.Borrows(s) }

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, page string) {
	set, errs := awsconf.ReadNamed(&s, "bucket")
	if len(errs) > 0 {
		return "S3 bucket", ""
	}
	bucket := s.Config["bucket"]
	return bucket + " (" + set.Region + ")", set.ConsoleURL("/s3/buckets/" + bucket + "?region=" + set.Region)
}

// Open implements adapters.Type.
func (Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	set, errs := awsconf.ReadNamed(&s, "bucket")
	if len(errs) > 0 {
		return nil, awsconf.Problem(errs)
	}
	bucket := s.Config["bucket"]
	at, err := address(set, bucket)
	if err != nil {
		return nil, err
	}
	c, err := awsconf.New(env, s, set, at, awsconf.Resource{Service: "S3", Kind: "bucket", Name: bucket, URL: "s3://" + bucket,
		Action: "s3:PutObject", Look: "s3:ListBucket", Limit: "Send less data, or shorter metadata, of which S3 takes 2 KB."})
	if err != nil {
		return nil, err
	}
	snd := &sender{Client: c, settings: s, bucket: aws.String(bucket)}
	api := s3.NewFromConfig(c.Config, func(o *s3.Options) {
		if set.Endpoint == nil {
			o.BaseEndpoint = nil // the SDK puts the bucket into the host's name
		}
		o.UsePathStyle = set.Endpoint != nil
		// The checksum is computed here and sent as a header. What the SDK would do of its own accord, older compatible
		// servers do not understand.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	snd.put = func(ctx context.Context, in *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
		return api.PutObject(ctx, in)
	}
	snd.list = func(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
		return api.ListObjectsV2(ctx, in)
	}
	return snd, nil
}

// address is where the bucket is reached.
func address(set awsconf.Settings, bucket string) (string, error) {
	if set.Endpoint != nil {
		return set.Endpoint.Label(), nil
	}
	e, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(),
		s3.EndpointParameters{Region: aws.String(set.Region), Bucket: aws.String(bucket)}.WithDefaults())
	return e.URI.String(), awsconf.NoAddress(err)
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	*awsconf.Client
	settings adapters.Settings
	bucket   *string
	// Of the SDK's client only what is used: a field with the client itself would keep all of its hundred operations
	// in the binary.
	put  func(context.Context, *s3.PutObjectInput) (*s3.PutObjectOutput, error)
	list func(context.Context, *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error)
}

// accepted is what a receipt holds of an object that S3 stored.
type accepted struct {
	Key       string `json:"key"`
	ETag      string `json:"etag"`
	VersionID string `json:"version_id,omitempty"`
	SHA256    string `json:"checksum_sha256,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// Send implements adapters.Sender. Sending an event again writes the same object again.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	key, fault := objectKey(m)
	if fault != nil {
		return adapters.Receipt{}, fault
	}
	enc := m.Encode(&s.settings, httpevent.CloudEventsPrefix)
	hash := sha256.Sum256(enc.Body)
	sum := base64.StdEncoding.EncodeToString(hash[:])
	ctx, cancel := s.Deadline(ctx)
	defer cancel()
	var x awsconf.Exchange
	out, err := s.put(awsconf.Watch(ctx, &x), &s3.PutObjectInput{Bucket: s.bucket, Key: aws.String(key),
		Body: bytes.NewReader(enc.Body), ContentType: aws.String(enc.ContentType), ChecksumSHA256: aws.String(sum),
		StorageClass: types.StorageClass(s.settings.Config["storage_class"]), Metadata: metadata(enc.Attributes)})
	if err != nil {
		f := s.Explain(operation, &x, err)
		return f.Receipt, f.Fault
	}
	r := s.Receipt(operation, &x, accepted{key, strings.Trim(aws.ToString(out.ETag), `"`), aws.ToString(out.VersionId),
		aws.ToString(out.ChecksumSHA256), x.RequestID})
	r.URL += "/" + key
	switch got := aws.ToString(out.ChecksumSHA256); {
	case got != "" && got != sum:
		return r, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
			Message: "S3 stored another content than the one that was sent: its checksum differs.",
			Advice:  "It will be retried; check what lies between this server and S3 if it happens again."}
	case aws.ToString(out.ETag) == "":
		return r, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
			Message: "The answer has no ETag, so it is not one of S3.", Advice: "Check the endpoint: something else than S3 answers there."}
	}
	return r, nil
}

// objectKey is what the destination's expression gives, or date, topic and id. It is the same on every attempt.
func objectKey(m *adapters.Message) (string, error) {
	key := m.Computed[keyTemplate]
	if key == "" {
		key = m.Time.UTC().Format("2006/01/02/")
		if m.Topic != "" {
			key += m.Topic + "/"
		}
		key += m.EventID + ".json"
	}
	bad := ""
	switch {
	case len(key) > maxKey:
		bad = fmt.Sprintf("is longer than the %d bytes that S3 takes", maxKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		bad = "has control characters"
	case strings.HasPrefix(key, "/"):
		bad = "begins with a slash"
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			bad = `has a part that is "." or ".."` // clients and proxies take them for the way to another object
		}
	}
	if bad != "" {
		return "", awsconf.Unfit("The object's key "+bad+", so the event was not sent.",
			"Correct the destination's expression for the key.")
	}
	return key, nil
}

// metadata makes the object's own: names in small letters, with a dash for what cannot be in a header's name, and values
// percent-encoded. Ours come first, and what is over S3's limit is left out.
func metadata(list []adapters.Attribute) map[string]string {
	out, size := map[string]string{}, 0
	for _, a := range list {
		name, value := headerName(a.Name), httpevent.EncodeValue(a.Value, "")
		if _, taken := out[name]; taken || strings.Trim(name, "-") == "" || size+len(name)+len(value) > maxMetadata {
			continue
		}
		out[name] = value
		size += len(name) + len(value)
	}
	return out
}

func headerName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, name)
}

// Check implements adapters.Checker. It lists and does not send a HEAD request, whose answer would not say why it was
// refused.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	return s.Client.Check(ctx, func(ctx context.Context) error {
		_, err := s.list(ctx, &s3.ListObjectsV2Input{Bucket: s.bucket, MaxKeys: aws.Int32(1)})
		return err
	})
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.Client.Close()
	return nil
}
