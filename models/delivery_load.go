package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// Target is one version of a destination as workers use it.
type Target struct {
	Destination
	Policy      RetryPolicy   // its own, completed by the defaults of its tenant and the server
	Timeout     time.Duration // of one attempt
	Redaction   *Redaction    // what its tenant does not want to be kept of attempts; nil for none
	InFlight    int           // attempts under way at once, per worker process
	TenantGone  bool
	computing   computing // what it computes from each event
	UnusableErr error     // why it cannot be used at all (credentials that cannot be opened)
	rules       *Rules    // of the server, that these were made with
}

// Rate is how many deliveries may be sent to the destination in a second; 0 for any number.
func (e *Target) Rate() float64 {
	if e.RateLimit == nil || e.RateLimit.PerSecond == nil {
		return 0
	}
	return *e.RateLimit.PerSecond
}

// Passes reports whether a delivery that has come to a status lets those behind it go, that have its ordering key.
func (e *Target) Passes(status string) bool {
	return e.EverOrdered && (status == StatusDelivered || status == StatusCancelled || status == StatusFailed &&
		e.OnExhausted != ExhaustedBlock)
}

// Ready is a delivery whose turn has come.
type Ready struct {
	queue.Item
	Event    *Event
	Attempts int       // made so far
	Previous time.Time // when the last of these was started; zero for none
}

// Loader reads what workers need to send: the destination's current version, payloads, and for all but first attempts
// the deliveries' rows. Requests that arrive while a read is under way are answered by the next one together.
type Loader struct {
	s      *Store
	recent *Recent
	in     *batcher[*loadRequest]

	mu      sync.RWMutex
	targets map[int64]knownTarget
}

// knownTarget is a target as it was when its tenant had a version. Whoever changes a destination's version raises its tenant's too, in
// the same transaction and before, or has nothing more accepted of the tenant, so that the target is current for as long as events are
// accepted with that version.
type knownTarget struct {
	*Target
	tenant int64
}

// VersionHolds is how long a process takes the version of a destination that it last saw for the current one.
const VersionHolds = 100 * time.Millisecond

type loadRequest struct {
	destination int64
	items       []queue.Item
	fresh       bool // first attempts of a job that runs for the first time
	done        chan loadResult
}

type loadResult struct {
	target  *Target
	ready   []Ready
	missing []queue.Item
	err     error
}

const (
	loaders        = 2
	maxLoadWaiting = 1024
	maxLoadGroup   = 64
	loadTimeout    = 10 * time.Second
	maxTargets     = 50_000
)

// NewLoader starts to answer requests. What it reads is cut off when ctx ends; Close ends it.
func NewLoader(ctx context.Context, s *Store, recent *Recent) *Loader {
	l := &Loader{s: s, recent: recent, targets: map[int64]knownTarget{},
		in: newBatcher(batchLimits[*loadRequest]{Waiting: maxLoadWaiting, Group: maxLoadGroup})}
	for range loaders {
		l.in.start(func(group []*loadRequest) {
			ctx, cancel := context.WithTimeout(ctx, loadTimeout)
			defer cancel()
			l.answer(ctx, group)
		})
	}
	return l
}

// Close waits until every request is answered. Nothing may be loaded afterwards.
func (l *Loader) Close() { l.in.close() }

// Load returns the destination's current version and those of the items whose turn it is. fresh says that these are
// first attempts which no worker has begun; their rows are only looked at when the destination asks for care. Without
// items it only reads the version. missing are items whose event cannot be found although its day is kept: they must be
// looked for again. The error is a HeldError while nothing of the tenant is to be sent, since it goes to another cell.
func (l *Loader) Load(ctx context.Context, destination int64, items []queue.Item, fresh bool) (t *Target, ready []Ready,
	missing []queue.Item, err error) {
	r := &loadRequest{destination: destination, items: items, fresh: fresh, done: make(chan loadResult, 1)}
	if err := l.in.put(ctx, r); err != nil {
		return nil, nil, nil, err
	}
	select {
	case res := <-r.done:
		return res.target, res.ready, res.missing, res.err
	case <-ctx.Done():
		return nil, nil, nil, ctx.Err()
	}
}

