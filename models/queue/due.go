package queue

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// due is when the next job of each queue of deliveries is due, as far as this process knows: it has written it, or seen it when
// there was nothing else to fetch. It wakes the workers then, so that nobody has to ask the database ten times a second. What a
// process has written that is gone is found by the others when they look anyway, once a second.
type due struct {
	at      [2]atomic.Int64 // by queue, as wakers are; in unix nanoseconds, 0 for nothing
	fired   [2]atomic.Bool  // the time has come, and what is due after it has not been looked for
	changed chan struct{}
}

// line is the place of a queue of deliveries in what is kept by queue.
func line(name string) int {
	if name == Retry {
		return 1
	}
	return 0
}

// expect takes note that a job is due at a time, by this process's clock.
func (d *due) expect(i int, at time.Time) {
	for {
		known := d.at[i].Load()
		if known != 0 && at.UnixNano() >= known {
			return
		}
		if d.at[i].CompareAndSwap(known, at.UnixNano()) {
			break
		}
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// expectAny is expect for a job of which the queue is not known.
func (d *due) expectAny(at time.Time) {
	for i := range d.at {
		d.expect(i, at)
	}
}

// watchDue wakes the workers when jobs are due, until ctx ends.
func (q *Queue) watchDue(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now, wait := time.Now(), time.Hour
		for i := range q.due.at {
			at := q.due.at[i].Load()
			switch in := time.Duration(at - now.UnixNano()); {
			case at == 0:
			case in > 0:
				wait = min(wait, in)
			case q.due.at[i].CompareAndSwap(at, 0):
				q.due.fired[i].Store(true)
				q.wake[i].wake()
			default:
				wait = 0 // it was changed at this moment
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-q.due.changed:
		case <-timer.C:
		}
	}
}

// nextDue is in how many seconds the next job of a queue is due; null when there is none.
const nextDue = `select extract(epoch from min(j.scheduled_at) - now())::float8
	from (values (1::smallint), (2)) p (priority) cross join lateral (
		select scheduled_at from ` + Schema + `.river_job where state = 'available' and queue = $1 and priority = p.priority
		order by scheduled_at limit 1) j`

// whileAside is how often a process that has no room for what was put aside looks whether it has some.
const whileAside = 50 * time.Millisecond

// ExpectNext looks for when the next job of a queue is due, after this process has fetched from it: when it found none, and when
// it was woken because one was due, behind which there may be others.
func (q *Queue) ExpectNext(ctx context.Context, pool *pgxpool.Pool, name string, found int) {
	i, now := line(name), time.Now()
	if !q.due.fired[i].Swap(false) && found > 0 {
		return
	}
	if q.seen[i].Load() {
		q.due.expect(i, now.Add(whileAside))
		return
	}
	var in *float64
	if err := pool.QueryRow(ctx, nextDue, name).Scan(&in); err == nil && in != nil {
		q.due.expect(i, now.Add(time.Duration(*in*float64(time.Second))))
	}
}
