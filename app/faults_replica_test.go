//go:build faults && linux

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/migrations"
)

// replicated is a primary with a standby that nothing waits for, and processes that read from it.
type replicated struct {
	t    *testing.T
	a, b *node
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{t, newNode(t, "a", "127.0.0.1"), newNode(t, "b", "127.0.0.1")}
	r.a.create()
	r.b.follow(r.a)
	return r
}

// process starts web and worker in this process, which read from the standby at url.
func (r *replicated) process(url string) *testApp {
	r.t.Helper()
	return newProcessOf(r.t, testConfigOf(r.t, map[string]string{"DATABASE_URL": r.a.url(), "DATABASE_URL_REPLICA": url, "REPLICA_MAX_LAG": "10s"}, nil))
}

func (r *replicated) ask(n *node, sql string) string {
	r.t.Helper()
	got, err := n.query("waybill", sql)
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// replicaBecomes waits until /readyz says so of the replica. The process is ready all the while.
func (a *testApp) replicaBecomes(state string) {
	a.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		resp, err := http.Get(a.base + "/readyz")
		if err != nil {
			a.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			a.Fatalf("readyz: %d %s %v", resp.StatusCode, raw, err)
		}
		var said struct{ Replica string }
		if err := json.Unmarshal(raw, &said); err != nil {
			a.Fatal(err)
		}
		if said.Replica == state {
			return
		}
		if time.Now().After(deadline) {
			a.Fatalf("the replica is %q, and not %q", said.Replica, state)
		}
	}
}

// readsFrom is how many reads were answered from somewhere, as the metrics say.
func (a *testApp) readsFrom(from, reason string) (n int) {
	a.Helper()
	req, _ := http.NewRequest("GET", a.base+"/metrics", nil)
	req.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	name := fmt.Sprintf("waybill_replica_reads_total{from=%q,reason=%q} ", from, reason)
	_, rest, found := strings.Cut(string(raw), name)
	if !found {
		a.Fatalf("no %s in the metrics", name)
	}
	n, _ = strconv.Atoi(strings.Fields(rest)[0])
	return n
}

// readingPaths are requests that may be answered by a replica, with what they show once there are events.
var readingPaths = []string{"/tenants", "/tenants/acme", "/tenants/acme/destinations", "/tenants/acme/destinations/hook", "/tenants/acme/destinations/hook/health",
	"/events?tenant_id=acme", "/events?q=n:1&tenant_id=acme", "/deliveries?tenant_id=acme", "/attempts?tenant_id=acme", "/stats/overview?tenant_id=acme",
	"/stats/failures?tenant_id=acme", "/stats/events?tenant_id=acme", "/incidents", "/find?q=hook", "/audit", "/retries", "/tenants/acme/settings",
	"/events/export?tenant_id=acme", "/deliveries/export?tenant_id=acme&format=csv", "/views?tenant_id=acme", "/topics", "/tenants/acme/alerts"}

