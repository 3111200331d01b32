package queue

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Erasure is the job that works off an erasure.
type Erasure struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements river.JobArgs.
func (Erasure) Kind() string { return "erasure" }

// EnqueueErasure adds the job that works off an erasure within tx.
func (q *Queue) EnqueueErasure(ctx context.Context, tx pgx.Tx, keys ...uuid.UUID) error {
	jobs := make([]Erasure, len(keys))
	for i, key := range keys {
		jobs[i].ID = key
	}
	return enqueueEach(ctx, tx, Bulk, 0, jobs)
}

// ErasuresWithoutJob lists the unfinished erasures that no job carries. They stay as they are until tx ends; those that others
// have locked are left out.
func (q *Queue) ErasuresWithoutJob(ctx context.Context, tx pgx.Tx) ([]uuid.UUID, error) {
	return unfinishedWithoutJob(ctx, tx, "erasures", Erasure{}.Kind())
}

// unfinishedWithoutJob lists the unfinished rows of a table that no job of a kind carries, and locks them until tx ends; those that others
// have locked are left out.
func unfinishedWithoutJob(ctx context.Context, tx pgx.Tx, table, kind string) ([]uuid.UUID, error) {
	rows, err := tx.Query(ctx, "select x.id from "+table+` x where x.finished_at is null
		and not exists (select 1 from `+Schema+`.river_job j where j.kind = $1 and `+Open+` and (j.args->>'id')::uuid = x.id)
		for update of x skip locked`, kind)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// DeliversSince reports whether a worker still has deliveries that it had at a time: it may be sending what was called off since.
func (q *Queue) DeliversSince(ctx context.Context, at time.Time) (any bool, err error) {
	err = q.pools.Any.QueryRow(ctx, "select exists (select 1 from "+Schema+`.river_job where state = 'running' and kind = 'deliver'
		and coalesce(attempted_at, created_at) <= $1)`, at).Scan(&any)
	return any, err
}
