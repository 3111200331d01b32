package models

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// Lost is a delivery on its way that no job carries.
type Lost struct {
	DeliveryKey
	Turn int32
}

// Requeue queues lost deliveries again, in portions, and returns how many. What has moved since it was found stays.
func (s *Store) Requeue(ctx context.Context, lost []Lost) (queued int, err error) {
	for len(lost) > 0 {
		n := min(len(lost), releasePortion)
		done, err := s.requeue(ctx, lost[:n])
		if queued += done; err != nil {
			return queued, err
		}
		lost = lost[n:]
	}
	return queued, nil
}

func (s *Store) requeue(ctx context.Context, lost []Lost) (queued int, err error) {
	err = s.queueIn(ctx, func(tx pgx.Tx) (jobs []queue.Batch, err error) {
		items := map[queue.Key][]queue.Item{}
		for _, l := range lost {
			var turn int32
			k := queue.Key{Destination: l.Destination, Later: true}
			err := tx.QueryRow(ctx, `update deliveries set status = 'pending', turn = turn + 1, next_attempt_at = null
				where event_id = $1 and destination_key = $2 and turn = $3 and status in ('pending', 'delivering', 'retrying')
					returning turn, tenant_key`,
				l.EventKey, l.Destination, l.Turn).Scan(&turn, &k.Tenant)
			if err == pgx.ErrNoRows {
				continue
			}
			if err != nil {
				return nil, err
			}
			items[k] = append(items[k], queue.Item{EventKey: l.EventKey, Turn: turn})
			queued++
		}
		for k, list := range items {
			jobs = append(jobs, queue.Split(k, list)...)
		}
		return jobs, nil
	})
	return queued, err
}

// queueIn adds the jobs that fn returns in the transaction in which fn works, and wakes the workers.
func (s *Store) queueIn(ctx context.Context, fn func(tx pgx.Tx) ([]queue.Batch, error)) error {
	return s.InTx(ctx, func(tx *Tx) error {
		jobs, err := fn(tx)
		if err != nil || len(jobs) == 0 {
			return err
		}
		return s.Queue.Enqueue(ctx, tx, jobs)
	})
}

// Abandon makes the jobs of workers available again that are gone for good, and returns how many. One that has been seen
// within the last half minute is left alone.
func (s *Store) Abandon(ctx context.Context) (jobs int, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "delete from processes where seen_at < now() - interval '30 seconds'"); err != nil {
			return err
		}
		jobs, err = s.Queue.Takeover(ctx, tx)
		tx.AfterCommit(s.Queue.WakeAll)
		return err
	})
	return jobs, err
}

// CancelHeldOfDeleted cancels deliveries that are held for deleted destinations, and returns how many.
func (s *Store) CancelHeldOfDeleted(ctx context.Context) (cancelled int, err error) {
	rows, err := s.pool.Query(ctx, `select n.key from destinations n where n.deleted_at < $1 and exists (
		select 1 from deliveries d where d.destination_key = n.key and d.attention = 'held')`, time.Now())
	if err != nil {
		return 0, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		n, err := s.CancelDeleted(ctx, queue.Release{Destination: key, Action: ReleaseDestinationDeleted})
		if cancelled += n; err != nil {
			return cancelled, err
		}
	}
	return cancelled, nil
}

// PassOn takes finished deliveries out of the lines of their ordering keys, and queues those that are first
// then. It returns how many those are.
func (s *Store) PassOn(ctx context.Context, finished []DeliveryKey) (queued int, err error) {
	err = s.queueIn(ctx, func(tx pgx.Tx) ([]queue.Batch, error) {
		jobs, err := passOn(ctx, tx, finished)
		queued = len(jobs)
		return jobs, err
	})
	return queued, err
}
