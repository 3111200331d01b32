package awsconf

import (
	"regexp"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// regionWords is a region's name: three parts (eu-west-1) or four (us-gov-west-1).
const regionWords = `[a-z]{2,4}(?:-[a-z]+){1,2}-[0-9]{1,2}`

var (
	regionPattern = regexp.MustCompile(`^` + regionWords + `$`)
	// keyPattern and printable hold what goes into a header line.
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	printable   = regexp.MustCompile(`^[!-~]+$`)
	rolePattern = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$`)
	// externalIDPattern is that of STS.
	externalIDPattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@:/\\-]{2,}$`)
)

// Region is the field for the region. It is required, but for types that can read it from somewhere else.
func Region(required bool, help string) adapters.Field {
	return adapters.Field{Key: "region", Label: "Region", Type: adapters.FieldText, Required: required, MaxLength: 32, Help: help,
		Placeholder: "eu-west-1", Pattern: regionWords, PatternHelp: "must be a region's code, like eu-west-1 or us-gov-west-1"}
}

// Access lists the fields of the configuration that every type has after its own.
func Access() []adapters.Field {
	return []adapters.Field{
		{Key: "role_arn", Label: "Role to assume", Type: adapters.FieldText, MaxLength: 600,
			Help:        "ARN of an IAM role that the credentials below assume before they send. Leave it empty to use them as they are.",
			Placeholder: "arn:aws:iam::123456789012:role/waybill"},
		{Key: "external_id", Label: "External id", Type: adapters.FieldText, MaxLength: 1224,
			Help: "What the role's trust policy asks for as sts:ExternalId. Only together with a role."},
		{Key: "endpoint", Label: "Endpoint", Type: adapters.FieldText, MaxLength: outbound.MaxURL,
			Help:        "Address of the service when it is not the region's public one: a VPC endpoint, or a compatible server.",
			Placeholder: "https://vpce-0123.eu-west-1.vpce.amazonaws.com"},
	}
}

// Credentials lists the fields of the credentials. They may all be empty where the operator lets destinations use the
// host's own; otherwise key and secret are required, which only Open can know.
func Credentials() []adapters.Field {
	return []adapters.Field{
		{Key: "key", Label: "Access key id", Type: adapters.FieldText, Sensitive: true, MaxLength: 200,
			Help: "IAM console, Users, Security credentials, Access keys. Required, unless the operator lets destinations use the " +
				"credentials of the server.", Placeholder: "AKIA…"},
		{Key: "secret", Label: "Secret access key", Type: adapters.FieldText, Sensitive: true, MaxLength: 400,
			Help: "Shown once, when the access key is created. Required together with the access key id."},
		{Key: "session", Label: "Session token", Type: adapters.FieldText, Sensitive: true, MaxLength: 16 << 10,
			Help: "Only with temporary credentials, which end after some hours: a role is better for a destination."},
	}
}

// Settings are the values of the fields above.
type Settings struct {
	Region, RoleARN, ExternalID string
	Endpoint                    *outbound.Endpoint // nil for the service's own
	key, secret, session        string
}

// static reports whether there are credentials of the destination's own.
func (s Settings) static() bool { return s.key != "" }

// Read takes the fields out of the destination's settings. Spaces that came along when copying are dropped; what is left
// is written back. Problems are told per field.
func Read(s *adapters.Settings) (Settings, []adapters.FieldError) {
	var errs []adapters.FieldError
	fail := func(key, message string) { errs = append(errs, adapters.FieldError{Key: key, Message: message}) }
	trim := func(m map[string]string, key string) string {
		v := strings.TrimSpace(m[key])
		if m[key] != v {
			m[key] = v
		}
		if v == "" {
			delete(m, key) // of spaces only
		}
		return v
	}
	out := Settings{Region: s.Config["region"], RoleARN: trim(s.Config, "role_arn"), ExternalID: trim(s.Config, "external_id"),
		key: trim(s.Credentials, "key"), secret: trim(s.Credentials, "secret"), session: trim(s.Credentials, "session")}
	if raw := s.Config["endpoint"]; raw != "" {
		var err error
		if out.Endpoint, err = outbound.ParseURL(raw); err != nil {
			fail("config.endpoint", err.Error())
		} else if strings.Contains(out.Endpoint.Target, "?") {
			fail("config.endpoint", "must not have a query (?…)")
		}
	}
	if out.Region != "" && !regionPattern.MatchString(out.Region) {
		fail("config.region", "must be a region's code, like eu-west-1 or us-gov-west-1")
	}
	switch {
	case out.RoleARN == "" && out.ExternalID != "":
		fail("config.external_id", "has no meaning without a role to assume")
	case out.RoleARN != "" && !rolePattern.MatchString(out.RoleARN):
		fail("config.role_arn", "must be a role's ARN, like arn:aws:iam::123456789012:role/waybill")
	case out.ExternalID != "" && !externalIDPattern.MatchString(out.ExternalID):
		fail("config.external_id", "must be 2 to 1224 letters, digits and _+=,.@:/-")
	}
	out.credentials(fail)
	return out, errs
}

