package app

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
)

// waiting waits until so many callers are waiting.
func (a *testApp) waiting(n int) {
	a.Helper()
	for deadline := time.Now().Add(20 * time.Second); a.Follower.Waiting() != n; {
		if time.Now().After(deadline) {
			a.Fatalf("%d callers wait, want %d", a.Follower.Waiting(), n)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// heldDelivery makes a delivery that waits until its destination is enabled, and returns its id.
func (a *testApp) heldDelivery(tenant, event string) string {
	a.Helper()
	a.tenant(tenant)
	a.want(200, "PUT", "/tenants/"+tenant+"/destinations/inbox/disable", nil)
	a.want(202, "POST", "/publish", `{"tenant_id":"`+tenant+`","id":"`+event+`","data":{}}`)
	return a.want(200, "GET", "/events/"+event+"/deliveries?tenant_id="+tenant, nil).str("models", "0", "id")
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	id := a.heldDelivery("acme", "e1")
	for _, path := range []string{"/events/e1", "/deliveries/" + id} {
		now := a.want(200, "GET", path, nil)
		etag := now.header.Get("ETag")
		if now.header.Get("Cache-Control") != "private, max-age=60" || now.header.Get("Retry-After") != "" ||
			now.header.Get("Vary") != "Authorization, Prefer, Accept-Encoding" {
			t.Errorf("%s: %v", path, now.header)
		}
		if out := a.want(200, "GET", path, nil, "If-None-Match", `"other"`, "Prefer",
			"wait=30"); out.header.Get("Preference-Applied") != "" {
			t.Errorf("%s: waited although the caller knew another state: %v", path, out.header)
		}
		began := time.Now()
		out := a.want(304, "GET", path, nil, "If-None-Match", etag, "Prefer", "wait=1")
		if took := time.Since(began); took < time.Second || out.raw != "" || out.header.Get("Preference-Applied") != "wait=1" ||
			out.header.Get("ETag") != etag {
			t.Errorf("%s: after %v %q %v", path, took, out.raw, out.header)
		}
	}
	answers := make(chan answer, 2)
	for _, path := range []string{"/events/e1", "/deliveries/" + id} {
		etag := a.want(200, "GET", path, nil).header.Get("ETag")
		go func() { answers <- a.do("GET", path, nil, "If-None-Match", etag, "Prefer", "wait=30") }()
	}
	a.waiting(2)
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/enable", nil)
	for range 2 {
		if out := <-answers; out.status != 200 || out.header.Get("ETag") == "" || out.header.Get("Preference-Applied") != "wait=30" ||
			strings.Contains(out.raw, `"held"`) {
			t.Errorf("%d %s %v", out.status, out.raw, out.header)
		}
	}
	a.waiting(0)
}

func TestLongPollOfABulkRetry(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.failures("shop", 10)
	id := a.want(202, "POST", "/retries", `{"tenant_id":"acme","rate":5}`).str("id")
	seen := map[string]bool{}
	etag := ""
	for range 100 {
		out := a.do("GET", "/retries/"+id, nil, "If-None-Match", etag, "Prefer", "wait=20")
		if out.status != 200 || seen[out.header.Get("ETag")] {
			t.Fatalf("%d %s %v", out.status, out.raw, out.header)
		}
		etag = out.header.Get("ETag")
		seen[etag] = true
		if out.str("finished_at") != "" {
			if out.num("delivered") != 10 || len(seen) < 3 {
				t.Errorf("after %d states: %s", len(seen), out.raw)
			}
			return
		}
		if out.header.Get("Retry-After") == "" {
			t.Errorf("%v", out.header)
		}
	}
	t.Error("the bulk retry did not end within 100 changes")
}

// TestManyWait has 500 callers wait, whom nobody else shall notice, and ends the wait of all with one change.
func TestManyWait(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.heldDelivery("acme", "e1")
	const callers = 500
	etag := a.want(200, "GET", "/events/e1", nil).header.Get("ETag")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	status := make(chan int, callers)
	for range callers {
		go func() {
			req, _ := http.NewRequest("GET", a.base+api.APIPrefix+"/events/e1", nil)
			req.Header.Set("Authorization", "Bearer "+testKey)
			req.Header.Set("If-None-Match", etag)
			req.Header.Set("Prefer", "wait=60")
			resp, err := client.Do(req)
			if err != nil {
				status <- 0
				return
			}
			resp.Body.Close()
			status <- resp.StatusCode
		}()
	}
	a.waiting(callers)
	// Each has read once more after the first look. From then on only the follower asks.
	for deadline := time.Now().Add(20 * time.Second); ; {
		busy := 0.0
		for range 20 {
			_, text := scrapeOf(t, a.base+"/metrics", a.key)
			busy = max(busy, value(text, `waybill_db_pool_connections{pool="pages",state="in_use"}`))
			<-time.After(5 * time.Millisecond)
		}
		if busy >= 0 && busy <= 3 { // the follower, and what the process does anyway
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%g connections are in use while callers wait", busy)
		}
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/enable", nil)
	for range callers {
		if got := <-status; got != 200 {
			t.Fatalf("status %d", got)
		}
	}
	a.waiting(0)
}

// TestCallerGoesAway closes the connection of a caller that waits.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.heldDelivery("acme", "e1")
	etag := a.want(200, "GET", "/events/e1", nil).header.Get("ETag")
	at, err := url.Parse(a.base)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /api/v1/events/e1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nIf-None-Match: %s\r\nPrefer: wait=60\r\n\r\n", testKey, etag)
	a.waiting(1)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	a.waiting(0)

	// And a process that stops answers those that wait.
	conn, err = net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/v1/events/e1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nIf-None-Match: %s\r\nPrefer: wait=60\r\n\r\n", testKey, etag)
	a.waiting(1)
	a.Follower.Stop()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 304 {
		t.Errorf("%v %v", resp, err)
	}
}

// TestLinks follows the links of pages, and that of a 202 to what it announces.
func TestLinks(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for i := range 5 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e%d","topic":"a:b","data":{}}`, i))
	}
	target := func(o answer, rel string) string {
		for _, link := range strings.Split(o.header.Get("Link"), ", ") {
			if to, is := strings.CutSuffix(link, `>; rel="`+rel+`"`); is {
				return strings.TrimPrefix(to, "<"+api.APIPrefix)
			}
		}
		return ""
	}
	var seen []string
	page := a.want(200, "GET", "/events?topic[0]=a%3Ab&limit=2", nil)
	for {
		for i := range page.list() {
			seen = append(seen, page.str("models", fmt.Sprint(i), "id"))
		}
		next := target(page, "next")
		if next == "" {
			break
		}
		page = a.want(200, "GET", next, nil)
	}
	if got := strings.Join(seen, " "); got != "e4 e3 e2 e1 e0" {
		t.Errorf("saw %s", got)
	}
	if before := a.want(200, "GET", target(page, "prev"), nil); before.str("models", "0", "id") != "e2" {
		t.Errorf("%s", before.raw)
	}
	a.eventually("/deliveries?tenant_id=acme&status=delivered", func(o answer) bool { return len(o.list()) == 5 })
	for path, body := range map[string]string{"/publish": `{"tenant_id":"acme","data":{}}`,
		"/retries": `{"tenant_id":"acme","filter":{"status":["delivered"]}}`} {
		out := a.want(202, "POST", path, body)
		if to := target(out, "monitor"); to == "" || out.header.Get("Location") != api.APIPrefix+to ||
			out.header.Get("Content-Location") != map[string]string{"/retries": api.APIPrefix + to}[path] ||
			out.header.Get("Vary") != "Prefer" {
			t.Errorf("%s: %v", path, out.header)
		} else {
			a.want(200, "GET", to, nil)
		}
	}
}
