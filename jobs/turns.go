package jobs

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

// inTurns are the defaults of workers whose job lives as long as what it works off, portion by portion.
type inTurns[T river.JobArgs] struct{ river.WorkerDefaults[T] }

// Timeout is off: a turn has its own end, and each portion is short.
func (inTurns[T]) Timeout(*river.Job[T]) time.Duration { return -1 }

// NextRetry tries again soon: a portion that is done is done.
func (inTurns[T]) NextRetry(*river.Job[T]) time.Time { return time.Now().Add(time.Second) }

// again is what a worker returns whose job is done once more after a while; 0 for never.
func again(after time.Duration, err error) error {
	if err != nil || after == 0 {
		return err
	}
	return river.JobSnooze(after)
}

// turnLength is how long such a job works before others that wait get their turn.
const turnLength = 30 * time.Second

// takeTurn does portion after portion, with the wait that each asks for, until one says that it is over or fails. When the turn is
// over, or the process stops, the job goes on later.
func takeTurn(ctx context.Context, stopping <-chan struct{}, portion func() (wait time.Duration, over bool, err error)) error {
	end := time.Now().Add(turnLength)
	for {
		wait, over, err := portion()
		if err != nil || over {
			return err
		}
		if time.Now().After(end) {
			return river.JobSnooze(0)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stopping:
			return river.JobSnooze(0) // another process goes on at once
		case <-time.After(min(wait, time.Until(end))):
		}
	}
}

// goesOn says whether a turn that began at a time goes on: until its length is over, or the process stops.
func goesOn(stopping <-chan struct{}, began time.Time, length time.Duration) func() bool {
	return func() bool {
		select {
		case <-stopping:
			return false
		default:
			return time.Since(began) < length
		}
	}
}
