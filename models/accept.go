package models

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/models/pgcopy"
	"github.com/waybill-dev/waybill/models/queue"
	"github.com/waybill-dev/waybill/models/seal"
)

// acceptWriter holds what one committer reuses from group to group.
type acceptWriter struct {
	events, deliveries pgcopy.Rows
	jobs               map[queue.Key][]queue.Item
	order              []queue.Key
	health             healthDeltas          // filters that failed
	ordered            []orderedItem         // in the order in which they were handed over
	held               map[filterCount]int64 // what filters held back
	routed             map[string]int        // deliveries by the status with which they begin
	filtered           int                   // that filters held back
	failed             []DeliveryKey         // at once, because the filter did
	wide               []*publishing         // are accepted beside the others
	alone              bool                  // accepts those
	traffic            trafficDeltas
	trafficRows        pgcopy.Rows
	healthRows         pgcopy.Rows
	plain, sealed      []byte // of one event
}

// write accepts a group in one transaction: in one round trip where what routing needs is known and has not changed, else in two, of
// which the first begins it and reads that.
func (a *Accepter) write(ctx context.Context, group []*publishing, w *acceptWriter) error {
	err := a.attempt(ctx, group, w, true)
	if errors.Is(err, errStale) {
		err = a.attempt(ctx, group, w, false)
	}
	return err
}

// attempt is one try of write. With guess it takes what is known for granted; should that have changed it fails with errStale.
func (a *Accepter) attempt(ctx context.Context, group []*publishing, w *acceptWriter, guess bool) error {
	clear(w.held)
	w.wide = w.wide[:0]
	for i, p := range group {
		p.err, p.res, p.place = nil, PublishResult{}, i
	}
	w.routed, w.filtered = map[string]int{}, 0
	repeated := false // and nothing else
	err := a.s.withPayloadKeys(ctx, func(tx *hotTx) error {
		conn := tx.conn
		var tenants map[string]*accepting
		var catalogue []string
		var err error
		if guess {
			tenants, catalogue = a.known(tx, group)
		}
		if tenants == nil {
			if tenants, catalogue, err = a.lookup(ctx, tx, group); err != nil {
				return err
			}
		}
		if group = w.setAside(group, tenants); len(group) == 0 {
			return nil
		}
		if err := markClaims(ctx, conn, group); err != nil {
			return err
		}
		fresh, err := a.admit(ctx, tx, group, tenants, catalogue)
		if err == nil && len(fresh) < len(group) {
			err = tx.flush(ctx) // nobody is refused for what was known
		}
		if err != nil || len(fresh) == 0 {
			repeated = err == nil && slices.ContainsFunc(group, func(p *publishing) bool { return p.res.Duplicate })
			return err
		}
		w.reset()
		ids := make([]uuid.UUID, len(fresh))
		for i, p := range fresh {
			ids[i] = p.id
			a.place(p, tenants[p.in.TenantID], w)
		}
		if len(w.ordered) > 0 || len(w.failed) > 0 {
			if err := tx.flush(ctx); err != nil {
				return err
			}
		}
		if err := a.s.keepPublished(ctx, conn, fresh); err != nil {
			return err
		}
		if err := w.lineUp(ctx, conn); err != nil {
			return err
		}
		if len(w.failed) > 0 {
			if err := noteOutcomes(ctx, conn, StatusFailed, "The filter failed.", w.failed...); err != nil {
				return err
			}
		}
		jobs := w.batches(tenants)
		copies := []pgcopy.Copy{{Into: a.s.partitions.of("events",
			ids...) + ` (id, tenant_key, caller_id, topic, time, retry, filtered_by, metadata, data, traceparent, tracestate, ordering_key, sealed)`,
			Rows: &w.events}}
		if !w.deliveries.Empty() {
			copies = append(copies, pgcopy.Copy{Into: a.s.partitions.of("deliveries",
				ids...) + ` (event_id, destination_key, tenant_key, status, reason)`,
				Rows: &w.deliveries})
		}
		var wake func()
		if len(jobs) > 0 {
			var c pgcopy.Copy
			if c, wake, err = a.s.Queue.Copy(jobs); err != nil {
				return err
			}
			copies = append(copies, c)
		}
		copies = w.traffic.copyTo(copies, &w.trafficRows)
		copies = w.health.copyTo(copies, &w.healthRows)
		return tx.commit(ctx, copies, wake)
	})
	if err == nil && repeated {
		err = a.s.awaitDurable(ctx)
	}
	if err == nil {
		a.counts.add(w.held)
	}
	return err
}

