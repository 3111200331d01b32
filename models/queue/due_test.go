package queue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/queue"
)

// TestDueJobsWakeWorkers: workers are told when a job is due, also when others are due behind it.
func TestDueJobsWakeWorkers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, url := openStore(t)
	conn, err := modelstest.Connect(t, url).Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `listen "`+queue.Schema+`.river_insert"`); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	later := func(destination int64, wait time.Duration) queue.Batch {
		return queue.Batch{Key: queue.Key{Destination: destination, Later: true}, Items: queue.Items{{EventKey: uuid.Must(uuid.NewV7())}},
			At: begun.Add(wait)}
	}
	if err := s.InTx(ctx, func(tx *models.Tx) error {
		return s.Queue.Enqueue(ctx, tx, []queue.Batch{later(1, 100*time.Millisecond), later(2, 300*time.Millisecond)})
	}); err != nil {
		t.Fatal(err)
	}
	for job := 1; job <= 2; {
		told, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("nobody was told of job %d: %v", job, err)
		}
		if !strings.Contains(told.Payload, queue.Retry) {
			continue
		}
		got, err := queue.Fetch(ctx, s.Jobs, "w", queue.Retry, 10, 100)
		if err != nil {
			t.Fatal(err)
		}
		s.Queue.ExpectNext(ctx, s.Jobs, queue.Retry, len(got))
		job += len(got)
	}
	if time.Since(begun) < 300*time.Millisecond {
		t.Error("a job was fetched before it was due")
	}
}
