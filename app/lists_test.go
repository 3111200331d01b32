package app

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// unreachable makes a destination that nobody listens at, and an event that could not be sent there.
func (a *testApp) unreachable() {
	a.Helper()
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"gone","type":"webhook","topics":["gone"],"config":{"url":"http://127.0.0.1:1/hook"},"retry":{"max_attempts":1}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"lost","topic":"gone","data":{}}`)
	a.eventually("/deliveries?event_id=lost&status=failed", func(o answer) bool { return len(o.list()) == 1 })
}

// TestWhatIsShownCanBeFilteredBy takes the code of an attempt that got no answer, and finds it by that everywhere.
func TestWhatIsShownCanBeFilteredBy(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.unreachable()
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"bad","type":"echo","topics":["bad"],"config":{"answer":"500"},"retry":{"max_attempts":1}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"refused","topic":"bad","data":{}}`)
	a.eventually("/deliveries?event_id=refused&status=failed", func(o answer) bool { return len(o.list()) == 1 })
	shown := a.want(200, "GET", "/attempts?event_id=lost&destination_id=gone", nil).str("models", "0", "code")
	if shown != "connect" {
		t.Fatalf("the code is %q", shown)
	}
	for _, list := range []string{"/attempts", "/deliveries", "/events"} {
		field := map[bool]string{true: "id", false: "event_id"}[list == "/events"]
		for code, want := range map[string]string{"connect": "lost", "500": "refused", "server": "", "500,connect": "lost refused",
			"404": ""} {
			var got []string
			out := a.want(200, "GET", list+"?tenant_id=acme&destination_id=gone&destination_id=bad&code="+code, nil)
			for i := range out.list() {
				got = append(got, out.str("models", fmt.Sprint(i), field))
			}
			if slices.Sort(got); strings.Join(got, " ") != want {
				t.Errorf("%s with code=%s: %v, want %q", list, code, got, want)
			}
		}
		if out := a.want(422, "GET", list+"?code=connnect", nil); !strings.Contains(out.str("fields", "code"), "503") {
			t.Errorf("%s: %s", list, out.raw)
		}
	}
	if out := a.want(200, "GET", "/metrics/attempts?"+span()+"&measures=count&filters[code]=connect", nil); !slices.Equal(out.points(t),
		[]string{"m.count=1"}) {
		t.Errorf("%s", out.raw)
	}
	plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme","filter":{"code":["connect",404]}}`)
	if plan.num("count") != 1 || !strings.Contains(plan.raw, `"code":["connect",404]`) {
		t.Errorf("a bulk retry by code: %s", plan.raw)
	}
	v := a.visitor()
	for _, page := range []string{"/t/acme/events?code=connect", "/t/acme/destinations/gone/deliveries?code=connect",
		"/t/acme/attempts?code=connect"} {
		p := v.get(page)
		if rows := p.Find("tbody tr").Length(); rows != 1 {
			t.Errorf("%s shows %d rows", page, rows)
		}
		p.says("lost")
	}
	v.get("/t/acme/retries/new?code=connect").says("1 delivery")
}

