package models

import (
	"context"
	"time"
)

// ErasurePlan says what an erasure would erase if it were started now.
type ErasurePlan struct {
	Scope  string        // one of ErasureScopes
	Filter ErasureFilter // with its times fixed
	Count  int           // events that would be erased
	Looked int           // events that were looked at
	More   bool          // there are more events than were looked at in time, so that Count may be more
}

// Limits of looking through events for a plan.
const (
	erasurePlanTime   = 3 * time.Second
	erasurePlanWindow = 20_000 // events that are looked at at once, where payloads are not read
)

// PlanErasure counts what StartErasure would erase, with the code that chooses it. It stops counting after three seconds.
func (s *Store) PlanErasure(ctx context.Context, scope Scope, in ErasureInput) (*ErasurePlan, error) {
	e, err := s.newErasure(ctx, scope, in)
	if err != nil {
		return nil, err
	}
	p := &ErasurePlan{Scope: e.Scope, Filter: e.Filter}
	window := erasurePlanWindow
	if e.Filter.Text != "" {
		window = eraseWindow
	}
	for deadline := time.Now().Add(erasurePlanTime); ; {
		lo, hi := e.bounds()
		n, last, err := s.eventWindow(ctx, e.TenantScope(), lo, hi, "asc", window)
		if err != nil || n == 0 {
			return p, err
		}
		ids, err := e.chosen(ctx, s, lo, last)
		if err != nil {
			return nil, err
		}
		p.Count, p.Looked, e.after = p.Count+len(ids), p.Looked+n, last
		if n < window {
			return p, nil
		}
		if time.Now().After(deadline) {
			p.More = true
			return p, nil
		}
	}
}
