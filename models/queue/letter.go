package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Letter is the job that sends a mail to one person.
type Letter struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements river.JobArgs.
func (Letter) Kind() string { return "letter" }

// EnqueueLetter adds the job that sends a letter within tx, after a while, in which whoever wrote it may send it.
func (q *Queue) EnqueueLetter(ctx context.Context, tx Tx, id uuid.UUID, after time.Duration) error {
	args, err := json.Marshal(Letter{id})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "insert into "+Schema+`.river_job (args, kind, max_attempts, queue, scheduled_at)
		values ($1::text::jsonb, $2, $3, $4, now() + $5::interval)`, string(args), Letter{}.Kind(), maxAttempts, Notify, after)
	if err != nil {
		return fmt.Errorf("write jobs: %w", err)
	}
	if after == 0 {
		tx.AfterCommit(q.wake[2].wake)
	}
	return nil
}
