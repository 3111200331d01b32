//go:build brokers

package awss3

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// bucket is a bucket of its own for a test.
type bucket struct {
	t    *testing.T
	api  *s3.Client
	name string
}

func create(t *testing.T) bucket {
	_, cfg := awstest.Moto(t)
	b := bucket{t, s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), awstest.Name("events")}
	_, err := b.api.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &b.name,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awstest.Region}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bucket) keys() (out []string) {
	list, err := b.api.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &b.name})
	if err != nil {
		b.t.Error(err)
		return nil
	}
	for _, o := range list.Contents {
		out = append(out, *o.Key)
	}
	return out
}

func (b bucket) get(key string) (*s3.GetObjectOutput, []byte) {
	o, err := b.api.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		b.t.Error(err)
		return &s3.GetObjectOutput{}, nil
	}
	defer o.Body.Close()
	data, err := io.ReadAll(o.Body)
	if err != nil {
		b.t.Error(err)
	}
	return o, data
}

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		b := create(t)
		to := func(name string) *adapters.Settings {
			set := awstest.MotoSettings(t, map[string]string{"bucket": name})
			return &set
		}
		nobody := to(b.name)
		nobody.Config["endpoint"] = "http://" + adaptertest.ClosedPort(t)
		return adaptertest.Side{Env: adaptertest.Env(), Good: *to(b.name), Refusing: to(b.name + "-missing"), Unreachable: nobody,
			Received: func() (out []adaptertest.Delivery) {
				for _, key := range b.keys() {
					o, data := b.get(key)
					out = append(out, adaptertest.Delivery{EventID: awstest.First(o.Metadata, "event-id", "ce-id"),
						Topic: awstest.First(o.Metadata, "topic", "ce-type"), Data: data, Attributes: o.Metadata})
				}
				return out
			}}
	}})
}

func TestBrokerObject(t *testing.T) {
	t.Parallel()
	b := create(t)
	set := awstest.MotoSettings(t, map[string]string{"bucket": b.name, "storage_class": "STANDARD_IA"})
	snd := awstest.Open(t, Type{}, set)
	m := &adapters.Message{EventID: "evt_1", Topic: "order.created", Time: time.Date(2026, 5, 3, 23, 0, 0, 0, time.FixedZone("", -7200)),
		Data: []byte(`{"a": 1.0}`), Metadata: map[string]string{"Team Name": "Zoë"}, Attempt: 1}
	for range 2 { // again, as after an answer that was lost
		if _, err := snd.Send(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	m.Computed = map[string]string{keyTemplate: "orders/ü 7/evt_1+.json"}
	if _, err := snd.Send(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	want := []string{"2026/05/04/order.created/evt_1.json", "orders/ü 7/evt_1+.json"}
	if got := b.keys(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("the bucket holds %q", got)
	}
	o, data := b.get(want[0])
	if string(data) != string(m.Data) || o.StorageClass != types.StorageClassStandardIa ||
		aws.ToString(o.ContentType) != "application/json" ||
		o.Metadata["event-id"] != "evt_1" || o.Metadata["team-name"] != "Zo%C3%AB" {
		t.Errorf("the object is %q with %+v", data, o)
	}
}
