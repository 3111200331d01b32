package awssqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// answerEach plays SQS with an answer for each entry: a code refuses it.
func answerEach(t *testing.T, code func(sentEntry) string) func(*awstest.Request) awstest.Answer {
	return func(r *awstest.Request) awstest.Answer {
		var in sent
		r.JSON(t, &in)
		taken, failed := []any{}, []any{}
		for _, e := range in.Entries {
			if c := code(e); c != "" {
				failed = append(failed, map[string]any{"Id": e.Id, "Code": c, "Message": "said of " + eventID(e), "SenderFault": true})
			} else {
				taken = append([]any{map[string]string{"Id": e.Id, "MessageId": "mid-" + eventID(e),
					"MD5OfMessageBody": md5Hex(e.MessageBody)}}, taken...)
			}
		}
		return awstest.Answer{Body: map[string]any{"Successful": taken, "Failed": failed}}
	}
}

// TestEachItsOwn refuses some entries of calls that succeed.
func TestEachItsOwn(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "sqs", answerEach(t, func(e sentEntry) string {
		if strings.Contains(e.MessageBody, "odd") {
			return "InvalidMessageContents"
		}
		return ""
	}))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL}))
	messages, isBad := awstest.Messages(200, "odd")
	receipts, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		id := fmt.Sprintf("evt-%d", i)
		switch {
		case isBad(i) && (e == nil || e.Kind != adapters.KindPermanent || e.Class != adapters.ClassRejected ||
			!strings.HasSuffix(e.Raw, "said of "+id)):
			t.Errorf("%s was refused, and Send says %+v", id, e)
		case isBad(i) && (receipts[i].Code != 0 || !strings.Contains(string(receipts[i].Body), "InvalidMessageContents")):
			t.Errorf("%s was refused, and the receipt says %+v", id, receipts[i])
		case !isBad(i) && (e != nil || !strings.Contains(string(receipts[i].Body), `"mid-`+id+`"`)):
			t.Errorf("%s was taken, and Send says %+v, %s", id, e, receipts[i].Body)
		case !strings.Contains(receipts[i].ReqHeader, "X-Amz-Target: AmazonSQS.SendMessageBatch\n") ||
			!strings.Contains(receipts[i].ReqHeader, "Authorization: ***\n"):
			t.Errorf("%s: the receipt shows the header %q", id, receipts[i].ReqHeader)
		}
	}
	if n := len(srv.Requests()); n >= len(messages) {
		t.Errorf("%d messages took %d calls", len(messages), n)
	}
}

// TestOneSpoilsNone refuses whole calls for the sake of one entry in them. The queue is a FIFO queue, to which there must
// never be two calls at the same time.
func TestOneSpoilsNone(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	took := map[string]int{}
	var open, busiest atomic.Int32
	srv := awstest.Start(t, "sqs", func(r *awstest.Request) awstest.Answer {
		busiest.Store(max(busiest.Load(), open.Add(1)))
		defer open.Add(-1)
		if strings.Contains(string(r.Body), "odd") {
			return awstest.Answer{Error: "InvalidParameterValue", Text: "The request has something odd"}
		}
		return answerEach(t, func(e sentEntry) string {
			mu.Lock()
			took[eventID(e)]++
			mu.Unlock()
			return ""
		})(r)
	})
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL + ".fifo"}))
	messages, isBad := awstest.Messages(100, "odd")
	_, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		if isBad(i) != (e != nil) || e != nil && e.Kind != adapters.KindPermanent {
			t.Errorf("%d: %+v", i, e)
		}
		if n := took[fmt.Sprintf("evt-%d", i)]; !isBad(i) && n != 1 {
			t.Errorf("evt-%d was taken %d times", i, n)
		}
	}
	if n := busiest.Load(); n != 1 {
		t.Errorf("%d calls at the same time", n)
	}
}

func TestOddAnswers(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		body  any
		words string
	}{
		"empty": {map[string]any{}, "not for this message"},
		"another entry": {map[string]any{"Successful": []any{map[string]string{"Id": "7", "MessageId": "m", "MD5OfMessageBody": "x"}}},
			"not for this message"},
		"another body": {map[string]any{"Successful": []any{map[string]string{"Id": "0", "MessageId": awstest.Secret,
			"MD5OfMessageBody": md5Hex("other")}}}, "MD5"},
	} {
		srv := awstest.Start(t, "sqs", func(*awstest.Request) awstest.Answer { return awstest.Answer{Body: v.body} })
		snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL}))
		messages, _ := awstest.Messages(1, "")
		receipts, errs := awstest.SendAll(t, snd, messages)
		if e := errs[0]; e == nil || e.Kind != adapters.KindTransient || e.Class != adapters.ClassProtocol ||
			!strings.Contains(e.Message, v.words) {
			t.Errorf("%s: %+v", name, e)
		}
		if strings.Contains(string(receipts[0].Body), awstest.Secret) {
			t.Errorf("%s: the receipt shows the secret: %s", name, receipts[0].Body)
		}
	}
}

