package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// Enqueue adds jobs within tx. They are written as River writes them, but for two things. All are "available", those
// of the future too, with the time at which they are due: River fetches by that time, so that no leader has to promote
// them first. And the NOTIFY that wakes the workers is sent once tx has committed, because PostgreSQL lets only one
// transaction at a time commit that carries one.
func (q *Queue) Enqueue(ctx context.Context, tx Tx, batches []Batch) error {
	c, wake, err := q.Copy(batches)
	if err != nil {
		return err
	}
	if err := c.Send(ctx, tx); err != nil {
		return fmt.Errorf("write jobs: %w", err)
	}
	tx.AfterCommit(wake)
	return nil
}

// Tx is a transaction that jobs are added in: models.Tx.
type Tx interface {
	pgx.Tx
	// AfterCommit calls f once the transaction has committed.
	AfterCommit(f func())
}

// Copy prepares what Enqueue does, for a transaction that writes other things in the same round trip. The caller calls wake
// once it has committed.
func (q *Queue) Copy(batches []Batch) (c pgcopy.Copy, wake func(), err error) {
	rows := &pgcopy.Rows{}
	rows.Reset()
	var due [2]bool       // by queue, as wake
	var next [2]time.Time // when the first of those is due that are not
	now := time.Now()
	atOnce := func(b Batch) bool { return !b.At.After(now) }
	// Those that are due at once leave their time to the database, whose clock decides. A COPY has one list of columns.
	timed := slices.ContainsFunc(batches, func(b Batch) bool { return !atOnce(b) })
	skew, columns := time.Duration(q.skew.Load()), "args, kind, max_attempts, queue, state"
	if timed {
		columns += ", scheduled_at"
	}
	aside := crowds(batches)
	if aside != nil {
		columns += ", priority"
	}
	own := q.claim(batches, aside, now)
	if own != nil {
		columns += claimColumns
	}
	for n, b := range batches {
		args, err := json.Marshal(b)
		if err != nil {
			return c, nil, err
		}
		name, at, i := Deliver, b.At, 0
		if b.Later {
			name, i = Retry, 1
		}
		if atOnce(b) {
			at = now.Add(-time.Second) // a little before now, for the difference of the clocks is an estimate
			due[i] = due[i] || own == nil || !own.is[n]
		} else if next[i].IsZero() || at.Before(next[i]) {
			next[i] = at
		}
		state := "available"
		if own != nil && own.is[n] {
			state = "running"
		}
		rows.Row(strings.Count(columns, ",") + 1)
		rows.JSONB(args)
		rows.Text(b.Kind())
		rows.Int2(maxAttempts)
		rows.Text(name)
		rows.Text(state)
		if timed {
			rows.Time(at.Add(skew))
		}
		if aside != nil {
			rows.Int2(priorityOf(aside[n]))
		}
		if own != nil {
			own.write(rows, n, now.Add(skew))
		}
	}
	c = pgcopy.Copy{Into: Schema + ".river_job (" + columns + ")", Rows: rows}
	return c, func() {
		if aside != nil {
			q.asides.see()
		}
		for i, d := range due {
			if d {
				q.wake[i].wake()
			}
			if !next[i].IsZero() {
				q.due.expect(i, next[i])
			}
		}
		if own != nil {
			own.Take(own.taken)
		}
	}, nil
}

// EnqueueRelease adds jobs that act upon deliveries that wait, within tx.
func (q *Queue) EnqueueRelease(ctx context.Context, tx pgx.Tx, list ...Release) error {
	return enqueueEach(ctx, tx, Maintenance, 0, list)
}

// EnqueueBulkRetry adds the job that works off a bulk retry within tx. run tells it from earlier ones.
func (q *Queue) EnqueueBulkRetry(ctx context.Context, tx pgx.Tx, key uuid.UUID, run int) error {
	return enqueueEach(ctx, tx, Bulk, 0, []BulkRetry{{key, run}})
}

// enqueueEach adds jobs that are due after a while. Workers are told with the commit: there are few of these jobs.
func enqueueEach[T interface{ Kind() string }](ctx context.Context, tx pgx.Tx, queue string, after time.Duration, jobs []T) error {
	var kind T
	args := make([]string, len(jobs))
	for i, job := range jobs {
		b, err := json.Marshal(job)
		if err != nil {
			return err
		}
		args[i] = string(b)
	}
	_, err := tx.Exec(ctx, "with written as (insert into "+Schema+`.river_job (args, kind, max_attempts, queue, scheduled_at)
		select a::jsonb, $2, $3, $4, now() + $5::interval from unnest($1::text[]) a) select pg_notify($6, $7)`, args, kind.Kind(), maxAttempts,
		queue, after, inserted, insertedInto(queue))
	if err != nil {
		return fmt.Errorf("write jobs: %w", err)
	}
	return nil
}

// EnqueueNotices adds a job for each of these notifications within tx.
func (q *Queue) EnqueueNotices(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) error {
	list := make([]Notice, len(ids))
	for i, id := range ids {
		list[i].ID = id
	}
	return enqueueEach(ctx, tx, Notify, 0, list)
}
