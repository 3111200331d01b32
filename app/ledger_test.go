package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/api"
)

// ledger is a receiver that remembers what it has got, and publishers that remember what was accepted.
type ledger struct {
	t        *testing.T
	srv      *httptest.Server
	mu       sync.Mutex
	got      map[string]int // how often it came, by event
	acked    map[string]int // how often that was answered with 200
	accepted map[string]bool
	answers  map[int]int  // of publishes, by status
	hasty    int          // answers of 503 without Retry-After
	base     atomic.Value // string: where to publish; empty while nobody listens
	n        atomic.Int64
	hold     atomic.Value                         // chan struct{}: answers wait for it
	pause    time.Duration                        // of a publisher between two events
	refuse   func(path, event string, n int) int  // the status with which the nth time is answered; nil for 200
	failed   int                                  // deliveries that end in another way than delivered, of events that do not count
	old      bool                                 // it is set up at a server of an earlier build
	expected map[string]string                    // the status in which the deliveries to a destination end
	last     atomic.Int64                         // when an event was accepted last, in unix nanoseconds
	longest  atomic.Int64                         // the longest time between two that were accepted, in nanoseconds
	slowest  atomic.Int64                         // the longest time that publish waited for an answer, in nanoseconds
	tenant   string                               // whose events they are
	ordered  bool                                 // each publisher has an ordering key of its own, and ids are e-<publisher>-<number>
	heard    func(status int, took time.Duration) // is told of each publish; status 0 for no answer, nil for nobody
}

// underWay is how many deliveries of one destination may be under way, or sent and not yet recorded, in one worker when it
// is killed: those in flight at once, and as many again whose outcomes wait for a commit.
const underWay = 2 * 20

func newLedger(t *testing.T) *ledger {
	l := &ledger{t: t, got: map[string]int{}, acked: map[string]int{}, accepted: map[string]bool{}, answers: map[int]int{},
		expected: map[string]string{"hook": "delivered"}, tenant: "acme"}
	l.base.Store("")
	open := make(chan struct{})
	close(open)
	l.hold.Store(open)
	l.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		key, status := r.Header.Get("webhook-id")+strings.TrimSuffix(r.URL.Path, "/"), http.StatusOK
		l.mu.Lock()
		l.got[key]++
		if l.refuse != nil {
			status = l.refuse(r.URL.Path, r.Header.Get("webhook-id"), l.got[key])
		}
		if status == http.StatusOK {
			l.acked[key]++
		}
		l.mu.Unlock()
		select {
		case <-l.hold.Load().(chan struct{}):
		case <-r.Context().Done():
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(l.srv.Close)
	return l
}

// arrived notes that an event has arrived elsewhere than at the receiver of its own.
func (l *ledger) arrived(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got[id]++
	l.acked[id]++
}

// accept notes that an event was accepted.
func (l *ledger) accept(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[id] = true
}

// more waits until so many further events have arrived.
func (l *ledger) more(n int) {
	l.t.Helper()
	_, before, _ := l.count()
	l.await(func() bool { _, now, _ := l.count(); return now >= before+n })
}

func (l *ledger) received(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got[id]
}

func (l *ledger) count() (accepted, received, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.accepted {
		switch n := l.got[id]; {
		case n > 1:
			twice++
			fallthrough
		case n == 1:
			received++
		}
	}
	return len(l.accepted), received, twice
}

// publish publishes until ctx ends, from several publishers. An event whose publisher got no answer may be accepted or
// not; only answered ones count.
func (l *ledger) publish(ctx context.Context, publishers int) *sync.WaitGroup {
	var wg sync.WaitGroup
	for key := range publishers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 1; ctx.Err() == nil; n++ {
				base := l.base.Load().(string)
				id, order := fmt.Sprintf("e-%d-%d", key, n), fmt.Sprintf(`"ordering_key":"%d",`, key)
				if !l.ordered {
					id, order = fmt.Sprintf("e-%d", l.n.Add(1)), ""
				}
				req, _ := http.NewRequest("POST", base+api.APIPrefix+"/publish",
					strings.NewReader(`{"tenant_id":"`+l.tenant+`","id":"`+id+`",`+order+`"data":{"n":1}}`))
				req.Header.Set("Authorization", "Bearer "+testKey)
				began := time.Now()
				resp, err := http.DefaultClient.Do(req)
				if l.heard != nil {
					status := 0
					if err == nil {
						status = resp.StatusCode
					}
					l.heard(status, time.Since(began))
				}
				for took := int64(time.Since(began)); ; {
					if most := l.slowest.Load(); took <= most || l.slowest.CompareAndSwap(most, took) {
						break
					}
				}
				if err != nil {
					<-time.After(20 * time.Millisecond)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				l.note(id, resp)
				if l.pause > 0 {
					<-time.After(l.pause)
				}
			}
		}()
	}
	return &wg
}

