package app

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// once sends a request with an Idempotency-Key.
func (a *testApp) once(key, path string, body any, header ...string) answer {
	a.Helper()
	return a.do("POST", path, body, append(header, "Idempotency-Key", key)...)
}

// sameAnswer fails the test unless the second answer is the first one, given again.
func sameAnswer(t testing.TB, first, again answer) {
	t.Helper()
	if again.status != first.status || again.raw != first.raw || again.header.Get("Idempotent-Replayed") != "true" ||
		first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("the second answer (%v) is %d %s\nthe first was %d %s", again.header, again.status, again.raw, first.status, first.raw)
	}
	for _, name := range []string{"Location", "Content-Type", "Link", "Etag"} {
		if again.header.Get(name) != first.header.Get(name) {
			t.Errorf("%s: %q, and the first time %q", name, again.header.Get(name), first.header.Get(name))
		}
	}
}

func (a *testApp) count(sql string, args ...any) (n int) {
	a.Helper()
	if err := a.db.QueryRow(a.Context(), sql, args...).Scan(&n); err != nil {
		a.Fatal(err)
	}
	return n
}

func (a *testApp) exec(sql string, args ...any) {
	a.Helper()
	if _, err := a.db.Exec(a.Context(), sql, args...); err != nil {
		a.Fatal(err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const event = `{"tenant_id":"acme","topic":"order.created","data":{"order":17}}`
	first := a.once("k-1", "/publish", event)
	if first.status != 202 || first.header.Get("Location") != "/api/v1/events/"+first.str("id") {
		t.Fatalf("%d %s %v", first.status, first.raw, first.header)
	}
	sameAnswer(t, first, a.once("k-1", "/publish", event))
	sameAnswer(t, first, a.once(`"k-1"`, "/publish", event)) // as the draft writes it
	if n := a.count("select count(*) from events"); n != 1 {
		t.Errorf("%d events were accepted for three requests with one key", n)
	}
	for name, other := range map[string]answer{
		"another body":    a.once("k-1", "/publish", `{"tenant_id":"acme","topic":"order.created","data":{"order":18}}`),
		"another address": a.once("k-1", "/publish/batch", event),
	} {
		if other.status != 422 || other.str("fields", "Idempotency-Key") == "" {
			t.Errorf("%s: %d %s", name, other.status, other.raw)
		}
	}
	if out := a.once("k-2", "/publish", event); out.str("id") == first.str("id") || out.status != 202 {
		t.Errorf("another key: %s", out.raw)
	}

	// Another caller's keys are others, those of one tenant's tokens are the tenant's.
	key := a.want(201, "POST", "/api-keys", `{"name":"shop","scopes":["publish","read"]}`).str("key")
	if out := a.as(key).once("k-1", "/publish", event); out.status != 202 || out.str("id") == first.str("id") {
		t.Errorf("another API key: %d %s", out.status, out.raw)
	}
	const destination = `{"type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	made := a.as(token).once("d", "/tenants/acme/destinations", destination)
	sameAnswer(t, made, a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token")).once("d", "/tenants/acme/destinations",
		destination))
	if secret := made.str("credentials", "secret"); !strings.HasPrefix(secret, "whsec_") ||
		a.count("select count(*) from idempotency_keys where position(convert_to($1, 'utf8') in answer) > 0", secret) != 0 {
		t.Errorf("the secret %q is kept in plain text, or is not in the answer", secret)
	}
	if out := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token")).once("x", "/publish", event); out.status != 403 {
		t.Errorf("a key does not spare the permission: %d", out.status)
	}

	// Errors of the request are answered again too.
	missing := a.once("m", "/publish", `{"tenant_id":"nobody","data":{}}`)
	if missing.status != 404 {
		t.Errorf("%d %s", missing.status, missing.raw)
	}
	a.want(201, "PUT", "/tenants/nobody", nil)
	if again := a.once("m", "/publish", `{"tenant_id":"nobody","data":{}}`); again.status != 404 || again.raw != missing.raw {
		t.Errorf("%d %s", again.status, again.raw)
	}
	// A bulk retry, the plan of one and a batch.
	for path, body := range map[string]string{"/retries/plan": `{"tenant_id":"acme","filter":{"status":["delivered"]}}`,
		"/publish/batch": `[{"tenant_id":"acme","data":{}},{"tenant_id":"who","data":{}}]`} {
		sameAnswer(t, a.once(path, path, body), a.once(path, path, body))
	}
	minimal := a.once("min", "/publish", event, "Prefer", "return=minimal")
	if minimal.status != 202 || minimal.raw != "" {
		t.Errorf("%d %s", minimal.status, minimal.raw)
	}
	sameAnswer(t, minimal, a.once("min", "/publish", event, "Prefer", "return=minimal"))
	// What is given again is the whole answer or no body, as each request prefers.
	for _, path := range []string{"/publish", "/retries/plan", "/publish/batch", "/tenants/acme/destinations"} {
		body := map[string]string{"/publish": event, "/publish/batch": "[" + event + "]",
			"/retries/plan":              `{"tenant_id":"acme","filter":{"status":["delivered"]}}`,
			"/tenants/acme/destinations": destination}[path]
		less := a.once("less "+path, path, body, "Prefer", "return=minimal")
		whole := a.once("less "+path, path, body)
		if less.raw != "" || less.header.Get("Preference-Applied") != "return=minimal" || whole.body == nil ||
			whole.header.Get("Preference-Applied") != "" ||
			!strings.HasPrefix(whole.header.Get("Content-Type"), "application/json") || whole.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: %d %q, then %d %q %v", path, less.status, less.raw, whole.status, whole.raw, whole.header)
		}
		if path == "/retries/plan" && (less.status != 204 || whole.status != 200) || path != "/retries/plan" &&
			less.status != whole.status {
			t.Errorf("%s: %d, then %d", path, less.status, whole.status)
		}
		sameAnswer(t, less, a.once("less "+path, path, body, "Prefer", "return=minimal"))
		whole = a.once("whole "+path, path, body)
		less = a.once("whole "+path, path, body, "Prefer", "return=minimal")
		if less.raw != "" || less.header.Get("Preference-Applied") != "return=minimal" ||
			less.header.Get("Location") != whole.header.Get("Location") {
			t.Errorf("%s: %d %q %v", path, less.status, less.raw, less.header)
		}
		sameAnswer(t, whole, a.once("whole "+path, path, body))
	}
}

func TestIdempotencyKeyIsRefused(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for key, says := range map[string]string{`""`: "empty", strings.Repeat("k", 256): "at most 255", "schlüssel": "ASCII",
		`"open`: "quotation mark"} {
		if out := a.once(key, "/publish", `{}`); out.status != 400 || !strings.Contains(out.str("fields", "Idempotency-Key"), says) {
			t.Errorf("key %.20q: %d %s", key, out.status, out.raw)
		}
	}
	if out := a.as("wb_wrong").once("k", "/publish", `{}`); out.status != 401 {
		t.Errorf("%d %s", out.status, out.raw)
	}
}

// TestIdempotencyKeyAtOnce sends the same request many times at once to two processes.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, nil)
	other := *cfg
	a, b := newProcessOf(t, cfg), newProcessOf(t, &other)
	a.want(201, "PUT", "/tenants/acme", nil)
	ids := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			to := []*testApp{a, b}[i%2]
			for {
				out := to.once("same", "/tenants/acme/destinations", `{"type":"echo","topics":"*"}`)
				if out.status == 409 && out.header.Get("Retry-After") == "1" {
					continue // the first is being answered
				}
				if out.status != 201 {
					t.Errorf("%d %s", out.status, out.raw)
				}
				mu.Lock()
				defer mu.Unlock()
				ids[out.str("id")] = true
				return
			}
		})
	}
	wg.Wait()
	if n := a.count("select count(*) from destinations where tenant_key = (select key from tenants where id = 'acme')"); n != 1 ||
		len(ids) != 1 {
		t.Errorf("%d destinations were made, the callers saw %v", n, ids)
	}
}

