package app

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
)

// failures makes a destination of acme that has failed n deliveries for good, and works again.
func (a *testApp) failures(destination string, n int) {
	a.Helper()
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"`+destination+`","type":"echo","topics":["`+destination+`"],"disable_after":0}`)
	var events []string
	for i := range n {
		events = append(events, fmt.Sprintf(`{"tenant_id":"acme","topic":"%s","data":{"n":%d}}`, destination, i))
	}
	a.want(202, "POST", "/publish/batch", "["+strings.Join(events, ",")+"]")
	list := "?limit=1000&tenant_id=acme&destination_id=" + destination
	a.eventually("/deliveries"+list+"&status=delivered", func(o answer) bool { return len(o.list()) == n })
	// A destination that really fails is tried a few times a second only, which would take long.
	if _, err := a.db.Exec(a.Context(),
		`update deliveries set status = 'failed', last_code = 500, error_class = 'server', error = 'The receiver answered 500.', reason = 'All attempts failed.'
		where destination_key = (select key from destinations where id = $1)`, destination); err != nil {
		a.Fatal(err)
	}
}

func (a *testApp) failed(destination string) int {
	a.Helper()
	return len(a.want(200, "GET", "/deliveries?status=failed&limit=1000&tenant_id=acme&destination_id="+destination, nil).list())
}

func (o answer) list() []any {
	l, _ := o.body["models"].([]any)
	return l
}

func (o answer) num(path ...string) int {
	n, err := strconv.Atoi(o.str(path...))
	if err != nil {
		return -1
	}
	return n
}

// accounts fails the test unless the parts of a bulk retry are its total.
func (o answer) accounts(t testing.TB) answer {
	t.Helper()
	if sum := o.num("delivered") + o.num("failed") + o.num("skipped") + o.num("waiting") + o.num("remaining"); sum != o.num("total") {
		t.Errorf("the parts make %d: %s", sum, o.raw)
	}
	return o
}

// finished waits for the end of a bulk retry.
func (a *testApp) finished(id string) answer {
	a.Helper()
	a.eventually("/retries/"+id, func(o answer) bool { return o.accounts(a).str("finished_at") != "" })
	return a.want(200, "GET", "/retries/"+id, nil)
}

func TestBulkRetry(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 30)
	a.failures("crm", 5)

	plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme","filter":{"destination_id":["shop"],"error_class":["server"]}}`)
	if plan.num("count") != 30 || plan.str("by_destination", "0", "key") != "shop" || plan.num("by_error_class", "0", "count") != 30 ||
		plan.str("by_topic", "0", "key") != "shop" ||
		plan.str("filter", "until") == "" || plan.str("filter", "status", "0") != "failed" || len(plan.body["sample"].([]any)) != 10 ||
		plan.num("limits", "per_retry") != 100_000 {
		t.Errorf("%s", plan.raw)
	}
	out := a.want(202, "POST", "/retries", `{"tenant_id":"acme","filter":{"destination_id":["shop"]}}`, "Idempotency-Key", "once")
	id := out.str("id")
	if out.num("total") != 30 || out.header.Get("Location") != "/api/v1/retries/"+id || out.str("actor") != "API_KEY" {
		t.Errorf("%s", out.raw)
	}
	if again := a.want(202, "POST", "/retries", `{"tenant_id":"acme","filter":{"destination_id":["shop"]}}`, "Idempotency-Key",
		"once"); again.str("id") != id {
		t.Errorf("the same request started another one: %s", again.raw)
	}
	end := a.finished(id)
	if end.str("status") != "done" || end.num("delivered") != 30 || end.num("skipped") != 0 || end.header.Get("Retry-After") != "" {
		t.Errorf("%s", end.raw)
	}
	if same := a.do("GET", "/retries/"+id, nil, "If-None-Match", end.header.Get("ETag")); same.status != 304 {
		t.Errorf("If-None-Match: status %d", same.status)
	}
	at := a.want(200, "GET", "/attempts?tenant_id=acme&destination_id=shop&limit=1000", nil)
	if len(at.list()) != 60 || at.str("models", "0", "trigger") != "bulk" || strings.Count(at.raw, `"retry_id":"`+id+`"`) != 30 ||
		at.str("models", "0", "manual") != "true" {
		t.Errorf("%d attempts: %.400s", len(at.list()), at.raw)
	}
	if n := a.failed("crm"); n != 5 {
		t.Errorf("%d of 5 are failed that the filter did not choose", n)
	}
	waited := a.want(200, "POST", "/retries", `{"tenant_id":"acme"}`, "Prefer", "wait=20")
	if waited.num("delivered") != 5 || waited.str("status") != "done" || waited.header.Get("Preference-Applied") != "wait=20" {
		t.Errorf("%s", waited.raw)
	}
	list := a.want(200, "GET", "/retries?tenant_id=acme&status=done", nil)
	if len(list.list()) != 2 || list.str("models", "1", "id") != id {
		t.Errorf("%s", list.raw)
	}
	a.audited("retry.start", id, `"total": 30`)
	a.audited("retry.finish", id, `"delivered": 30`)
}