func (w *acceptWriter) reset() {
	w.events.Reset()
	w.deliveries.Reset()
	w.jobs, w.order, w.ordered = map[queue.Key][]queue.Item{}, w.order[:0], w.ordered[:0]
	clear(w.health)
	clear(w.traffic)
	w.failed = w.failed[:0]
}

// batches are the jobs of what was placed.
func (w *acceptWriter) batches(tenants map[string]*accepting) (jobs []queue.Batch) {
	versions := make(map[int64]int64, len(tenants))
	for _, t := range tenants {
		if t != nil && t.routes != nil {
			versions[t.key] = t.routes.version
		}
	}
	for _, k := range w.order {
		for _, b := range queue.Split(k, w.jobs[k]) {
			b.Routed = versions[k.Tenant]
			jobs = append(jobs, b)
		}
	}
	return jobs
}

// enqueue adds a delivery to a job.
func (w *acceptWriter) enqueue(k queue.Key, event uuid.UUID) {
	if w.jobs[k] == nil {
		w.order = append(w.order, k)
	}
	w.jobs[k] = append(w.jobs[k], queue.Item{EventKey: event})
}

// accepting is a tenant as the accepting transaction sees it.
type accepting struct {
	key    int64
	routes *routes
	seal   *seal.Data // nil to keep its events as they are
	gone   error      // why nothing of it is accepted here; nil for no reason
}

// The statements of lookup, which Store.Ready tries too.
const (
	acceptLock    = "select pg_advisory_xact_lock_shared($1, l) from unnest($2::int[]) l"
	acceptTenants = "select id, key, version, coalesce(payload_key, 0), coalesce(cell, ''), coalesce(held_until > clock_timestamp(), false) from tenants where id = any($1) and deleted_at is null"
	acceptTopics  = "select name from topics"
)

// lockHashes are the locks of tenants.
func lockHashes(tenants []string) []int32 {
	locks := make([]int32, len(tenants))
	for i, id := range tenants {
		locks[i] = lockHash(id)
	}
	return locks
}

