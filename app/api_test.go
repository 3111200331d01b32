package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

func TestPublishAndSee(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(202, "POST", "/publish",
		`{"tenant_id":"acme","topic":"order.created","id":"o-1","metadata":{"k":"v"},"data":{"b":1.0,  "a":2}}`)
	if out.str("id") != "o-1" || out.str("duplicate") != "false" || out.str("destination_ids", "0") != "inbox" {
		t.Errorf("publish answered %s", out.raw)
	}
	if got := out.header.Get("Location"); got != "/api/v1/events/o-1?tenant_id=acme" {
		t.Errorf("Location %q", got)
	}
	a.eventually("/events/o-1/deliveries", func(o answer) bool { return o.str("models", "0", "status") == "delivered" })
	ev := a.want(200, "GET", "/events/o-1", nil)
	if !strings.Contains(ev.raw, `"data":{"b":1.0,"a":2}`) && !strings.Contains(ev.raw, `"b":1.0`) {
		t.Errorf("payload changed: %s", ev.raw)
	}
	if ev.str("matched_destination_ids", "0") != "inbox" || ev.str("topic") != "order.created" || ev.str("metadata", "k") != "v" {
		t.Errorf("%s", ev.raw)
	}
	if again := a.do("GET", "/events/o-1", nil, "If-None-Match", ev.header.Get("ETag")); again.status != 304 {
		t.Errorf("If-None-Match: status %d", again.status)
	}
	if head := a.do("HEAD", "/events/o-1", nil); head.status != 200 || head.raw != "" || head.header.Get("ETag") != ev.header.Get("ETag") {
		t.Errorf("HEAD: %d %v %s", head.status, head.header, head.raw)
	}
	at := a.want(200, "GET", "/attempts?event_id=o-1&include=event&include=response_data", nil)
	if at.str("models", "0", "status") != "success" || at.str("models", "0", "attempt_number") != "1" ||
		at.str("models", "0", "code") != "200" ||
		at.str("models", "0", "event", "topic") != "order.created" || at.str("models", "0", "response_data", "status") != "200" {
		t.Errorf("%s", at.raw)
	}
	one := a.want(200, "GET", "/attempts/"+at.str("models", "0", "id"), nil)
	if one.str("event_id") != "o-1" {
		t.Errorf("%s", one.raw)
	}
	d := a.want(200, "GET", "/deliveries/"+one.str("delivery_id"), nil)
	if d.str("status") != "delivered" || d.str("attempts") != "1" || d.header.Get("Retry-After") != "" {
		t.Errorf("%s", d.raw)
	}
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(200, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "Prefer", "wait=10")
	if out.str("deliveries", "0", "status") != "delivered" || out.header.Get("Preference-Applied") != "wait=10" {
		t.Errorf("%s %v", out.raw, out.header)
	}
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"never","type":"echo","topics":["slow"],"config":{"answer":"timeout"},"timeout":"3s"}`)
	start := time.Now()
	out = a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"slow","data":{}}`, "Prefer", "wait=1")
	if took := time.Since(start); took < time.Second || out.str("id") == "" {
		t.Errorf("after %v: %s", took, out.raw)
	}
	if out = a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`, "Prefer",
		"respond-async"); out.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("%v", out.header)
	}
	if out = a.want(422, "POST", "/publish", `{"tenant_id":"acme","data":{},"dta":1}`, "Prefer", "handling=strict"); out.str("fields",
		"dta") == "" {
		t.Errorf("%s", out.raw)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out := a.do("POST", "/publish", `{"tenant_id":"acme","id":"same","data":{}}`)
			mu.Lock()
			defer mu.Unlock()
			if out.status != 202 || out.str("destination_ids", "0") != "inbox" {
				t.Errorf("%d %s", out.status, out.raw)
			}
			if out.str("duplicate") == "false" {
				fresh++
			}
		}()
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("%d of 20 publishers with the same id were told that theirs is the first", fresh)
	}
	if out := a.want(202, "POST", "/publish", `{"tenant_id":"other","id":"same","data":{}}`); out.str("duplicate") != "false" {
		t.Errorf("an id of another tenant counts as a duplicate: %s", out.raw)
	}
	a.eventually("/events/same/deliveries?tenant_id=acme", func(o answer) bool { return o.str("models", "0", "status") == "delivered" })
	if out := a.want(200, "GET", "/attempts?tenant_id=acme", nil); len(out.body["models"].([]any)) != 1 {
		t.Errorf("sent more than once: %s", out.raw)
	}
}

func TestBatchPublish(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	out := a.want(202, "POST", "/publish/batch",
		`[{"tenant_id":"acme","id":"b1","data":{}},{"tenant_id":"nobody","data":{}},{"tenant_id":"acme","data":[]},{"tenant_id":"acme","id":"b1","data":{}}]`)
	for i, want := range []string{"202", "404", "422", "202"} {
		if got := out.str("results", fmt.Sprint(i), "status"); got != want {
			t.Errorf("event %d: status %s, want %s: %s", i, got, want, out.raw)
		}
	}
	if out.str("results", "3", "duplicate") != "true" || out.str("results", "3", "destination_ids", "0") != "inbox" {
		t.Errorf("%s", out.raw)
	}
	out = a.want(202, "POST", "/publish/batch", "{\"tenant_id\":\"acme\",\"data\":{}}\n\n{\"tenant_id\":\"acme\",\"data\":{}}\n",
		"Content-Type", "application/x-ndjson")
	if out.str("results", "1", "status") != "202" {
		t.Errorf("%s", out.raw)
	}
	a.want(400, "POST", "/publish/batch", "[]")
}

// TestBadInput sends what can go wrong and expects the right 4xx, a message, and nothing done.
func TestBadInput(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Topics = []string{"order.created"} })
	a.tenant("acme")
	long := strings.Repeat("x", 10_000)
	for _, c := range []struct {
		name         string
		status       int
		method, path string
		body         string
		says         string // part of the answer
	}{
		{"empty publish", 400, "POST", "/publish", ``, "tenant_id"},
		{"malformed JSON", 400, "POST", "/publish", "{\"tenant_id\":\"acme\",\n\"data\":{,}}", "line 2, column 9"},
		{"truncated JSON", 400, "POST", "/publish", `{"tenant_id":"acme"`, "line 1"},
		{"array", 400, "POST", "/publish", `[]`, "object"},
		{"null", 400, "POST", "/publish", `null`, "object"},
		{"invalid UTF-8", 400, "POST", "/publish", "{\"tenant_id\":\"acme\",\"data\":{\"a\":\"\xff\"}}", "UTF-8"},
		{"no data", 422, "POST", "/publish", `{"tenant_id":"acme"}`, "data is required"},
		{"data not an object", 422, "POST", "/publish", `{"tenant_id":"acme","data":[1]}`, "must be a JSON object"},
		{"wrong type", 422, "POST", "/publish", `{"tenant_id":7,"data":{}}`, "tenant_id must be a string, not a number"},
		{"wrong type of metadata", 422, "POST", "/publish", `{"tenant_id":"acme","metadata":{"a":1},"data":{}}`, "metadata"},
		{"wrong time", 422, "POST", "/publish", `{"tenant_id":"acme","time":"yesterday","data":{}}`, "time"},
		{"no tenant", 422, "POST", "/publish", `{"data":{}}`, "tenant_id is required"},
		{"unknown tenant", 404, "POST", "/publish", `{"tenant_id":"nobody","data":{}}`, "no tenant"},
		{"unknown topic", 422, "POST", "/publish", `{"tenant_id":"acme","topic":"nope","data":{}}`, "catalogue"},
		{"unknown destination", 404, "POST", "/publish", `{"tenant_id":"acme","destination_id":"nope","data":{}}`, "no destination"},
		{"NUL in id", 422, "POST", "/publish", `{"tenant_id":"acme","id":"a\u0000b","data":{}}`, "id"},
		{"NUL in metadata", 422, "POST", "/publish", `{"tenant_id":"acme","metadata":{"a":"\u0000"},"data":{}}`, "NUL"},
		{"long id", 422, "POST", "/publish", `{"tenant_id":"acme","id":"` + long + `","data":{}}`, "at most 256"},
		{"long tenant", 422, "PUT", "/tenants/" + long[:300], ``, "at most 256"},
		{"our kind of id", 422, "POST", "/publish", `{"tenant_id":"acme","id":"evt_00000000000000000000000000000000","data":{}}`,
			"look like"},
		{"too large", 413, "POST", "/publish", `{"tenant_id":"acme","data":{"a":"` + strings.Repeat("x", 300_000) + `"}}`,
			"at most 262144"},
		{"metadata too long", 422, "PUT", "/tenants/acme", `{"metadata":{"a":"` + long + `"}}`, "at most 4096"},
		{"duplicate destination", 400, "POST", "/tenants/acme/destinations", `{"id":"inbox","type":"echo","topics":"*"}`, "already"},
		{"unknown type", 422, "POST", "/tenants/acme/destinations", `{"type":"pigeon","topics":"*"}`, "pigeon"},
		{"no type", 422, "POST", "/tenants/acme/destinations", `{"topics":"*"}`, "type is required"},
		{"no topics", 422, "POST", "/tenants/acme/destinations", `{"type":"echo"}`, "topics is required"},
		{"no url", 422, "POST", "/tenants/acme/destinations", `{"type":"webhook","topics":"*"}`, "config.url is required"},
		{"invalid url", 422, "POST", "/tenants/acme/destinations", `{"type":"webhook","topics":"*","config":{"url":"ftp://x"}}`,
			"config.url"},
		{"unknown field of a type", 422, "POST", "/tenants/acme/destinations",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com","uri":"x"}}`, "config.uri"},
		{"unknown topic of a destination", 422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":["nope"]}`, "catalogue"},
		{"broken filter", 422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":{"a":{"$gtee":1}}}`, "filter"},
		{"broken search filter", 422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","filter":"a:>"}`, "column"},
		{"retry policy", 422, "POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*","retry":{"multiplier":0.5}}`,
			"retry.multiplier"},
		{"changing the type", 422, "PATCH", "/tenants/acme/destinations/inbox", `{"type":"webhook"}`, "type cannot be changed"},
		{"wrong type of a setting", 422, "PATCH", "/tenants/acme/destinations/inbox", `{"config":7}`, "config"},
		{"unknown destination of a tenant", 404, "GET", "/tenants/acme/destinations/nope", ``, "no destination"},
		{"two cursors", 400, "GET", "/events?next=a&prev=b", ``, "not both"},
		{"broken cursor", 400, "GET", "/events?next=garbage", ``, "cursor"},
		{"limit", 422, "GET", "/events?limit=5000", ``, "between 1 and 1000"},
		{"limit not a number", 422, "GET", "/events?limit=ten", ``, "whole number"},
		{"negative limit", 422, "GET", "/events?limit=-1", ``, "between 1 and 1000"},
		{"unknown parameter", 400, "GET", "/events?colour=red", ``, "colour"},
		{"time range", 422, "GET", "/events?since=soon", ``, "since"},
		{"status", 422, "GET", "/deliveries?status=lost", ``, "lost"},
		{"attempt id", 404, "GET", "/attempts/att_nonsense", ``, "no attempt"},
		{"delivery id", 404, "GET", "/deliveries/dlv_00", ``, "no delivery"},
		{"retry without ids", 422, "POST", "/retry", `{}`, "event_id is required"},
		{"retry of nothing", 404, "POST", "/retry", `{"event_id":"nope","destination_id":"inbox"}`, "no event"},
		{"no such address", 404, "GET", "/nothing/here", ``, "nothing at this address"},
		{"NUL in a path", 400, "GET", "/events/a%00b", ``, "NUL"},
		{"invalid UTF-8 in a path", 400, "GET", "/tenants/%ff", ``, "UTF-8"},
		{"NUL in a query", 400, "GET", "/events?tenant_id=a%00b", ``, "NUL"},
		{"NUL in a search", 400, "GET", "/events?q=a%00b", ``, "NUL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := a.do(c.method, c.path, c.body)
			if out.status != c.status || !strings.Contains(out.raw, c.says) {
				t.Errorf("%d %s\nwant %d with %q", out.status, out.raw, c.status, c.says)
			}
			if out.str("status") != fmt.Sprint(out.status) || out.str("message") == "" || out.str("request_id") == "" {
				t.Errorf("not the usual shape: %s", out.raw)
			}
		})
	}
	if out := a.want(200, "GET", "/events", nil); len(out.body["models"].([]any)) != 0 {
		t.Errorf("something was accepted: %s", out.raw)
	}
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("other")
	res := a.want(200, "POST", "/publish", `{"tenant_id":"other","id":"theirs","data":{}}`, "Prefer", "wait=10")
	at := a.want(200, "GET", "/attempts?tenant_id=other", nil)
	a.as("").want(401, "GET", "/tenants", nil)
	a.as("wrong").want(401, "GET", "/tenants", nil)
	a.as("a.b.c").want(401, "GET", "/tenants", nil)

	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	tenant := a.as(token)
	tenant.want(200, "GET", "/tenants/acme", nil)
	tenant.want(200, "GET", "/tenants/acme/destinations", nil)
	if own := tenant.want(200, "GET", "/tenants", nil).list(); len(own) != 1 || own[0].(map[string]any)["id"] != "acme" {
		t.Errorf("a tenant's token lists %v", own)
	}
	tenant.want(403, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	tenant.want(403, "POST", "/api-keys", `{}`)
	tenant.want(403, "PUT", "/topics/x", `{}`)

	// Every route with the ids of another tenant: not found, and never 403, which would tell that they exist.
	retry := a.want(202, "POST", "/retries", `{"tenant_id":"other","filter":{"status":["delivered"]}}`).str("id")
	ids := map[string]string{":tenant": "other", ":retry": retry, ":destination": "inbox", ":event": "theirs",
		":delivery": res.str("deliveries", "0", "id"),
		":attempt": at.str("models", "0",
			"id"), ":type": "echo", ":topic": "t", ":key": "00000000-0000-0000-0000-000000000000", ":view": a.want(201, "POST", "/views", `{"tenant_id":"other","name":"All"}`).str("id")}
	for _, r := range a.APIRoutes() {
		if !strings.Contains(r.Path, ":") || strings.Contains(r.Path, ":type") || strings.Contains(r.Path, ":topic") {
			continue
		}
		path := r.Path
		for k, v := range ids {
			path = strings.ReplaceAll(path, k, url.PathEscape(v))
		}
		out := tenant.do(r.Method, path, `{}`)
		// What belongs to the operators is refused whether it exists or not.
		operators := out.status == 403 && (r.Perm == "admin" || strings.Contains(out.raw, "concerns the whole server"))
		if out.status != 404 && !operators {
			t.Errorf("%s %s with another tenant's ids: %d %s", r.Method, path, out.status, out.raw)
		}
	}
	for _, path := range []string{"/events", "/deliveries", "/attempts", "/retries"} {
		if out := tenant.want(200, "GET", path, nil); len(out.body["models"].([]any)) != 0 {
			t.Errorf("GET %s shows another tenant's: %s", path, out.raw)
		}
	}
	tenant.want(404, "POST", "/retry", `{"event_id":"theirs","destination_id":"inbox"}`)

	key := a.want(201, "POST", "/api-keys", `{"name":"reader","scopes":["read"]}`)
	reader := a.as(key.str("key"))
	reader.want(200, "GET", "/events", nil)
	reader.want(403, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	a.want(200, "DELETE", "/api-keys/"+key.str("id"), nil)
	reader.want(401, "GET", "/events", nil)
	mine := a.as(a.want(201, "POST", "/api-keys", `{"name":"acme","scopes":["publish","read"],"tenant_id":"acme"}`).str("key"))
	mine.want(202, "POST", "/publish", `{"data":{}}`)
	mine.want(404, "POST", "/publish", `{"tenant_id":"other","data":{}}`)
	mine.want(404, "GET", "/tenants/other", nil)
}

func TestDestinationChanges(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", `{"metadata":{"plan":"pro"}}`)
	a.want(200, "PUT", "/tenants/acme", nil)
	out := a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","name":"Billing","type":"webhook","topics":["a","b"],"filter":{"n":1},
		"config":{"url":"https://example.com/hook","custom_headers":{"X-A":"1"}},"metadata":{"x":"1","y":"2"},"retry":{"schedule":["10s","1m"]},"timeout":"5s","max_in_flight":3}`)
	secret := out.str("credentials", "secret")
	if !strings.HasPrefix(secret, "whsec_") || strings.Contains(secret, "•") {
		t.Errorf("whoever creates a destination sees its secret: %s", out.raw)
	}
	if got := out.str("config", "custom_headers"); got != `{"X-A":"••••••"}` {
		t.Errorf("custom headers are shown as %s", got)
	}
	if out.str("target") != "POST https://example.com/hook" || out.str("status", "state") != "active" || out.header.Get("ETag") != `"1"` {
		t.Errorf("%s %v", out.raw, out.header)
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if got := token.want(200, "GET", "/tenants/acme/destinations/hook", nil).str("credentials", "secret"); got == secret ||
		!strings.Contains(got, "•") {
		t.Errorf("the secret is not masked: %q", got)
	}
	if got := token.want(200, "POST", "/tenants/acme/destinations/hook/secrets/reveal", nil).str("credentials", "secret"); got != secret {
		t.Errorf("revealed %q", got)
	}
	out = a.want(200, "PATCH", "/tenants/acme/destinations/hook", `{"metadata":{"x":null,"z":"3"},"topics":"*","filter":null}`, "If-Match",
		`"1"`)
	for _, none := range []string{`""`, `{}`, `null`} {
		if out := a.want(200, "PATCH", "/tenants/acme/destinations/hook", `{"filter":`+none+`}`); out.body["filter"] != nil {
			t.Errorf("filter %s is kept as %v", none, out.body["filter"])
		}
	}
	if m, _ := json.Marshal(out.body["metadata"]); string(m) != `{"y":"2","z":"3"}` || out.str("topics") != "*" ||
		out.body["filter"] != nil || out.str("config", "url") == "" {
		t.Errorf("%s", out.raw)
	}
	// What comes back as it was shown, masked, changes nothing.
	a.want(200, "PATCH", "/tenants/acme/destinations/hook",
		map[string]any{"config": map[string]any{"custom_headers": map[string]string{"X-A": "••••••", "X-B": "2"}}})
	d, err := a.Store.Destination(context.Background(), models.AllTenants(), "acme", "hook")
	if err != nil || d.Config["custom_headers"] != `{"X-A":"1","X-B":"2"}` {
		t.Errorf("%v %v", d.Config, err)
	}
	var stored string
	if err := a.db.QueryRow(context.Background(),
		"select config::text || credentials::text from destinations where id = 'hook'").Scan(&stored); err != nil ||
		strings.Contains(stored, "X-A") {
		t.Errorf("stored in clear text: %s %v", stored, err)
	}
	a.want(412, "PATCH", "/tenants/acme/destinations/hook", `{"name":"x"}`, "If-Match", `"1"`)
	if out = a.want(200, "PATCH", "/tenants/acme/destinations/hook", `{"name":"Other"}`); out.str("credentials", "secret") != secret {
		t.Error("a change that does not mention the secret changed it")
	}
	out = a.want(200, "POST", "/tenants/acme/destinations/hook/secrets/rotate", `{"overlap":"1h"}`)
	if out.str("credentials", "secret") == secret || out.str("credentials", "previous_secret") != secret {
		t.Errorf("rotated: %s", out.raw)
	}
	if out = a.want(200, "PUT", "/tenants/acme/destinations/hook/disable", `{"reason":"maintenance"}`); out.str("status",
		"state") != "disabled" || out.str("disabled_at") == "" {
		t.Errorf("%s", out.raw)
	}
	a.want(409, "POST", "/tenants/acme/destinations/hook/test", nil)
	if out = a.want(200, "PUT", "/tenants/acme/destinations/hook/enable", nil); out.body["disabled_at"] != nil {
		t.Errorf("%s", out.raw)
	}
	if out = a.want(200, "GET", "/tenants/acme", nil); out.str("destinations_count") != "1" || out.str("topics", "0") != "*" ||
		out.str("metadata", "plan") != "pro" {
		t.Errorf("%s", out.raw)
	}
	a.want(200, "DELETE", "/tenants/acme/destinations/hook", nil)
	a.want(404, "GET", "/tenants/acme/destinations/hook", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"hook","type":"echo","topics":"*"}`)
	a.want(200, "DELETE", "/tenants/acme", nil)
	a.want(404, "GET", "/tenants/acme", nil)
	if out = a.want(201, "PUT", "/tenants/acme", nil); out.str("destinations_count") != "0" {
		t.Errorf("a new tenant of an old id has the old one's destinations: %s", out.raw)
	}
}

// TestRoutingIsCurrent changes destinations between publishes: what the API has answered is in force for the next one.
// TestNullsInPatches takes away what was set, as RFC 7396 says.
func TestNullsInPatches(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	const at = "/tenants/acme/destinations/d"
	fresh := a.want(201, "POST", "/tenants/acme/destinations", `{"id":"d","type":"echo","topics":"*"}`)
	set := map[string]any{"name": "n", "retry": map[string]any{"max_attempts": 2}, "timeout": "3s", "max_in_flight": 3, "disable_after": 5,
		"format":  "cloudevents-binary",
		"ordered": true, "on_exhausted": "block", "rate_limit": map[string]any{"per_second": 5}, "metadata": map[string]any{"a": "1"},
		"delivery_metadata": map[string]any{"b": "2"},
		"filter":            map[string]any{"a": 1}, "transform": "data", "signature": "outpost"}
	changed := a.want(200, "PATCH", at, set)
	nulls := map[string]any{}
	for field := range set {
		if changed.str(field) == fresh.str(field) {
			t.Errorf("%s was not set: %s", field, changed.raw)
		}
		nulls[field] = nil
	}
	if same := a.want(200, "PATCH", at, `{}`); same.str("rate_limit", "per_second") != "5" || same.str("metadata", "a") != "1" {
		t.Errorf("what is absent changed: %s", same.raw)
	}
	removed := a.want(200, "PATCH", at, nulls)
	for field := range set {
		if removed.str(field) != fresh.str(field) {
			t.Errorf("%s is %q after null, and was %q at first", field, removed.str(field), fresh.str(field))
		}
	}
	if out := a.want(422, "PATCH", at, `{"topics":null}`); out.str("fields", "topics") == "" {
		t.Errorf("%s", out.raw)
	}
	hook := a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"h","type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`)
	asymmetric := a.want(200, "PATCH", "/tenants/acme/destinations/h", `{"signature":"v1a","credentials":null}`)
	if !strings.HasPrefix(asymmetric.str("credentials", "public_key"), "whpk_") ||
		asymmetric.str("credentials", "secret") == hook.str("credentials", "secret") {
		t.Errorf("%s", asymmetric.raw)
	}
	if out := a.want(200, "PATCH", "/tenants/acme/destinations/h", `{"await_completion":true}`); out.str("await_completion") != "true" ||
		out.str("config", "await_completion") != "true" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(200, "PATCH", "/tenants/acme/destinations/h", `{"await_completion":null}`); out.str("await_completion") != "false" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "PATCH", at, `{"await_completion":true}`); out.str("fields", "config.await_completion") == "" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "PATCH", "/tenants/acme/destinations/h", `{"config":null}`); out.str("fields", "config.url") == "" {
		t.Errorf("%s", out.raw)
	}
}

