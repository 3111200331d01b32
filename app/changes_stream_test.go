package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// sse is a client of server-sent events, as the standard describes them (WHATWG HTML, section 9.2).
type sse struct {
	t      testing.TB
	resp   *http.Response
	lines  *bufio.Scanner
	lastID string
}

// stream connects; the test's end cuts it off.
func (a *testApp) stream(query string, header ...string) *sse {
	a.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.Cleanup(cancel)
	s, err := openStream(ctx, a, a.base, a.key, query, header...)
	if err != nil {
		a.Fatal(err)
	}
	return s
}

func openStream(ctx context.Context, t testing.TB, base, key, query string, header ...string) (*sse, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", base+api.APIPrefix+"/changes"+query, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &sse{t: t, resp: resp, lines: lines}, nil
}

// next reads up to the next event with data; ok is false at the stream's end.
func (s *sse) next() (event string, c models.FeedEntry, ok bool) {
	s.t.Helper()
	var data string
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case s.lines.Text() == "" && data != "":
			if err := json.Unmarshal([]byte(data), &c); err != nil {
				s.t.Fatalf("%v: %s", err, data)
			}
			return event, c, true
		case s.lines.Text() == "":
			event = ""
		case field == "id":
			s.lastID = value
		case field == "event":
			event = value
		case field == "data":
			data += value
		}
	}
	return "", c, false
}

// TestChangesStream reads server-sent events, is cut off and goes on.
func TestChangesStream(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for _, id := range []string{"acme", "globex"} {
		a.tenant(id)
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	all, own := a.stream("?since=now&types=destination"), token.stream("?since=now")
	for _, s := range []*sse{all, own} {
		if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" ||
			s.resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
		}
	}
	names := func(s *sse, n int) (out []string) {
		for range n {
			event, c, ok := s.next()
			if !ok || c.Cursor != s.lastID {
				t.Fatalf("%s: cursor %s, id %s, %v", event, c.Cursor, s.lastID, ok)
			}
			out = append(out, event+" "+*c.TenantID)
		}
		return out
	}
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"Theirs"}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Ours\nin two lines"}`)
	a.want(200, "DELETE", "/tenants/globex/destinations/inbox", nil)
	if got := names(all, 3); !slices.Equal(got, []string{"destination.updated globex", "destination.updated acme",
		"destination.deleted globex"}) {
		t.Errorf("all: %v", got)
	}
	if got := names(own, 1); got[0] != "destination.updated acme" {
		t.Errorf("a tenant's token: %v", got)
	}
	all.resp.Body.Close()
	own.resp.Body.Close()
	a.waiting(0) // both were noticed to be gone
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Meanwhile"}`)
	again := a.stream("?since=now&types=destination", "Last-Event-ID", all.lastID)
	if got := names(again, 1); got[0] != "destination.updated acme" {
		t.Errorf("after it was cut off: %v", got)
	}
	for query, status := range map[string]int{"?since=nonsense": 422, "?since=99999": 410} {
		if s := a.stream(query); s.resp.StatusCode != status || !strings.HasPrefix(s.resp.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %v", query, s.resp.StatusCode, s.resp.Header)
		}
	}
	// A stop ends streams at once.
	began := time.Now()
	a.Follower.Stop()
	if _, _, ok := again.next(); ok || time.Since(began) > 10*time.Second {
		t.Errorf("the stream goes on for %s after the stop", time.Since(began))
	}
}

// TestChangesStreamEnds is about keys that are revoked while a stream goes on, and readers who take nothing.
func TestChangesStreamEnds(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	key := a.want(201, "POST", "/api-keys", `{"name":"Copy","scopes":["read"]}`)
	if !a.MayStillRead(key.str("key")) {
		t.Fatal("a good key may not read")
	}
	a.want(200, "DELETE", "/api-keys/"+key.str("id"), nil)
	if a.MayStillRead(key.str("key")) {
		t.Error("a revoked key goes on reading")
	}
}

