package api

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// TestBuckets has a clock of its own: what fits goes, what does not waits for just as long as it takes, and nothing that is refused
// uses anything up.
func TestBuckets(t *testing.T) {
	t.Parallel()
	var all buckets
	now := time.Now()
	at := func(seconds float64) time.Time { return now.Add(time.Duration(seconds * float64(time.Second))) }
	tenant := models.Intake{Events: 10, Bytes: 1000, Burst: 2 * time.Second}
	acme := func() *limited { return all.of("tenant", "acme", tenant, 1, now) }
	try := func(when time.Time, n amount) time.Duration {
		t.Helper()
		err := admit(nil, []*share{{x: acme(), n: n}}, when)
		if err == nil {
			return 0
		}
		if !models.IsKind(err, models.KindLimited) {
			t.Fatal(err)
		}
		return models.AsError(err).RetryAfter
	}
	for _, c := range []struct {
		about   string
		seconds float64
		n       amount
		want    time.Duration
	}{
		{"the burst", 0, amount{unitEvents: 20, unitBytes: 100}, 0},
		{"nothing is left", 0, amount{unitEvents: 1}, time.Second},
		{"eleven take a second and a tenth", 0, amount{unitEvents: 11}, 2 * time.Second},
		{"a second later there are ten", 1, amount{unitEvents: 10}, 0},
		{"and no more", 1, amount{unitEvents: 1}, time.Second},
		{"the bucket holds two seconds' worth", 100, amount{unitEvents: 21}, 0},
		{"more than it holds is made up for", 100.05, amount{unitEvents: 1}, time.Second},
		{"bytes are counted by themselves", 200, amount{unitEvents: 1, unitBytes: 2000}, 0},
		{"and hold up events", 200, amount{unitEvents: 1, unitBytes: 500}, time.Second},
		{"five times what it holds", 300, amount{unitEvents: 1, unitBytes: 10_000}, 0},
		{"waits for eight seconds until it is out of debt, and two more", 300, amount{unitEvents: 1, unitBytes: 2000}, 10 * time.Second},
		{"which are not over", 309, amount{unitEvents: 1, unitBytes: 2000}, time.Second},
		{"and now are", 310, amount{unitEvents: 1, unitBytes: 2000}, 0},
	} {
		if got := try(at(c.seconds), c.n); got != c.want {
			t.Errorf("%s: it waits %v, want %v", c.about, got, c.want)
		}
	}
	// A key and its tenant: both or none.
	key := all.of("key", "k", models.Intake{Events: 1, Burst: 5 * time.Second}, 1, now)
	for range 5 {
		if err := admit(key, []*share{{x: acme(), n: amount{unitEvents: 1}}}, at(400)); err != nil {
			t.Fatal(err)
		}
	}
	err := admit(key, []*share{{x: acme(), n: amount{unitEvents: 1}}}, at(400))
	if err == nil || !strings.Contains(err.Error(), "API key") {
		t.Errorf("the key's limit: %v", err)
	}
	if got := try(at(400), amount{unitEvents: 15}); got != 0 {
		t.Errorf("what the key refused has used up the tenant's: it waits %v", got)
	}
	// Of several tenants, those over their limit are refused, and the key pays for the others only.
	shares := []*share{{x: acme(), n: amount{unitEvents: 3}}, {n: amount{unitEvents: 5}}}
	if err := admit(key, shares, at(405)); err != nil || shares[0].err != nil || shares[1].err != nil {
		t.Errorf("eight when five are left are made up for: %v", err)
	}
	shares = []*share{{x: acme(), n: amount{unitEvents: 500}}, {n: amount{unitEvents: 5}}}
	if err := admit(nil, shares, at(405)); err != nil || shares[0].err == nil || shares[1].err != nil {
		t.Errorf("one of two tenants is over its limit: %v, %v, %v", err, shares[0].err, shares[1].err)
	}
	// A lower limit holds at once, and what was used stays used.
	tenant.Events = 1
	if got := try(at(500), amount{unitEvents: 2}); got != 0 {
		t.Errorf("a bucket of two: %v", got)
	}
	if got := try(at(500), amount{unitEvents: 1}); got != time.Second {
		t.Errorf("after that: %v", got)
	}
	all.forget(at(500))
	if got := try(at(500), amount{unitEvents: 1}); got != time.Second {
		t.Errorf("a bucket that is not full was forgotten: %v", got)
	}
	all.forget(at(1000))
	n := 0
	all.all.Range(func(_, _ any) bool { n++; return true })
	if n != 0 {
		t.Errorf("%d full buckets are remembered", n)
	}
}

