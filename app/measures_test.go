package app

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// span is the parameters of a span around now.
func span() string {
	now := time.Now().UTC()
	return "time[start]=" + now.Add(-time.Hour).Format(time.RFC3339) + "&time[end]=" + now.Add(time.Hour).Format(time.RFC3339)
}

// points returns an answer's rows as text: dimensions, then metrics, sorted by name within each.
func (o answer) points(t *testing.T) (out []string) {
	t.Helper()
	data, ok := o.body["data"].([]any)
	if !ok {
		t.Fatalf("no data: %s", o.raw)
	}
	for _, d := range data {
		row := d.(map[string]any)
		q := url.Values{}
		for _, part := range []string{"dimensions", "metrics"} {
			for k, v := range row[part].(map[string]any) {
				q.Set(part[:1]+"."+k, answer{body: map[string]any{"v": v}}.str("v"))
			}
		}
		s, _ := url.QueryUnescape(q.Encode())
		out = append(out, s)
	}
	return out
}

func TestMeasures(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for _, id := range []string{"acme", "globex"} {
		a.tenant(id)
	}
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "broken", "type": "echo", "topics": []string{"order.paid"},
		"config": map[string]any{"answer": "500"}})
	for range 3 {
		a.want(200, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": "order.created", "data": map[string]any{}}, "Prefer",
			"wait=10")
	}
	a.want(200, "POST", "/publish", map[string]any{"id": "paid", "tenant_id": "acme", "topic": "order.paid", "data": map[string]any{}},
		"Prefer", "wait=10")
	a.want(200, "POST", "/publish", map[string]any{"tenant_id": "globex", "topic": "order.created", "data": map[string]any{}}, "Prefer",
		"wait=10")
	failed := func(n string) func(answer) bool {
		return func(o answer) bool { return len(o.body["models"].([]any)) == len(strings.Split(n, "")) }
	}
	a.eventually("/attempts?destination_id=broken", failed("123"))
	a.want(202, "POST", "/retry", map[string]any{"event_id": "paid", "destination_id": "broken"})
	a.eventually("/attempts?destination_id=broken", failed("1234"))

	for query, want := range map[string][]string{
		"events?measures[]=count": {"m.count=5"},
		"events?measures[]=count&dimensions[]=topic": {"d.topic=order.created&m.count=4",
			"d.topic=order.paid&m.count=1"},
		"events?measures[]=count&dimensions[]=tenant_id": {"d.tenant_id=acme&m.count=4",
			"d.tenant_id=globex&m.count=1"},
		"events?measures=count&dimensions[0]=destination_id&filters[tenant_id][0]=acme": {"d.destination_id=broken&m.count=1",
			"d.destination_id=inbox&m.count=4"},
		"events?measures[]=count&tenant_id=globex":                                      {"m.count=1"},
		"events?measures[]=count&filters[topic]=order.paid&filters[topic]=nothing":      {"m.count=1"},
		"events?measures[]=count&filters[topic][]=nothing":                              {"m.count=0"},
		"events?measures[]=count&filters[topic][]=nothing&dimensions=topic":             nil,
		"events?measures[]=count&filters[destination_id]=broken":                        {"m.count=1"},
		"events?measures[]=count&filters[destination_id]=none":                          {"m.count=0"},
		"events?measures[]=rate":                                                        {"m.rate=0.0006944444444444445"},
		"attempts?measures[]=count&measures[]=successful_count&measures[]=failed_count": {"m.count=9&m.failed_count=4&m.successful_count=5"},
		"attempts?measures=error_rate,avg_attempt_number&filters[tenant_id]=acme":       {"m.avg_attempt_number=1.75&m.error_rate=0.5"},
		"attempts?measures=first_attempt_count,retry_count,manual_retry_count":          {"m.first_attempt_count=6&m.manual_retry_count=1&m.retry_count=3"},
		"attempts?measures=count&dimensions=status&dimensions=code": {"d.code=200&d.status=success&m.count=5",
			"d.code=500&d.status=failed&m.count=4"},
		"attempts?measures=count&dimensions=manual&filters[destination_id]=broken": {"d.manual=false&m.count=3",
			"d.manual=true&m.count=1"},
		"attempts?measures=count&dimensions=attempt_number,topic&filters[status]=failed": {"d.attempt_number=1&d.topic=order.paid&m.count=1", "d.attempt_number=2&d.topic=order.paid&m.count=1", "d.attempt_number=3&d.topic=order.paid&m.count=1", "d.attempt_number=4&d.topic=order.paid&m.count=1"},
		"attempts?measures=count&dimensions=destination_type,destination_id,tenant_id":   {"d.destination_id=broken&d.destination_type=echo&d.tenant_id=acme&m.count=4", "d.destination_id=inbox&d.destination_type=echo&d.tenant_id=acme&m.count=4", "d.destination_id=inbox&d.destination_type=echo&d.tenant_id=globex&m.count=1"},
		"attempts?measures=count&filters[destination_type]=webhook":                      {"m.count=0"},
		"attempts?measures=count&filters[code]=500&filters[manual]=false":                {"m.count=3"},
		"attempts?measures=count&filters[attempt_number]=1&filters[topic]=order.paid":    {"m.count=2"},
		"attempts?measures=count&filters[status]=success&filters[status]=failed":         {"m.count=9"},
	} {
		if got := a.want(200, "GET", "/metrics/"+query+"&"+span(), nil).points(t); strings.Join(got, " | ") != strings.Join(want, " | ") {
			t.Errorf("%s:\n got %q\nwant %q", query, got, want)
		}
	}

	// Every bucket is there, and nothing is counted twice or outside of the span.
	sum := map[string]float64{"events": 5, "attempts": 9}
	for _, kind := range []string{"events", "attempts"} {
		o := a.want(200, "GET", "/metrics/"+kind+"?measures=count&granularity=1m&"+span(), nil)
		data, total := o.body["data"].([]any), 0.0
		for _, d := range data {
			total += d.(map[string]any)["metrics"].(map[string]any)["count"].(float64)
		}
		if want := sum[kind]; len(data) < 120 || len(data) > 121 || total != want {
			t.Errorf("%s: %d buckets with %v, want about 120 with %v", kind, len(data), total, want)
		}
		if o.str("metadata", "granularity") != "1m" || o.str("metadata", "row_count") != strconv.Itoa(len(data)) ||
			o.str("metadata", "truncated") != "false" {
			t.Errorf("metadata: %s", o.raw[max(0, len(o.raw)-200):])
		}
		long := time.Now().UTC()
		past := "time[start]=" + long.Add(-48*time.Hour).Format(time.RFC3339) + "&time[end]=" + long.Add(-47*time.Hour).Format(time.RFC3339)
		if got := a.want(200, "GET", "/metrics/"+kind+"?measures=count&"+past, nil).points(t); len(got) != 1 || got[0] != "m.count=0" {
			t.Errorf("%s of an earlier hour: %v", kind, got)
		}
	}
}