// Remembered does what Load does, without the database, for first attempts of a job that this process has just written itself: the
// transaction has seen that the tenant is here, and with which version. at is when. It returns nil when something of it is not known,
// or was seen longer than VersionHolds ago.
func (l *Loader) Remembered(job queue.Batch, at time.Time) (*Target, []Ready) {
	if job.Routed == 0 || time.Since(at) > VersionHolds {
		return nil, nil
	}
	l.mu.RLock()
	t := l.targets[job.Destination]
	l.mu.RUnlock()
	if t.Target == nil || t.tenant != job.Routed || t.rules != l.s.Rules() || t.ClaimFirst {
		return nil, nil
	}
	ready := make([]Ready, len(job.Items))
	for i, it := range job.Items {
		e := l.recent.get(it.EventKey)
		if e == nil {
			return nil, nil
		}
		ready[i] = Ready{Item: it, Event: e}
	}
	return t.Target, ready
}

func (l *Loader) answer(ctx context.Context, group []*loadRequest) {
	targets, err := l.current(ctx, group)
	if err == nil {
		group = withoutHeld(group, targets)
		err = l.fill(ctx, group, targets)
	}
	if err != nil {
		for _, r := range group {
			r.done <- loadResult{err: err}
		}
	}
}

// withoutHeld answers those of a group whose tenants are held, and returns the others.
func withoutHeld(group []*loadRequest, targets map[int64]*Target) []*loadRequest {
	return slices.DeleteFunc(group, func(r *loadRequest) bool {
		_, has := targets[r.destination]
		if !has {
			r.done <- loadResult{err: &HeldError{}}
		}
		return !has
	})
}

