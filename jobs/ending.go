package jobs

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// ending knows the jobs that River must not write the end of. A job that delivers is deleted together with what its
// outcomes are, or goes on under another id; what River would write a quarter of a second later, under an id and to
// whatever then runs under it, could only do harm: end the job for a process that has begun it anew.
type ending struct {
	mu   sync.Mutex
	done map[int64]bool
}

func (e *ending) add(job int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		e.done = map[int64]bool{}
	}
	e.done[job] = true
}

// driver is River's way to the database, without the ends of these jobs.
func (e *ending) driver(pool *pgxpool.Pool) riverdriver.Driver[pgx.Tx] {
	return &endingDriver{riverpgxv5.New(pool), e}
}

type endingDriver struct {
	riverdriver.Driver[pgx.Tx]
	ending *ending
}

func (d *endingDriver) GetExecutor() riverdriver.Executor {
	return &endingExecutor{d.Driver.GetExecutor(), d.ending}
}

type endingExecutor struct {
	riverdriver.Executor
	ending *ending
}

// JobSetStateIfRunningMany is how River writes that jobs have ended. Those that it does not get back it takes for deleted.
func (x *endingExecutor) JobSetStateIfRunningMany(ctx context.Context, p *riverdriver.JobSetStateIfRunningManyParams) ([]*rivertype.JobRow, error) {
	left, ended := x.ending.without(p)
	var rows []*rivertype.JobRow
	if len(left.ID) > 0 {
		var err error
		if rows, err = x.Executor.JobSetStateIfRunningMany(ctx, left); err != nil {
			return nil, err // River comes back with all of them
		}
	}
	x.ending.forget(ended)
	return rows, nil
}

// without divides what River would write into what is left to be written and the jobs that are not its concern.
func (e *ending) without(p *riverdriver.JobSetStateIfRunningManyParams) (left *riverdriver.JobSetStateIfRunningManyParams, ended []int64) {
	left = &riverdriver.JobSetStateIfRunningManyParams{Now: p.Now, Schema: p.Schema}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, id := range p.ID {
		if p.State[i] == rivertype.JobStateCompleted && e.done[id] {
			ended = append(ended, id)
			continue
		}
		left.ID = append(left.ID, id)
		left.Attempt = append(left.Attempt, p.Attempt[i])
		left.ErrData = append(left.ErrData, p.ErrData[i])
		left.FinalizedAt = append(left.FinalizedAt, p.FinalizedAt[i])
		left.MetadataDoMerge = append(left.MetadataDoMerge, p.MetadataDoMerge[i])
		left.MetadataUpdates = append(left.MetadataUpdates, p.MetadataUpdates[i])
		left.ScheduledAt = append(left.ScheduledAt, p.ScheduledAt[i])
		left.State = append(left.State, p.State[i])
	}
	return left, ended
}

func (e *ending) forget(jobs []int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range jobs {
		delete(e.done, id)
	}
}