// TestChangesOfDeliveries follows outcomes from the first moment on, with deliveries under way all the time: all that
// begins after the feed was asked is told, once.
func TestChangesOfDeliveries(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Topics = nil })
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"dead","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	ctx := context.Background()
	rows := func() (n int) {
		if err := a.db.QueryRow(ctx, "select count(*) from changes where type = 'delivery'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.want(200, "POST", "/publish", `{"tenant_id":"acme","id":"before","data":{}}`, "Prefer", "wait=20")
	if a.follow("").poll(); rows() != 0 {
		t.Errorf("%d outcomes were noted though nobody follows them", rows())
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"during-%d","data":{}}`, i))
			}
		}
	})
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	f := token.follow("&types=delivery")
	for i := range 50 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"after-%d","data":{}}`, i))
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"bad","topic":"bad","data":{}}`)
	a.want(200, "POST", "/publish", `{"tenant_id":"globex","id":"theirs","data":{}}`, "Prefer", "wait=20")
	close(stop)
	publishing.Wait()
	var states []map[string]any
	f.until(func() bool {
		states = states[:0]
		var after, bad int
		for _, c := range f.seen {
			var o map[string]any
			if err := json.Unmarshal(c.Object, &o); err != nil {
				t.Fatal(err)
			}
			states = append(states, o)
			if strings.HasPrefix(o["event_id"].(string), "after-") {
				after++
			}
			if o["event_id"] == "bad" && o["destination_id"] == "dead" {
				bad++
				if c.Action != "failed" || o["attempts"] != 3.0 || o["code"] != 500.0 || o["error_class"] == nil || o["topic"] != "bad" ||
					o["id"] != c.ObjectID {
					t.Fatalf("a failed delivery: %s %s", c.Action, c.Object)
				}
			}
		}
		return after == 50 && bad == 1
	})
	for _, o := range states {
		if o["event_id"] == "theirs" || o["event_id"] == "before" {
			t.Errorf("%v", o)
		}
	}
	// What follows from hands other than workers'.
	a.want(200, "PUT", "/tenants/acme/destinations/inbox/disable", `{}`)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"held","data":{}}`)
	held := a.want(200, "GET", "/deliveries?tenant_id=acme&event_id=held", nil).str("models", "0", "id")
	a.want(200, "POST", "/deliveries/"+held+"/cancel", nil)
	f.until(func() bool { last := f.seen[len(f.seen)-1]; return last.ObjectID == held && last.Action == "cancelled" })

	// A cursor of before anybody asked for outcomes cannot have them all.
	if out := a.want(410, "GET", "/changes?types=delivery&since=0", nil); !strings.Contains(out.raw, "were not recorded") {
		t.Errorf("%s", out.raw)
	}
	// What nobody reads for long is noted no longer.
	if _, err := a.db.Exec(ctx, "update outcome_readers set asked_at = now() - interval '8 days'"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Store.Upkeep(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	var readers int
	if err := a.db.QueryRow(ctx, "select count(*) from outcome_readers").Scan(&readers); err != nil || readers != 0 {
		t.Errorf("%d readers: %v", readers, err)
	}
}

// TestChangesAcrossProcesses follows changes through two web processes while one after the other is killed, and so is the
// worker: each change and each outcome is told exactly once.
func TestChangesAcrossProcesses(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	db := []string{"DATABASE_URL=" + url, "RETRY_SCHEDULE=1ms,1ms"}
	webs := []*process{startProcess(t, "web", db...), startProcess(t, "web", db...)}
	worker := startProcess(t, "work", db...)
	client := func(i int) *testApp { return &testApp{TB: t, base: webs[i%2].base, key: testKey} }
	client(0).tenant("acme")
	f := client(0).follow("&types=delivery,destination&limit=7")
	const rounds, events = 4, 40
	for round := range rounds {
		f.testApp = client(round)
		for i := range events {
			client(round+1).want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e-%d-%d","data":{}}`, round, i))
			if i == events/2 {
				worker.kill()
				webs[round%2].kill() // the one that was read from
				webs[round%2] = startProcess(t, "web", db...)
				worker = startProcess(t, "work", db...)
				f.testApp = client(round + 1)
			}
			if i%8 == 0 {
				client(round+1).want(200, "PATCH", "/tenants/acme/destinations/inbox", fmt.Sprintf(`{"name":"%d-%d"}`, round, i))
				f.poll()
			}
		}
	}
	count := func() (delivered, updated int) {
		for _, c := range f.seen {
			switch {
			case c.Type == models.FeedDelivery && c.Action == models.StatusDelivered:
				delivered++
			case c.Type == models.FeedDestination:
				updated++
			}
		}
		return delivered, updated
	}
	f.until(func() bool { d, u := count(); return d >= rounds*events && u >= rounds*events/8 })
	if d, u := count(); d != rounds*events || u != rounds*events/8 {
		t.Errorf("%d outcomes of %d deliveries, %d changes of %d", d, rounds*events, u, rounds*events/8)
	}
}