// TestAttemptsByTriggerAndActor lists attempts by why they were made, and by who asked.
func TestAttemptsByTriggerAndActor(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 2)
	event := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil).str("models", "0", "event_id")
	a.want(200, "POST", "/retry", `{"tenant_id":"acme","destination_id":"shop","event_id":"`+event+`"}`, "Prefer", "wait=20")
	a.finished(a.want(202, "POST", "/retries", `{"tenant_id":"acme"}`).str("id"))
	a.want(200, "POST", "/tenants/acme/destinations/inbox/test", `{"data":{}}`)
	who := a.want(200, "GET", "/attempts?tenant_id=acme&trigger=manual", nil).str("models", "0", "actor")
	if who == "" {
		t.Fatal("a manual attempt has no actor")
	}
	all := len(a.want(200, "GET", "/attempts?tenant_id=acme", nil).list())
	count := func(query string) int {
		t.Helper()
		return len(a.want(200, "GET", "/attempts?tenant_id=acme&"+query, nil).list())
	}
	manual, bulk, test := count("trigger=manual"), count("trigger=bulk"), count("trigger=test")
	if manual != 1 || bulk != 1 || test != 1 || count("trigger=manual,bulk") != 2 || count("manual=true") != 2 ||
		count("manual=false") != all-2 ||
		count("trigger=automatic") != all-3 || count("manual=true&actor=nobody") != 0 ||
		count("trigger=manual&actor="+strings.ReplaceAll(who, " ", "+")) != 1 {
		t.Errorf("of %d attempts, manual %d, bulk %d, test %d; by hand %d, not %d", all, manual, bulk, test, count("manual=true"),
			count("manual=false"))
	}
	if out := a.want(422, "GET", "/attempts?trigger=magic", nil); !strings.Contains(out.str("fields", "trigger"),
		"automatic, manual, bulk") {
		t.Errorf("%s", out.raw)
	}
	v := a.visitor()
	p := v.get("/t/acme/attempts?trigger=manual")
	p.says("Manual by " + who)
	if p.Find("tbody tr").Length() != 1 || p.Find(`th[aria-sort="descending"] a`).Length() != 1 {
		t.Errorf("the page of attempts:\n%s", p.text("main"))
	}
	if p := v.get("/t/acme/attempts?manual=true"); p.Find("tbody tr").Length() != 2 {
		t.Error("the quick view shows others")
	}
	v.get("/t/acme/attempts?actor=nobody").says("No attempt here")
}

// TestRetryInTheAuditLogNamesItsAttempt has an entry say what became of a retry: in the API, on its page and in exports.
func TestRetryInTheAuditLogNamesItsAttempt(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.unreachable()
	v := a.visitor()
	retry := func() {
		a.want(200, "POST", "/retry", `{"tenant_id":"acme","destination_id":"gone","event_id":"lost"}`, "Prefer", "wait=20")
	}
	entry := func() answer {
		return a.want(200, "GET", "/audit?tenant_id=acme&action=delivery.retry", nil)
	}
	retry()
	out := entry()
	attempt := a.want(200, "GET", "/attempts?event_id=lost&destination_id=gone&trigger=manual", nil).str("models", "0", "id")
	if out.str("models", "0", "attempt", "id") != attempt || out.str("models", "0", "attempt", "outcome") != "failed" ||
		out.str("models", "0", "attempt", "code") != "connect" ||
		out.str("models", "0", "attempt", "error") == "" || out.str("models", "0", "outcome") != "ok" {
		t.Errorf("%s", out.raw)
	}
	p := v.get("/t/acme/audit?action=delivery.retry")
	p.says("Attempt failed")
	p = v.get("/t/acme/audit/" + out.str("models", "0", "id"))
	p.says("The attempt failed (connect)")
	if p.Find(`a[href="/t/acme/attempts/`+attempt+`"]`).Length() != 1 {
		t.Error("the entry does not lead to its attempt")
	}
	rows, err := csv.NewReader(strings.NewReader(a.want(200, "GET", "/audit/export?tenant_id=acme&action=delivery.retry&format=csv",
		nil).raw)).ReadAll()
	if err != nil || len(rows) != 2 || rows[0][13] != "attempt" || rows[1][13] != attempt || rows[1][14] != "failed" {
		t.Errorf("export: %v, %v", rows, err)
	}
	if lines := a.want(200, "GET", "/audit/export?tenant_id=acme&action=delivery.retry", nil).raw; !strings.Contains(lines,
		`"attempt":{"id":"`+attempt) {
		t.Errorf("export: %s", lines)
	}

	// One that was not made, and one that works.
	a.exec("update deliveries set status = 'cancelled', turn = turn + 1 where error_class = 'connect'")
	a.exec("delete from attempts where trigger = 'manual'")
	if out := entry(); out.str("models", "0", "attempt", "outcome") != "not_made" {
		t.Errorf("%s", out.raw)
	}
	a.exec("update deliveries set status = 'pending', attempts = attempts - 1 where error_class = 'connect'")
	if out := entry(); out.str("models", "0", "attempt", "outcome") != "waiting" {
		t.Errorf("%s", out.raw)
	}
	a.exec("delete from deliveries where error_class = 'connect'")
	if out := entry(); out.str("models", "0", "attempt", "outcome") != "forgotten" {
		t.Errorf("%s", out.raw)
	}
}

