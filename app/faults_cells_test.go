//go:build faults && linux

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/models"
)

// clusters are home and cells, each a PostgreSQL of its own, with a server over all of them.
type clusters struct {
	*testing.T
	nodes map[string]*node // by cell
	env   map[string]string
	serve *process
}

// startClusters starts them. The cells are added by the command while the server runs, as operators do.
func startClusters(t *testing.T, cells ...string) *clusters {
	t.Helper()
	c := &clusters{T: t, nodes: map[string]*node{}}
	for _, name := range append([]string{models.HomeCell}, cells...) {
		c.nodes[name] = newNode(t, name, "127.0.0.1")
		c.nodes[name].create()
	}
	url := c.nodes[models.HomeCell].url()
	c.env = map[string]string{"DATABASE_URL": url, "SECRET_KEY": "a secret for tests that is long enough"}
	c.serve = startProcess(t, "serve", "DATABASE_URL="+url)
	for _, name := range cells {
		c.command("add", name, c.nodes[name].url())
	}
	a := &celled{testApp: &testApp{TB: t, base: c.serve.base, key: testKey}}
	for _, name := range cells {
		a.eventually("/cells", func(o answer) bool { return a.reachable(o, name) })
	}
	return c
}

// command runs `waybill cells`, and returns what it said.
func (c *clusters) command(args ...string) string {
	c.Helper()
	var out strings.Builder
	if err := cellsCommand(c.Context(), args, func(name string) string { return c.env[name] }, strings.NewReader(""), &out); err != nil {
		c.Fatalf("waybill cells %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

// ledger is one for a tenant in a cell, with its destination.
func (c *clusters) ledger(tenant, cell string, more map[string]any) *ledger {
	c.Helper()
	a := &testApp{TB: c.T, base: c.serve.base, key: testKey}
	a.want(201, "PUT", "/tenants/"+tenant, map[string]any{"cell": cell})
	l := newLedger(c.T)
	l.tenant = tenant
	l.setUpHook(a, more)
	l.base.Store(c.serve.base)
	return l
}

// used is the processor time that a process has used so far.
func (p *process) used() time.Duration { return bench.CPUBelow(p.cmd.Process.Pid) }

// answered is what publishers of a tenant were told during a part of a drill.
type answered struct {
	status map[int]int
	took   map[int][]time.Duration
}

// hearing collects what publishers are told.
type hearing struct {
	mu  sync.Mutex
	now answered
}

func hear(l *ledger) *hearing {
	h := &hearing{}
	h.next()
	l.heard = func(status int, took time.Duration) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.now.status[status]++
		h.now.took[status] = append(h.now.took[status], took)
	}
	return h
}

// next ends a part of the drill, and returns what was heard in it.
func (h *hearing) next() answered {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.now
	h.now = answered{map[int]int{}, map[int][]time.Duration{}}
	return was
}

// within is the time within which such a part of the answers with a status came.
func (a *answered) within(status int, part float64) time.Duration {
	took := a.took[status]
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[int(part*float64(len(took)-1))].Round(100 * time.Microsecond)
}

// faultsNumber is how many of something a drill has.
func faultsNumber(t *testing.T, name string, without int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return without
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// faultsFor is how long a part of a drill lasts.
func faultsFor(t *testing.T, name string, without time.Duration) time.Duration {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return without
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cellBackWithin is how soon after its PostgreSQL takes connections a cell's tenants must be accepted again.
const cellBackWithin = 10 * time.Second

// TestFaultsCells kills the PostgreSQL of one of two cells under load, for FAULTS_CELLS_DOWN (a minute). Its tenants are told to come
// back and those of other cells notice nothing; once it is back its tenants go on, and all that was accepted is delivered.
func TestFaultsCells(t *testing.T) {
	down, calm := faultsFor(t, "FAULTS_CELLS_DOWN", time.Minute), faultsFor(t, "FAULTS_CELLS_CALM", 20*time.Second)
	c := startClusters(t, "eu1", "eu2")
	const dead = "eu2"
	cells := []string{models.HomeCell, "eu1", dead}
	ledgers, heard := map[string]*ledger{}, map[string]*hearing{}
	ctx, stop := context.WithCancel(t.Context())
	var publishers []*sync.WaitGroup
	for _, cell := range cells {
		l := c.ledger("in-"+cell, cell, nil)
		l.pause = 40 * time.Millisecond
		ledgers[cell], heard[cell] = l, hear(l)
		publishers = append(publishers, l.publish(ctx, 4))
	}
	for _, l := range ledgers {
		l.more(20)
	}
	used, since := c.serve.used(), time.Now()
	part := func(name string, cells ...string) map[string]answered {
		parts := map[string]answered{}
		t.Logf("%-6s for %v, in which the server used %v of processor time", name, time.Since(since).Round(100*time.Millisecond),
			c.serve.used()-used)
		used, since = c.serve.used(), time.Now()
		for _, cell := range cells {
			a := heard[cell].next()
			parts[cell] = a
			t.Logf("%-6s %-4s %5d accepted, p50 %v, p99 %v, at most %v; answers: %v", name, cell, a.status[202], a.within(202, .5),
				a.within(202, .99), a.within(202, 1), a.status)
		}
		return parts
	}
	part("start", cells...) // the first answers are of a server that has just started
	<-time.After(calm)
	before := part("before", cells...)
	c.nodes[dead].crash()
	<-time.After(down)
	during := part("during", cells...)
	accepted, _, _ := ledgers[dead].count()
	began := time.Now()
	c.nodes[dead].start()
	up := time.Now()
	ledgers[dead].await(func() bool { n, _, _ := ledgers[dead].count(); return n > accepted })
	back := time.Since(up)
	t.Logf("%s: its PostgreSQL takes connections %v after it was started, and an event was accepted %v later", dead,
		up.Sub(began).Round(time.Millisecond), back.Round(time.Millisecond))
	if back > cellBackWithin {
		t.Errorf("no event was accepted for %v", back)
	}
	part("back", cells...)
	ledgers[dead].more(50)
	t.Logf("%s: fifty more had arrived after %v", dead, time.Since(up).Round(time.Millisecond))
	<-time.After(calm)
	after := part("after", cells...)
	stop()
	for _, wg := range publishers {
		wg.Wait()
	}
	for _, cell := range cells {
		t.Logf("%s settled after %v", cell, ledgers[cell].finish(c.nodes[cell].url()).Round(time.Millisecond))
		ledgers[cell].reckon(c.nodes[cell].url(), underWay) // the worker lives on, and knows what it has sent
	}
	for name, parts := range map[string]map[string]answered{"before": before, "during": during, "after": after} {
		for cell, a := range parts {
			if cell == dead && name == "during" {
				continue
			}
			if a.status[202] == 0 || len(a.status) != 1 {
				t.Errorf("%s, publishers to tenants of %s were told %v", name, cell, a.status)
			}
		}
	}
	// At the moment it dies some may hear of it late, or of the connection that broke.
	if a := during[dead]; a.status[503] == 0 || len(a.status) > 2 || a.status[202] > 20 {
		t.Errorf("while it was away, publishers to tenants of %s were told %v", dead, a.status)
	} else {
		t.Logf("%s: told to come back within p50 %v, p99 %v, at most %v", dead, a.within(503, .5), a.within(503, .99), a.within(503, 1))
	}
	if c.serve.ended() {
		t.Error("the server has ended")
	}
}

// TestFaultsCellsMove moves a tenant with FAULTS_CELLS_EVENTS (10,000) events between the PostgreSQL of home and that of a cell, there and
// back, while it is published to and delivers in order: none is lost, none arrives twice that was not under way, and the order stays.
func TestFaultsCellsMove(t *testing.T) {
	c := startClusters(t, "eu1")
	l := c.ledger("acme", models.HomeCell, map[string]any{"ordered": true})
	last, disorder := map[int]int{}, 0
	l.refuse = func(_, id string, n int) int {
		var key, number int
		if _, err := fmt.Sscanf(id, "e-%d-%d", &key, &number); err == nil && n == 1 {
			if number < last[key] {
				disorder++
			}
			last[key] = number
		}
		return 200
	}
	c.fill(l, faultsNumber(t, "FAULTS_CELLS_EVENTS", 10_000))
	h := hear(l)
	l.ordered, l.pause = true, 40*time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 8)
	l.more(200)
	cut := 0
	tell := func(name string) {
		a := h.next()
		t.Logf("%s: %d accepted, p50 %v, p99 %v, at most %v", name, a.status[202], a.within(202, .5), a.within(202, .99), a.within(202, 1))
		if len(a.status) != 1 || a.status[202] == 0 {
			t.Errorf("%s, publishers were told %v", name, a.status)
		}
	}
	tell("before")
	for _, way := range [][2]string{{models.HomeCell, "eu1"}, {"eu1", models.HomeCell}} {
		began := time.Now()
		c.command("move", "acme", way[1])
		took := time.Since(began)
		text, err := c.nodes[models.HomeCell].query("waybill", "select progress from tenant_moves where phase = 'done' order by id desc limit 1")
		if err != nil {
			t.Fatal(err)
		}
		var p models.MoveProgress
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		cut += p.Running
		t.Logf("to %s in %v: %d events and %d rows copied, held for %d ms at the %d. try, %d jobs moved, %d of them under way", way[1],
			took.Round(time.Millisecond), p.Events, p.Rows, p.HeldMs, p.Tries, p.MovedJob, p.Running)
		tell("to " + way[1])
		l.more(200)
		for _, table := range []string{"events", "deliveries", "attempts"} {
			left, err := c.nodes[way[0]].query("waybill", "select count(*) from "+table+
				" where tenant_key = (select key from tenants where id = 'acme')")
			if err != nil || left != "0" {
				t.Errorf("%s of %s are left in %s: %v", left, table, way[0], err)
			}
		}
	}
	tell("after")
	stop()
	publishers.Wait()
	home := c.nodes[models.HomeCell].url()
	t.Logf("settled after %v", l.finish(home).Round(time.Millisecond))
	l.reckon(home, cut*50) // a job carries up to fifty of a destination
	_, _, twice := l.count()
	t.Logf("%d arrived twice, %d jobs were under way at the switches, %d arrived out of order", twice, cut, disorder)
	if disorder > 0 {
		t.Errorf("%d arrived out of order", disorder)
	}
}

// fill has the tenant publish events in batches, and waits until they have arrived.
func (c *clusters) fill(l *ledger, n int) {
	c.Helper()
	a := &testApp{TB: c.T, base: c.serve.base, key: testKey}
	for i := 0; i < n; i += 500 {
		var lines []map[string]any
		for k := i; k < min(i+500, n); k++ {
			id := fmt.Sprint("old-", k)
			lines = append(lines, map[string]any{"tenant_id": l.tenant, "id": id, "data": map[string]any{"n": k, "pad": strings.Repeat("x", 300)}})
			l.accept(id)
		}
		a.want(202, "POST", "/publish/batch", lines)
	}
	l.await(func() bool { accepted, received, _ := l.count(); return received == accepted })
}
