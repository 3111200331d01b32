package models

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tidwall/gjson"

	"github.com/waybill-dev/waybill/models/queue"
)

// What happens to the deliveries behind one that has failed for good, in a destination that keeps order.
const (
	ExhaustedSkip  = "skip"  // they go on without it
	ExhaustedBlock = "block" // they wait until somebody retries or cancels it
)

const maxOrderingKey = 256

// orderingKey is what PublishInput.OrderingKey stands for: itself, or with "$." in front the value of a field of the
// payload.
func (in *PublishInput) orderingKey() (string, error) {
	key := in.OrderingKey
	if path, ok := strings.CutPrefix(key, "$."); ok {
		v := gjson.GetBytes(in.Data, path)
		switch {
		case !v.Exists() || v.Type == gjson.Null:
			return "", fmt.Errorf("the payload has no %q", cut(path, 80))
		case v.IsObject() || v.IsArray():
			return "", fmt.Errorf("%q is no text, number or boolean in the payload", cut(path, 80))
		}
		key = v.String()
	}
	if len(key) > maxOrderingKey {
		return "", fmt.Errorf("must be at most %d bytes long", maxOrderingKey)
	}
	if text(key) != key {
		return "", errors.New("must be valid UTF-8 without NUL")
	}
	return key, nil
}

// lockOrdering is the first number of an ordering key's advisory lock, orderingHash the second.
const lockOrdering = 3

func orderingHash(destination int64, key string) int32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %s", destination, key)
	return int32(h.Sum32())
}

// lockOrder locks ordering keys until the transaction ends, in one order, so that nobody waits in a circle.
func lockOrder(b *pgx.Batch, hashes []int32) {
	slices.Sort(hashes)
	b.Queue("select pg_advisory_xact_lock($1, l) from unnest($2::int[]) l", int32(lockOrdering), slices.Compact(hashes))
}

// orderedItem is a delivery that waits for its turn among those with its key.
type orderedItem struct {
	destination int64
	key         string
	event       uuid.UUID
	job         queue.Key
}

// lineUp adds the group's ordered deliveries behind those that wait already, and gives jobs to the ones that are first.
func (w *acceptWriter) lineUp(ctx context.Context, conn *pgx.Conn) error {
	if len(w.ordered) == 0 {
		return nil
	}
	hashes := make([]int32, len(w.ordered))
	destinations, keys, events := make([]int64, len(w.ordered)), make([]string, len(w.ordered)), make([]uuid.UUID, len(w.ordered))
	for i, o := range w.ordered {
		hashes[i] = orderingHash(o.destination, o.key)
		destinations[i], keys[i], events[i] = o.destination, o.key, o.event
	}
	b := &pgx.Batch{}
	lockOrder(b, hashes)
	b.Queue(`select k.n from unnest($1::bigint[], $2::text[]) with ordinality k(destination, key, n)
		where exists (select 1 from ordered_deliveries x where x.destination_key = k.destination and x.ordering_key = k.key)`, destinations,
		keys)
	b.Queue(`insert into ordered_deliveries (destination_key, ordering_key, event_id)
		select k.destination, k.key, k.event from unnest($1::bigint[], $2::text[], $3::uuid[]) with ordinality k(destination, key, event, n)
			order by k.n`, destinations, keys, events)
	br := conn.SendBatch(ctx, b)
	defer br.Close()
	if _, err := br.Exec(); err != nil {
		return fmt.Errorf("lock ordering keys: %w", err)
	}
	behind := make([]bool, len(w.ordered))
	rows, err := br.Query()
	if err != nil {
		return err
	}
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { behind[n-1] = true; return nil }); err != nil {
		return err
	}
	if err := br.Close(); err != nil {
		return fmt.Errorf("line up deliveries: %w", err)
	}
	type line struct {
		destination int64
		key         string
	}
	first := map[line]bool{}
	for i, o := range w.ordered {
		l := line{o.destination, o.key}
		if !behind[i] && !first[l] && o.job.Destination != 0 {
			w.enqueue(o.job, o.event)
		}
		first[l] = true
	}
	return nil
}

// joinLines puts events that a filter had held back behind the others with their ordering keys, in the order in which they were
// received. Their jobs do nothing until they are first: who comes to that gets a job then.
func joinLines(ctx context.Context, tx pgx.Tx, d *Destination, events []uuid.UUID) error {
	if !d.Ordered {
		return nil
	}
	rows, err := tx.Query(ctx, "select id, ordering_key from events where id = any($1) and ordering_key is not null order by id", events)
	if err != nil {
		return err
	}
	var ids []uuid.UUID
	var keys []string
	var hashes []int32
	var id uuid.UUID
	var key string
	if _, err := pgx.ForEachRow(rows, []any{&id, &key}, func() error {
		ids, keys, hashes = append(ids, id), append(keys, key), append(hashes, orderingHash(d.Key, key))
		return nil
	}); err != nil || len(ids) == 0 {
		return err
	}
	b := &pgx.Batch{}
	lockOrder(b, hashes)
	b.Queue(`insert into ordered_deliveries (destination_key, ordering_key, event_id)
		select $1, k.key, k.event from unnest($2::text[], $3::uuid[]) with ordinality k(key, event, n) order by k.n on conflict do nothing`,
		d.Key, keys, ids)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("line up events that were filtered out: %w", err)
	}
	return nil
}