func TestRefusedBeforeSent(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "sqs", queue(t))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL}))
	messages, _ := awstest.Messages(3, "")
	messages[0].Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	messages[1].Data = []byte("\"\xff\"")
	messages[2].Data = []byte("\"\uffff\"")
	_, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		if e == nil || e.Kind != adapters.KindPermanent || (e.Class == adapters.ClassTooLarge) != (i == 0) ||
			!strings.Contains(e.Message, "not sent") {
			t.Errorf("%d: %+v", i, e)
		}
	}
	messages[0].Data = []byte(`"` + strings.Repeat("x", 1<<20-200) + `"`)
	if _, errs := awstest.SendAll(t, snd, messages[:1]); errs[0] != nil {
		t.Errorf("a message just below the limit: %+v", errs[0])
	}
	if n := len(srv.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestRestarted cuts connections and comes back, as a service does that is restarted.
func TestRestarted(t *testing.T) {
	t.Parallel()
	sink := adaptertest.NewSink(t, adaptertest.Answer{Reset: true}, adaptertest.Answer{Status: 500, Body: `{"__type":"InternalFailure"}`},
		adaptertest.Answer{Body: `{"Successful":[{"Id":"0","MessageId":"m"}]}`,
			Header: []string{"Content-Type: application/x-amz-json-1.0"}})
	set := adapters.Settings{Config: map[string]string{"queue_url": sink.URL("/1/orders")},
		Credentials: map[string]string{"key": awstest.Key, "secret": awstest.Secret}}
	snd := awstest.Open(t, Type{}, set)
	messages, _ := awstest.Messages(1, "")
	for i, want := range []adapters.Class{adapters.ClassConnect, adapters.ClassServer, ""} {
		r, errs := awstest.SendAll(t, snd, messages)
		if e := errs[0]; want == "" && e != nil || want != "" && (e == nil || e.Class != want || e.Kind != adapters.KindTransient) {
			t.Errorf("%d: %+v", i, e)
		}
		if want == "" && !strings.Contains(string(r[0].Body), `"message_id":"m"`) {
			t.Errorf("the receipt is %s", r[0].Body)
		}
	}
	if n := len(sink.Requests()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("g", 200)
	for _, v := range []struct{ queue, topic, computed, group, dedup string }{
		{"", "order.created", "", "", ""},
		{"", "order.created", "7", "7", ""},
		{".fifo", "order.created", "", "order.created", "evt|1"},
		{".fifo", "", "", "evt|1", "evt|1"},
		{".fifo", "order.created", "customer 7%", "customer%207%25", "evt|1"},
		{".fifo", "order.created", long, token(long), "evt|1"},
	} {
		srv := awstest.Start(t, "sqs", queue(t))
		snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL + v.queue}))
		m := &adapters.Message{EventID: "evt|1", Topic: v.topic, Time: time.Now(), Data: []byte(`{}`)}
		if v.computed != "" {
			m.Computed = map[string]string{groupTemplate: v.computed}
		}
		if _, err := snd.Send(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		var in sent
		r := srv.Requests()[0]
		r.JSON(t, &in)
		if e := in.Entries[0]; e.MessageGroupId != v.group || e.MessageDeduplicationId != v.dedup || len(e.MessageGroupId) > maxToken {
			t.Errorf("%+v became %q and %q", v, e.MessageGroupId, e.MessageDeduplicationId)
		}
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	ours := []adapters.Attribute{{Name: "event-id", Value: "evt_1"}, {Name: "timestamp", Value: "2026"}, {Name: "topic", Value: "a"}}
	var many []adapters.Attribute
	for i := range 9 {
		many = append(many, adapters.Attribute{Name: fmt.Sprintf("k%d", i), Value: fmt.Sprint(i)})
	}
	for name, v := range map[string]struct {
		more []adapters.Attribute
		kept int
		rest map[string]string
	}{
		"all fit":  {many[:7], 7, nil},
		"too many": {many, 6, map[string]string{"k6": "6", "k7": "7", "k8": "8"}},
		"odd names": {[]adapters.Attribute{{Name: "a b", Value: "1"}, {Name: "AWS.x", Value: "2"}, {Name: "a..b", Value: "3"},
			{Name: "ok.b", Value: "4"}}, 1, map[string]string{"a b": "1", "AWS.x": "2", "a..b": "3"}},
		"odd values": {[]adapters.Attribute{{Name: "a", Value: ""}, {Name: "b", Value: "\x01"}, {Name: "c", Value: "😀\ufffe"}}, 0,
			map[string]string{"a": "", "b": "\x01", "c": "😀\ufffe"}},
		"name is taken": {[]adapters.Attribute{{Name: "a", Value: ""}, {Name: "metadata", Value: "mine"}}, 0,
			map[string]string{"a": "", "metadata": "mine"}},
		"name is free": {[]adapters.Attribute{{Name: "metadata", Value: "mine"}}, 1, nil},
	} {
		got, size := attributes(append(append([]adapters.Attribute(nil), ours...), v.more...))
		want := len(ours) + v.kept
		if v.rest != nil {
			want++
			var rest map[string]string
			if err := json.Unmarshal([]byte(*got["metadata"].StringValue), &rest); err != nil || fmt.Sprint(rest) != fmt.Sprint(v.rest) ||
				!allowed(*got["metadata"].StringValue) {
				t.Errorf("%s: the rest is %s, %v", name, *got["metadata"].StringValue, err)
			}
		}
		if len(got) != want || *got["event-id"].StringValue != "evt_1" || *got["topic"].StringValue != "a" || size < 40 {
			t.Errorf("%s: %d attributes of %d bytes, want %d", name, len(got), size, want)
		}
	}
}

func TestQueueURL(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ url, region, wantRegion, at, label, wrong string }{
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com",
			"orders (eu-west-1)", ""},
		{"https://sqs.us-gov-west-1.amazonaws.com/1/orders.fifo", "", "us-gov-west-1", "https://sqs.us-gov-west-1.amazonaws.com",
			"orders.fifo (us-gov-west-1)", ""},
		{"https://sqs.cn-north-1.amazonaws.com.cn/1/orders", "", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn",
			"orders (cn-north-1)", ""},
		{"https://eu-west-1.queue.amazonaws.com/1/orders", "", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com", "orders (eu-west-1)",
			""},
		{"https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/1/orders", "", "eu-west-1",
			"https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com", "orders (eu-west-1)", ""},
		{"https://sqs-fips.us-east-1.amazonaws.com/1/orders", "", "us-east-1", "https://sqs-fips.us-east-1.amazonaws.com",
			"orders (us-east-1)", ""},
		{"http://localhost:4566/000000000000/orders", "", "us-east-1", "http://localhost:4566", "http://localhost:4566/000000000000/orders",
			""},
		{"http://sqs.eu-central-1.localhost.localstack.cloud:4566/0/orders", "", "eu-central-1",
			"http://sqs.eu-central-1.localhost.localstack.cloud:4566", "http://sqs.eu-central-1.localhost.localstack.cloud:4566/0/orders",
			""},
		{"http://localhost:4566/0/orders", "eu-west-3", "eu-west-3", "http://localhost:4566", "http://localhost:4566/0/orders", ""},
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "eu-west-2", "", "", "", "config.region"},
		{"https://queue.amazonaws.com/1/orders", "", "", "", "", "config.region"},
		{"https://sqs.eu-west-1.amazonaws.com/1/", "", "", "", "", "config.queue_url"},
		{"https://sqs.eu-west-1.amazonaws.com/1/or%20ders", "", "", "", "", "config.queue_url"},
		{"https://sqs.eu-west-1.amazonaws.com/1/orders?x=y", "", "", "", "", "config.queue_url"},
		{"https://user:pass@sqs.eu-west-1.amazonaws.com/1/orders", "", "", "", "", "config.queue_url"},
		{"orders", "", "", "", "", "config.queue_url"},
	} {
		s := adapters.Settings{Config: map[string]string{"queue_url": v.url, "region": v.region}}
		errs := adapters.Lookup("aws_sqs").Check(&s)
		if v.wrong != "" {
			if len(errs) != 1 || errs[0].Key != v.wrong {
				t.Errorf("%s: %+v", v.url, errs)
			}
			continue
		}
		got, _ := read(&s)
		label, _ := Type{}.Target(s)
		if len(errs) > 0 || got.Region != v.wantRegion || got.at != v.at || label != v.label {
			t.Errorf("%s: %+v, %s, %s, %s", v.url, errs, got.Region, got.at, label)
		}
	}
	_, page := Type{}.Target(adapters.Settings{Config: map[string]string{"queue_url": queueURL}})
	if want := "https://eu-west-1.console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Forders"; page != want {
		t.Errorf("the page is %s", page)
	}
}

// TestRotated takes the access key away under a sender, which says so, and opens one with another key.
func TestRotated(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "sqs", queue(t))
	set := srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL})
	snd := awstest.Open(t, Type{}, set)
	messages, _ := awstest.Messages(1, "")
	if _, errs := awstest.SendAll(t, snd, messages); errs[0] != nil {
		t.Fatal(errs[0])
	}
	srv.Forget(awstest.Key)
	srv.Know("AKIAWAYBILLTESTKEY02", awstest.Secret, "")
	if _, errs := awstest.SendAll(t, snd, messages); errs[0] == nil || errs[0].Class != adapters.ClassAuth ||
		errs[0].Kind != adapters.KindTransient {
		t.Errorf("the key is gone, and Send says %+v", errs[0])
	}
	set.Credentials = map[string]string{"key": "AKIAWAYBILLTESTKEY02", "secret": awstest.Secret}
	if _, errs := awstest.SendAll(t, awstest.Open(t, Type{}, set), messages); errs[0] != nil {
		t.Errorf("the key is a new one, and Send says %+v", errs[0])
	}
}