// lookup reads the tenants of the group with their destinations, and the catalogue of topics. It takes a shared lock on
// each tenant first: a change of its destinations waits for this transaction, and this one for a change under way.
//
// It begins the transaction.
func (a *Accepter) lookup(ctx context.Context, tx *hotTx, group []*publishing) (map[string]*accepting, []string, error) {
	tenants := map[string]*accepting{}
	for _, p := range group {
		tenants[p.in.TenantID] = nil
	}
	ids := slices.Collect(maps.Keys(tenants))
	b := &pgx.Batch{}
	own := tx.begin(b)
	b.Queue(acceptLock, int32(lockTenant), lockHashes(ids))
	b.Queue(acceptTenants, ids)
	if a.s.home == nil {
		b.Queue(acceptTopics)
		if tx.canGuess() {
			b.Queue("select " + topicsPrint)
		}
	}
	br := tx.conn.SendBatch(ctx, b)
	for range own + 1 {
		if _, err := br.Exec(); err != nil {
			br.Close()
			return nil, nil, err
		}
	}
	type found struct {
		id                       string
		key, version, payloadKey int64
		cell                     string
		held                     bool
	}
	rows, err := br.Query()
	if err != nil {
		br.Close()
		return nil, nil, err
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (f found, err error) {
		err = r.Scan(&f.id, &f.key, &f.version, &f.payloadKey, &f.cell, &f.held)
		return f, err
	})
	if err != nil {
		br.Close()
		return nil, nil, err
	}
	var catalogue []string
	var topics string
	if a.s.home != nil {
		catalogue = a.s.home.catalogue.list()
	} else if rows, err = br.Query(); err == nil {
		if catalogue, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil && tx.canGuess() {
			err = br.QueryRow().Scan(&topics)
		}
	}
	if err != nil {
		br.Close()
		return nil, nil, err
	}
	if err := br.Close(); err != nil {
		return nil, nil, err
	}
	need := &lacking{map[int64]int64{}}
	seen := make(map[string]tenantSeen, len(list))
	for _, f := range list {
		if gone := a.s.notHere(f.id, f.cell, f.held); gone != nil {
			tenants[f.id] = &accepting{key: f.key, gone: gone}
			continue
		}
		r := a.routes.get(f.key, f.version)
		if r == nil {
			if r, err = loadRoutes(ctx, tx.conn, f.key, f.version); err != nil {
				return nil, nil, err
			}
			a.routes.put(f.key, r)
		}
		tenants[f.id] = &accepting{key: f.key, routes: r}
		seen[f.id] = tenantSeen{f.key, f.version, f.payloadKey}
		if a.s.payloads.on {
			if tenants[f.id].seal = a.s.payloads.inForce(f.payloadKey); tenants[f.id].seal == nil {
				need.keys[f.key] = f.payloadKey
			}
		}
	}
	if len(need.keys) > 0 {
		return nil, nil, need
	}
	if tx.canGuess() {
		a.knowledge.learn(seen, catalogue, topics)
	}
	return tenants, slices.Concat(catalogue, a.s.Rules().Topics), nil
}

// admit sorts out the events that cannot be accepted and those that were accepted before, and returns the others.
func (a *Accepter) admit(ctx context.Context, tx *hotTx, group []*publishing, tenants map[string]*accepting,
	catalogue []string) ([]*publishing, error) {
	fresh := make([]*publishing, 0, len(group))
	named := map[callerID]*publishing{} // the first of each caller's id in this group
	var again []*publishing             // those with an id that came earlier in this group
	for _, p := range group {
		t := tenants[p.in.TenantID]
		switch {
		case p.err != nil:
		case t == nil:
			p.err = &Error{Kind: KindNotFound,
				Message: fmt.Sprintf("There is no tenant %q. Create it with PUT /tenants/{id} before publishing to it.",
					cut(p.in.TenantID, 80)),
				Fields: map[string]string{"tenant_id": "is unknown"}}
		case t.gone != nil:
			p.err = t.gone
		case p.in.Topic != "" && len(catalogue) > 0 && !OwnTopic(p.in.Topic) && p.in.TenantID != OperatorTenant &&
			!slices.Contains(catalogue, p.in.Topic):
			p.err = Invalid("topic", fmt.Sprintf("%q is not in the catalogue: %s", cut(p.in.Topic, 80), listSome(catalogue)))
		case p.in.DestinationID != "" && t.routes.byID[p.in.DestinationID] == nil:
			p.err = &Error{Kind: KindNotFound, Message: fmt.Sprintf("Tenant %q has no destination %q.", cut(p.in.TenantID, 80),
				cut(p.in.DestinationID, 80)),
				Fields: map[string]string{"destination_id": "is unknown"}}
		case p.in.Topic == "" && len(catalogue) > 0 && p.in.Trigger != TriggerTest: // most destinations would never get it
			p.err = Invalid("topic", "is required")
		case p.in.ID == "":
			fresh = append(fresh, p)
		default:
			id := callerID{t.key, p.in.ID}
			if named[id] != nil {
				again = append(again, p)
			} else {
				named[id] = p
			}
		}
	}
	if len(named) == 0 {
		return fresh, nil
	}
	seen, err := a.seen(ctx, tx, named)
	if err != nil {
		return nil, err
	}
	for _, p := range group {
		if p.in.ID == "" || p.err != nil {
			continue
		}
		id := callerID{tenants[p.in.TenantID].key, p.in.ID}
		if named[id] != p {
			continue
		}
		if first, dup := seen[id]; dup {
			p.res = first
		} else {
			fresh = append(fresh, p)
		}
	}
	if len(named) < len(group) {
		slices.SortStableFunc(fresh, func(a, b *publishing) int { return a.place - b.place })
	}
	for _, p := range again {
		id := callerID{tenants[p.in.TenantID].key, p.in.ID}
		if first, dup := seen[id]; dup {
			p.res = first
		} else {
			p.res = PublishResult{ID: p.in.ID, Duplicate: true, DestinationIDs: a.preview(named[id], tenants)}
		}
	}
	return fresh, nil
}