// headOnly is the condition with which a worker claims a delivery d of a destination that keeps order: nobody with its
// key is before it. One that is refused gets a job as soon as it is first.
const headOnly = ` and not exists (select 1 from ordered_deliveries me join ordered_deliveries x
	on x.destination_key = me.destination_key and x.ordering_key = me.ordering_key and x.seq < me.seq
	where me.destination_key = $2 and me.event_id = $1)`

// sender is a transaction, however it was begun.
type sender interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// passOn takes finished deliveries out of their lines and returns the jobs of those that are first now.
func passOn(ctx context.Context, tx sender, finished []DeliveryKey) ([]queue.Batch, error) {
	type place struct {
		DeliveryKey
		key string
	}
	var places []place
	var hashes []int32
	for _, k := range finished {
		var key string
		err := tx.QueryRow(ctx, "select ordering_key from ordered_deliveries where destination_key = $1 and event_id = $2", k.Destination,
			k.EventKey).Scan(&key)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		places = append(places, place{k, key})
		hashes = append(hashes, orderingHash(k.Destination, key))
	}
	if len(places) == 0 {
		return nil, nil
	}
	b := &pgx.Batch{}
	lockOrder(b, hashes)
	for _, p := range places {
		b.Queue("delete from ordered_deliveries where destination_key = $1 and event_id = $2", p.Destination, p.EventKey)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("take deliveries out of their lines: %w", err)
	}
	var jobs []queue.Batch
	for _, p := range places {
		job, ok, err := firstInLine(ctx, tx, p.Destination, p.key)
		if err != nil {
			return nil, err
		}
		if ok {
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// firstInLine makes the job of the delivery of an ordering key that may go now, if there is one. What needs no attempt any
// more is taken out on the way. The key's lock is held.
func firstInLine(ctx context.Context, tx sender, destination int64, key string) (job queue.Batch, ok bool, err error) {
	for {
		var it queue.Item
		var status *string
		var policy string
		var tenant int64
		err := tx.QueryRow(ctx,
			`select o.event_id, d.status::text, t.on_exhausted, t.tenant_key from ordered_deliveries o join destinations t on t.key = o.destination_key
			left join deliveries d on d.event_id = o.event_id and d.destination_key = o.destination_key
			where o.destination_key = $1 and o.ordering_key = $2 order by o.seq limit 1`, destination, key).Scan(&it.EventKey, &status,
			&policy, &tenant)
		if errors.Is(err, pgx.ErrNoRows) {
			return job, false, nil
		}
		if err != nil {
			return job, false, err
		}
		switch {
		case status != nil && *status == StatusPending:
			var retry *uuid.UUID
			var actor *string
			err = tx.QueryRow(ctx, `update deliveries set turn = turn + 1, reason = null where event_id = $1 and destination_key = $2
				returning turn, retry_id, (select actor from bulk_retries b where b.id = retry_id)`, it.EventKey, destination).Scan(&it.Turn,
				&retry, &actor)
			job = queue.Batch{Key: queue.Key{Destination: destination, Tenant: tenant}, Items: []queue.Item{it}}
			if retry != nil && actor != nil {
				job.Trigger, job.Actor, job.BulkKey = TriggerBulk, *actor, *retry
			}
			return job, err == nil, err
		case status != nil && (*status == StatusHeld || *status == StatusDelivering || *status == StatusRetrying),
			status != nil && *status == StatusFailed && policy == ExhaustedBlock:
			return job, false, nil // it is seen to elsewhere, or blocks
		}
		if _, err := tx.Exec(ctx, "delete from ordered_deliveries where destination_key = $1 and event_id = $2", destination,
			it.EventKey); err != nil {
			return job, false, err
		}
	}
}

// unblock lets the lines of a destination go on that a failed delivery blocks.
func (s *Store) unblock(ctx context.Context, tx *Tx, destination int64) error {
	rows, err := tx.Query(ctx, `select o.event_id from (select distinct on (ordering_key) ordering_key, event_id from ordered_deliveries
			where destination_key = $1 order by ordering_key, seq) o
		join deliveries d on d.event_id = o.event_id and d.destination_key = $1 where d.status = 'failed'`, destination)
	if err != nil {
		return err
	}
	var blocked []DeliveryKey
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
		blocked = append(blocked, DeliveryKey{id, destination})
		return nil
	}); err != nil {
		return err
	}
	jobs, err := passOn(ctx, tx, blocked)
	if err != nil || len(jobs) == 0 {
		return err
	}
	return s.Queue.Enqueue(ctx, tx, jobs)
}

// dropLines takes the deliveries of events that retention has dropped out of their lines, so that those behind them go on.
func (s *Store) dropLines(ctx context.Context, before time.Time) error {
	return s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.Pgx.Query(ctx,
			"select destination_key, event_id from ordered_deliveries where event_id < $1 order by seq limit 1000", lowestUUID(before))
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (k DeliveryKey, err error) {
			err = r.Scan(&k.Destination, &k.EventKey)
			return k, err
		})
		if err != nil {
			return err
		}
		jobs, err := passOn(ctx, tx.Pgx, gone)
		if err != nil || len(jobs) == 0 {
			return err
		}
		return s.Queue.Enqueue(ctx, tx, jobs)
	})
}
