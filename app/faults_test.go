package app

import (
	"fmt"
	"strings"
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
