package models

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Following is what a caller waits for: an event with all its deliveries, one of them, a bulk retry, or changes in the feed.
type Following struct {
	Event       uuid.UUID
	Destination int64 // of one delivery of the event; 0 for all
	Retry       uuid.UUID
	Feed        bool  // changes
	Tenant      int64 // only those that this tenant sees; 0 for all
}

// FollowFeed is to wait for changes that the scope sees.
func FollowFeed(scope Scope) Following { return Following{Feed: true, Tenant: scope.key} }

// Limits of waiting.
const (
	maxFollowed    = 10_000                 // subscriptions of a process; past it nobody waits any longer
	firstLook      = 5 * time.Millisecond   // between the first looks at something, and after it has changed
	longestLook    = 200 * time.Millisecond // while nothing happens
	followTimeout  = 10 * time.Second       // of one look
	lookTogether   = 4                      // those that are due within this part of their pause are looked at now
	followDeadline = time.Hour              // of the timer while nobody waits
)

// Follower tells callers of this process when what they wait for changes. However many there are, one goroutine looks for
// all of them, with one connection for the time of a query. It asks rather than listens: a NOTIFY for each outcome would
// make the transactions that record them commit one at a time.
type Follower struct {
	s   *Store
	log *slog.Logger

	mu   sync.Mutex
	subs map[*Subscription]struct{}
	kick chan struct{}
	ctx  context.Context // ends when nobody shall wait any longer
	stop context.CancelFunc
	runs sync.WaitGroup
}

// Subscription is one caller's interest. Changed gets a value once after the first look, so that what the caller has read
// before is read again, and after every change.
type Subscription struct {
	Changed chan struct{}

	f     *Follower
	what  Following
	known bool
	seen  string
	pause time.Duration
	due   time.Time
}

// NewFollower starts a follower. It does nothing while nobody waits.
func NewFollower(s *Store, log *slog.Logger) *Follower {
	f := &Follower{s: s, log: log, subs: map[*Subscription]struct{}{}, kick: make(chan struct{}, 1)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.runs.Go(f.run)
	return f
}

// Stop ends the follower. Whoever waits sees Done.
func (f *Follower) Stop() { f.stop() }

// Close is Stop, and waits for the look under way.
func (f *Follower) Close() {
	f.Stop()
	f.runs.Wait()
}

// Done is closed when nobody shall wait any longer, because the process stops.
func (f *Follower) Done() <-chan struct{} { return f.ctx.Done() }

// Follow begins to look at something. It returns nil when as many callers wait as the process has room for.
func (f *Follower) Follow(what Following) *Subscription {
	sub := &Subscription{Changed: make(chan struct{}, 1), f: f, what: what, pause: firstLook, due: time.Now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) >= maxFollowed {
		return nil
	}
	f.subs[sub] = struct{}{}
	if !what.Feed {
		f.s.awaited.Add(1)
	}
	select {
	case f.kick <- struct{}{}:
	default:
	}
	return sub
}

// End ends the interest.
func (sub *Subscription) End() {
	sub.f.mu.Lock()
	defer sub.f.mu.Unlock()
	if _, has := sub.f.subs[sub]; has && !sub.what.Feed {
		sub.f.s.awaited.Add(-1)
	}
	delete(sub.f.subs, sub)
}

// Waiting is how many callers wait.
func (f *Follower) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs)
}

func (f *Follower) run() {
	timer := time.NewTimer(followDeadline)
	defer timer.Stop()
	for {
		due, next := f.due(time.Now())
		if len(due) > 0 {
			f.look(due)
		} else {
			timer.Reset(next)
			select {
			case <-f.kick:
			case <-timer.C:
			case <-f.ctx.Done():
				return
			}
		}
		select {
		case <-f.ctx.Done():
			return
		default:
		}
	}
}

// due lists whose time has come, or else says how long there is until it does.
func (f *Follower) due(now time.Time) (due []*Subscription, next time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next = followDeadline
	soon := false
	for sub := range f.subs {
		in := sub.due.Sub(now)
		soon = soon || in <= 0
		next = min(next, max(in, 0))
		if in <= sub.pause/lookTogether {
			due = append(due, sub)
		}
	}
	if !soon {
		due = nil
	}
	return due, next
}

// fingerprint of a delivery d: all that an attempt, a worker or a user may change about it changes one of these.
const deliveryFingerprint = "hashtextextended(concat_ws(' ', d.status, d.turn, d.attempts), d.destination_key)"

