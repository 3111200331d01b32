package jobs

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river/riverdriver"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// fetcher takes jobs for this process so that no tenant has more of them here than its share, while others have something to do.
type fetcher struct {
	store    *models.Store
	tenants  *tenants
	calls    [2]atomic.Int64 // by queue
	idle     [2]atomic.Bool  // by queue: the last fetch found nothing
	patience time.Duration   // for how long a fetch goes on that has some jobs
}

const (
	// asideAtOnce is how many jobs are fetched at once that were put aside: others wait meanwhile.
	asideAtOnce = 100
	// asideFirst is how often what was put aside comes first, so that it does not wait for ever while there is enough of the rest.
	asideFirst = 4
	// inLineAtOnce is how many of the first in line are taken at once, and fetchRounds how often in one fetch. With as many rounds
	// each call gets past some twenty thousand jobs of one tenant.
	inLineAtOnce = 250
	fetchRounds  = 16
	// fetchFor is the patience of a fetch. After three times as long it gives up what it has begun: its jobs are taken, and not worked
	// on before it ends. After twice lookForOrphans they would be taken for lost.
	fetchFor = lookForOrphans / 2
)

func (f *fetcher) fetch(ctx context.Context, p *riverdriver.JobGetAvailableParams) ([]queue.Fetched, error) {
	if p.Queue != queue.Deliver && p.Queue != queue.Retry {
		return queue.Fetch(ctx, f.store.Jobs, p.ClientID, p.Queue, p.MaxToLock, p.MaxAttemptedBy)
	}
	g := fetching{f, p, p.Queue == queue.Retry, time.Now(), map[int64]int{}, nil}
	idle := &f.idle[line(g.later)]
	if idle.Load() {
		if empty, err := queue.Empty(ctx, f.store.Jobs, p.Queue); err != nil || empty {
			return nil, err
		}
	}
	steps := []func(context.Context) error{g.inLine, g.aside}
	if f.calls[line(g.later)].Add(1)%asideFirst == 0 {
		steps[0], steps[1] = steps[1], steps[0]
	}
	for _, step := range steps {
		// What was fetched is this worker's: it is not given up for what could not be.
		if err := step(ctx); err != nil && len(g.out) == 0 {
			return nil, err
		}
	}
	idle.Store(len(g.out) == 0)
	f.store.Queue.ExpectNext(ctx, f.store.Jobs, p.Queue, len(g.out))
	return g.out, nil
}

// fetching is one fetch under way.
type fetching struct {
	*fetcher
	p     *riverdriver.JobGetAvailableParams
	later bool
	begun time.Time
	taken map[int64]int // of each tenant, where that is counted
	out   []queue.Fetched
}

func (g *fetching) left() int { return g.p.MaxToLock - len(g.out) }

// within bounds what is done while jobs are kept waiting that were taken.
func (g *fetching) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if len(g.out) == 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, g.begun.Add(3*g.patience))
}

// late reports whether jobs that were taken have been kept waiting for long.
func (g *fetching) late() bool { return len(g.out) > 0 && time.Since(g.begun) > g.patience }

// inLine takes those that are first in line. What a tenant has among them beyond its share is put aside.
func (g *fetching) inLine(ctx context.Context) error {
	for range fetchRounds {
		most := min(g.left(), inLineAtOnce)
		if most <= 0 || g.late() {
			return nil
		}
		soon, cancel := g.within(ctx)
		got, err := queue.Fetch(soon, g.store.Jobs, g.p.ClientID, g.p.Queue, most, g.p.MaxAttemptedBy)
		if cancel(); err != nil {
			return err
		}
		keep, beyond, of := g.sortOut(got)
		g.out = append(g.out, keep...)
		if len(beyond) == 0 {
			if len(got) < most {
				return nil
			}
			continue
		}
		if g.late() {
			g.out = append(g.out, beyond...)
			return nil
		}
		ids := make([]int64, len(beyond))
		for i, j := range beyond {
			ids[i] = j.ID
		}
		soon, cancel = g.within(ctx)
		err = g.store.Queue.PutAside(soon, g.p.ClientID, g.p.Queue, ids, of)
		if cancel(); err != nil {
			// Nobody knows whether they are. Those that are still this worker's are found by it soon (adopt).
			return err
		}
		if len(got) < most {
			return nil
		}
	}
	return nil
}

// sortOut tells the jobs for which their tenants have room from those beyond it, which belong to the tenants of.
func (g *fetching) sortOut(got []queue.Fetched) (keep, beyond []queue.Fetched, of []int64) {
	if len(g.out)+len(got) < inLineAtOnce && !g.tenants.crowded() {
		return got, nil, nil // few, as usual
	}
	now := time.Now()
	var only int64
	shared := false
	keys := make([]int64, len(got))
	for i := range got {
		keys[i] = got[i].Tenant()
		shared = shared || only != 0 && keys[i] != only
		only = keys[i]
	}
	full := map[int64]bool{}
	for i, key := range keys {
		// Who is alone here may have others behind it.
		if key == 0 || g.tenants.room(now, key, g.later, shared, maxJobs/2)-g.taken[key] > 0 {
			g.taken[key]++
			keep = append(keep, got[i])
			continue
		}
		beyond = append(beyond, got[i])
		if !full[key] {
			full[key] = true
			of = append(of, key)
		}
	}
	return keep, beyond, of
}

// aside takes jobs that were put aside, of each tenant as many as it has room for.
func (g *fetching) aside(ctx context.Context) error {
	most := min(g.left(), asideAtOnce)
	if most <= 0 || g.late() {
		return nil
	}
	ctx, cancel := g.within(ctx)
	defer cancel()
	waiting, err := g.store.Queue.Aside(ctx, g.store.Jobs, g.p.Queue)
	if err != nil || len(waiting) == 0 {
		return err
	}
	now := time.Now()
	start := int(g.calls[line(g.later)].Load()) % len(waiting)
	each := max(1, most/len(waiting))
	var tenants []int64
	var rooms []int
	for i := range waiting {
		key := waiting[(start+i)%len(waiting)]
		room := min(g.tenants.room(now, key, g.later, len(waiting) > 1, maxJobs)-g.taken[key], each, most)
		if room <= 0 {
			continue
		}
		most -= room
		tenants, rooms = append(tenants, key), append(rooms, room)
	}
	if len(tenants) == 0 {
		return nil
	}
	got, err := queue.FetchAside(ctx, g.store.Jobs, g.p.ClientID, g.p.Queue, tenants, rooms, g.p.MaxAttemptedBy)
	for i := range got {
		g.taken[got[i].Tenant()]++
	}
	g.out = append(g.out, got...)
	if len(got) == asideAtOnce {
		g.store.Queue.Wake(g.later) // for there is more
	}
	return err
}
