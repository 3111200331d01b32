package app

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

// tail is a reader of the live tail.
type tail struct {
	*testApp
	resp   *http.Response
	lines  *bufio.Scanner
	lastID string
	close  context.CancelFunc
}

// tailTold is a message of the live tail.
type tailTold struct {
	name          string
	Change        string         `json:"change"`
	ID            string         `json:"id"`
	TenantID      string         `json:"tenant_id"`
	Topic         string         `json:"topic"`
	Data          any            `json:"data"`
	Deliveries    map[string]int `json:"deliveries"`
	Matches       bool           `json:"matches"`
	Attempts      int            `json:"attempts"`
	LastError     string         `json:"last_error"`
	LastAttemptAt *time.Time     `json:"last_attempt_at"`
	Reason        string         `json:"reason"`
}

// tail connects to the live tail; the test's end cuts it off.
func (a *testApp) tail(query string, header ...string) *tail {
	a.Helper()
	return a.tailAt(http.DefaultClient, api.APIPrefix+"/events/stream"+query, append([]string{"Authorization", "Bearer " + a.key},
		header...)...)
}

func (a *testApp) tailAt(client *http.Client, path string, header ...string) *tail {
	a.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", a.base+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &tail{testApp: a, resp: resp, lines: lines, close: cancel}
}

// next reads up to the next message; ok is false at the stream's end.
func (s *tail) next() (m tailTold, ok bool) {
	s.Helper()
	var data, name string
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case s.lines.Text() == "" && data != "":
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				s.Fatalf("%v: %s", err, data)
			}
			m.name = name
			return m, true
		case field == "id":
			s.lastID = value
		case field == "event":
			name = value
		case field == "data":
			data += value
		}
	}
	return m, false
}

// until reads up to a message that is as wanted, and returns it with those before it.
func (s *tail) until(wanted func(tailTold) bool) (all []tailTold) {
	s.Helper()
	for {
		m, ok := s.next()
		if !ok {
			s.Fatalf("the stream ended after %+v", all)
		}
		if m.name != m.Change || m.Data != nil {
			s.Errorf("%+v", m)
		}
		if all = append(all, m); wanted(m) {
			return all
		}
	}
}

// idRead reads up to the next id.
func (s *tail) idRead() string {
	s.Helper()
	for s.lines.Scan() {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.lastID = id
			return id
		}
	}
	s.Fatal("the stream ended before an id")
	return ""
}