// TestBatchPreferWait waits for the outcomes of all events of a batch.
func TestBatchPreferWait(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const batch = `[{"tenant_id":"acme","data":{}},{"tenant_id":"acme","data":1},{"tenant_id":"acme","id":"x","data":{}}]`
	out := a.want(200, "POST", "/publish/batch", batch, "Prefer", "wait=20")
	if out.str("results", "0", "deliveries", "0", "status") != "delivered" ||
		out.str("results", "2", "deliveries", "0", "event_id") != "x" || out.str("results", "1", "status") != "422" ||
		out.header.Get("Preference-Applied") != "wait=20" || out.header.Get("Vary") != "Prefer" {
		t.Errorf("%s %v", out.raw, out.header)
	}
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"never","type":"echo","topics":["slow"],"config":{"answer":"timeout"},"timeout":"10s"}`)
	out = a.want(202, "POST", "/publish/batch", `[{"tenant_id":"acme","topic":"slow","data":{}}]`, "Prefer", "wait=1")
	if out.str("results", "0", "status") != "202" || out.header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("%s %v", out.raw, out.header)
	}
	if out = a.want(202, "POST", "/publish/batch", batch, "Prefer",
		"respond-async"); out.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("%v", out.header)
	}
}

func TestRoutingIsCurrent(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	publish := func() int {
		var ids struct {
			DestinationIDs []string `json:"destination_ids"`
		}
		out := a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"a","data":{"n":1}}`)
		if err := json.Unmarshal([]byte(out.raw), &ids); err != nil {
			t.Fatal(err)
		}
		return len(ids.DestinationIDs)
	}
	for i := range 10 {
		a.want(201, "POST", "/tenants/acme/destinations", fmt.Sprintf(`{"id":"d%d","type":"echo","topics":["a"]}`, i))
		if n := publish(); n != 2 {
			t.Fatalf("after creating: %d destinations", n)
		}
		a.want(200, "PATCH", fmt.Sprintf("/tenants/acme/destinations/d%d", i), `{"filter":{"n":2}}`)
		if n := publish(); n != 1 {
			t.Fatalf("after setting a filter: %d destinations", n)
		}
		a.want(200, "DELETE", fmt.Sprintf("/tenants/acme/destinations/d%d", i), nil)
		if n := publish(); n != 1 {
			t.Fatalf("after deleting: %d destinations", n)
		}
	}
}