// audited waits until the audit trail has a line of this action on this object, whose detail holds a text.
func (a *testApp) audited(action, object, detail string) {
	a.Helper()
	var got string
	if err := a.db.QueryRow(a.Context(), "select detail::text from audit where action = $1 and object = $2", action,
		object).Scan(&got); err != nil {
		a.Errorf("audit of %s %s: %v", action, object, err)
	} else if !strings.Contains(got, detail) {
		a.Errorf("audit of %s %s does not hold %s: %s", action, object, detail, got)
	}
}

func TestBulkRetryOfChosenOnes(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 4)
	list := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil)
	ids := fmt.Sprintf(`["%s","%s"]`, list.str("models", "0", "id"), list.str("models", "2", "id"))
	if plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme","delivery_ids":`+ids+`}`); plan.num("count") != 2 {
		t.Errorf("%s", plan.raw)
	}
	end := a.want(200, "POST", "/retries", `{"tenant_id":"acme","delivery_ids":`+ids+`}`, "Prefer", "wait=20")
	if end.num("delivered") != 2 || a.failed("shop") != 2 {
		t.Errorf("%s", end.raw)
	}
	// Delivered ones are sent again when that is asked for.
	event := list.str("models", "0", "event_id")
	end = a.want(200, "POST", "/retries", `{"tenant_id":"acme","filter":{"status":["delivered"],"event_id":["`+event+`"]}}`, "Prefer",
		"wait=20")
	if end.num("total") != 2 || end.num("delivered") != 2 { // to shop and to the inbox
		t.Errorf("%s", end.raw)
	}
}

func TestBulkRetryPauseResumeCancel(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 200)
	out := a.want(202, "POST", "/retries", `{"tenant_id":"acme","rate":20}`)
	path := "/retries/" + out.str("id")
	a.eventually(path, func(o answer) bool { return o.accounts(a).num("delivered") > 4 })
	a.want(200, "POST", path+"/pause", nil)
	a.eventually(path, func(o answer) bool { return o.accounts(a).num("waiting") == 0 })
	paused := a.want(200, "GET", path, nil)
	if n := paused.num("remaining"); paused.str("status") != "paused" || n == 0 || n > 195 {
		t.Errorf("%s", paused.raw)
	}
	a.want(200, "POST", path+"/pause", nil) // once more changes nothing
	a.want(200, "POST", path+"/resume", nil)
	a.eventually(path, func(o answer) bool { return o.accounts(a).num("delivered") > paused.num("delivered") })
	a.want(200, "POST", path+"/cancel", nil)
	end := a.finished(out.str("id"))
	if left := end.num("remaining"); end.str("status") != "cancelled" || left == 0 || left != a.failed("shop") ||
		end.num("delivered")+left != 200 {
		t.Errorf("%d are failed: %s", a.failed("shop"), end.raw)
	}
	for _, action := range []string{"pause", "resume"} {
		a.want(409, "POST", path+"/"+action, nil)
	}
	for _, action := range []string{"retry.pause", "retry.resume", "retry.cancel", "retry.finish"} {
		a.audited(action, out.str("id"), `"total": 200`)
	}
}