// reading waits until the tail has so many readers.
func (a *testApp) reading(n int) {
	a.Helper()
	for deadline := time.Now().Add(patience); a.Tail.Reading() != n; {
		if time.Now().After(deadline) {
			a.Fatalf("%d read the tail, want %d", a.Tail.Reading(), n)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func delivered(id string) func(tailTold) bool {
	return func(m tailTold) bool { return m.ID == id && m.Deliveries["delivered"] == 1 }
}

// TestEventsStream is told which events come and what becomes of them, within its conditions, is cut off and goes on.
func TestEventsStream(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"dead","type":"echo","topics":["bad"],"config":{"answer":"500"}}`)
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	all, own, failed, vip := a.tail(""), token.tail(""), a.tail("?status=failed&tenant_id=acme"), a.tail("?q=vip:true&topic=good")
	for _, s := range []*tail{all, own, failed, vip} {
		if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" ||
			s.resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
		}
	}
	publish := func(tenant, id, topic, data string) {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":%q,"id":%q,"topic":%q,"data":%s}`, tenant, id, topic, data))
	}
	publish("globex", "theirs", "good", `{}`)
	publish("acme", "ours", "good", `{"vip":false}`)
	publish("acme", "bad", "bad", `{"vip":true}`)
	publish("acme", "vip", "good", `{"vip":true}`)
	seen := map[string]bool{}
	first := map[string]string{}
	for _, m := range all.until(func(m tailTold) bool {
		seen[m.ID] = seen[m.ID] || m.Deliveries["delivered"] > 0
		return seen["theirs"] && seen["ours"] && seen["vip"]
	}) {
		if first[m.ID] == "" {
			first[m.ID] = m.Change
		}
		if !m.Matches {
			t.Errorf("%+v", m)
		}
	}
	if first["theirs"] != "new" || first["ours"] != "new" || first["vip"] != "new" {
		t.Errorf("all: %v", first)
	}
	for _, m := range own.until(delivered("vip")) {
		if m.TenantID != "acme" || m.ID == "theirs" {
			t.Errorf("a tenant's token is told of %+v", m)
		}
	}
	for _, m := range vip.until(delivered("vip")) {
		if m.ID != "vip" {
			t.Errorf("q=vip:true tells of %+v", m)
		}
	}
	// It comes into the list when it has failed, with what the list shows of it.
	for _, m := range failed.until(func(m tailTold) bool { return m.Matches }) {
		if m.ID != "bad" || m.Matches && (m.Deliveries["failed"] != 1 || m.Attempts != 4 || m.LastError == "" || m.LastAttemptAt == nil) {
			t.Errorf("status=failed tells of %+v", m)
		}
	}
	// And out of it.
	a.want(200, "PATCH", "/tenants/acme/destinations/dead", `{"config":{"answer":"200"}}`)
	a.want(202, "POST", "/retry", `{"tenant_id":"acme","event_id":"bad","destination_id":"dead"}`)
	failed.until(func(m tailTold) bool { return m.ID == "bad" && !m.Matches && m.Deliveries["delivered"] == 2 })

	own.idRead()
	for _, s := range []*tail{all, own, failed, vip} {
		s.close()
	}
	a.reading(0) // all were noticed to be gone
	publish("acme", "meanwhile", "good", `{}`)
	a.eventually("/events/meanwhile?tenant_id=acme", func(out answer) bool { return out.str("deliveries", "delivered") == "1" })
	again := token.tail("?after=now", "Last-Event-ID", own.lastID)
	if got := again.until(delivered("meanwhile")); got[len(got)-1].Change != "new" {
		t.Errorf("after it was cut off: %+v", got)
	}
	// A stop ends streams at once.
	began := time.Now()
	a.Tail.Stop()
	for ok := true; ok; _, ok = again.next() {
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stream goes on for %s after the stop", took)
	}
	a.want(503, "GET", "/events/stream", nil, "Accept", "text/event-stream")
}

// TestEventsStreamRefused is about what cannot be streamed, and to whom.
func TestEventsStreamRefused(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	// Of a database with many more transactions.
	ahead := base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(time.Now().UnixMilli(), 36) + ":zzzzzzzz:"))
	for query, status := range map[string]int{"?status=nonsense": 422, "?after=nonsense": 422, "?tenant_id=nobody": 404, "?nothing=1": 400,
		"?after=" + ahead:    410,
		"?order_by=nonsense": 422} {
		if out := a.want(status, "GET", "/events/stream"+query, nil, "Accept", "text/event-stream"); out.str("message") == "" {
			t.Errorf("%s: %s", query, out.raw)
		}
	}
	if out := a.want(406, "GET", "/events/stream", nil); !strings.Contains(out.raw, "Accept: text/event-stream") {
		t.Errorf("%s", out.raw)
	}
	a.reading(0)
	streams := make([]*tail, models.MaxTailsEach)
	for i := range streams {
		streams[i] = a.tail("")
	}
	out := a.want(429, "GET", "/events/stream", nil, "Accept", "text/event-stream")
	if out.header.Get("Retry-After") == "" || !strings.Contains(out.raw, "100 live tails are open") {
		t.Errorf("%s %v", out.raw, out.header)
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	if s := token.tail(""); s.resp.StatusCode != 200 {
		t.Errorf("another caller: %d", s.resp.StatusCode)
	}
	streams[0].close()
	a.reading(models.MaxTailsEach)
	if s := a.tail(""); s.resp.StatusCode != 200 {
		t.Errorf("after one was closed: %d", s.resp.StatusCode)
	}
}