// TestLatencies measures how long the other side took, and knows nothing of those that were not asked.
func TestLatencies(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for i := range 4 {
		a.want(200, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","topic":"t%d","data":{}}`, i%2), "Prefer", "wait=20")
	}
	a.eventually("/attempts?tenant_id=acme", func(o answer) bool { return len(o.list()) == 4 })
	a.exec("update attempts set duration_us = 1000 * (array[10, 20, 30, 100])[n] from (select event_id e, row_number() over (order by event_id) n from attempts) x where e = event_id")
	out := a.want(200, "GET", "/metrics/attempts?"+span()+"&measures=count,avg_latency,p50_latency,p95_latency,p99_latency", nil)
	if got := out.points(t); !slices.Equal(got,
		[]string{"m.avg_latency=40&m.count=4&m.p50_latency=25&m.p95_latency=89.5&m.p99_latency=97.9"}) {
		t.Errorf("%v", got)
	}
	out = a.want(200, "GET",
		"/metrics/attempts?"+span()+"&measures=p50_latency&measures=successful_count&dimensions=topic&dimensions=destination_type", nil)
	if got := out.points(t); !slices.Equal(got, []string{"d.destination_type=echo&d.topic=t0&m.p50_latency=20&m.successful_count=2",
		"d.destination_type=echo&d.topic=t1&m.p50_latency=60&m.successful_count=2"}) {
		t.Errorf("%v", got)
	}
	now := time.Now().UTC()
	if out := a.want(200, "GET", "/metrics/attempts?time[start]="+now.AddDate(0, 0, -3).Format(time.RFC3339)+"&time[end]="+now.AddDate(0, 0,
		-2).Format(time.RFC3339)+"&measures=p99_latency", nil); !strings.Contains(out.raw, `"p99_latency":null`) {
		t.Errorf("without attempts: %s", out.raw)
	}
	if out := a.want(200, "GET", "/attempts?tenant_id=acme&dir=asc&limit=1", nil); out.str("models", "0", "latency_ms") != "10" {
		t.Errorf("%s", out.raw)
	}
	a.exec("update attempts set ok = false, method = '', url = '', code = 0, error_class = 'config'")
	if out := a.want(200, "GET", "/attempts?tenant_id=acme&limit=1", nil); !strings.Contains(out.raw, `"latency_ms":null`) {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "GET", "/metrics/attempts?"+span()+"&measures=p50_latency", nil); !strings.Contains(out.raw,
		`"p50_latency":null`) {
		t.Errorf("%s", out.raw)
	}
}

// TestListsOfSeveralTenants answers for those that there are.
func TestListsOfSeveralTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	for _, id := range []string{"acme", "globex"} {
		a.want(200, "POST", "/publish", `{"tenant_id":"`+id+`","id":"of-`+id+`","topic":"t","data":{}}`, "Prefer", "wait=20")
	}
	for _, list := range []string{"/events", "/deliveries", "/attempts"} {
		for query, want := range map[string]int{"tenant_id=acme&tenant_id=nobody": 1,
			"tenant_id[0]=acme&tenant_id[1]=nobody&tenant_id[2]=globex": 2, "tenant_id=no1&tenant_id=no2": 0,
			"tenant_id=acme,globex&limit=0": 2} {
			if out := a.want(200, "GET", list+"?"+query, nil); len(out.list()) != want {
				t.Errorf("%s?%s: %s", list, query, out.raw)
			}
		}
		a.want(404, "GET", list+"?tenant_id=nobody", nil)
		if out := a.want(200, "GET", list+"?limit=0", nil); out.num("pagination", "limit") != 100 {
			t.Errorf("%s", out.raw)
		}
		a.want(422, "GET", list+"?limit=-1", nil)
		a.want(422, "GET", list+"?limit=1001", nil)
	}
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	if out := a.as(token).want(200, "GET", "/events?tenant_id=acme&tenant_id=globex", nil); len(out.list()) != 1 ||
		out.str("models", "0", "id") != "of-acme" {
		t.Errorf("a tenant sees another: %s", out.raw)
	}
	if out := a.as(token).want(200, "GET", "/events?tenant_id=globex&tenant_id=nobody", nil); len(out.list()) != 0 {
		t.Errorf("a tenant sees what it did not ask for: %s", out.raw)
	}
	a.want(422, "GET", "/tenants?limit=0", nil)
}
