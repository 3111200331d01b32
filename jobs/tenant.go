package jobs

import (
	"context"
	"sync"
	"time"
)

// tenants share this process's places. While only one has something to do it may take all; as soon as another one has, each has a
// part that leaves the others their places and the processor. Within it, its destinations share by their lanes.
type tenants struct {
	places int // attempts of a tenant under way at once, while others have something to do
	mu     sync.Mutex
	m      map[int64]*tenant
	held   int      // jobs of all tenants
	last   lastSeen // whose job was begun last
	other  lastSeen // and that of another tenant before
}

type lastSeen struct {
	tenant int64
	at     time.Time
}

// tenant is what this process does for one tenant. Its fields are those of the lock of tenants.
type tenant struct {
	all      *tenants
	key      int64
	jobs     [2]int // that this process has taken: of first attempts, of later ones
	slow     [2]int // of those, jobs whose attempt takes long
	inFlight int    // places taken; what takes long has none
	waiting  []chan struct{}
}

const (
	// tenantShare is the part of the process's attempts and jobs that one tenant has while others have something to do.
	tenantShare = 8
	// othersWithin is for how long a tenant counts as having something to do after a job of its has begun.
	othersWithin = time.Second
)

// enter counts a job of a tenant and returns the tenant; nil for one that is not known.
func (ts *tenants) enter(now time.Time, key int64, later bool) *tenant {
	if key == 0 {
		return nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.m[key]
	if t == nil {
		if ts.m == nil {
			ts.m = map[int64]*tenant{}
		}
		t = &tenant{all: ts, key: key}
		ts.m[key] = t
	}
	if ts.last.tenant != key {
		ts.other, ts.last.tenant = ts.last, key
	}
	ts.last.at = now
	t.jobs[line(later)]++
	ts.held++
	return t
}

// leave ends what enter began.
func (t *tenant) leave(later bool) {
	if t == nil {
		return
	}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.held--
	if t.jobs[line(later)]--; t.jobs == [2]int{} {
		delete(t.all.m, t.key)
	}
}

// line is the place of first or later attempts in what is counted by queue.
func line(later bool) int {
	if later {
		return 1
	}
	return 0
}

// shared reports whether others than the tenant have something to do. The lock is held.
func (ts *tenants) shared(key int64, now time.Time) bool {
	others := ts.last
	if others.tenant == key {
		others = ts.other
	}
	return others.tenant != 0 && now.Sub(others.at) < othersWithin
}

// room is how many more jobs of a tenant this process takes: up to most in all while it is alone, and its share otherwise.
func (ts *tenants) room(now time.Time, key int64, later, shared bool, most int) int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	i := line(later)
	share := most
	if shared || ts.shared(key, now) {
		share = min(most, maxJobs/tenantShare>>i)
	}
	if t := ts.m[key]; t != nil {
		share -= t.jobs[i] - t.slow[i]
	}
	return max(share, 0)
}

// crowded reports whether this process holds so many jobs that a tenant may have its share of them.
func (ts *tenants) crowded() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.held > maxJobs/tenantShare>>1
}

// full reports whether the tenant has all its places. The lock is held.
func (t *tenant) full() bool { return t.inFlight >= t.all.places && t.all.shared(t.key, time.Now()) }

// place is one of a tenant's places, for one attempt after the other.
type place struct {
	t      *tenant // nil for one that is not known, which has all the places it wants
	line   int     // of the job that has it, -1 for those who help with it
	timer  *time.Timer
	trying bool // an attempt is under way
	lent   bool // it takes long, and the place is somebody else's meanwhile
}

// acquire waits for a place.
func (t *tenant) acquire(ctx context.Context, later bool) (*place, error) {
	p := &place{t: t, line: line(later)}
	return p, p.wait(ctx)
}

// tryAcquire takes a place if one is free and nobody waits for it.
func (t *tenant) tryAcquire() (*place, bool) {
	p := &place{t: t, line: -1}
	if t == nil {
		return p, true
	}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if len(t.waiting) > 0 || t.full() {
		return nil, false
	}
	t.inFlight++
	return p, true
}

func (p *place) wait(ctx context.Context) error {
	t := p.t
	if t == nil {
		return nil
	}
	t.all.mu.Lock()
	if len(t.waiting) == 0 && !t.full() {
		t.inFlight++
		t.all.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	t.waiting = append(t.waiting, c)
	t.wakeNext() // others may have become idle
	t.all.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
	}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	for i, w := range t.waiting {
		if w == c {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	t.inFlight-- // it was given meanwhile
	t.wakeNext()
	return ctx.Err()
}

// wakeNext gives free places to those who wait. The lock is held.
func (t *tenant) wakeNext() {
	for len(t.waiting) > 0 && !t.full() {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
		t.inFlight++
	}
}

func (p *place) release() {
	t := p.t
	if t == nil {
		return
	}
	t.all.mu.Lock()
	t.inFlight--
	t.wakeNext()
	t.all.mu.Unlock()
}

// spare reports whether the tenant has taken more places than it may: others have come.
func (p *place) spare() bool {
	if p.t == nil {
		return false
	}
	p.t.all.mu.Lock()
	defer p.t.all.mu.Unlock()
	return p.t.inFlight > p.t.all.places && p.t.full()
}

// try takes note that an attempt begins. From when it takes long it needs no place.
func (p *place) try() {
	if p.t == nil {
		return
	}
	p.t.all.mu.Lock()
	p.trying = true
	p.t.all.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(slowAttempt, p.lend)
	} else {
		p.timer.Reset(slowAttempt)
	}
}

func (p *place) lend() {
	t := p.t
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if !p.trying || p.lent {
		return
	}
	p.lent = true
	p.count(-1)
	t.wakeNext()
}

// count takes the place back, with 1, or gives it away, with -1. The lock is held.
func (p *place) count(n int) {
	p.t.inFlight += n
	if p.line >= 0 {
		p.t.slow[p.line] -= n
	}
}

// tried takes note that the attempt has ended.
func (p *place) tried() {
	if p.t == nil {
		return
	}
	p.timer.Stop()
	p.t.all.mu.Lock()
	defer p.t.all.mu.Unlock()
	p.trying = false
	if p.lent {
		p.lent = false
		p.count(1)
	}
}
