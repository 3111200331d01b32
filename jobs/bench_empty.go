package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/waybill-dev/waybill/models/queue"
)

// emptyArgs are a job that does nothing.
type emptyArgs struct{}

func (emptyArgs) Kind() string { return "empty" }

type emptyWorker struct {
	river.WorkerDefaults[emptyArgs]
	done chan struct{}
}

func (w *emptyWorker) Work(context.Context, *river.Job[emptyArgs]) error {
	w.done <- struct{}{}
	return nil
}

// EmptyRate measures how many jobs a second River works off that do nothing, with n jobs in the queue. It is what the
// figures of deliveries are judged by. Any server on the same database ignores these jobs.
func EmptyRate(ctx context.Context, url string, n int) (perSecond float64, err error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	w := &emptyWorker{done: make(chan struct{}, n)}
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	const name = "empty"
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: queue.Schema, Workers: workers,
		FetchPollInterval:      100 * time.Millisecond,
		Queues:                 map[string]river.QueueConfig{name: {MaxWorkers: 500, FetchCooldown: time.Millisecond}},
		LeaderElectionDisabled: true})
	if err != nil {
		return 0, err
	}
	params := make([]river.InsertManyParams, n)
	for i := range params {
		params[i] = river.InsertManyParams{Args: emptyArgs{}, InsertOpts: &river.InsertOpts{Queue: name}}
	}
	if _, err := client.InsertManyFast(ctx, params); err != nil {
		return 0, fmt.Errorf("insert jobs: %w", err)
	}
	start := time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { _ = client.StopAndCancel(context.WithoutCancel(ctx)) }()
	for range n {
		select {
		case <-w.done:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Minute):
			return 0, fmt.Errorf("jobs are not worked off")
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