// finish waits until no delivery is on its way any more, and returns how long that took. A destination that refuses
// everything is tried at a pace of its own, so that what counts is that they become fewer.
func (l *ledger) finish(url string) time.Duration {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close(ctx)
	start := time.Now()
	fewest, at := -1, start
	for {
		var n int
		if err := conn.QueryRow(ctx,
			"select count(*) from deliveries where status in ('pending', 'delivering', 'retrying')").Scan(&n); err != nil {
			l.t.Fatal(err)
		}
		switch {
		case n == 0:
			return time.Since(start)
		case fewest < 0 || n < fewest:
			fewest, at = n, time.Now()
		case time.Since(at) > patience:
			l.t.Errorf("%d deliveries are still on their way, and were %v ago", n, patience)
			return time.Since(start)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// note remembers how a publish was answered.
func (l *ledger) note(id string, resp *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[resp.StatusCode]++
	switch resp.StatusCode {
	case http.StatusAccepted:
		l.accepted[id] = true
		now := time.Now().UnixNano()
		if last := l.last.Swap(now); last != 0 {
			l.longest.Store(max(l.longest.Load(), now-last))
		}
	case http.StatusServiceUnavailable:
		if resp.Header.Get("Retry-After") == "" {
			l.hasty++
		}
	}
}

// answered is how many publishes were answered with a status.
func (l *ledger) answered(status int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[status]
}

// settle waits until everything that was accepted has arrived and is recorded, and returns how long that took.
func (l *ledger) settle(base string) time.Duration {
	l.t.Helper()
	start := time.Now()
	for deadline := start.Add(patience); ; <-time.After(10 * time.Millisecond) {
		accepted, received, _ := l.count()
		if received == accepted && l.open(base) == l.failed {
			return time.Since(start)
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%d of %d accepted events arrived; %d deliveries are not delivered, %d should be", received, accepted, l.open(base),
				l.failed)
		}
	}
}

// open counts deliveries that are not delivered.
func (l *ledger) open(base string) int {
	n := 0
	for _, status := range []string{"pending", "delivering", "retrying", "failed", "held", "cancelled"} {
		req, _ := http.NewRequest("GET", base+api.APIPrefix+"/deliveries?limit=1000&status="+status, nil)
		req.Header.Set("Authorization", "Bearer "+testKey)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return -1
		}
		var page struct{ Models []any }
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			return -1
		}
		n += len(page.Models)
	}
	return n
}

func (l *ledger) setUp(base string) {
	l.t.Helper()
	a := &testApp{TB: l.t, base: base, key: testKey, old: l.old}
	a.want(201, "PUT", "/tenants/"+l.tenant, nil)
	l.setUpHook(a, nil)
	l.base.Store(base)
}

// setUpHook makes the tenant's destination, with further fields.
func (l *ledger) setUpHook(a *testApp, more map[string]any) {
	l.t.Helper()
	hook := map[string]any{"id": "hook", "type": "webhook", "topics": "*", "config": map[string]string{"url": l.srv.URL},
		"retry": map[string]any{"schedule": []string{"200ms", "500ms", "1s", "1s", "1s", "1s", "1s", "1s"}}}
	maps.Copy(hook, more)
	a.want(201, "POST", "/tenants/"+l.tenant+"/destinations", hook)
}

// reckon accounts for every event that was answered with 202: each of its deliveries has ended as it should, delivered,
// held or failed with a reason, and arrived accordingly. At most so many may have been acknowledged more than once.
func (l *ledger) reckon(url string, most int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx,
		`select e.caller_id, coalesce(n.id, ''), coalesce(d.status::text, ''), coalesce(d.error, '') <> '' and coalesce(d.advice, '') <> ''
		from events e left join deliveries d on d.event_id = e.id left join destinations n on n.key = d.destination_key
		where e.tenant_key in (select key from tenants where id = $1)`, l.tenant)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, unanswered, ended := map[string]int{}, map[string]bool{}, map[string]int{}
	var id, destination, status string
	var explained bool
	again, wrong := 0, 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			l.t.Errorf(format, args...)
		}
	}
	if _, err := pgx.ForEachRow(rows, []any{&id, &destination, &status, &explained}, func() error {
		kept[id]++
		if !l.accepted[id] {
			unanswered[id] = true
		}
		ended[status]++
		key := id
		if destination != "hook" {
			key += "/" + destination
		}
		switch {
		case status != l.expected[destination]:
			complain("event %s to %s is %q, and should be %q", id, destination, status, l.expected[destination])
		case status == "delivered" && l.acked[key] == 0:
			complain("event %s to %s is delivered, they say; it was not", id, destination)
		case status == "held" && l.got[key] > 0:
			complain("event %s was held and yet sent to %s", id, destination)
		case status == "failed" && (!explained || l.got[key] == 0):
			complain("event %s failed at %s without a reason, or without having been sent", id, destination)
		}
		if l.got[key] > 1 {
			again += max(0, l.acked[key]-1)
			if status == "failed" {
				again += l.got[key] - 1
			}
		}
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	lost := 0
	for id := range l.accepted {
		switch kept[id] {
		case len(l.expected):
		case 0:
			lost++
			complain("event %s was accepted and is lost", id)
		default:
			complain("event %s has %d deliveries, and should have %d", id, kept[id], len(l.expected))
		}
	}
	l.t.Logf("%d events accepted, %d lost, %d kept whose publisher had no answer; their %d deliveries are %v; %d were sent again after an answer (at most %d could); answers to publishers: %v",
		len(l.accepted), lost, len(unanswered), len(kept)*len(l.expected), ended, again, most, l.answers)
	if again > most {
		l.t.Errorf("%d were sent again although they had been answered; at most %d were under way", again, most)
	}
	if l.hasty > 0 {
		l.t.Errorf("%d answers of 503 do not say when to try again", l.hasty)
	}
	if n := l.answers[http.StatusInternalServerError]; n > 0 {
		l.t.Errorf("%d answers of 500", n)
	}
}

func (l *ledger) await(wanted func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !wanted(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("it did not get there")
		}
	}
}