func TestMeasuresRefused(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(200, "POST", "/publish", map[string]any{"tenant_id": "globex", "topic": "x", "data": map[string]any{}}, "Prefer", "wait=10")
	for query, field := range map[string]string{
		"events?measures=count":                                                            "time[start]",
		"events?measures=count&time[start]=yesterday":                                      "time[start]",
		"events?" + span():                                                                 "measures",
		"events?measures=successful_count&" + span():                                       "measures",
		"events?measures=count&dimensions=status&" + span():                                "dimensions",
		"events?measures=count&granularity=1y&" + span():                                   "granularity",
		"attempts?measures=count&granularity=90m&" + span():                                "granularity",
		"attempts?measures=count&filters[status]=ok&" + span():                             "filters[status]",
		"attempts?measures=count&filters[manual]=1&" + span():                              "filters[manual]",
		"attempts?measures=count&filters[attempt_number]=0&" + span():                      "filters[attempt_number]",
		"events?measures=count&time[start]=2026-01-02&time[end]=2026-01-01":                "time[end]",
		"events?measures=count&granularity=1s&time[start]=2026-01-01&time[end]=2026-02-01": "granularity",
	} {
		if o := a.want(422, "GET", "/metrics/"+query, nil); o.str("fields", field) == "" {
			t.Errorf("%s: nothing about %s in %s", query, field, o.raw)
		}
	}
	a.want(400, "GET", "/metrics/events?measures=count&filters[colour]=red&"+span(), nil)
	a.want(404, "GET", "/metrics/events?measures=count&tenant_id=nobody&"+span(), nil)

	// A count that takes too long is given up, and says what to do.
	conn, err := pgx.Connect(t.Context(), a.Cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "begin; lock table attempts in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	if o := a.want(503, "GET", "/metrics/attempts?measures=count&"+span(), nil); !strings.Contains(o.str("message"), "shorter span") ||
		o.header.Get("Retry-After") == "" {
		t.Errorf("a count that takes too long: %s", o.raw)
	}
	if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}

	// A tenant's token counts that tenant's, and cannot ask for others.
	own := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if got := own.want(200, "GET", "/metrics/events?measures=count&"+span(), nil).points(t); got[0] != "m.count=0" {
		t.Errorf("a tenant sees another's events: %v", got)
	}
	if got := own.want(200, "GET", "/metrics/attempts?measures=count&"+span(), nil).points(t); got[0] != "m.count=0" {
		t.Errorf("a tenant sees another's attempts: %v", got)
	}
	own.want(403, "GET", "/metrics/events?measures=count&dimensions=tenant_id&"+span(), nil)
	own.want(403, "GET", "/metrics/attempts?measures=count&filters[tenant_id]=globex&"+span(), nil)
	own.want(404, "GET", "/metrics/attempts?measures=count&tenant_id=globex&"+span(), nil)
}
