package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// bouncer is a PgBouncer in front of a database.
type bouncer struct {
	*bench.PgBouncer
	t   *testing.T
	url string // of the database behind it
}

// newBouncer starts PgBouncer with few connections to the database, so that many transactions share each; nil where there is none.
func newBouncer(t *testing.T, database, mode string) *bouncer {
	t.Helper()
	if bench.FindPgBouncer() == "" {
		return nil
	}
	p, err := bench.NewPgBouncer(openDir(t), database, mode, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", p.Said.String())
		}
	})
	return &bouncer{p, t, p.URL}
}

func (b *bouncer) start() {
	b.t.Helper()
	if err := b.Start(); err != nil {
		b.t.Fatal(err)
	}
}

// refused runs a command that ends at once, and returns what it says.
func refused(t *testing.T, command string, env ...string) string {
	t.Helper()
	cmd := prepare(os.Args[0], command, env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%s ended well: %s", command, out)
	}
	return string(out)
}

// TestPgBouncer has web behind a PgBouncer in transaction mode and a worker beside it. PgBouncer is killed under load: nothing
// that was accepted is lost, and nothing is sent twice. What web leaves on PgBouncer's connections is nothing.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	b := newBouncer(t, url, "transaction")
	if b == nil {
		t.Log("PgBouncer is not on this machine")
		return
	}
	for _, command := range []string{"web", "work", "migrate", "serve"} {
		if said := refused(t, command, "DATABASE_URL="+b.url, "DATA_DIR="+t.TempDir()); !strings.Contains(said, "DATABASE_URL_DIRECT") {
			t.Errorf("%s through the pooler alone: %s", command, said)
		}
		if command != "web" {
			said := refused(t, command, "DATABASE_URL="+b.url, "DATABASE_URL_DIRECT="+b.url, "DATA_DIR="+t.TempDir())
			if !strings.HasPrefix(said, "waybill: DATABASE_URL_DIRECT: the address leads to a connection pooler") {
				t.Errorf("%s with two addresses of the pooler: %s", command, said)
			}
		}
	}
	both := []string{"DATABASE_URL=" + b.url, "DATABASE_URL_DIRECT=" + url}
	l := newLedger(t)
	web := startProcess(t, "web", both...)
	l.setUp(web.base)
	startProcess(t, "work", both...)
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 8)
	for range 3 {
		l.more(150)
		refused := l.answered(503)
		b.Kill()
		began := time.Now()
		accepted, _, _ := l.count()
		l.await(func() bool { return l.answered(503) > refused })
		b.start()
		l.await(func() bool { now, _, _ := l.count(); return now > accepted })
		t.Logf("PgBouncer was killed and started again: an event was accepted %v later", time.Since(began).Round(time.Millisecond))
	}
	l.more(150)
	stop()
	publishers.Wait()
	l.finish(url)
	a := &testApp{TB: t, base: web.base, key: testKey}
	for _, path := range []string{"/events", "/deliveries", "/attempts", "/tenants", "/tenants/acme/destinations", "/tenants/acme/destinations/hook",
		"/changes?tenant_id=acme&since=start", "/audit", "/server"} {
		a.want(200, "GET", path, nil)
		a.want(200, "GET", path, nil) // by what is known of the statement now
	}
	// What is written by people goes through the pooler too, with jobs.
	again := ""
	for id := range l.accepted {
		again = id
	}
	a.want(200, "POST", "/retry", `{"event_id":"`+again+`","destination_id":"hook"}`, "Prefer", "wait=10")
	b.leftAlone()
	wellAgain(t, map[string]string{"DATABASE_URL": b.url, "DATABASE_URL_DIRECT": url})
	l.reckon(url, 1) // that retry
}