// current returns the targets of the group at their current versions. Those whose tenants are held, or have left, are not among them.
func (l *Loader) current(ctx context.Context, group []*loadRequest) (map[int64]*Target, error) {
	targets := map[int64]*Target{}
	var keys []int64
	for _, r := range group {
		if _, has := targets[r.destination]; !has {
			targets[r.destination] = nil
			keys = append(keys, r.destination)
		}
	}
	rows, err := l.s.Hot.Query(ctx, "select d.key, d.version, t.version, t.cell is not null or coalesce(t.held_until > clock_timestamp(), false) "+
		"from destinations d join tenants t on t.key = d.tenant_key where d.key = any($1)", keys)
	if err != nil {
		return nil, err
	}
	var stale []int64
	learned := make(map[int64]int64, len(keys)) // versions of tenants, by target that is remembered with them
	var key, version, tenant int64
	var held bool // by a move of the tenant, see Mover
	rules := l.s.Rules()
	l.mu.RLock()
	_, err = pgx.ForEachRow(rows, []any{&key, &version, &tenant, &held}, func() error {
		if held {
			delete(targets, key)
			return nil
		}
		if e := l.targets[key]; e.Target != nil && e.Version == version && e.rules == rules {
			targets[key] = e.Target
			if e.tenant < tenant {
				learned[key] = tenant
			}
		} else {
			stale = append(stale, key)
			learned[key] = tenant
		}
		return nil
	})
	l.mu.RUnlock()
	if err != nil || len(learned) == 0 {
		return targets, err
	}
	if len(stale) > 0 {
		fresh, err := l.s.loadTargets(ctx, stale)
		if err != nil {
			return nil, err
		}
		for _, e := range fresh {
			targets[e.Key] = e
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, tenant := range learned {
		if len(l.targets) >= maxTargets {
			clear(l.targets)
		}
		if e := targets[key]; e != nil {
			l.targets[key] = knownTarget{e, tenant}
		}
	}
	return targets, nil
}

func (s *Store) loadTargets(ctx context.Context, keys []int64) ([]*Target, error) {
	rules := s.Rules()
	var list []*Destination
	if err := s.DB.WithContext(ctx).Where("key in ?", keys).Find(&list).Error; err != nil {
		return nil, err
	}
	tenantKeys := make([]int64, len(list))
	for i, d := range list {
		tenantKeys[i] = d.TenantKey
	}
	var tenants []*Tenant
	if err := s.DB.WithContext(ctx).Where("key in ?", tenantKeys).Find(&tenants).Error; err != nil {
		return nil, err
	}
	byKey := map[int64]*Tenant{}
	for _, t := range tenants {
		byKey[t.Key] = t
	}
	out := make([]*Target, len(list))
	for i, d := range list {
		t := byKey[d.TenantKey]
		e := &Target{TenantGone: t.DeletedAt != nil}
		e.UnusableErr = s.open(d, t.ID)
		e.Destination = *d
		e.computing = d.computing()
		mine := t.Settings.over(rules)
		e.rules, e.Policy = rules, policyOf(mine, d)
		e.Redaction = t.Settings.redaction()
		e.Timeout = d.timeout(mine.Timeout)
		e.InFlight = mine.InFlight(d)
		out[i] = e
	}
	return out, nil
}

// fill reads payloads and delivery rows for the group and answers it.
func (l *Loader) fill(ctx context.Context, group []*loadRequest, targets map[int64]*Target) error {
	events := map[uuid.UUID]*Event{}
	var missing []uuid.UUID
	var claim claims
	for _, r := range group {
		e := targets[r.destination]
		if e == nil {
			return fmt.Errorf("destination %d does not exist", r.destination)
		}
		if len(r.items) > 0 && (!r.fresh || e.ClaimFirst) {
			claim = append(claim, r)
		}
		for _, it := range r.items {
			if _, has := events[it.EventKey]; has {
				continue
			}
			ev := l.recent.get(it.EventKey)
			events[it.EventKey] = ev
			if ev == nil {
				missing = append(missing, it.EventKey)
			}
		}
	}
	claimed, err := claim.run(ctx, l.s, targets)
	if err != nil {
		return err
	}
	var lost lostEvents // nil as a rule
	if len(missing) > 0 {
		erased, err := l.s.readEvents(ctx, missing, events)
		if err != nil {
			return err
		}
		if lost, err = l.s.lostOf(ctx, missing, events, erased); err != nil {
			return err
		}
	}
	for _, r := range group {
		e := targets[r.destination]
		ready := make([]Ready, 0, len(r.items))
		var missing []queue.Item
		for _, it := range r.items {
			ev := events[it.EventKey]
			if ev == nil {
				if !lost[it.EventKey] || e.DeletedAt != nil || e.TenantGone {
					continue // it was erased, or its day was dropped by retention, or nobody is there to be sent to
				}
				key := DeliveryKey{it.EventKey, r.destination}
				_, ours := claimed[key]
				if ours = ours || r.fresh && !e.ClaimFirst; !ours {
					if ours, err = lost.wanted(ctx, l.s, key); err != nil {
						return err
					}
				}
				if ours {
					missing = append(missing, it)
				}
				continue
			}
			next := Ready{Item: it, Event: ev}
			if !r.fresh || e.ClaimFirst {
				c, ours := claimed[DeliveryKey{it.EventKey, r.destination}]
				if !ours {
					continue
				}
				next.Attempts, next.Previous = c.attempts, c.previous
			}
			ready = append(ready, next)
		}
		r.done <- loadResult{target: e, ready: ready, missing: missing}
	}
	return nil
}

// claims are deliveries that are claimed before they are sent: from now on they are under way, and nobody else queues
// them again. Those whose turn is over, because somebody cancelled or retried them, are not.
type claims []*loadRequest

// past is what a delivery has behind it: how many attempts, and when the last one was started.
type past struct {
	attempts int
	previous time.Time
}

// run returns what each delivery that could be claimed has behind it.
func (c claims) run(ctx context.Context, s *Store, targets map[int64]*Target) (map[DeliveryKey]past, error) {
	if len(c) == 0 {
		return nil, nil
	}
	b := &pgx.Batch{}
	for _, r := range c {
		turn := ""
		if targets[r.destination].EverOrdered {
			turn = headOnly
		}
		for _, it := range r.items {
			b.Queue("update "+s.partitions.of("deliveries", it.EventKey)+` set status = 'delivering', next_attempt_at = null
				where event_id = $1 and destination_key = $2 and turn = $3 and status in ('pending', 'retrying', 'delivering')`+turn+`
				returning attempts, last_attempt_at`, [16]byte(it.EventKey), r.destination, it.Turn)
		}
	}
	br := s.Jobs.SendBatch(ctx, b)
	defer func() { _ = br.Close() }() // closed below as well, where its error counts
	out := make(map[DeliveryKey]past, b.Len())
	for _, r := range c {
		for _, it := range r.items {
			var behind past
			var last *time.Time
			err := br.QueryRow().Scan(&behind.attempts, &last)
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				s.forgetPartitions(err)
				return nil, err
			}
			if last != nil {
				behind.previous = *last
			}
			out[DeliveryKey{it.EventKey, r.destination}] = behind
		}
	}
	return out, br.Close()
}