// TestIdempotencyKeyInProgress sends a request again while the first is being answered, whose answer takes time.
func TestIdempotencyKeyInProgress(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"never","type":"echo","topics":"*","config":{"answer":"timeout"},"timeout":"3s"}`)
	first := make(chan answer, 1)
	go func() { first <- a.once("t", "/tenants/acme/destinations/never/test", `{}`) }()
	a.eventually("/events?tenant_id=acme", func(o answer) bool { return len(o.list()) == 1 })
	if out := a.once("t", "/tenants/acme/destinations/never/test", `{}`); out.status != 409 || out.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", out.status, out.raw)
	}
	sameAnswer(t, <-first, a.once("t", "/tenants/acme/destinations/never/test", `{}`))
}

// TestIdempotencyKeyAfterACrash sets rows to what a process leaves behind that was killed.
func TestIdempotencyKeyAfterACrash(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const path, body = "/tenants/acme/destinations", `{"type":"echo","topics":"*"}`
	a.once("k", path, body)
	long := "claimed_at = now() - interval '2 minutes', answer = null"
	a.exec("update idempotency_keys set " + long)
	if out := a.once("k", path, body); out.status != 409 || !strings.Contains(out.str("message"), "was done") {
		t.Errorf("after a crash between the effect and its answer: %d %s", out.status, out.raw)
	}
	a.exec("update idempotency_keys set effect_at = null, " + long)
	if out := a.once("k", path, body); out.status != 201 {
		t.Errorf("after a crash before the effect: %d %s", out.status, out.raw)
	}
	a.exec("update idempotency_keys set expires_at = now() - interval '1 second'")
	if out := a.once("k", path, body); out.status != 201 || out.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("after a day: %d %s", out.status, out.raw)
	}
	a.exec("update idempotency_keys set expires_at = now() - interval '1 second'")
	if _, err := a.Store.Upkeep(a.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := a.count("select count(*) from idempotency_keys"); n != 0 {
		t.Errorf("%d expired keys are left", n)
	}
}

// TestClaims holds claims to what they promise in between: an event's answer is there as soon as the event is, and who has
// lost a claim does nothing any more.
func TestClaims(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ctx := a.Context()
	claim := func(key string) *models.Claim {
		c, kept, err := a.Store.ClaimKey(ctx, []byte("caller"), key, []byte("request"))
		if err != nil || kept != nil {
			t.Fatal(kept, err)
		}
		return c
	}
	c := claim("published")
	c.Published = func(res models.PublishResult) (*models.KeptAnswer, error) {
		return &models.KeptAnswer{Status: 202, Body: []byte(res.ID)}, nil
	}
	res, err := a.Accepter.Publish(ctx, &models.PublishInput{TenantID: "acme", Data: []byte("{}"), Claim: c})
	if err != nil {
		t.Fatal(err)
	}
	if _, kept, err := a.Store.ClaimKey(ctx, []byte("caller"), "published", []byte("request")); err != nil || string(kept.Body) != res.ID {
		t.Errorf("the answer to %s is not kept with the event: %v %v", res.ID, kept, err)
	}

	lost := claim("lost")
	if err := a.Store.Release(ctx, lost); err != nil {
		t.Fatal(err)
	}
	events := a.count("select count(*) from events")
	if _, err := a.Accepter.Publish(ctx, &models.PublishInput{TenantID: "acme", Data: []byte("{}"), Claim: lost}); !models.IsKind(err,
		models.KindUnavailable) {
		t.Errorf("an event was accepted for a request that has lost its key: %v", err)
	}
	if n := a.count("select count(*) from events"); n != events {
		t.Errorf("%d events more", n-events)
	}
	in := models.DestinationInput{Patch: models.DestinationPatch{"type": "echo", "topics": "*"}}
	if _, err := a.Store.CreateDestination(models.WithClaim(ctx, lost), models.AllTenants(), "acme", in); !models.IsKind(err,
		models.KindUnavailable) {
		t.Errorf("a destination was made for a request that has lost its key: %v", err)
	}
	if n := a.count("select count(*) from destinations where deleted_at is null and tenant_key = (select key from tenants where id = 'acme')"); n != 1 {
		t.Errorf("%d destinations", n)
	}

	// What has had an effect is not forgotten when its answer fails.
	done := claim("done")
	if _, err := a.Store.CreateDestination(models.WithClaim(ctx, done), models.AllTenants(), "acme", in); err != nil {
		t.Fatal(err)
	}
	if err := a.Store.Release(ctx, done); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Store.ClaimKey(ctx, []byte("caller"), "done", []byte("request")); !models.IsKind(err, models.KindConflict) {
		t.Errorf("%v", err)
	}
}

// TestIdempotencyKeyUnavailable sees that a request which the server could not carry out can be sent again.
func TestIdempotencyKeyUnavailable(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.Accepter.Close() // as while the process stops
	if out := a.once("k", "/publish", `{"tenant_id":"acme","data":{}}`); out.status != 503 {
		t.Fatalf("%d %s", out.status, out.raw)
	}
	if n := a.count("select count(*) from idempotency_keys"); n != 0 {
		t.Errorf("%d keys are remembered of requests that came to nothing", n)
	}
}