// TestFaultsReplica takes a read replica through its life: one that a migration has not come to, one that is read from, one that has
// stopped replaying while clients write and look at once what they wrote, one that cancels queries, is frozen, is killed, and one that
// was promoted. No request fails, everybody sees what they wrote, and it is read from again when it is well.
func TestFaultsReplica(t *testing.T) {
	r := newReplicated(t)
	r.ask(r.b, "select pg_wal_replay_pause()")
	a := r.process(r.b.url()) // which migrates the primary
	a.replicaBecomes("old_schema")
	a.want(200, "GET", "/tenants", nil)
	r.ask(r.b, "select pg_wal_replay_resume()")
	a.replicaBecomes("used")

	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"hook","type":"echo","topics":"*"}`)
	for range 20 {
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{"n":1}}`)
	}
	a.eventually("/deliveries?tenant_id=acme&status=delivered", func(out answer) bool { return strings.Count(out.raw, `"delivered"`) >= 20 })
	direct := newProcessOf(t, testConfigOf(t, map[string]string{"DATABASE_URL": r.a.url()}, nil))
	ann := a.visitor()

	// All that reads is read there, and answers the same.
	a.caughtUp(r)
	before := a.readsFrom("replica", "")
	for _, path := range readingPaths {
		here, there := direct.want(200, "GET", path, nil), a.want(200, "GET", path, nil)
		if path != "/stats/overview?tenant_id=acme" && path != "/stats/events?tenant_id=acme" && here.raw != there.raw { // which say until when they count
			t.Errorf("GET %s\nfrom the primary: %s\nfrom the replica: %s", path, here.raw, there.raw)
		}
	}
	for _, path := range []string{"/t/acme", "/t/acme/events", "/t/acme/destinations", "/t/acme/destinations/hook", "/events", "/tenants"} {
		if p := ann.send("GET", path, nil); p.status != 200 {
			t.Errorf("GET %s: %d", path, p.status)
		}
	}
	if n := a.readsFrom("replica", "") - before; n < len(readingPaths)+6 {
		t.Errorf("%d of %d reads were answered by the replica", n, len(readingPaths)+6)
	}
	if n := a.readsFrom("primary", "replica_failed"); n > 0 {
		t.Errorf("%d reads failed on the replica", n)
	}
	a.until("PostgreSQL says that the standby's deliveries were read", func() bool {
		return r.ask(r.b, "select sum(seq_scan + idx_scan) > 0 from pg_stat_user_tables where relname like 'deliveries%'") == "t"
	})

	// It replays nothing any more, and everybody finds what they wrote.
	other := r.process(r.b.url())
	other.replicaBecomes("used")
	a.caughtUp(r)
	r.ask(r.b, "select pg_wal_replay_pause()")
	event := a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"late","data":{"n":2}}`)
	written := event.header.Get(api.WrittenHeader)
	if at, err := time.Parse(time.RFC3339Nano, written); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("%s: %q %v", api.WrittenHeader, written, err)
	}
	id := event.str("id")
	a.want(200, "GET", event.header.Get("Location")[len(api.APIPrefix):], nil)
	a.want(200, "GET", "/events/"+id+"/deliveries", nil)
	shows := func(app *testApp, path, text string, header ...string) bool {
		t.Helper()
		return strings.Contains(app.want(200, "GET", path, nil, header...).raw, text)
	}
	if shows(a, "/events?topic=late", id) {
		t.Error("a list shows what the replica has not replayed: it is not read from")
	}
	if !shows(a, "/events?topic=late", id, api.WrittenHeader, written) || !shows(other, "/events?topic=late", id, api.WrittenHeader, written) {
		t.Error("who sends the header does not find their event in the list")
	}
	made := a.want(201, "PUT", "/tenants/globex", nil)
	if !shows(a, "/tenants", "globex") || !shows(other, "/tenants", "globex", api.WrittenHeader, made.header.Get(api.WrittenHeader)) {
		t.Error("who has made a tenant does not find it in the list")
	}
	other.want(200, "GET", "/tenants/globex", nil)
	a.want(400, "GET", "/tenants", nil, api.WrittenHeader, "yesterday")
	// Somebody who only reads is shown the state of a moment ago, in a browser too; and what they do there at once.
	bob := &visitor{other, ann.client}
	if bob.send("POST", "/tenants/new", map[string][]string{"tenant_id": {"initech"}}).status != 200 {
		t.Error("the tenant could not be made")
	}
	if p := bob.send("GET", "/tenants", nil); !strings.Contains(p.Text(), "initech") {
		t.Error("the page does not show the tenant that was just made")
	}
	a.replicaBecomes("lags")
	if !shows(a, "/events?topic=late", id) {
		t.Error("a replica that is too far behind is read from")
	}
	if said := doctorSaysOf(t, r, "replica"); !strings.HasPrefix(said, "warn The replica is not read from (lags)") &&
		!strings.HasPrefix(said, "warn The replica is not read from (starting)") {
		t.Errorf("the doctor says: %s", said)
	}
	r.ask(r.b, "select pg_wal_replay_resume()")
	a.replicaBecomes("used")
	if said := doctorSaysOf(t, r, "replica"); !strings.HasPrefix(said, "ok The replica is read from") {
		t.Errorf("the doctor says: %s", said)
	}

	// Whatever happens to it, no read fails.
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	var answered, longest atomic.Int64
	for range 4 {
		readers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				path := readingPaths[i%len(readingPaths)]
				began := time.Now()
				req, _ := http.NewRequest("GET", a.base+api.APIPrefix+path, nil)
				req.Header.Set("Authorization", "Bearer "+testKey)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || err != nil || strings.Contains(string(raw), `"error"`) && strings.Contains(path, "export") {
					t.Errorf("GET %s: %d %s %v", path, resp.StatusCode, raw, err)
				}
				longest.Store(max(longest.Load(), time.Since(began).Milliseconds()))
				answered.Add(1)
			}
		})
	}
	some := func() {
		t.Helper()
		from := answered.Load()
		a.until("reads are answered", func() bool { return answered.Load() > from+100 })
	}
	some()
	r.ask(r.b, "alter system set max_standby_streaming_delay = 0")
	r.ask(r.b, "select pg_reload_conf()")
	a.until("queries of the standby are cancelled", func() bool {
		r.ask(r.a, "begin; lock table tenants, destinations in access exclusive mode; commit")
		return a.readsFrom("primary", "replica_failed") > 2
	})
	if n := r.ask(r.b, "select confl_lock from pg_stat_database_conflicts where datname = 'waybill'"); n == "0" {
		t.Error("no query was cancelled by a conflict with recovery")
	}
	t.Logf("cancelled queries: the longest read took %d ms", longest.Swap(0))
	r.b.signal(syscall.SIGSTOP)
	a.replicaBecomes("away")
	some()
	r.b.signal(syscall.SIGCONT)
	a.replicaBecomes("used")
	t.Logf("frozen: the longest read took %d ms", longest.Swap(0))
	r.b.crash()
	a.replicaBecomes("away")
	some()
	r.b.start()
	a.replicaBecomes("used")
	some()
	t.Logf("killed: the longest read took %d ms", longest.Swap(0))

	// It becomes a primary, and goes its own way.
	r.b.promote()
	r.ask(r.b, "insert into tenants (id) values ('fork')")
	a.replicaBecomes("no_standby")
	some()
	if shows(a, "/tenants", "fork") {
		t.Error("what a former standby has taken is shown")
	}
	stop()
	readers.Wait()
	a.want(200, "PUT", "/tenants/acme", nil)
}

// caughtUp waits until the replica shows all that was written so far, by whomever.
func (a *testApp) caughtUp(r *replicated) {
	a.Helper()
	now := a.Store.Now()
	a.until("the replica catches up", func() bool {
		before := a.readsFrom("primary", "after_write")
		a.want(200, "GET", "/topics", nil, api.WrittenHeader, now.UTC().Format(time.RFC3339Nano))
		return a.readsFrom("primary", "after_write") == before
	})
}

func doctorSaysOf(t *testing.T, r *replicated, name string) string {
	t.Helper()
	return doctorSaysWith(t, map[string]string{"DATABASE_URL": r.a.url(), "DATABASE_URL_REPLICA": r.b.url()}, name)
}

// TestFaultsReplicaRefused: a server that is no copy of the database is refused at the start; one that is away, or no standby, is not
// read from, for after a failover that must not keep anybody from starting.
func TestFaultsReplicaRefused(t *testing.T) {
	r := newReplicated(t)
	if err := migrations.Apply(t.Context(), r.a.url()); err != nil {
		t.Fatal(err)
	}
	c, d := newNode(t, "c", "127.0.0.1"), newNode(t, "d", "127.0.0.1")
	c.create()
	d.follow(c)
	cfg := testConfigOf(t, map[string]string{"DATABASE_URL": r.a.url(), "DATABASE_URL_REPLICA": d.url()}, nil)
	if app, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		app.Close()
		t.Error("a standby of another server is taken for a replica")
	} else if !strings.Contains(err.Error(), "DATABASE_URL_REPLICA") || !strings.Contains(err.Error(), "Give the address of a standby") {
		t.Errorf("a standby of another server: %v", err)
	}
	if said := doctorSaysOf(t, &replicated{t, r.a, d}, "replica"); !strings.HasPrefix(said, "fail ") {
		t.Errorf("the doctor says: %s", said)
	}
	r.process(r.a.url()).replicaBecomes("no_standby")
	// One host of several that is a standby is found.
	list := "postgres://waybill@" + r.a.address() + "," + r.b.address() + "/waybill?sslmode=disable&target_session_attrs=standby"
	app := r.process(list)
	app.replicaBecomes("used")
	r.b.crash()
	app.replicaBecomes("away")
	r.process(r.b.url()).want(200, "GET", "/tenants", nil)
}
