package awss3

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awsconf"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 3, 23, 30, 0, 0, time.FixedZone("", -7200)) // the fourth in UTC
	for _, v := range []struct{ topic, computed, want string }{
		{"order.created", "", "2026/05/04/order.created/evt_1.json"},
		{"", "", "2026/05/04/evt_1.json"},
		{"order.created", "a b/ü+.json", "a b/ü+.json"},
		{"a/../b", "", ""},
		{"a", "../b", ""},
		{"a", "b/./c", ""},
		{"a", "/b", ""},
		{"a", "b\nc", ""},
		{"a", "b\xff", ""},
		{"a", strings.Repeat("ü", 513), ""},
	} {
		m := &adapters.Message{EventID: "evt_1", Topic: v.topic, Time: at, Computed: map[string]string{keyTemplate: v.computed}}
		got, err := objectKey(m)
		if got != v.want || (v.want == "") != (err != nil) {
			t.Errorf("%+v: %q, %v", v, got, err)
		}
		if err == nil {
			continue
		}
		if e := adapters.AsError(err); e.Kind != adapters.KindPermanent || e.Class != adapters.ClassRejected || e.Advice == "" {
			t.Errorf("%+v: %+v", v, e)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	list := []adapters.Attribute{{Name: "event-id", Value: "evt_1"}, {Name: "Event Id", Value: "forged"}, {Name: "Team Name", Value: "Zoë"},
		{Name: "big", Value: strings.Repeat("x", 2000)}, {Name: "large", Value: strings.Repeat("y", 100)}, {Name: "ok", Value: ""},
		{Name: "---", Value: "x"}}
	got := metadata(list)
	if want := "map[big:" + strings.Repeat("x", 2000) + " event-id:evt_1 ok: team-name:Zo%C3%AB]"; fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "s3", store(t))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"bucket": "example-events", "storage_class": "GLACIER_IR"}))
	messages, _ := awstest.Messages(1, "")
	messages[0].Computed = map[string]string{keyTemplate: "a b/ü+(1)~'*.json"}
	receipts, errs := awstest.SendAll(t, snd, messages)
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	r := srv.Requests()[0]
	if r.Path != "example-events/a b/ü+(1)~'*.json" || r.Header.Get("X-Amz-Storage-Class") != "GLACIER_IR" ||
		string(r.Body) != string(messages[0].Data) ||
		r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", r.Path, r.Header)
	}
	if got := receipts[0]; got.URL != "s3://example-events/a b/ü+(1)~'*.json" || got.Method != operation || got.Code != 200 ||
		!strings.Contains(string(got.Body), `"version_id":"v1"`) || !strings.Contains(string(got.Body), `"etag"`) ||
		got.Timing.FirstByte <= 0 || got.Timing.Connect <= 0 {
		t.Errorf("%+v %s", got, got.Body)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		answer awstest.Answer
		class  adapters.Class
		words  string
	}{
		"other region": {awstest.Answer{Status: 301, Error: "PermanentRedirect",
			Header: map[string]string{"X-Amz-Bucket-Region": "us-west-2"}},
			adapters.ClassConfig, "The bucket example-events is in the region us-west-2."},
		"no bucket": {awstest.Answer{Status: 404, Error: "NoSuchBucket"}, adapters.ClassNotFound, "There is no bucket example-events"},
		"denied":    {awstest.Answer{Status: 403, Error: "AccessDenied"}, adapters.ClassAuth, "s3:PutObject"},
		"slow down": {awstest.Answer{Status: 503, Error: "SlowDown", Header: map[string]string{"Retry-After": "3"}},
			adapters.ClassThrottled, "slow down"},
		"no ETag": {awstest.Answer{}, adapters.ClassProtocol, "no ETag"},
		"other content": {awstest.Answer{Header: map[string]string{"ETag": `"x"`, "X-Amz-Checksum-Sha256": "AAAA"}}, adapters.ClassProtocol,
			"checksum"},
	} {
		srv := awstest.Start(t, "s3", func(*awstest.Request) awstest.Answer { return v.answer })
		snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
		messages, _ := awstest.Messages(1, "")
		receipts, errs := awstest.SendAll(t, snd, messages)
		e := errs[0]
		if e == nil || e.Class != v.class || !strings.Contains(e.Message, v.words) || receipts[0].Code == 0 {
			t.Errorf("%s: %+v, %+v", name, e, receipts[0])
		}
		if name == "slow down" && (e.After != 3*time.Second || receipts[0].Retry != 3*time.Second) {
			t.Errorf("the wait is %v", e.After)
		}
		if n := len(srv.Requests()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ bucket, region, endpoint, want string }{
		{"example-events", "eu-west-1", "", "https://example-events.s3.eu-west-1.amazonaws.com"},
		{"example.events", "eu-west-1", "", "https://s3.eu-west-1.amazonaws.com/example.events"},
		{"example-events", "cn-north-1", "", "https://example-events.s3.cn-north-1.amazonaws.com.cn"},
		{"example-events", "us-gov-west-1", "", "https://example-events.s3.us-gov-west-1.amazonaws.com"},
		{"example-events", "us-east-1", "http://minio.internal:9000", "http://minio.internal:9000/"},
	} {
		s := adapters.Settings{Config: map[string]string{"bucket": v.bucket, "region": v.region, "endpoint": v.endpoint}}
		if errs := adapters.Lookup("aws_s3").Check(&s); len(errs) > 0 {
			t.Errorf("%+v", errs)
		}
		set, _ := awsconf.ReadNamed(&s, "bucket")
		if at, err := address(set, v.bucket); err != nil || at != v.want {
			t.Errorf("%+v: %s, %v", v, at, err)
		}
	}
}
