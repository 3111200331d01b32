package app

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// overview is what the API tells of a tenant, or of all.
type overview struct {
	Received, Delivered, Failed struct {
		Value    int64
		Previous *int64
	}
	SuccessRate struct {
		Value, Previous *float64
	} `json:"success_rate"`
	P50 struct{ Value, Previous *float64 } `json:"latency_p50_ms"`
	P95 struct{ Value, Previous *float64 } `json:"latency_p95_ms"`

	Retrying, Held    *int
	Failing, Disabled int
	Points            []struct {
		Received    int64
		SuccessRate *float64 `json:"success_rate"`
	}
	Buckets []struct {
		Start                                 time.Time
		Received, Delivered, Retrying, Failed int64
	}
}

func (a *testApp) overview(query string) (o overview) {
	a.Helper()
	if err := json.Unmarshal([]byte(a.want(200, "GET", "/stats/overview?"+query, nil).raw), &o); err != nil {
		a.Fatal(err)
	}
	return o
}

func (o overview) numbers() string {
	rate := "none"
	if o.SuccessRate.Value != nil {
		rate = fmt.Sprint(*o.SuccessRate.Value)
	}
	return fmt.Sprintf("received %d, delivered %d, failed %d, success %s, retrying %d, held %d, failing %d, disabled %d", o.Received.Value,
		o.Delivered.Value, o.Failed.Value, rate, *o.Retrying, *o.Held, o.Failing, o.Disabled)
}

// eventuallyOverview waits for numbers.
func (a *testApp) eventuallyOverview(query, want string) overview {
	a.Helper()
	a.eventually("/stats/overview?"+query, func(answer) bool { return a.overview(query).numbers() == want })
	return a.overview(query)
}

// TestOverviewNumbers: each number means one thing, in every range and for whoever asks; what is held never counts as failed.
func TestOverviewNumbers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	if got := a.overview("tenant_id=acme").numbers(); got != "received 0, delivered 0, failed 0, success none, retrying 0, held 0, failing 0, disabled 0" {
		t.Errorf("before anything happened: %s", got)
	}
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "broken", "type": "echo", "topics": []string{"order.paid"},
		"config": map[string]any{"answer": "500"}})
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "slow", "type": "echo", "topics": []string{"order.late"},
		"retry": map[string]any{"schedule": []string{"6h"}}, "config": map[string]any{"answer": "500"}})
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "off", "type": "echo", "topics": []string{"order.paid"}})
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", map[string]any{"reason": "Maintenance"})
	for range 3 {
		a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "order.paid", "data": map[string]any{}})
	}
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "order.late", "data": map[string]any{}})
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "globex", "topic": "order.paid", "data": map[string]any{}})

	// inbox takes all four, broken and off three, slow one. Of eight first attempts four fail.
	const acme = "received 4, delivered 4, failed 3, success 50, retrying 1, held 3, failing 1, disabled 1"
	for _, r := range []string{"1h", "24h", "7d", "30d"} {
		o := a.eventuallyOverview("tenant_id=acme&range="+r, acme)
		var received, delivered, failed, retrying, points int64
		for i, b := range o.Buckets {
			received, delivered, failed, retrying = received+b.Received, delivered+b.Delivered, failed+b.Failed, retrying+b.Retrying
			if i > 0 && !b.Start.After(o.Buckets[i-1].Start) {
				t.Errorf("%s: bucket %d starts at %v", r, i, b.Start)
			}
		}
		for _, p := range o.Points {
			points += p.Received
			if (p.SuccessRate == nil) != (p.Received == 0) {
				t.Errorf("%s: a point with %d events has a success rate of %v", r, p.Received, p.SuccessRate)
			}
		}
		if received != 4 || delivered != 4 || failed != 3 || retrying != 4 || points != 4 {
			t.Errorf("%s: the buckets hold %d, %d, %d, %d, and the points %d", r, received, delivered, failed, retrying, points)
		}
		if want := map[string]int{"1h": 60, "24h": 48, "7d": 56, "30d": 60}[r]; len(o.Buckets) != want || len(o.Points) < 20 {
			t.Errorf("%s: %d buckets, %d points", r, len(o.Buckets), len(o.Points))
		}
		if o.P50.Value == nil || o.P95.Value == nil || *o.P50.Value <= 0 || *o.P50.Value > *o.P95.Value {
			t.Errorf("%s: latency %v, %v", r, o.P50.Value, o.P95.Value)
		}
		if o.Received.Previous != nil || o.SuccessRate.Previous != nil {
			t.Errorf("%s: the range before was not counted, but %v is told of it", r, o.Received.Previous)
		}
	}
	a.eventuallyOverview("tenant_id=globex", "received 1, delivered 1, failed 0, success 100, retrying 0, held 0, failing 0, disabled 0")
	a.eventuallyOverview("", "received 5, delivered 5, failed 3, success 55.556, retrying 1, held 3, failing 1, disabled 1")

	// A tenant sees its own numbers, and no other's.
	token := a.as(a.want(200, "GET", "/tenants/globex/token", nil).str("token"))
	if got := token.overview("").Received.Value; got != 1 {
		t.Errorf("globex sees %d events", got)
	}
	token.want(404, "GET", "/stats/overview?tenant_id=acme", nil)
	a.want(422, "GET", "/stats/overview?range=2h", nil)

	// A test event counts as any other: what the list shows, the numbers show.
	a.want(200, "POST", "/tenants/globex/destinations/inbox/test", map[string]any{}, "Prefer", "wait=10")
	a.eventuallyOverview("tenant_id=globex", "received 2, delivered 2, failed 0, success 100, retrying 0, held 0, failing 0, disabled 0")

	// Delivered again by hand, it is not failed any more in the states, and what was given up then stays so.
	a.want(200, "PUT", "/tenants/acme/destinations/off/enable", map[string]any{"backlog": "deliver"})
	a.eventuallyOverview("tenant_id=acme", "received 4, delivered 7, failed 3, success 63.636, retrying 1, held 0, failing 1, disabled 0")
}