// look asks the database about everything that is due, and tells those for whom something has changed.
func (f *Follower) look(due []*Subscription) {
	ctx, cancel := context.WithTimeout(f.ctx, followTimeout)
	defer cancel()
	found, err := f.s.fingerprints(ctx, due)
	if err != nil && f.ctx.Err() == nil {
		f.log.Warn("cannot see whether what callers wait for has changed; they go on waiting", "callers", len(due), "error", err)
	}
	now := time.Now()
	for _, sub := range due {
		seen := found[sub.what]
		switch {
		case err != nil:
			sub.pause = longestLook
		case !sub.known || sub.seen != seen:
			sub.known, sub.seen, sub.pause = true, seen, firstLook
			select {
			case sub.Changed <- struct{}{}:
			default: // it has not taken the one before
			}
		default:
			sub.pause = min(sub.pause*3/2, longestLook)
		}
		f.mu.Lock()
		sub.due = now.Add(sub.pause)
		f.mu.Unlock()
	}
}

// fingerprints reads, for each that is followed, a text that is another one when it has changed.
func (s *Store) fingerprints(ctx context.Context, subs []*Subscription) (map[Following]string, error) {
	out := map[Following]string{}
	var whole, parts, retries []uuid.UUID
	var destinations, tenants []int64
	feed := false
	var lo, hi uuid.UUID // bounds keep the planner away from the days that are not concerned
	for _, sub := range subs {
		w := sub.what
		if _, has := out[w]; has {
			continue
		}
		out[w] = ""
		if w.Retry != uuid.Nil {
			retries = append(retries, w.Retry)
			continue
		}
		if w.Feed {
			feed, tenants = true, append(tenants, w.Tenant)
			continue
		}
		if lo == uuid.Nil {
			lo = w.Event
		}
		lo, hi = minUUID(lo, w.Event), maxUUID(hi, w.Event)
		if w.Destination == 0 {
			whole = append(whole, w.Event)
		} else {
			parts, destinations = append(parts, w.Event), append(destinations, w.Destination)
		}
	}
	b := &pgx.Batch{}
	scan := func(rows pgx.Rows) error {
		var w Following
		var print string
		_, err := pgx.ForEachRow(rows, []any{&w.Event, &w.Destination, &w.Retry, &print}, func() error {
			out[w] = print
			return nil
		})
		return err
	}
	const none = "'00000000-0000-0000-0000-000000000000'::uuid"
	if len(whole) > 0 {
		b.Queue(`select d.event_id, 0::bigint, `+none+`, sum(`+deliveryFingerprint+`)::text from deliveries d
			where d.event_id = any($1) and d.event_id >= $2 and d.event_id <= $3 group by d.event_id`, whole, lo, hi).Query(scan)
	}
	if len(parts) > 0 {
		b.Queue(`select d.event_id, d.destination_key, `+none+`, `+deliveryFingerprint+`::text from unnest($1::uuid[],
			$2::bigint[]) u(event_id, destination_key)
			join deliveries d on d.event_id = u.event_id and d.destination_key = u.destination_key where d.event_id >= $3
				and d.event_id <= $4`, parts, destinations, lo, hi).Query(scan)
	}
	if len(retries) > 0 {
		b.Queue(`select `+none+`, 0::bigint, b.id, concat_ws(' ', b.status, b.changed_at, b.total, b.queued, b.skipped, b.delivered,
			b.failed, b.unsent, b.note, b.finished_at)
			from bulk_retries b where b.id = any($1)`, retries).Query(scan)
	}
	if feed {
		if err := s.PlaceChanges(ctx); err != nil {
			return nil, err
		}
		b.Queue(`select k, coalesce(case when k = 0 then (select last from feed) else greatest((select max(position) from changes
			where tenant_key = k),
				(select max(position) from changes where tenant_key is null and type = '`+FeedTopic+`')) end, 0)
			|| coalesce(' ' || (select cell from tenants where key = k), '') from unnest($1::bigint[]) k`, tenants).Query(func(rows pgx.Rows) error {
			w, print := Following{Feed: true}, ""
			_, err := pgx.ForEachRow(rows, []any{&w.Tenant, &print}, func() error {
				out[w] = print
				return nil
			})
			return err
		})
	}
	return out, s.pool.SendBatch(ctx, b).Close()
}
