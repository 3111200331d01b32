package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// driver is River's for PostgreSQL, but for how jobs are fetched; see queue.Fetch and fetcher.
type driver struct {
	riverdriver.Driver[pgx.Tx]
	fetcher *fetcher
}

func newDriver(s *models.Store, ts *tenants) driver {
	return driver{riverpgxv5.New(s.Jobs), &fetcher{store: s, tenants: ts, patience: fetchFor}}
}

// GetExecutor implements riverdriver.Driver.
func (d driver) GetExecutor() riverdriver.Executor {
	return executor{d.Driver.GetExecutor(), d.fetcher}
}

type executor struct {
	riverdriver.Executor
	fetcher *fetcher
}

// JobGetAvailable implements riverdriver.Executor. It is never asked for some kinds only, nor for another time than now.
func (e executor) JobGetAvailable(ctx context.Context, p *riverdriver.JobGetAvailableParams) (*riverdriver.JobGetAvailableResult, error) {
	if p.Kind != nil || p.Now != nil || p.Schema != queue.Schema {
		return e.Executor.JobGetAvailable(ctx, p)
	}
	fetched, err := e.fetcher.fetch(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &riverdriver.JobGetAvailableResult{Jobs: make([]*rivertype.JobRow, len(fetched))}
	for i, f := range fetched {
		failed := make([]rivertype.AttemptError, len(f.Errors))
		for k, raw := range f.Errors {
			if err := riverdriver.UnmarshalAttemptError(raw, &failed[k]); err != nil {
				if out.DecodeErrors == nil {
					out.DecodeErrors = map[int64]error{}
				}
				out.DecodeErrors[f.ID] = err
			}
		}
		out.Jobs[i] = &rivertype.JobRow{ID: f.ID, Attempt: f.Attempt, AttemptedAt: f.AttemptedAt, AttemptedBy: f.AttemptedBy,
			CreatedAt:   f.CreatedAt,
			EncodedArgs: f.Args, Errors: failed, Kind: f.Kind, MaxAttempts: f.MaxAttempts, Metadata: f.Metadata, Priority: f.Priority,
			Queue:       f.Queue,
			ScheduledAt: f.ScheduledAt, State: rivertype.JobState(f.State), Tags: f.Tags}
	}
	return out, nil
}