// leftAlone looks at PgBouncer's connections to the database: none has a setting or a statement that others would run into.
func (b *bouncer) leftAlone() {
	b.t.Helper()
	var open []*pgx.Conn
	seen := map[string]bool{}
	for range 4 { // as many as it has, each kept by a transaction
		conn, err := pgx.Connect(b.t.Context(), b.url+"&default_query_exec_mode=simple_protocol")
		if err != nil {
			b.t.Fatal(err)
		}
		open = append(open, conn)
		var pid, state string
		if _, err := conn.Exec(b.t.Context(), "begin"); err != nil {
			b.t.Fatal(err)
		}
		err = conn.QueryRow(b.t.Context(), `select pg_backend_pid()::text, current_setting('enable_seqscan') || ' '
			|| current_setting('synchronous_commit') || ' ' || current_setting('plan_cache_mode') || ' '
			|| (select count(*) from pg_prepared_statements) || ' ' || (select count(*) from pg_locks where pid = pg_backend_pid()
				and locktype = 'advisory')`).Scan(&pid, &state)
		if err != nil {
			b.t.Fatal(err)
		}
		if !strings.HasPrefix(state, "on ") || !strings.HasSuffix(state, " auto 0 0") {
			b.t.Errorf("a connection was left with %q", state)
		}
		seen[pid] = true
	}
	for _, conn := range open {
		conn.Close(b.t.Context())
	}
	if len(seen) != 4 {
		b.t.Errorf("looked at %d connections", len(seen))
	}
}

// TestStatementPooler: a pooler that keeps no transaction together is refused.
func TestStatementPooler(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	b := newBouncer(t, url, "statement")
	if b == nil {
		t.Log("PgBouncer is not on this machine")
		return
	}
	said := refused(t, "web", "DATABASE_URL="+b.url, "DATABASE_URL_DIRECT="+url)
	if !strings.HasPrefix(said, "waybill: DATABASE_URL: ") || !strings.Contains(said, "pool_mode = transaction") {
		t.Errorf("web says: %s", said)
	}
}

// TestDifferentDatabases: two addresses of one database that are not are refused before anything is accepted.
func TestDifferentDatabases(t *testing.T) {
	t.Parallel()
	one, other := modelstest.DB(t), modelstest.DB(t)
	for _, command := range []string{"work", "migrate"} {
		if said := refused(t, command, "DATABASE_URL="+one, "DATABASE_URL_DIRECT="+other); !strings.Contains(said, "different databases") {
			t.Errorf("%s says: %s", command, said)
		}
	}
}

// TestPgBouncerLiveSettings: settings that are changed through a pooler are in force in every process within a second, in the one that
// works past it, too.
func TestPgBouncerLiveSettings(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	b := newBouncer(t, url, "transaction")
	if b == nil {
		t.Log("PgBouncer is not on this machine")
		return
	}
	both := []string{"DATABASE_URL=" + b.url, "DATABASE_URL_DIRECT=" + url}
	one, other := startProcess(t, "web", both...).apiOf(url), startProcess(t, "web", both...).apiOf(url)
	worker := startProcess(t, "serve", append(both, "DATA_DIR="+t.TempDir())...).apiOf(url)
	one.tenant("acme")
	for version, most := range []string{"7", "8"} { // the second time by what is known of the statements now
		version += 2
		got := one.want(200, "PATCH", "/settings", `{"destination_limit":`+most+`}`)
		answered := time.Now()
		if etag := got.header.Get("ETag"); etag != fmt.Sprintf(`"%d"`, version) {
			t.Errorf("changed: %s", etag)
		}
		for name, a := range map[string]*testApp{"web": one, "another web": other, "serve": worker} {
			a.settled("destination_limit", most)
			t.Logf("%s followed %v after the answer", name, time.Since(answered).Round(time.Millisecond))
		}
		if took := time.Since(answered); took > 2*time.Second { // a second, and the time to ask three busy processes
			t.Errorf("the processes followed after %v", took)
		}
	}
	// A tenant's own limit stands before it. One destination is there already.
	one.want(200, "PATCH", "/tenants/acme/settings", `{"destination_limit":2}`)
	other.want(201, "POST", "/tenants/acme/destinations", `{"id":"first","type":"echo","topics":"*"}`)
	if o := other.do("POST", "/tenants/acme/destinations", `{"type":"echo","topics":"*"}`); o.status != 422 {
		t.Errorf("a third destination: %d %s", o.status, o.raw)
	}
	b.leftAlone()
}