// TestBulkRetrySkips starts a bulk retry of deliveries that must not be retried, for several reasons.
func TestBulkRetrySkips(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ManualRetryLimit = 1 })
	a.tenant("acme")
	a.failures("off", 3)
	a.failures("gone", 2)
	a.failures("shop", 4)
	a.want(200, "PATCH", "/tenants/acme/destinations/shop", `{"config":{"answer":"500"}}`)
	once := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme&destination_id=shop", nil).str("models", "0", "event_id")
	a.want(200, "POST", "/retry", `{"tenant_id":"acme","destination_id":"shop","event_id":"`+once+`"}`, "Prefer", "wait=20")
	a.eventually("/deliveries?status=failed&tenant_id=acme&destination_id=shop", func(o answer) bool { return len(o.list()) == 4 })
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	a.want(200, "DELETE", "/tenants/acme/destinations/gone", nil)
	want := map[string]int{"destination_disabled": 3, "destination_deleted": 2, "manual_retry_limit": 1}
	check := func(o answer, field string) {
		t.Helper()
		got := map[string]int{}
		for i := range o.body[field].([]any) {
			got[o.str(field, strconv.Itoa(i), "reason")] = o.num(field, strconv.Itoa(i), "count")
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v: %s", got, o.raw)
		}
	}
	plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme"}`)
	check(plan, "skipped")
	end := a.want(200, "POST", "/retries", `{"tenant_id":"acme"}`, "Prefer", "wait=20")
	check(end.accounts(t), "skipped_by")
	if plan.num("count") != 3 || end.num("failed") != 3 || end.num("total") != 9 {
		t.Errorf("%s\n%s", plan.raw, end.raw)
	}
	// Each counts against its limit.
	a.eventually("/deliveries?status=failed&tenant_id=acme&destination_id=shop", func(o answer) bool { return len(o.list()) == 4 })
	if out := a.want(422, "POST", "/retries", `{"tenant_id":"acme","filter":{"destination_id":["shop"]}}`); !strings.Contains(out.raw,
		"4: retried by hand as often") {
		t.Errorf("%s", out.raw)
	}
}

// TestManualRetriesPerHour lets a tenant retry three deliveries in an hour, single and in bulk.
func TestManualRetriesPerHour(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.HourlyRetryLimit = 3 })
	a.tenant("acme")
	a.failures("shop", 5)
	event := a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil).str("models", "0", "event_id")
	a.want(200, "POST", "/retry", `{"tenant_id":"acme","destination_id":"shop","event_id":"`+event+`"}`, "Prefer", "wait=20")
	if plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme"}`); plan.num("limits", "hour_left") != 2 {
		t.Errorf("%s", plan.raw)
	}
	out := a.want(202, "POST", "/retries", `{"tenant_id":"acme"}`)
	path := "/retries/" + out.str("id")
	a.eventually(path, func(o answer) bool { return o.str("note") == "hourly_limit" && o.num("delivered") == 2 })
	event = a.want(200, "GET", "/deliveries?status=failed&tenant_id=acme", nil).str("models", "0", "event_id")
	if out := a.want(429, "POST", "/retry",
		`{"tenant_id":"acme","destination_id":"shop","event_id":"`+event+`"}`); out.header.Get("Retry-After") == "" {
		t.Errorf("%s", out.raw)
	}
	if end := a.want(200, "POST", path+"/cancel", nil).accounts(t); end.num("remaining") != 2 || a.failed("shop") != 2 {
		t.Errorf("%s", end.raw)
	}
	a.finished(out.str("id"))
}

func TestBulkRetryRefused(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.BulkRetryLimit = 3 })
	a.tenant("acme")
	a.failures("shop", 4)
	for _, c := range []struct {
		body string
		says string
	}{
		{`{}`, "tenant_id is required"},
		{`{"tenant_id":"acme","filter":{"status":["pending"]}}`, "on its way already"},
		{`{"tenant_id":"acme","filter":{"status":["filtered_out"]}}`, "/filtered"},
		{`{"tenant_id":"acme","filter":{"status":["lost"]}}`, "not a status"},
		{`{"tenant_id":"acme","filter":{"stauts":["failed"]}}`, "stauts"},
		{`{"tenant_id":"acme","filter":{"error_class":["bad luck"]}}`, "not an error class"},
		{`{"tenant_id":"acme","filter":{"code":[0]}}`, "filter.code[0]"},
		{`{"tenant_id":"acme","filter":{"since":"2026-02-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}}`, "must be after since"},
		{`{"tenant_id":"acme","delivery_ids":["x"]}`, "not the id of a delivery"},
		{`{"tenant_id":"acme","filter":{"topic":["nothing"]}}`, "chooses no delivery"},
		{`{"tenant_id":"acme"}`, "more than 3 deliveries"},
		{`{"tenant_id":"acme","rate":20000}`, "rate must be between"},
	} {
		if out := a.want(422, "POST", "/retries", c.body); !strings.Contains(out.raw, c.says) {
			t.Errorf("%s: %s", c.body, out.raw)
		}
	}
	a.want(404, "POST", "/retries", `{"tenant_id":"nobody"}`)
	if plan := a.want(200, "POST", "/retries/plan", `{"tenant_id":"acme"}`); plan.str("more") != "true" || plan.num("count") != 3 {
		t.Errorf("%s", plan.raw)
	}
}