// TestOverviewBefore compares with the range before once that was counted as a whole.
func TestOverviewBefore(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.exec("update settings set value = to_jsonb(now() - interval '70 days') where key = 'traffic_since'")
	a.exec(`insert into traffic select t, g, date_bin(g * interval '1 second', now() - ago, 'epoch'), 10, 8, 1, 2, 10, 3, null
		from (select key from tenants where id = 'acme' union all select 0) k (t), unnest(array[60, 1800]) g, unnest(array[interval '90 minutes', '30 hours', '10 days', '45 days', '61 days']) ago
		where g = 1800 or ago < interval '2 hours'`)
	for r, want := range map[string]string{"1h": "0 10", "24h": "10 10", "7d": "20 10", "30d": "30 10"} {
		for _, query := range []string{"tenant_id=acme", "tenant_id="} {
			o := a.overview(query + "&range=" + r)
			if o.Received.Previous == nil || o.SuccessRate.Previous == nil {
				t.Fatalf("%s: nothing of the range before", r)
			}
			if got := fmt.Sprint(o.Received.Value, *o.Received.Previous); got != want || *o.SuccessRate.Previous != 70 {
				t.Errorf("%s of %s: %s, want %s; %v", r, query, got, want, *o.SuccessRate.Previous)
			}
		}
	}
}

// TestFailuresAndBusiest: what failed comes by destination and error, and the busiest destinations with their numbers.
func TestFailuresAndBusiest(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "broken", "name": "Legacy CRM", "type": "echo",
		"topics": []string{"order.paid"}, "config": map[string]any{"answer": "500"}})
	a.want(201, "POST", "/tenants/globex/destinations", map[string]any{"id": "gone", "type": "echo", "topics": "*",
		"retry": map[string]any{"schedule": []string{"6h"}}, "config": map[string]any{"answer": "500"}})
	for range 3 {
		a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "order.paid", "data": map[string]any{}})
	}
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "globex", "topic": "order.paid", "data": map[string]any{}})
	type failures struct {
		Total    int
		Complete bool
		Groups   []struct {
			Destination string `json:"destination_id"`
			Name        string `json:"destination_name"`
			Tenant      string `json:"tenant_id"`
			Error       string
			Count       int
			Failed      int
			Retrying    int
			Last        *time.Time `json:"last_attempt_at"`
		}
	}
	var f failures
	read := func(query string) func(answer) bool {
		return func(o answer) bool {
			f = failures{}
			return json.Unmarshal([]byte(o.raw), &f) == nil && fmt.Sprint(f.Total, len(f.Groups)) == query
		}
	}
	a.eventually("/stats/failures?tenant_id=acme", func(o answer) bool {
		return read("3 1")(o) && f.Groups[0].Failed == 3
	})
	if g := f.Groups[0]; g.Destination != "broken" || g.Name != "Legacy CRM" || g.Error == "" || g.Count != 3 || g.Retrying != 0 || g.Last == nil ||
		!f.Complete {
		t.Errorf("%+v", f)
	}
	a.eventually("/stats/failures", read("4 2"))
	if g := f.Groups[1]; g.Tenant != "globex" || g.Count != 1 || g.Retrying != 1 {
		t.Errorf("%+v", f)
	}
	var busy struct {
		Models []struct {
			Destination string `json:"destination_id"`
			Delivered   int
			ErrorRate   *float64 `json:"error_rate"`
			P95         *float64 `json:"latency_p95_ms"`
			Failed      int
			Points      []struct{ Delivered, Failed int }
		}
	}
	for _, query := range []string{"tenant_id=acme", "range=1h"} {
		a.eventually("/stats/destinations?"+query, func(o answer) bool {
			return json.Unmarshal([]byte(o.raw), &busy) == nil && len(busy.Models) > 1 && busy.Models[0].Delivered == 3
		})
		if b := busy.Models[0]; b.Destination != "inbox" || *b.ErrorRate != 0 || b.P95 == nil || *b.P95 <= 0 || b.Failed != 0 {
			t.Errorf("%s: %+v", query, b)
		}
	}
	a.eventually("/stats/destinations?tenant_id=acme", func(o answer) bool {
		_ = json.Unmarshal([]byte(o.raw), &busy)
		b := busy.Models[1]
		return b.Destination == "broken" && b.Failed == 3 && b.ErrorRate != nil && *b.ErrorRate == 100 && b.P95 == nil
	})
}
