package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

func encrypting(c *config.Config) { c.PayloadEncryption = true }

// receivedPost is a request as a receiver got it.
type receivedPost struct {
	body   string
	header http.Header
}

// repeater is a receiver that refuses the first request for each event and repeats what it was sent, in body and header.
func repeater(t *testing.T) (address string, got chan receivedPost) {
	got = make(chan receivedPost, 100)
	var mu sync.Mutex
	seen := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		first := !seen[string(b)]
		seen[string(b)] = true
		mu.Unlock()
		w.Header().Set("X-Repeated", "canary-header")
		if first {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write(b)
		got <- receivedPost{string(b), r.Header}
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

// TestPayloadEncryption: nothing that an event carries, and nothing that a receiver repeats of it, is readable in the database. All that
// shows events shows them as ever, what is sent is what was published, and filters and searches see it.
func TestPayloadEncryption(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, encrypting)
	hook, got := repeater(t)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", fmt.Sprintf(`{"id":"hook","type":"webhook","topics":"*","config":{"url":"%s/?part=kept"}}`, hook))
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"big","type":"echo","topics":"*","filter":{"total":{"$gte":100}}}`)
	const data = `{"mail": "canary@example.com",  "n":1.0, "total":50, "list":[[1]]}`
	a.want(202, "POST", "/publish", `{"id":"one","tenant_id":"acme","topic":"order","metadata":{"who":"canary-meta"},"data":`+data+`}`)
	a.want(202, "POST", "/publish", `{"id":"two","tenant_id":"acme","topic":"order","data":{"n":2,"total":150}}`)
	for range 4 {
		d := <-got
		if strings.Contains(d.body, "canary") && (d.body != data || !strings.Contains(fmt.Sprint(d.header), "canary-meta")) {
			t.Errorf("sent was %s with %v", d.body, d.header)
		}
	}
	a.eventually("/events/one", func(o answer) bool { return o.num("deliveries", "delivered") == 2 })
	a.eventually("/events/two", func(o answer) bool { return o.num("deliveries", "delivered") == 3 })

	dump := a.dump()
	canaries{"a payload": "canary@example.com", "metadata": "canary-meta", "a header": "canary-header"}.lookIn(t, "the database", dump)
	if n := a.count("select count(*) from attempts where url like '%kept%' or response_body is not null or headers is not null"); n != 0 {
		t.Errorf("%d attempts keep something in the clear", n)
	}

	if raw := a.want(200, "GET", "/events/one/data", nil).raw; raw != data {
		t.Errorf("the payload is %s", raw)
	}
	e := a.want(200, "GET", "/events/one", nil)
	if e.str("data", "mail") != "canary@example.com" || e.str("metadata", "who") != "canary-meta" || e.str("erased_at") != "" {
		t.Errorf("%s", e.raw)
	}
	list := a.want(200, "GET", "/attempts?tenant_id=acme&event_id=one&destination_id=hook&include=event.data,response_data,request", nil)
	if len(list.list()) != 2 || strings.Count(list.raw, "canary-header") != 2 || strings.Count(list.raw, "/?part=kept") != 2 ||
		strings.Count(list.raw, "canary-meta") < 2 || !strings.Contains(list.str("models", "0", "response", "body"), "canary@example.com") {
		t.Errorf("%s", list.raw)
	}
	for q, want := range map[string]string{"CANARY@example": "one", "data.n:2": "two", `{"data":{"total":{"$gte":100}}}`: "two",
		"data.list:1": "one"} {
		o := a.want(200, "GET", "/events?tenant_id=acme&q="+url.QueryEscape(q), nil)
		if o.str("models", "0", "id") != want || len(o.list()) > 1 {
			t.Errorf("%s finds %s", q, o.raw)
		}
	}
	held := a.want(200, "GET", "/deliveries?tenant_id=acme&status=filtered_out&destination_id=big", nil)
	if held.str("models", "0", "event_id") != "one" || !strings.Contains(held.str("models", "0", "reason"), "is 50, needs at least 100") {
		t.Errorf("%s", held.raw)
	}
	if raw := a.want(200, "GET", "/events/export?tenant_id=acme&format=csv", nil).raw; !strings.Contains(raw, "canary@example.com") ||
		!strings.Contains(raw, "canary-meta") {
		t.Errorf("the export: %s", raw)
	}
	files, _ := exported(t, a.want(200, "GET", "/tenants/acme/export", nil).raw)
	if s := fmt.Sprint(files["events.jsonl"], files["attempts.jsonl"]); !strings.Contains(s, "canary@example.com") ||
		!strings.Contains(s, "canary-header") {
		t.Errorf("the tenant's export: %s", s)
	}
	if page := a.visitor().get("/t/acme/events/one").text("main"); !strings.Contains(page, "canary@example.com") || !strings.Contains(page, "canary-meta") {
		t.Error("the page does not show it")
	}
}

// TestPayloadEncryptionSwitched: events of before, while it was on and after are read by processes with it and without, from the
// database; what they carry is sent.
func TestPayloadEncryptionSwitched(t *testing.T) {
	t.Parallel()
	web := newTestApp(t, func(c *config.Config) { c.Role = "web" })
	hook, got := repeater(t)
	web.want(201, "PUT", "/tenants/acme", nil)
	web.want(201, "POST", "/tenants/acme/destinations", fmt.Sprintf(`{"id":"hook","type":"webhook","topics":"*","config":{"url":"%s"}}`, hook))
	process := func(role string, on bool) *testApp {
		return newProcessOf(t, testConfig(t, func(c *config.Config) {
			c.DatabaseURL, c.Role, c.PayloadEncryption = web.Cfg.DatabaseURL, role, on
		}))
	}
	sealing := process("web", true)
	web.want(202, "POST", "/publish", `{"id":"before","tenant_id":"acme","data":{"n":"before"}}`)
	sealing.want(202, "POST", "/publish", `{"id":"on","tenant_id":"acme","data":{"n":"on"}}`)
	web.want(202, "POST", "/publish", `{"id":"after","tenant_id":"acme","data":{"n":"after"}}`)
	if n := web.count("select count(*) from events where sealed is not null and data = ''"); n != 1 {
		t.Errorf("%d are sealed", n)
	}
	process("work", false) // has nothing of them in its memory
	sent := map[string]int{}
	for range 6 {
		sent[(<-got).body]++
	}
	if want := map[string]int{`{"n":"before"}`: 2, `{"n":"on"}`: 2, `{"n":"after"}`: 2}; fmt.Sprint(sent) != fmt.Sprint(want) {
		t.Errorf("sent was %v", sent)
	}
	for _, id := range []string{"before", "on", "after"} {
		web.eventually("/events/"+id, func(o answer) bool { return o.num("deliveries", "delivered") == 1 })
		for _, p := range []*testApp{web, sealing} {
			if raw := p.want(200, "GET", "/events/"+id+"/data", nil).raw; raw != fmt.Sprintf(`{"n":%q}`, id) {
				t.Errorf("%s is %s", id, raw)
			}
		}
	}
	if n := web.count("select count(*) from attempts where (sealed is null) <> (response_body is not null)"); n != 0 {
		t.Errorf("%d attempts are kept both ways or none", n)
	}
}

// TestErasureDeletesTheKey: once all is erased that a tenant has, copies of its rows that were made before cannot be read with what is
// left. Others can, and the tenant goes on with another key.
func TestErasureDeletesTheKey(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, encrypting)
	for _, tenant := range []string{"acme", "globex"} {
		a.tenant(tenant)
		a.want(200, "POST", "/publish", fmt.Sprintf(`{"id":"of-%s","tenant_id":%q,"data":{"canary":"before"}}`, tenant, tenant), "Prefer", "wait=60")
	}
	a.exec("create table copied_events as select * from events")
	a.exec("create table copied_attempts as select * from attempts")
	a.erased(`{"tenant_id":"acme","all":true}`)
	if n := a.count("select count(*) from waybill_keys.payload_keys"); n != 1 {
		t.Errorf("%d keys are left", n)
	}
	a.want(200, "POST", "/publish", `{"id":"later","tenant_id":"acme","data":{"canary":"later"}}`, "Prefer", "wait=60")
	if raw := a.want(200, "GET", "/events/later/data", nil).raw; raw != `{"canary":"later"}` {
		t.Errorf("what came later is %s", raw)
	}

	for _, table := range []string{"events", "attempts"} { // a backup is restored
		a.exec("delete from " + table)
		a.exec("insert into " + table + " select * from copied_" + table)
	}
	b := newProcessOf(t, testConfig(t, func(c *config.Config) { c.DatabaseURL = a.Cfg.DatabaseURL; encrypting(c) }))
	for _, p := range []*testApp{a, b} {
		if gone := p.do("GET", "/events/of-acme/data", nil); gone.status != 410 || !strings.Contains(gone.raw, models.PayloadGone) {
			t.Errorf("%d %s", gone.status, gone.raw)
		}
		if at := p.want(200, "GET", "/attempts?tenant_id=acme&include=event.data,response_data", nil); len(at.list()) != 1 ||
			strings.Contains(at.raw, "before") {
			t.Errorf("%s", at.raw)
		}
		if raw := p.want(200, "GET", "/events/of-globex/data", nil).raw; raw != `{"canary":"before"}` {
			t.Errorf("the other tenant's is %s", raw)
		}
		if o := p.want(200, "GET", "/events?q=canary", nil); len(o.list()) != 1 {
			t.Errorf("the search finds %s", o.raw)
		}
	}
}

// TestErasureWhilePublishing erases all of a tenant while others publish for it: what is not erased can be read, so that no event was
// sealed with a key that is deleted.
func TestErasureWhilePublishing(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, encrypting)
	b := newProcessOf(t, testConfig(t, func(c *config.Config) { c.DatabaseURL = a.Cfg.DatabaseURL; encrypting(c) }))
	a.tenant("acme")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, p := range []*testApp{a, b, a, b} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if o := p.do("POST", "/publish", `{"tenant_id":"acme","data":{"n":1}}`); o.status != 202 {
					t.Errorf("%d %s", o.status, o.raw)
				}
			}
		})
	}
	keys := map[int]bool{}
	for range 5 {
		a.erased(`{"tenant_id":"acme","all":true}`)
		keys[a.count("select coalesce(payload_key % 1000000007, 0) from tenants where id = 'acme'")] = true
	}
	stop()
	wg.Wait()
	if len(keys) < 4 {
		t.Errorf("there were %d keys", len(keys))
	}
	a.eventually("/deliveries?tenant_id=acme&status=pending,delivering,retrying", func(o answer) bool { return len(o.list()) == 0 })
	rows, err := a.db.Query(t.Context(), "select 'evt_' || replace(id::text, '-', '') from events where erased_at is null")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if o := b.do("GET", "/events/"+id+"/data", nil); o.raw != `{"n":1}` {
			t.Errorf("%s: %d %s", id, o.status, o.raw)
		}
		n++
	}
	if n == 0 || rows.Err() != nil {
		t.Errorf("%d events, %v", n, rows.Err())
	}
}

// TestPayloadKeysElsewhere keeps the keys in another database: they are in none of the tables of the first. A server that is given a
// database without them does not start, and the doctor says so. They are sealed anew with another SECRET_KEY.
func TestPayloadKeysElsewhere(t *testing.T) {
	t.Parallel()
	keys := modelstest.Empty(t)
	change := func(c *config.Config) { c.PayloadEncryption, c.PayloadKeysURL = true, keys }
	a := newTestApp(t, change)
	a.tenant("acme")
	a.want(200, "POST", "/publish", `{"id":"one","tenant_id":"acme","data":{"canary":"one"}}`, "Prefer", "wait=60")
	if n := a.count("select count(*) from pg_namespace where nspname = 'waybill_keys'"); n != 0 {
		t.Error("there are keys beside the events")
	}
	if strings.Contains(a.dump(), "canary") {
		t.Error("the event is not sealed")
	}
	says := func(url string) (message string) {
		cfg := *a.Cfg
		cfg.PayloadKeysURL = url
		found, err := examine(t.Context(), &cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if strings.Contains(f.Message, "keys of payloads") {
				message += f.Level + ": " + f.Message
			}
		}
		return message
	}
	if got := says(keys); !strings.HasPrefix(got, "ok: The keys of payloads of all 1 tenants") {
		t.Errorf("the doctor says %q", got)
	}
	other := modelstest.Empty(t)
	if got := says(other); !strings.Contains(got, "fail: 1 of 1 keys of payloads are not in the database of keys") {
		t.Errorf("the doctor says %q", got)
	}
	cfg := *a.Cfg
	cfg.PayloadKeysURL = other
	if b, err := New(t.Context(), &cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "none of the 1 keys of payloads") {
		if err == nil {
			b.Close()
		}
		t.Errorf("with a database without them: %v", err)
	}

	const second = "the second secret that is long enough"
	var out strings.Builder
	err := reseal(t.Context(), func(name string) string {
		return map[string]string{"DATABASE_URL": a.Cfg.DatabaseURL, "PAYLOAD_KEYS_DATABASE_URL": keys, "SECRET_KEY": second,
			"SECRET_KEY_PREVIOUS": a.Cfg.SecretKey}[name]
	}, &out)
	if err != nil || !strings.Contains(out.String(), "keys of payloads: 1 of 1 sealed anew") {
		t.Errorf("%v: %s", err, &out)
	}
	b := newProcessOf(t, testConfig(t, func(c *config.Config) {
		c.DatabaseURL, c.SecretKey = a.Cfg.DatabaseURL, second
		change(c)
	}))
	if raw := b.want(200, "GET", "/events/one/data", nil).raw; raw != `{"canary":"one"}` {
		t.Errorf("it is %s", raw)
	}
}

// TestPayloadKeysAway: while the database of keys is away, what needs an unknown key is refused or waits, and nothing is lost or sealed
// with a key that is nowhere. Tenants whose keys are known go on.
func TestPayloadKeysAway(t *testing.T) {
	t.Parallel()
	var s *silencer
	a := newTestApp(t, func(c *config.Config) {
		c.PayloadEncryption = true
		s, c.PayloadKeysURL = newSilencer(t, modelstest.Empty(t))
	})
	for _, tenant := range []string{"acme", "globex"} {
		a.tenant(tenant)
	}
	a.want(200, "POST", "/publish", `{"id":"before","tenant_id":"acme","data":{"n":"before"}}`, "Prefer", "wait=60")
	rise := s.fall()
	a.want(503, "POST", "/publish", `{"id":"refused","tenant_id":"globex","data":{"n":"refused"}}`)
	a.want(200, "POST", "/publish", `{"id":"meanwhile","tenant_id":"acme","data":{"n":"meanwhile"}}`, "Prefer", "wait=60")
	rise()
	a.eventually("/events?tenant_id=acme", func(o answer) bool { return len(o.list()) == 2 })
	for i := 0; ; i++ {
		o := a.do("POST", "/publish", `{"id":"refused","tenant_id":"globex","data":{"n":"refused"}}`)
		if o.status == 202 {
			break
		}
		if o.status != 503 || i > 100 {
			t.Fatalf("%d %s", o.status, o.raw)
		}
	}
	a.eventually("/events/refused", func(o answer) bool { return o.num("deliveries", "delivered") == 1 })
	for _, id := range []string{"before", "meanwhile", "refused"} {
		if raw := a.want(200, "GET", "/events/"+id+"/data", nil).raw; raw != fmt.Sprintf(`{"n":%q}`, id) {
			t.Errorf("%s is %s", id, raw)
		}
	}
}
