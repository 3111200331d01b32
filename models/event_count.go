package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// EventCount is how many events a list has.
type EventCount struct {
	Events int
	Exact  bool // otherwise it is estimated from the newest ones
}

// How long counting a list may take.
const (
	countExactly = 150 * time.Millisecond // before it is estimated
	countRoughly = 300 * time.Millisecond // before it is given up
	countSample  = 2000                   // of the newest events, of which an estimate is made
	searchSample = 500                    // where payloads are searched
)

// CountEvents counts the events of a list: exactly where that takes no long time, else from a sample of the newest ones. It is nil
// where neither is done in time.
func (s *Store) CountEvents(ctx context.Context, scope Scope, eq EventQuery) (*EventCount, error) {
	m, err := s.matchEvents(ctx, scope, eq)
	if err != nil {
		return nil, err
	}
	if m.what == nil {
		q := newQuery()
		m.where(q, nil)
		var n int
		done, err := s.inTime(ctx, countExactly, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, "select count(*) from events e"+q.sql(), q.args...).Scan(&n)
		})
		if err != nil || done {
			return &EventCount{n, true}, err
		}
	}
	return m.estimate(ctx)
}

// estimate counts a sample, and takes the others to be like it.
func (m *eventMatch) estimate(ctx context.Context) (*EventCount, error) {
	size := countSample
	if m.what != nil {
		size = searchSample
	}
	// Of the time that is asked for, and the tenants; the other conditions are what the sample tells of.
	q := newQuery()
	q.and("e.id >= ?", m.lo)
	q.and("e.id < ?", m.hi)
	m.scope.where(q, "e.tenant_key")
	var ids, matched []uuid.UUID
	var all float64
	done, err := m.s.inTime(ctx, countRoughly, func(tx pgx.Tx) error {
		var plan []byte
		if err := tx.QueryRow(ctx, "explain (format json) select 1 from events e"+q.sql(), q.args...).Scan(&plan); err != nil {
			return err
		}
		var read []struct {
			Plan struct {
				Rows float64 `json:"Plan Rows"`
			}
		}
		if err := json.Unmarshal(plan, &read); err != nil || len(read) != 1 {
			return fmt.Errorf("read a plan: %w", errors.Join(err, errors.ErrUnsupported))
		}
		all = read[0].Plan.Rows
		rows, err := tx.Query(ctx, "select e.id from events e"+q.sql()+" order by e.id desc"+q.limit(size), q.args...)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err != nil || !done {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, 2*countRoughly)
	defer cancel()
	if matched, err = m.among(bounded, ids); err != nil {
		if bounded.Err() != nil && ctx.Err() == nil {
			return nil, nil
		}
		return nil, err
	}
	if len(ids) < size { // they are all that there are
		return &EventCount{len(matched), true}, nil
	}
	return &EventCount{int(max(all, float64(len(ids))) * float64(len(matched)) / float64(len(ids))), false}, nil
}

// inTime runs a reading of the database that is given up after a while; done is false then.
func (s *Store) inTime(ctx context.Context, limit time.Duration, read func(tx pgx.Tx) error) (done bool, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local statement_timeout = %d", limit.Milliseconds())); err != nil {
			return err
		}
		return read(tx)
	})
	if isCanceled(err) {
		return false, nil
	}
	return err == nil, err
}
