package queue

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Move is the job that moves a tenant to another cell.
type Move struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements river.JobArgs.
func (Move) Kind() string { return "move" }

// EnqueueMove adds the jobs that work off moves within tx.
func (q *Queue) EnqueueMove(ctx context.Context, tx pgx.Tx, keys ...uuid.UUID) error {
	jobs := make([]Move, len(keys))
	for i, key := range keys {
		jobs[i].ID = key
	}
	return enqueueEach(ctx, tx, Bulk, 0, jobs)
}

// MovesWithoutJob lists the open moves that no job carries. They stay as they are until tx ends; those that others have locked are left
// out.
func (q *Queue) MovesWithoutJob(ctx context.Context, tx pgx.Tx) ([]uuid.UUID, error) {
	return unfinishedWithoutJob(ctx, tx, "tenant_moves", Move{}.Kind())
}

// The jobs of a tenant, whose key stands for {t}, and that of its destinations for {d}: those that somebody will still run.
const OfTenant = Open + ` and case kind
	when 'deliver' then (args->>'d')::bigint in ({d})
	when 'release' then (args->>'Destination')::bigint in ({d})
	when 'bulk_retry' then (args->>'id')::uuid in (select id from bulk_retries where tenant_key = {t})
	when 'erasure' then (args->>'id')::uuid in (select id from erasures where tenant_key = {t})
	when 'notice' then (args->>'id')::uuid in (select id from notifications where owner_key = {t})
	else false end`

// Carried are the columns with which a job goes to another database. The state in which it goes on there, and when it is due, are
// carriedState and carriedDue.
const Carried = "args, attempt, created_at, errors, kind, max_attempts, metadata, priority, queue, tags, unique_key, unique_states, state, scheduled_at"

// CarriedAs is how they are read: a job that was taken goes on as a dead worker's does, see Takeover, and one that was just put off is due,
// since it may be so for the tenant was held.
const CarriedAs = `args, attempt, created_at, errors, kind, max_attempts, metadata, priority, queue, tags, unique_key, unique_states,
	case when state = 'running' then 'available' else state end, 
	case when state = 'running' or metadata ? '` + putOff + `' and scheduled_at < now() + interval '1 second' then now() else scheduled_at end`

// Carry has the tenant's workers look for jobs that were put into the table from elsewhere.
func (q *Queue) Carry() {
	q.asides.see()
	q.WakeAll()
}
