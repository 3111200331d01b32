package app

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// faultyDatabase is a PostgreSQL of one test's own, reached through a proxy that stays where it is while the server dies
// and comes back elsewhere.
type faultyDatabase struct {
	t      *testing.T
	opts   postgres.Options
	server *postgres.Server
	url    string // through the proxy
	target atomic.Value
	mu     sync.Mutex
	open   map[net.Conn]bool
}

func newFaultyDatabase(t *testing.T) *faultyDatabase {
	t.Helper()
	return startFaultyDatabase(t, postgres.Options{Dir: filepath.Join(openDir(t), "pg")})
}

// openDir is a directory of the test's own that the database's account can reach.
func openDir(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return dir
}

func startFaultyDatabase(t *testing.T, opts postgres.Options) *faultyDatabase {
	t.Helper()
	f := &faultyDatabase{t: t, opts: opts, open: map[net.Conn]bool{}}
	f.start()
	t.Cleanup(func() {
		f.cut()
		if err := f.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	f.url = f.way(nil)
	if err := migrations.Apply(context.Background(), f.url); err != nil {
		t.Fatal(err)
	}
	return f
}

// way opens a way to the server, and returns its URL. Nobody new is let through while it is shut; nil for never.
func (f *faultyDatabase) way(shut *atomic.Bool) string {
	f.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if shut != nil && shut.Load() {
				c.Close()
				continue
			}
			go f.pass(c)
		}
	}()
	f.t.Cleanup(func() { ln.Close() })
	u, err := url.Parse(f.server.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	u.Host = ln.Addr().String()
	return u.String()
}

func (f *faultyDatabase) start() {
	f.t.Helper()
	s, err := postgres.Start(context.Background(), f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = s
	f.target.Store(u.Host)
}

func (f *faultyDatabase) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp4", f.target.Load().(string))
	if err != nil {
		return
	}
	defer s.Close()
	f.mu.Lock()
	f.open[c], f.open[s] = true, true
	f.mu.Unlock()
	go func() { _, _ = io.Copy(s, c); s.Close() }()
	_, _ = io.Copy(c, s)
	f.mu.Lock()
	delete(f.open, c)
	delete(f.open, s)
	f.mu.Unlock()
}

// cut closes every connection to the database.
func (f *faultyDatabase) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		c.Close()
	}
}

// crash kills the server as a power cut would, and starts it again.
func (f *faultyDatabase) crash() {
	f.t.Helper()
	// Stopped first, it starts no process that would escape, and then wait for ever for a lock of one that is dead.
	_ = syscall.Kill(f.server.Pid(), syscall.SIGSTOP)
	f.signal(syscall.SIGKILL)
	<-f.server.Done()
	f.start()
}

// signal sends a signal to the server and all its processes.
func (f *faultyDatabase) signal(sig syscall.Signal) {
	for _, pid := range f.processes() {
		_ = syscall.Kill(pid, sig)
	}
}

func (f *faultyDatabase) processes() []int {
	pids := []int{f.server.Pid()}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s := bench.ProcStat(pid); len(s) > 1 && s[1] == strconv.Itoa(f.server.Pid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestDatabaseFaults cuts the connections, stops PostgreSQL for a while and kills it, under load. Nothing that was answered
// with 202 is lost, nothing stays in a state that nobody touches again, and the workers, who live through all of it, still
// know what they have sent.
func TestDatabaseFaults(t *testing.T) {
	t.Parallel()
	f := newFaultyDatabase(t)
	db := "DATABASE_URL=" + f.url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	startProcess(t, "work", db)
	startProcess(t, "work", db)
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 8)
	a := &testApp{TB: t, base: web.base, key: testKey}
	l.await(func() bool {
		_, received, _ := l.count()
		return received > 0 && a.do("GET", "/healthz", nil).workers() == 2
	})
	more := func(n int) {
		before, _, _ := l.count()
		l.await(func() bool { now, _, _ := l.count(); return now > before+n })
	}
	for _, fault := range []struct {
		name string
		do   func()
	}{
		{"connections cut", f.cut},
		{"connections cut again", f.cut},
		{"server stopped for 6 s", func() {
			f.signal(syscall.SIGSTOP)
			<-time.After(6 * time.Second)
			f.signal(syscall.SIGCONT)
		}},
		{"server killed", f.crash},
		{"connections cut after the crash", f.cut},
		{"server killed again", f.crash},
	} {
		more(80)
		at := time.Now()
		fault.do()
		more(1)
		t.Logf("%s: accepting again after %v", fault.name, time.Since(at).Round(time.Millisecond))
	}
	more(50)
	stop()
	publishers.Wait()
	t.Logf("settled %v after the last publish", l.finish(f.url))
	wellAgain(t, map[string]string{"DATABASE_URL": f.url})
	l.reckon(f.url, underWay) // the workers live on, and know what they have sent
}

// TestSlowToReturn cuts two workers off, of which one takes two seconds longer to come back. The other one does not take over what it has
// under way: that it is silent says nothing after a fault that both have seen.
func TestSlowToReturn(t *testing.T) {
	t.Parallel()
	f := newFaultyDatabase(t)
	var shut atomic.Bool
	l := newLedger(t)
	web := startProcess(t, "web", "DATABASE_URL="+f.url)
	l.setUp(web.base)
	a := &testApp{TB: t, base: web.base, key: testKey}
	workers := func(n int) {
		t.Helper()
		l.await(func() bool { return a.do("GET", "/healthz", nil).workers() == n })
	}
	startProcess(t, "work", "DATABASE_URL="+f.way(&shut))
	workers(1)
	hold := make(chan struct{})
	l.hold.Store(hold)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"one","data":{}}`)
	l.await(func() bool { return l.received("one") == 1 })
	startProcess(t, "work", "DATABASE_URL="+f.url)
	workers(2)
	<-time.After(3 * time.Second) // the other one may take over by now
	shut.Store(true)
	f.cut()
	<-time.After(1800 * time.Millisecond) // longer than the dead are silent
	shut.Store(false)
	db := modelstest.Connect(t, f.url)
	l.await(func() bool { // it has its lock again
		var held int
		if err := db.QueryRow(t.Context(), `select count(*) from processes p join pg_locks l on l.objid = p.lock_key::oid
			where p.role = 'work' and l.locktype = 'advisory' and l.granted and p.seen_at > now() - interval '1 second'`).Scan(&held); err != nil {
			t.Fatal(err)
		}
		return held == 2
	})
	close(hold)
	l.accept("one")
	l.settle(web.base)
	if n := l.received("one"); n != 1 {
		t.Errorf("sent %d times", n)
	}
}