// TestPaging walks a list in pages while it grows: no event is missed or seen twice.
func TestPaging(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for i := range 25 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%02d","data":{}}`, i))
	}
	var seen []string
	path := "/events?limit=10"
	var prev string
	for pages := 0; ; pages++ {
		out := a.want(200, "GET", path, nil)
		for i := range out.body["models"].([]any) {
			seen = append(seen, out.str("models", fmt.Sprint(i), "id"))
		}
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"new%d","data":{}}`, pages))
		prev = out.str("pagination", "prev")
		next := out.str("pagination", "next")
		if next == "" {
			break
		}
		path = "/events?limit=10&next=" + next
	}
	if len(seen) != 25 || seen[0] != "e24" || seen[24] != "e00" {
		t.Errorf("saw %d: %v", len(seen), seen)
	}
	out := a.want(200, "GET", "/events?limit=10&prev="+prev, nil)
	if out.str("models", "0", "id") != "e14" || out.str("models", "9", "id") != "e05" {
		t.Errorf("the page before: %s", out.raw)
	}
	out = a.want(200, "GET", "/events?limit=3&dir=asc", nil)
	if out.str("models", "0", "id") != "e00" || out.str("pagination", "dir") != "asc" {
		t.Errorf("%s", out.raw)
	}
	a.want(400, "GET", "/events?limit=3&next="+out.str("pagination", "next"), nil) // made for dir=asc
}

func TestRetryByHand(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.ManualRetryLimit = 2 })
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"bad","type":"echo","topics":["x"],"config":{"answer":"500"}}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"x","id":"e","data":{}}`)
	failed := func(attempts int) {
		a.eventually("/events/e/deliveries", func(o answer) bool {
			for _, m := range o.body["models"].([]any) {
				d := m.(map[string]any)
				if d["destination_id"] == "bad" && d["status"] == "failed" && d["attempts"] == float64(attempts) {
					return true
				}
			}
			return false
		})
	}
	failed(3)
	a.want(202, "POST", "/retry", `{"event_id":"e","destination_id":"bad"}`)
	failed(4)
	out := a.want(200, "POST", "/retry", `{"event_id":"e","destination_id":"bad"}`, "Prefer", "wait=10")
	if out.str("deliveries", "0", "attempts") != "5" {
		t.Errorf("%s", out.raw)
	}
	a.want(429, "POST", "/retry", `{"event_id":"e","destination_id":"bad"}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"y","type":"echo","topics":["y"]}`)
	a.want(400, "POST", "/retry", `{"event_id":"e","destination_id":"y"}`)
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", nil)
	a.want(400, "POST", "/retry", `{"event_id":"e","destination_id":"inbox"}`)
	if out = a.want(200, "GET", "/attempts?destination_id=bad&status=failed", nil); out.str("models", "0", "manual") != "true" ||
		out.str("models", "4", "manual") != "false" {
		t.Errorf("%s", out.raw)
	}
}

// workers counts the healthy ones of an answer of /healthz.
func (o answer) workers() (n int) {
	m, _ := o.body["workers"].(map[string]any)
	for id := range m {
		if o.str("workers", id, "status") == "healthy" {
			n++
		}
	}
	return n
}

func TestHealth(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	out := a.as("").want(200, "GET", "/healthz", nil)
	if out.str("status") != "healthy" || out.workers() != 1 {
		t.Errorf("%s", out.raw)
	}
}
