//go:build faults

package app

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"
)

// killFor is how long processes are killed.
func killFor(t *testing.T) time.Duration {
	if v := os.Getenv("FAULTS_KILL_FOR"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return 3 * time.Minute
}

// TestFaultsKilled kills web, a worker, both, all workers at once and PostgreSQL, again and again for three minutes under
// load.
func TestFaultsKilled(t *testing.T) {
	f := newFaultyDatabase(t)
	db := "DATABASE_URL=" + f.url
	l := newLedger(t)
	l.pause = 10 * time.Millisecond
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	l.setUpMore(web.base)
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 6)
	killWeb := func() {
		web.kill()
		web = startProcess(t, "web", db)
		l.base.Store(web.base)
	}
	killWorker := func() {
		workers[0].kill()
		workers = append(workers[1:], startProcess(t, "work", db))
	}
	// supervise does as platforms do: a worker that ended, for the database was not there when it started, is started again.
	supervise := func() {
		for i, w := range workers {
			select {
			case <-w.gone:
				workers[i] = startProcess(t, "work", db)
			default:
			}
		}
	}
	faults := []struct {
		name   string
		do     func()
		hit    int // workers whose work is interrupted
		times  int
		slowly time.Duration // the longest until an event goes through again
	}{
		{name: "web", do: killWeb},
		{name: "worker", do: killWorker, hit: 1},
		{name: "web and worker", do: func() { workers[0].kill(); killWeb(); workers = append(workers[1:], startProcess(t, "work", db)) },
			hit: 1},
		{name: "all workers", do: func() { workers[0].kill(); killWorker(); killWorker() }, hit: 2},
		{name: "postgres", do: f.crash, hit: 2},
	}
	hits := 0
	for deadline := time.Now().Add(killFor(t)); time.Now().Before(deadline) && !t.Failed(); {
		fault := &faults[rand.IntN(len(faults))]
		at := time.Now()
		fault.do()
		fault.times++
		hits += fault.hit
		accepted, received, _ := l.count()
		l.await(func() bool { supervise(); a, r, _ := l.count(); return a > accepted+100 && r > received+100 })
		fault.slowly = max(fault.slowly, time.Since(at))
	}
	stop()
	publishers.Wait()
	for _, fault := range faults {
		t.Logf("killed %s %d times; a hundred more were accepted and had arrived after %v at most", fault.name, fault.times,
			fault.slowly.Round(time.Millisecond))
	}
	t.Logf("settled %v after the last publish", l.finish(f.url).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": f.url})
	l.reckon(f.url, hits*2*underWay) // two destinations answer
}

// setUpMore adds a destination that is disabled and one that refuses everything, so that deliveries end in every way.
func (l *ledger) setUpMore(base string) {
	l.t.Helper()
	a := &testApp{TB: l.t, base: base, key: testKey, old: l.old}
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "off", "type": "webhook", "topics": "*",
		"config": map[string]string{"url": l.srv.URL + "/off"}})
	a.want(200, "PUT", "/tenants/acme/destinations/off/disable", nil)
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": "bad", "type": "webhook", "topics": "*",
		"config": map[string]string{"url": l.srv.URL + "/bad"}})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected["off"], l.expected["bad"] = "held", "failed"
	l.refuse = func(path, _ string, _ int) int {
		if path == "/bad" {
			return http.StatusBadRequest
		}
		return http.StatusOK
	}
}