// TestEventsStreamLate: an event that is committed long after its id was made, after others with later ids, is told; also to a
// reader that was cut off in between.
func TestEventsStreamLate(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ctx := t.Context()
	tx, err := a.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx,
		`insert into events (id, tenant_key, caller_id, topic, retry, data) select $1, key, 'late', 't', true, '{}' from tenants where id = 'acme'`, migrations.LowestID(time.Now().Add(-3*time.Second))); err != nil {
		t.Fatal(err)
	}
	one, other := a.tail(""), a.tail("?topic=t,good")
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"before","topic":"good","data":{}}`)
	one.until(delivered("before"))
	other.until(delivered("before"))
	other.idRead()
	other.close()
	cursor := a.want(200, "GET", "/events/new?after=now", nil).str("cursor")
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	late := func(m tailTold) bool { return m.ID == "late" && m.Change == "new" }
	one.until(late)
	a.tail("?topic=t,good", "Last-Event-ID", other.lastID).until(late)
	if out := a.want(200, "GET", "/events/new?tenant_id=acme&after="+cursor, nil); out.str("count") != "1" || out.str("more") != "false" {
		t.Errorf("%s", out.raw)
	}
}

// TestNewEvents counts what has come to a list.
func TestNewEvents(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	count := func(query string) string {
		a.Helper()
		return a.want(200, "GET", "/events/new?"+query, nil).str("count")
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"old","data":{}}`)
	now := a.want(200, "GET", "/events/new?after=now", nil)
	if now.str("count") != "0" || now.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", now.raw, now.header)
	}
	cursor := "after=" + now.str("cursor")
	if n := count(cursor); n != "0" {
		t.Errorf("%s before anything has come", n)
	}
	for i := range 3 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","topic":"a","data":{"n":%d}}`, i))
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"globex","topic":"b","data":{"n":1}}`)
	for query, want := range map[string]string{cursor: "4", cursor + "&tenant_id=acme": "3", cursor + "&topic=b": "1", cursor + "&q=n:1": "2",
		cursor + "&tenant_id=acme&q=n:>=1": "2",
		"after=old&tenant_id=acme":         "3", cursor + "&status=failed": "0"} {
		if n := count(query); n != want {
			t.Errorf("%s: %s, want %s", query, n, want)
		}
	}
	events := make([]string, models.MaxArrived)
	for i := range events {
		events[i] = `{"tenant_id":"globex","topic":"b","data":{}}`
	}
	a.want(202, "POST", "/publish/batch", "["+strings.Join(events, ",")+"]")
	if out := a.want(200, "GET", "/events/new?topic=b&"+cursor, nil); out.str("count") != "1000" || out.str("more") != "true" {
		t.Errorf("%s", out.raw)
	}
	for query, status := range map[string]int{"": 422, "?after=nonsense": 422, "?after=now&status=x": 422} {
		a.want(status, "GET", "/events/new"+query, nil)
	}
}

// TestEventsStreamAcrossProcesses: what one process accepts and another one delivers is told by a third.
func TestEventsStreamAcrossProcesses(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, nil)
	db := []string{"DATABASE_URL=" + cfg.DatabaseURL, "RETRY_SCHEDULE=1ms,1ms"}
	web, other := startProcess(t, "web", db...), startProcess(t, "web", db...)
	startProcess(t, "work", db...)
	publisher, reader := &testApp{TB: t, base: web.base, key: testKey}, &testApp{TB: t, base: other.base, key: testKey}
	publisher.tenant("acme")
	s := reader.tail("?tenant_id=acme")
	var want []string
	for i := range 50 {
		id := fmt.Sprintf("e-%d", i)
		want = append(want, id)
		publisher.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":%q,"data":{}}`, id))
	}
	done := map[string]bool{}
	s.until(func(m tailTold) bool {
		if m.Deliveries["delivered"] == 1 {
			done[m.ID] = true
		}
		return len(done) == len(want) && !slices.ContainsFunc(want, func(id string) bool { return !done[id] })
	})
}
