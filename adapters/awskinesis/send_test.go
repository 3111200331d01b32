package awskinesis

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// TestEachItsOwn throttles some records of calls that are answered with 200.
func TestEachItsOwn(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "kinesis", stream(t))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
	messages, isBad := awstest.Messages(300, "too much")
	receipts, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		switch {
		case isBad(i) && (e == nil || e.Kind != adapters.KindThrottled || e.Class != adapters.ClassThrottled):
			t.Errorf("evt-%d was throttled, and Send says %+v", i, e)
		case isBad(i) && !strings.Contains(string(receipts[i].Body), "ProvisionedThroughputExceeded"):
			t.Errorf("evt-%d was throttled, and the receipt says %+v", i, receipts[i])
		case !isBad(i) && (e != nil || !strings.Contains(string(receipts[i].Body), `"seq-`+messages[i].EventID+`"`)):
			t.Errorf("evt-%d was taken, and Send says %+v, %s", i, e, receipts[i].Body)
		}
	}
	if n := len(srv.Requests()); n >= len(messages)/2 {
		t.Errorf("%d messages took %d calls", len(messages), n)
	}
}

// TestTooLargeForStream has a record in a call that is over the stream's own limit, for which Kinesis refuses all of it.
func TestTooLargeForStream(t *testing.T) {
	t.Parallel()
	play := stream(t)
	srv := awstest.Start(t, "kinesis", func(r *awstest.Request) awstest.Answer {
		if len(r.Body) > 1<<20 {
			return awstest.Answer{Error: "ValidationException",
				Text: "1 validation error detected: Value at 'records.1.member.data' failed to satisfy " +
					"constraint: Member must have length less than or equal to 1048576"}
		}
		return play(r)
	})
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
	messages, _ := awstest.Messages(40, "")
	messages[20].Data = []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)
	_, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		if i == 20 && (e == nil || e.Kind != adapters.KindPermanent || e.Class != adapters.ClassTooLarge ||
			!strings.Contains(e.Advice, "maximum record size")) || i != 20 && e != nil {
			t.Errorf("evt-%d: %+v", i, e)
		}
	}
}

func TestKeysAndStreams(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
	long := strings.Repeat("ü", 257)
	for computed, want := range map[string]string{"": "evt-0", "customer 7": "customer 7", long[:512]: long[:512],
		long: partitionKey(long)} {
		srv := awstest.Start(t, "kinesis", stream(t))
		snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, map[string]string{"stream_name": arn}))
		messages, _ := awstest.Messages(1, "")
		messages[0].Computed = map[string]string{keyTemplate: computed}
		if _, errs := awstest.SendAll(t, snd, messages); errs[0] != nil {
			t.Fatal(errs[0])
		}
		var in sent
		r := srv.Requests()[0]
		r.JSON(t, &in)
		if got := in.Records[0].PartitionKey; got != want || in.StreamARN != arn || in.StreamName != "" || len([]rune(got)) > maxKey {
			t.Errorf("%.20s became %+v", computed, in)
		}
	}
	messages, _ := awstest.Messages(1, "")
	messages[0].Data = make([]byte, maxBytes)
	srv := awstest.Start(t, "kinesis", stream(t))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
	if _, errs := awstest.SendAll(t, snd, messages); errs[0] == nil || errs[0].Class != adapters.ClassTooLarge || len(srv.Requests()) != 0 {
		t.Errorf("a record over the limit: %+v", errs[0])
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	check := func(stream, region, format string) ([]adapters.FieldError, string) {
		s := adapters.Settings{Config: map[string]string{"stream_name": stream, "region": region}, Format: format}
		errs := adapters.Lookup("aws_kinesis").Check(&s)
		label, _ := Type{}.Target(s)
		return errs, label
	}
	if errs, label := check("arn:aws:kinesis:eu-west-1:123456789012:stream/orders", "eu-west-1",
		adapters.FormatStructured); len(errs) > 0 || label != "orders (eu-west-1)" {
		t.Errorf("%+v, %s", errs, label)
	}
	if errs, _ := check("orders", "eu-west-1", adapters.FormatBinary); len(errs) != 1 || errs[0].Key != "format" {
		t.Errorf("the binary format: %+v", errs)
	}
	if errs, _ := check("arn:aws:kinesis:eu-west-1:123456789012:stream/orders", "eu-west-2", ""); len(errs) != 1 ||
		errs[0].Key != "config.region" {
		t.Errorf("an ARN of another region: %+v", errs)
	}
	if errs, _ := check("my stream", "eu-west-2", ""); len(errs) != 1 || errs[0].Key != "config.stream_name" {
		t.Errorf("a name with a space: %+v", errs)
	}
}
