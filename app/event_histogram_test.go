package app

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

type eventHistogram struct {
	Events   int
	Complete bool
	Share    float64
	Buckets  []struct {
		Start  time.Time
		States map[string]int
	}
}

func (a *testApp) histogram(query string) (h eventHistogram) {
	a.Helper()
	// A busy machine has more to count than it does in its time, and says that one should ask again.
	out := a.eventually("/stats/events?"+query, func(o answer) bool { return o.status != 503 })
	if out.status != 200 {
		a.Fatalf("%s: %d %s", query, out.status, out.raw)
	}
	if err := json.Unmarshal([]byte(out.raw), &h); err != nil {
		a.Fatal(err)
	}
	return h
}

// states are the events of all buckets by their worst state.
func (h eventHistogram) states() string {
	sum := map[string]int{}
	for _, b := range h.Buckets {
		for st, n := range b.States {
			sum[st] += n
		}
	}
	return strings.TrimPrefix(fmt.Sprint(sum), "map")
}

// TestEventHistogram counts what the list of events shows, each event once by its worst delivery.
func TestEventHistogram(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "broken", "type": "echo", "topics": []string{"order.paid"},
		"config": map[string]any{"answer": "500"}})
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "off", "type": "echo", "topics": []string{"order.paid", "order.held"}})
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	a.want(201, "PUT", "/tenants/empty", nil)
	for topic, n := range map[string]int{"order.paid": 3, "order.held": 2, "order.created": 4} {
		for range n {
			a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": topic, "data": map[string]any{"n": 1}})
		}
	}
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "globex", "id": "one", "data": map[string]any{}})
	a.want(202, "POST", "/publish", map[string]any{"tenant_id": "empty", "data": map[string]any{}})
	a.eventually("/deliveries?status=failed", func(o answer) bool { return len(o.body["models"].([]any)) == 3 })
	a.eventually("/deliveries?status=pending", func(o answer) bool { return len(o.body["models"].([]any)) == 0 })
	for query, want := range map[string]string{
		"tenant_id=acme":                                        "[delivered:4 failed:3 held:2]",
		"":                                                      "[delivered:5 failed:3 held:2 none:1]",
		"tenant_id=empty":                                       "[none:1]",
		"tenant_id=acme&status=failed":                          "[failed:3]",
		"tenant_id=acme&status=held":                            "[failed:3 held:2]", // three have a delivery that failed, too
		"tenant_id=acme&status=delivered":                       "[delivered:4 failed:3 held:2]",
		"tenant_id=acme&topic=order.held":                       "[held:2]",
		"tenant_id=acme&destination_id=broken":                  "[failed:3]",
		"tenant_id=acme&code=500&topic=order.created":           "[]",
		"tenant_id=acme&status=cancelled":                       "[]",
		"tenant_id=globex&q=one":                                "[delivered:1]",
		"since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z": "[]",
	} {
		h := a.histogram(query)
		if got := h.states(); got != want || !h.Complete || h.Share != 1 || len(h.Buckets) != 60 {
			t.Errorf("%q: %s, want %s; %d buckets", query, got, want, len(h.Buckets))
		}
	}
	// All of it is in the last bucket of a day, and in some bucket of a short span.
	h := a.histogram("tenant_id=acme")
	if n := len(h.Buckets[59].States); n == 0 || h.Events != 9 {
		t.Errorf("%d events, and %d states in the last bucket", h.Events, n)
	}
	a.want(422, "GET", "/stats/events?q=nothing+like+it", nil)
	a.want(422, "GET", "/stats/events?status=odd", nil)
	a.want(422, "GET", "/stats/events?since=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z", nil)
	token := a.as(a.want(200, "GET", "/tenants/globex/token", nil).str("token"))
	if got := token.histogram("").states(); got != "[delivered:1]" {
		t.Errorf("globex sees %s", got)
	}
}

// TestEventHistogramOfMany takes a sample of many events, and says so; rare states are exact nonetheless.
func TestEventHistogramOfMany(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	// An event each 100 ms over an hour: 36,000, of which each thousandth has failed.
	a.exec(`with e as (insert into events (id, tenant_key, topic, retry, data)
			select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - i * 100), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid,
				(select key from tenants where id = 'acme'), '', true, '{}' from generate_series(1, 36000) i returning id)
		insert into deliveries (event_id, destination_key, tenant_key, status)
		select id, (select key from destinations where id = 'inbox'), (select key from tenants where id = 'acme'),
			(case when row_number() over (order by id) % 1000 = 0 then 'failed' else 'delivered' end)::delivery_status from e`)
	a.exec(`insert into traffic select t, 1800, date_bin('30 minutes', now() - i * interval '30 minutes', 'epoch'), case when i < 2 then 18000 else 0 end, 0, 0, 0, 0, 0, null
		from (select key from tenants where id = 'acme' union all select 0) k (t), generate_series(0, 1) i`)
	for _, query := range []string{"tenant_id=acme", ""} {
		since := "&since=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
		h := a.histogram(query + since)
		var failed, delivered int
		for _, b := range h.Buckets[1:59] {
			failed, delivered = failed+b.States["failed"], delivered+b.States["delivered"]
			if n := b.States["delivered"]; n < 450 || n > 750 {
				t.Errorf("%q: about 600 events lie in each bucket, not %d", query, n)
			}
		}
		if h.Complete || h.Share >= 0.5 || h.Share < 0.1 || failed < 34 || failed > 36 || delivered < 31000 || delivered > 39000 {
			t.Errorf("%q: complete %v, share %v, failed %d, delivered %d", query, h.Complete, h.Share, failed, delivered)
		}
	}
	if h := a.histogram("tenant_id=acme&status=failed&since=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)); h.Events < 34 || !h.Complete {
		t.Errorf("failed: %d, complete %v", h.Events, h.Complete)
	}
	// So many that they are not counted one by one are estimated, with other conditions and without.
	a.exec("update deliveries set status = 'failed' where mod(('x' || substr(event_id::text, 20, 4))::bit(16)::int, 3) = 0")
	failed := a.count("select count(*) from deliveries where status = 'failed'")
	for _, more := range []string{"", "&code=connect", "&status=held"} {
		if more == "&code=connect" {
			a.exec("update deliveries set error_class = 'connect' where status = 'failed'")
		}
		h := a.histogram("tenant_id=acme&status=failed" + more + "&since=" + time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339Nano))
		if off := math.Abs(float64(h.Events)/float64(failed) - 1); failed < 10_500 || h.Complete || off > 0.2 {
			t.Errorf("%q: %d events, complete %v; %d have failed", more, h.Events, h.Complete, failed)
		}
	}
}
