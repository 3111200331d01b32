//go:build faults

package app

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// line is a line to PostgreSQL that can fall silent without a word, as one does whose packets are dropped on their way: nothing is
// refused and nothing closed.
type line struct {
	target  string
	out, in lossyLine // to PostgreSQL, and from it
	mu      sync.Mutex
	open    map[*call]bool
	kept    []net.Conn // ends at PostgreSQL of what was forgotten
}

// call is one connection through a line.
type call struct {
	client, server *net.TCPConn
	forgotten      atomic.Bool
}

// lossyLine lets through what goes one way, or holds it, or loses it.
type lossyLine struct {
	mu    sync.Mutex
	shut  chan struct{} // closed when it opens again; nil while it is open
	loses atomic.Bool
}

func (g *lossyLine) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *lossyLine) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
	}
	g.shut = nil
}

func (g *lossyLine) wait() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// newLine leads a line to the database at an address, and returns the address through it.
func newLine(t *testing.T, to string) (*line, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{target: u.Host, open: map[*call]bool{}}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go l.carry(c.(*net.TCPConn))
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		l.hangUp()
		for _, c := range l.kept {
			c.Close()
		}
	})
	u.Host = ln.Addr().String()
	return l, u.String()
}

func (l *line) carry(client *net.TCPConn) {
	l.out.wait()
	conn, err := net.Dial("tcp4", l.target)
	if err != nil {
		client.Close()
		return
	}
	c := &call{client: client, server: conn.(*net.TCPConn)}
	l.mu.Lock()
	l.open[c] = true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.pass(c.server, c.client, &l.out) })
	both.Go(func() { c.pass(c.client, c.server, &l.in) })
	both.Wait()
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	client.Close()
	if !c.forgotten.Load() {
		conn.Close()
	}
}

func (c *call) pass(to, from *net.TCPConn, g *lossyLine) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		g.wait()
		if c.forgotten.Load() {
			return
		}
		if n > 0 && !g.loses.Load() {
			if _, werr := to.Write(b[:n]); werr != nil && err == nil {
				err = werr
			}
		}
		if err != nil {
			_ = to.CloseWrite()
			return
		}
	}
}

// hangUp closes all that goes over the line.
func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.client.Close()
		c.server.Close()
	}
}

// forget ends all that goes over the line without a word to PostgreSQL, as a firewall does that has lost its memory.
func (l *line) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.forgotten.Store(true)
		l.kept = append(l.kept, c.server)
		_ = c.client.SetLinger(0)
		c.client.Close()
		_ = c.server.SetReadDeadline(time.Now())
	}
}

// answerWithin is how long a publisher waits for an answer at most: the API's own limit of a request, and a busy machine's second.
const answerWithin = 31 * time.Second

// TestFaultsSilent has the line to PostgreSQL fall silent under load, in three ways in which nothing is refused and nothing closed.
// Publishers are told to come back, in time; nothing that was accepted is lost; and when the line is whole again, all goes on.
func TestFaultsSilent(t *testing.T) {
	f := startFaultyDatabase(t, postgres.Options{Dir: filepath.Join(openDir(t), "pg")})
	way, through := newLine(t, f.server.URL)
	db := "DATABASE_URL=" + through
	l := newLedger(t)
	l.pause = 20 * time.Millisecond
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 16)
	a := &testApp{TB: t, base: web.base, key: testKey}
	began := time.Now()
	l.more(500)
	t.Logf("%d events a second are accepted and delivered", int(500/time.Since(began).Seconds()))

	for _, fault := range []struct {
		name         string
		break_, heal func()
	}{
		{"PostgreSQL does not learn that connections are gone", func() { way.out.hold(); way.in.hold() },
			func() { way.forget(); way.out.release(); way.in.release() }},
		{"silent in both directions", func() { way.out.hold(); way.in.hold() }, func() { way.out.release(); way.in.release() }},
		{"PostgreSQL's answers are lost", func() { way.in.loses.Store(true) }, func() { way.hangUp(); way.in.loses.Store(false) }},
		{"PostgreSQL's answers come late", way.in.hold, way.in.release},
		{"PostgreSQL is stopped", func() { f.signal(syscall.SIGSTOP) }, func() { f.signal(syscall.SIGCONT) }},
	} {
		l.slowest.Store(0)
		refused, kept := l.answered(503), 0
		at := time.Now()
		fault.break_()
		l.await(func() bool { return l.answered(503) > refused })
		told := time.Since(at)
		kept, _, _ = l.count()
		a.readyBecomes(503)
		l.await(func() bool { return l.answered(503) > refused+3*16 })
		silent := time.Since(at)
		if now, _, _ := l.count(); now > kept {
			t.Errorf("%s: %d events were accepted meanwhile", fault.name, now-kept)
		}
		at = time.Now()
		fault.heal()
		l.await(func() bool { now, _, _ := l.count(); return now > kept })
		first := time.Since(at)
		l.await(func() bool { now, _, _ := l.count(); return now > kept+100 })
		hundred := time.Since(at)
		a.readyBecomes(200)
		l.more(300)
		delivered := time.Since(at)
		slowest := time.Duration(l.slowest.Load())
		t.Logf("%s for %v: first 503 after %v, %d in all, the longest answer took %v; healed: "+
			"accepting again after %v, a hundred after %v, three hundred delivered after %v",
			fault.name, silent.Round(time.Millisecond), told.Round(time.Millisecond), l.answered(503)-refused,
			slowest.Round(time.Millisecond), first.Round(time.Millisecond), hundred.Round(time.Millisecond), delivered.Round(time.Millisecond))
		if slowest > answerWithin {
			t.Errorf("%s: a publisher waited %v for an answer", fault.name, slowest)
		}
		if first > 5*time.Second {
			t.Errorf("%s: no event was accepted for %v after it was whole again", fault.name, first)
		}
	}
	stop()
	publishers.Wait()
	t.Logf("settled %v after the last publish", l.finish(f.url).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": through})
	l.reckon(f.url, underWay)
	for _, p := range append(workers, web) {
		if p.ended() {
			t.Error("a process has ended")
		}
	}
}