// TestNoLimitCostsNothing: without limits, counting allocates nothing and takes no lock.
func TestNoLimitCostsNothing(t *testing.T) {
	a := &API{Store: &models.Store{}}
	actor := &models.Actor{TenantID: "acme"}
	ins, sizes := []*models.PublishInput{{TenantID: "acme"}}, []int{1}
	n := testing.AllocsPerRun(1000, func() {
		errs, err := a.limitBatch(nil, actor, ins, sizes)
		if a.limitRequest(nil, actor) != nil || a.limitEvent(nil, actor, "acme", 100) != nil || errs != nil || err != nil {
			t.Fatal("limited")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBucketsAtOnce: however many ask at a time, just as much is taken as there is, and nobody waits for somebody in a circle.
func TestBucketsAtOnce(t *testing.T) {
	t.Parallel()
	var all buckets
	now := time.Now()
	of := func(id string) *limited {
		return all.of("tenant", id, models.Intake{Events: 10, Burst: 30 * time.Second}, 1, now)
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 50 {
				shares := []*share{{x: of("a"), n: amount{unitEvents: 1}}, {x: of("b"), n: amount{unitEvents: 1}}}
				if admit(nil, shares, now) == nil {
					for _, s := range shares {
						if s.err == nil {
							admitted.Add(1)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 600 {
		t.Errorf("%d events went through two buckets of 300", n)
	}
}

// TestSharedBuckets: so many processes let through together what a limit says, and each of them something of a limit that is lower
// than they are many.
func TestSharedBuckets(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct{ each, processes, atOnce, inAMinute int }{{12, 3, 24, 720}, {1, 4, 4, 60}, {7, 2, 14, 420}} {
		intake := models.Intake{Requests: c.each, Burst: 2 * time.Second}
		of := make([]buckets, c.processes)
		count := func(when time.Time) (n int) {
			for i := range of {
				for admit(nil, []*share{{x: of[i].of("tenant", "acme", intake, c.processes, when), n: amount{unitRequests: 1}}}, when) == nil {
					n++
				}
			}
			return n
		}
		if n := count(now); n != c.atOnce {
			t.Errorf("%d a second in %d processes: %d at once, want %d", c.each, c.processes, n, c.atOnce)
		}
		n := 0
		for tick := 1; tick <= 600; tick++ {
			n += count(now.Add(time.Duration(tick) * 100 * time.Millisecond))
		}
		if n < c.inAMinute-c.processes || n > c.inAMinute {
			t.Errorf("%d a second in %d processes: %d in a minute, want %d", c.each, c.processes, n, c.inAMinute)
		}
		// One process is left, and has it all.
		last := of[0].of("tenant", "acme", intake, 1, now.Add(time.Hour))
		last.lets(t, now.Add(2*time.Hour), 2*c.each)
	}
}

// lets takes all that a bucket has.
func (x *limited) lets(t *testing.T, when time.Time, want int) {
	t.Helper()
	n := 0
	for admit(nil, []*share{{x: x, n: amount{unitRequests: 1}}}, when) == nil {
		n++
	}
	if n != want {
		t.Errorf("the last process lets %d through at once, want %d", n, want)
	}
}
