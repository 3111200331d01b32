package awseventbridge

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// TestEachItsOwn refuses some entries of calls that are answered with 200.
func TestEachItsOwn(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "events", bus(t))
	snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
	messages, isBad := awstest.Messages(100, "malformed")
	receipts, errs := awstest.SendAll(t, snd, messages)
	for i, e := range errs {
		switch {
		case isBad(i) && (e == nil || e.Kind != adapters.KindPermanent || e.Class != adapters.ClassRejected):
			t.Errorf("evt-%d was refused, and Send says %+v", i, e)
		case isBad(i) && (receipts[i].Code != 0 || !strings.Contains(string(receipts[i].Body), "MalformedDetail")):
			t.Errorf("evt-%d was refused, and the receipt says %+v", i, receipts[i])
		case !isBad(i) && (e != nil || !strings.Contains(string(receipts[i].Body), `"eb-`+messages[i].EventID+`"`)):
			t.Errorf("evt-%d was taken, and Send says %+v, %s", i, e, receipts[i].Body)
		}
	}
	if n := len(srv.Requests()); n >= len(messages) {
		t.Errorf("%d messages took %d calls", len(messages), n)
	}
}

func TestEntry(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "events", bus(t))
	long := strings.Repeat("x", 129)
	for name, v := range map[string]struct {
		topic, computed, data, kind string
		class                       adapters.Class
	}{
		"topic":            {"order.created", "", "{}", "order.created", ""},
		"no topic":         {"", "", "{}", "event", ""},
		"expression":       {"order.created", "made", " \n{}", "made", ""},
		"long detail type": {"order.created", long, "{}", "", adapters.ClassRejected},
		"list":             {"a", "", "[1]", "", adapters.ClassRejected},
		"not UTF-8":        {"a", "", "{\"a\":\"\xff\"}", "", adapters.ClassRejected},
		"too large":        {"a", "", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "", adapters.ClassTooLarge},
	} {
		snd := awstest.Open(t, Type{}, srv.Settings(awstest.Good, config))
		m := &adapters.Message{EventID: "evt-" + strings.ReplaceAll(name, " ", "-"), Topic: v.topic, Time: time.Unix(1700000000, 0),
			Data: []byte(v.data)}
		if v.computed != "" {
			m.Computed = map[string]string{detailTemplate: v.computed}
		}
		_, errs := awstest.SendAll(t, snd, []*adapters.Message{m})
		if e := errs[0]; v.class != "" {
			if e == nil || e.Class != v.class || e.Kind != adapters.KindPermanent || !strings.Contains(e.Message, "not sent") {
				t.Errorf("%s: %+v", name, e)
			}
			continue
		}
		found := false
		for _, r := range srv.Requests() {
			var in sent
			r.JSON(t, &in)
			if e := in.Entries[0]; e.eventID() == m.EventID {
				found = true
				if e.DetailType != v.kind || e.Detail != v.data || e.Time != 1700000000 {
					t.Errorf("%s: %+v", name, e)
				}
			}
		}
		if !found {
			t.Errorf("%s was not sent: %+v", name, errs[0])
		}
	}
	if n := len(srv.Requests()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:events:eu-west-1:123456789012:event-bus/partner/orders"
	for name, v := range map[string]struct{ bus, region, source, label, wrong string }{
		"name":         {"orders", "eu-west-1", "shop", "orders (eu-west-1)", ""},
		"ARN":          {arn, "eu-west-1", "shop", "partner/orders (eu-west-1)", ""},
		"other region": {arn, "eu-west-2", "shop", "", "config.region"},
		"AWS's own":    {"orders", "eu-west-1", "AWS.ec2", "", "config.source"},
		"bad bus":      {"or ders", "eu-west-1", "shop", "", "config.event_bus"},
		"other ARN":    {"arn:aws:sqs:eu-west-1:123456789012:orders", "eu-west-1", "shop", "", "config.event_bus"},
	} {
		s := adapters.Settings{Config: map[string]string{"event_bus": v.bus, "region": v.region, "source": v.source}}
		errs := adapters.Lookup("aws_eventbridge").Check(&s)
		if v.wrong != "" {
			if len(errs) != 1 || errs[0].Key != v.wrong {
				t.Errorf("%s: %+v", name, errs)
			}
			continue
		}
		label, page := Type{}.Target(s)
		if len(errs) > 0 || label != v.label || !strings.HasPrefix(page, "https://eu-west-1.console.aws.amazon.com/events/") {
			t.Errorf("%s: %+v, %s, %s", name, errs, label, page)
		}
	}
	set, _ := read(&adapters.Settings{Config: map[string]string{"event_bus": "orders", "region": "cn-north-1", "source": "shop"}})
	if at, err := address(set); err != nil || at != "https://events.cn-north-1.amazonaws.com.cn" {
		t.Errorf("the address in China is %s, %v", at, err)
	}
}
