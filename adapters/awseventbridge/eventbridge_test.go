package awseventbridge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// sent is a call as EventBridge reads it.
type sent struct{ Entries []sentEntry }

type sentEntry struct {
	Source, DetailType, Detail, EventBusName string
	Time                                     float64
	Resources                                []string
}

// attributes are what consumers find among the resources.
func (e sentEntry) attributes() map[string]string {
	out := map[string]string{}
	for _, r := range e.Resources {
		name, value, _ := strings.Cut(r, "=")
		if _, taken := out[name]; !taken {
			out[name] = value
		}
	}
	return out
}

func (e sentEntry) eventID() string { return awstest.First(e.attributes(), "event-id", "ce-id") }

// bus plays EventBridge: every call is answered with 200, whatever becomes of its entries.
func bus(t testing.TB) func(*awstest.Request) awstest.Answer {
	return func(r *awstest.Request) awstest.Answer {
		if r.Operation == "DescribeEventBus" {
			return awstest.Answer{Body: map[string]string{"Name": "orders"}}
		}
		var in sent
		r.JSON(t, &in)
		if r.Operation != "PutEvents" || len(in.Entries) == 0 || len(in.Entries) > 10 {
			t.Errorf("%s with %d entries", r.Operation, len(in.Entries))
		}
		var results []map[string]string
		failed := 0
		for _, e := range in.Entries {
			if e.EventBusName != "orders" || e.Source != "com.example.shop" || e.DetailType == "" || e.Time == 0 {
				t.Errorf("the entry is %+v", e)
			}
			if !json.Valid([]byte(e.Detail)) || strings.Contains(e.Detail, "malformed") {
				failed++
				results = append(results, map[string]string{"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."})
				continue
			}
			results = append(results, map[string]string{"EventId": "eb-" + e.eventID()})
		}
		return awstest.Answer{Body: map[string]any{"FailedEntryCount": failed, "Entries": results}}
	}
}

var config = map[string]string{"event_bus": "orders", "source": "com.example.shop"}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		side := awstest.Start(t, "events", bus(t)).Side(t, config, func(r awstest.Request) (out []adaptertest.Delivery) {
			if r.Operation != operation {
				return nil
			}
			var in sent
			r.JSON(t, &in)
			for _, e := range in.Entries {
				a := e.attributes()
				out = append(out, adaptertest.Delivery{EventID: e.eventID(), Topic: awstest.First(a, "topic", "ce-type"),
					Data: []byte(e.Detail), Attributes: a})
			}
			return out
		})
		side.AnswerTo = func(r adapters.Receipt) string {
			var got accepted
			if err := json.Unmarshal(r.Body, &got); err != nil {
				t.Errorf("%v in %s", err, r.Body)
			}
			return strings.TrimPrefix(got.EventID, "eb-")
		}
		return side
	}})
}
