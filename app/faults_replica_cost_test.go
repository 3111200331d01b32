//go:build faults && linux

package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/bench"
)

// cpu is the processor time of a node's processes so far, also of those that have ended.
func (n *node) cpu() time.Duration { return bench.CPUBelow(n.server.Process.Pid) }

// TestFaultsReplicaCost measures what a replica takes off the primary: the processor time of its processes for the same reads, with
// and without.
func TestFaultsReplicaCost(t *testing.T) {
	r := newReplicated(t)
	filled := r.process(r.b.url())
	filled.replicaBecomes("used")
	filled.want(201, "PUT", "/tenants/acme", nil)
	filled.want(201, "POST", "/tenants/acme/destinations", `{"id":"hook","type":"echo","topics":"*"}`)
	const batches = 20
	for i := range batches {
		var b strings.Builder
		for j := range 1000 {
			fmt.Fprintf(&b, `,{"tenant_id":"acme","topic":"t%d","data":{"n":%d,"text":"%s"}}`, j%7, i*1000+j, strings.Repeat("x", 200))
		}
		filled.want(202, "POST", "/publish/batch", "["+b.String()[1:]+"]")
	}
	filled.until("all is delivered", func() bool {
		return r.ask(r.a, "select count(*) from deliveries where status = 'delivered'") == fmt.Sprint(batches*1000)
	})
	r.ask(r.a, "vacuum analyze")
	filled.caughtUp(r)
	key, primary := "DATABASE_URL="+r.a.url(), map[bool]time.Duration{}
	apps := map[bool]*testApp{}
	for _, with := range []bool{false, true} {
		env := []string{key}
		if with {
			env = append(env, "DATABASE_URL_REPLICA="+r.b.url())
		}
		apps[with] = &testApp{TB: t, base: startProcess(t, "web", env...).base, key: testKey, old: true}
	}
	apps[true].replicaBecomes("used")
	paths := []string{"/events?tenant_id=acme&limit=100", "/events?tenant_id=acme&q=n:19999", "/events?tenant_id=acme&topic=t3&status=delivered",
		"/deliveries?tenant_id=acme", "/attempts?tenant_id=acme", "/stats/overview?tenant_id=acme", "/stats/events?tenant_id=acme",
		"/stats/destinations?tenant_id=acme", "/metrics/attempts?tenant_id=acme&time[start]=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) +
			"&time[end]=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "&granularity=1m&measures=count"}
	read := func(with bool, rounds int) time.Duration {
		before := r.a.cpu()
		for range rounds {
			for _, path := range paths {
				apps[with].want(200, "GET", path, nil)
			}
		}
		return r.a.cpu() - before
	}
	read(false, 5)
	read(true, 5)
	const rounds = 40
	for i := range 6 { // in turn, so that whatever else the machine does falls on both
		with := i%2 == 1
		took := read(with, rounds)
		primary[with] += took
		t.Logf("with a replica: %-5v  %4d ms of the primary's processor time for %d reads", with, took.Milliseconds(), rounds*len(paths))
	}
	t.Logf("in all: %v without, %v with: %.0f %% are taken off the primary", primary[false], primary[true],
		100*(1-primary[true].Seconds()/primary[false].Seconds()))
	if primary[true] > primary[false]/2 {
		t.Error("the primary works for more than half as long as without a replica")
	}
}
