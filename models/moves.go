package models

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The states of a move. What was cancelled is running until its copy is deleted.
const (
	MoveRunning   = "running"
	MoveFinished  = "done"
	MoveCancelled = "cancelled"
)

// MoveStatuses lists the states of a move.
var MoveStatuses = []string{MoveRunning, MoveFinished, MoveCancelled}

// Status is the state of the move, one of MoveStatuses.
func (m *Move) Status() string {
	switch {
	case m.Open():
		return MoveRunning
	case m.Phase == MoveUndone:
		return MoveCancelled
	}
	return MoveFinished
}

// MoveQuery selects moves.
type MoveQuery struct {
	Tenants  []string `query:"tenant_id" label:"Tenant" doc:"Only of these tenants."`
	Statuses []string `query:"status" label:"Status" api:"schema=MoveStatus" doc:"Only in one of these states."`
	Page     PageQuery
}

// Moves lists moves by the time they were started. It is asked of home.
func (s *Store) Moves(ctx context.Context, mq MoveQuery) (*Page[*Move], error) {
	if err := oneOf("status", mq.Statuses, MoveStatuses); err != nil {
		return nil, err
	}
	k, err := mq.Page.keyset([]int64(nil), mq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	if len(mq.Tenants) > 0 {
		q.and("t.id = any(?)", mq.Tenants)
	}
	if len(mq.Statuses) > 0 {
		q.and("case when m.finished_at is null then 'running' else m.phase end = any(?)", mq.Statuses)
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("m.id "+k.op()+" ?", after)
	}
	rows, err := s.pool.Query(ctx, moveSelect+q.sql()+" order by m.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanMove)
	if err != nil {
		return nil, err
	}
	return newPage(k, "created_at", list, func(m *Move) any { return m.Key }), nil
}