func (s Settings) credentials(fail func(key, message string)) {
	switch {
	case s.key == "" && s.secret != "":
		fail("credentials.key", "is required together with the secret access key")
	case s.key == "" && s.session != "":
		fail("credentials.key", "is required together with the session token")
	case s.key != "" && !keyPattern.MatchString(s.key):
		fail("credentials.key", "must be an access key id: letters and digits, like AKIAIOSFODNN7EXAMPLE")
	}
	switch {
	case s.key != "" && s.secret == "":
		fail("credentials.secret", "is required together with the access key id")
	case s.secret != "" && !printable.MatchString(s.secret):
		fail("credentials.secret", "has characters that no secret access key has; copy it again")
	}
	if s.session != "" && !printable.MatchString(s.session) {
		fail("credentials.session", "has characters that no session token has; copy it again")
	}
}

// Borrows names the field that is empty where the host's credentials are to be used.
func Borrows(s adapters.Settings) string {
	if s.Credentials["key"] == "" {
		return "credentials.key"
	}
	return ""
}

// AWSHost reports whether a host belongs to AWS, in any of its partitions.
func AWSHost(host string) bool {
	for _, domain := range []string{".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".api.amazonwebservices.com.cn"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}

// ConsoleURL is a page of the AWS console, where the region's partition has its console; empty for an endpoint that is
// not AWS's own. page begins with a slash.
func (s Settings) ConsoleURL(page string) string {
	if s.Region == "" || s.Endpoint != nil && !AWSHost(s.Endpoint.Host) {
		return ""
	}
	host := s.Region + ".console.aws.amazon.com"
	switch {
	case strings.HasPrefix(s.Region, "cn-"):
		host = s.Region + ".console.amazonaws.cn"
	case strings.HasPrefix(s.Region, "us-gov-"):
		host = s.Region + ".console.amazonaws-us-gov.com"
	case strings.HasPrefix(s.Region, "us-iso"), strings.HasPrefix(s.Region, "eu-iso"), strings.HasPrefix(s.Region, "eusc-"):
		return ""
	}
	return "https://" + host + page
}

// Problem is the error of settings that cannot work, which nobody has checked before.
func Problem(errs []adapters.FieldError) error {
	_, field, _ := strings.Cut(errs[0].Key, ".")
	return adapters.ConfigError("The destination's field " + field + " " + errs[0].Message + ".")
}

// ReadNamed is Read for types that name a resource, perhaps by its ARN, in the field key, and must be told its region.
func ReadNamed(s *adapters.Settings, key string) (Settings, []adapters.FieldError) {
	set, errs := Read(s)
	named := s.Config[key]
	if named == "" {
		errs = append(errs, adapters.FieldError{Key: "config." + key, Message: "is required"})
	}
	part := strings.Split(named, ":")
	if set.Region == "" {
		errs = append(errs, adapters.FieldError{Key: "config.region", Message: "is required"})
	} else if len(part) > 4 && part[3] != set.Region {
		errs = append(errs, adapters.FieldError{Key: "config.region", Message: "must be " + part[3] + ", which the ARN names"})
	}
	return set, errs
}

// NoAddress is the error of a region in which the SDK finds no address; nil for nil.
func NoAddress(err error) error {
	if err == nil {
		return nil
	}
	return adapters.ConfigError("The region has no address that is known.")
}
