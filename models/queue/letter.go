package queue

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Letter is the job that sends a mail to one person.
type Letter struct {
	ID uuid.UUID `json:"id"`
}

// Kind implements river.JobArgs.
func (Letter) Kind() string { return "letter" }

// EnqueueLetter adds the job that sends a letter within tx, after a while, in which whoever wrote it may send it.
func (q *Queue) EnqueueLetter(ctx context.Context, tx pgx.Tx, id uuid.UUID, after time.Duration) error {
	return enqueueEach(ctx, tx, Notify, after, []Letter{{id}})
}
