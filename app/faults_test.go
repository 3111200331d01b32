package app

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestPausedWorker stops a worker in the middle of an attempt for longer than its lease. Another one makes the attempt,
// and when the first one goes on it neither sends nor records what is not its own any more.
func TestPausedWorker(t *testing.T) {
	t.Parallel()
	db := "DATABASE_URL=" + modelstest.DB(t)
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	a := &testApp{TB: t, base: web.base, key: testKey}
	paused := startProcess(t, "work", db)
	hold := make(chan struct{})
	l.hold.Store(hold)
	for i := range 30 { // more than may be under way at once
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"e-%d","data":{}}`, i))
	}
	received := func() (n int) {
		for i := range 30 {
			n += l.received(fmt.Sprint("e-", i))
		}
		return n
	}
	l.await(func() bool { return received() >= 20 })
	if err := paused.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	l.hold.Store(open)
	startProcess(t, "work", db)
	l.await(func() bool { return l.open(web.base) == 0 })
	before := received()
	close(hold)
	if err := paused.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// It notices, starts anew, and delivers again.
	l.await(func() bool { return a.do("GET", "/healthz", nil).workers() == 2 })
	for i := range 20 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":"after-%d","data":{}}`, i))
	}
	l.await(func() bool { return l.open(web.base) == 0 && l.received("after-19") > 0 })
	if again := received() - before; again > 0 {
		t.Errorf("%d events were sent by a worker whose work others had taken over", again)
	}
	attempts := a.want(200, "GET", "/attempts?limit=1000&tenant_id=acme", nil)
	if n := strings.Count(attempts.raw, `"attempt_number"`); n != 50 {
		t.Errorf("%d attempts are recorded of 50 deliveries", n)
	}
}

// TestTakeoverByTwo kills a worker in the middle of its attempts and starts two others at once, which both look for dead
// processes when they start. Every delivery that was under way is made once more and no more, the others once.
func TestTakeoverByTwo(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	db := "DATABASE_URL=" + url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	a := &testApp{TB: t, base: web.base, key: testKey}
	dead := startProcess(t, "work", db)
	hold := make(chan struct{})
	l.hold.Store(hold)
	const events = 100
	for i := range events {
		id := fmt.Sprint("e-", i)
		a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"`+id+`","data":{}}`)
		l.accepted[id] = true
	}
	l.await(func() bool { _, received, _ := l.count(); return received >= 20 })
	dead.kill()
	_, before, _ := l.count()
	open := make(chan struct{})
	close(open)
	l.hold.Store(open)
	var started sync.WaitGroup
	for range 2 {
		started.Go(func() { startProcess(t, "work", db) })
	}
	started.Wait()
	l.settle(web.base)
	close(hold)
	if _, received, twice := l.count(); received != events || twice != before {
		t.Errorf("%d of %d arrived, %d more than once; %d were under way", received, events, twice, before)
	}
	for i := range events {
		if n := l.received(fmt.Sprint("e-", i)); n > 2 {
			t.Errorf("event %d arrived %d times", i, n)
		}
	}
	attempts := a.want(200, "GET", "/attempts?limit=1000&tenant_id=acme", nil)
	if n := strings.Count(attempts.raw, `"attempt_number"`); n != events {
		t.Errorf("%d attempts are recorded of %d deliveries", n, events)
	}
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	l.reckon(url, before)
}