type callerID struct {
	tenant int64
	id     string
}

// preview is where an event of this group will go, for a duplicate of it in the same group.
func (a *Accepter) preview(p *publishing, tenants map[string]*accepting) []string {
	to, _ := tenants[p.in.TenantID].routes.match(p.in, p.document(), nil)
	ids := make([]string, len(to))
	for i, v := range to {
		ids[i] = v.to.id
	}
	return ids
}

// seen looks for events that were accepted with these ids before. It locks each id until the transaction ends, so that
// of two publishers with the same id one waits and finds the other's event; a unique index cannot do that across
// partitions.
func (a *Accepter) seen(ctx context.Context, tx *hotTx, named map[callerID]*publishing) (_ map[callerID]PublishResult, err error) {
	locks := make([]int64, 0, len(named))
	ids := map[int64][]string{}
	for id := range named {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", id.tenant, id.id)
		locks = append(locks, int64(h.Sum64()))
		ids[id.tenant] = append(ids[id.tenant], id.id)
	}
	slices.Sort(locks) // in one order, so that two committers never wait for each other in a circle
	b := cmp.Or(tx.first, &pgx.Batch{})
	before := b.Len()
	tx.first = nil
	b.Queue("select pg_advisory_xact_lock(l) from unnest($1::bigint[]) l", locks)
	for tenant, list := range ids {
		b.Queue(`select e.tenant_key, e.caller_id,
			coalesce((select array_agg(d.id order by d.key) from deliveries x join destinations d on d.key = x.destination_key
				where x.event_id = e.id), '{}')
			from events e where e.tenant_key = $1 and e.caller_id = any($2) and e.caller_id is not null`, tenant, list)
	}
	br := tx.conn.SendBatch(ctx, b)
	defer func() {
		if then := br.Close(); err == nil {
			err = then
		}
	}()
	for range before + 1 {
		if _, err := br.Exec(); isStale(err) {
			return nil, errStale
		} else if err != nil {
			return nil, err
		}
	}
	seen := map[callerID]PublishResult{}
	for range ids {
		rows, err := br.Query()
		if err != nil {
			return nil, err
		}
		_, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (struct{}, error) {
			var id callerID
			res := PublishResult{Duplicate: true}
			err := r.Scan(&id.tenant, &id.id, &res.DestinationIDs)
			res.ID = id.id
			seen[id] = res
			return struct{}{}, err
		})
		if err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// document makes the filters' view of the event when the first filter asks for it.
func (p *publishing) document() func() *filter.Doc {
	var doc *filter.Doc
	return func() *filter.Doc {
		if doc == nil {
			at := p.received
			if p.in.Time != nil {
				at = *p.in.Time
			}
			doc = filter.NewDoc(p.publicID(), p.in.Topic, at, p.in.Metadata, p.in.Data)
		}
		return doc
	}
}

// place routes an event and writes its rows.
func (a *Accepter) place(p *publishing, t *accepting, w *acceptWriter) {
	to, filteredBy := t.routes.match(p.in, p.document(), func(d *route, rule int) {
		w.held[filterCount{d.filterKey, rule, p.received.Unix() / 3600 * 3600}]++
	})
	w.filtered += len(filteredBy)
	traffic := w.traffic.of(t.key, p.received)
	traffic.Received++
	traffic.Bytes += int64(len(p.in.Data))
	retry := p.in.EligibleForRetry == nil || *p.in.EligibleForRetry
	e := &w.events
	e.Row(13)
	e.UUID(p.id)
	e.Int8(t.key)
	e.TextOrNull(p.in.ID)
	e.Text(p.in.Topic)
	if p.in.Time != nil {
		e.Time(*p.in.Time)
	} else {
		e.Null()
	}
	e.Bool(retry)
	e.Int8s(filteredBy)
	var md []byte
	if len(p.in.Metadata) > 0 {
		md, _ = json.Marshal(p.in.Metadata)
	}
	if t.seal != nil {
		w.plain = append(appendPart(w.plain[:0], md), p.in.Data...)
		w.sealed = t.seal.Seal(w.sealed[:0], w.plain, eventContext(p.id))
		e.Null()
		e.Text("")
	} else {
		e.BytesOrNull(md)
		e.Bytes(p.in.Data)
	}
	e.TextOrNull(p.in.TraceParent)
	e.TextOrNull(p.in.TraceState)
	if len(filteredBy) > 0 {
		e.TextOrNull(p.key)
	} else {
		e.Null()
	}
	var sealedWith int64
	if t.seal != nil {
		sealedWith = t.seal.ID()
		e.Bytes(w.sealed)
	} else {
		e.Null()
	}

	p.res = PublishResult{ID: p.publicID(), DestinationIDs: make([]string, 0, len(to)), Mismatches: p.mismatches}
	for _, v := range to {
		p.res.DestinationIDs = append(p.res.DestinationIDs, v.to.id)
		w.delivery(p, t.key, v)
	}
	if a.recent != nil && len(to) > 0 {
		a.recent.add(&Event{Key: p.id, ID: p.publicID(), TenantKey: t.key, Topic: p.in.Topic, Time: p.time(), Received: p.received,
			Retry: retry, Metadata: p.in.Metadata, Data: p.in.Data, TraceParent: p.in.TraceParent, TraceState: p.in.TraceState,
			PayloadKey: sealedWith})
	}
}

func (p *publishing) time() time.Time {
	if p.in.Time != nil {
		return *p.in.Time
	}
	return p.received
}

func (w *acceptWriter) delivery(p *publishing, tenantKey int64, v verdict) {
	status, reason := StatusPending, ""
	switch {
	case v.failed != "":
		status, reason = StatusFailed, v.failed
		w.health.filterFailed(v.to.key, tenantKey, p.received, v.failed)
		w.traffic.of(tenantKey, p.received).Failed++
		if !p.in.Ours {
			w.failed = append(w.failed, DeliveryKey{p.id, v.to.key})
		}
	case v.to.held != "":
		status, reason = StatusHeld, v.to.held
	}
	w.routed[status]++
	d := &w.deliveries
	d.Row(5)
	d.UUID(p.id)
	d.Int8(v.to.key)
	d.Int8(tenantKey)
	d.Text(status)
	d.TextOrNull(reason)
	var job queue.Key // none for what is held or has failed
	if status == StatusPending {
		job = queue.Key{Destination: v.to.key, Tenant: tenantKey, Trigger: p.in.Trigger, Actor: p.in.Actor}
	}
	switch {
	case v.to.ordered && p.key != "" && status != StatusFailed && p.in.Trigger != TriggerTest:
		w.ordered = append(w.ordered, orderedItem{v.to.key, p.key, p.id, job})
	case status == StatusPending:
		w.enqueue(job, p.id)
	}
}
