package models

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// CellState is a database that holds tenants, as it is now.
type CellState struct {
	Name       string
	Address    string // without passwords; empty for home
	Tenants    int
	DrainingAt *time.Time // since when new tenants go elsewhere; nil for not at all
	Served     bool       // by the process that asks; see CELLS
	Reachable  bool
	Problem    string     // why it is not reachable, in a sentence
	Since      *time.Time // when that changed last, as far as the process that asks knows; nil for home
	Health     *CellHealth
}

// CellHealth is what a cell says of itself.
type CellHealth struct {
	Schema    int64         // the version that it was migrated to
	Workers   int           // that are alive
	Due       *int          // jobs that a worker could take now; nil when they could not be counted in time
	OldestDue time.Duration // how long the oldest of them has been waiting
}

// CellHealth reads it.
func (s *Store) CellHealth(ctx context.Context) (*CellHealth, error) {
	ctx = OnPrimary(ctx)
	h := &CellHealth{}
	err := s.pool.QueryRow(ctx, `select (select coalesce(max(version_id), 0) from goose_db_version where is_applied),
		(select count(*) from processes where role in ('serve', 'work') and `+apart+` < interval '5 seconds')`).Scan(&h.Schema, &h.Workers)
	if err != nil {
		return nil, err
	}
	list, _, err := s.queues.get(ctx, s.countJobs)
	if err != nil {
		return nil, err
	}
	if list != nil {
		h.Due = new(int)
	}
	for _, q := range list {
		if q.State == "due" {
			*h.Due += q.Jobs
		}
	}
	for _, q := range watchedQueues {
		age, err := s.oldestDue(ctx, q)
		if err != nil {
			return nil, err
		}
		h.OldestDue = max(h.OldestDue, age)
	}
	return h, nil
}

// Away is the finding about a cell that does not answer.
func (s *CellState) Away() Finding {
	return Finding{Check: "cell", Level: LevelFail, Cell: s.Name,
		Message: fmt.Sprintf("The cell %s does not answer: its tenants get 503. %s", s.Name, s.Problem),
		Advice:  "See whether its PostgreSQL runs and takes connections. It is tried again by itself."}
}

// Join adds to a checkup of home what was found in a cell. Neither is changed, for both are remembered.
func (c Checkup) Join(cell string, found []Finding, unchecked []Unchecked) Checkup {
	c.Findings, c.Unchecked = slices.Clone(c.Findings), slices.Clone(c.Unchecked)
	for _, f := range found {
		f.Cell = cell
		c.Findings = append(c.Findings, f)
	}
	for _, u := range unchecked {
		c.Unchecked = append(c.Unchecked, Unchecked{u.Check + " of " + cell, u.Why})
	}
	slices.SortStableFunc(c.Findings, func(a, b Finding) int { return slices.Index(levels, a.Level) - slices.Index(levels, b.Level) })
	return c
}
