package models

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Mover moves tenants between cells, step by step. Each step can be done again: whoever dies within one, or between two, is followed by
// somebody who goes on. What has to be known for that is in the move's row at home, and in the databases themselves.
//
// Two that work on the same move do no harm: whoever writes to the target locks the tenant's row there first, which must still say that
// the tenant waits for it, and reads from the source only then. So nothing older ever replaces something newer.
type Mover struct {
	Home *Store
	// Open returns the store of a cell; HomeCell is home. The caller keeps it open.
	Open func(cell string) (*Store, error)
	Log  *slog.Logger // nil for nobody

	// between is called between any two things that are not one transaction, by tests that die there.
	between func(step string) error

	mu      sync.Mutex
	columns map[string]string
}

// MoveStep is how a step of a move went.
type MoveStep struct {
	Over bool          // nothing is left to do
	Wait time.Duration // until it is worth going on
}

const (
	movePortion  = 2000 // events that are copied in one transaction
	moveHistory  = 20_000
	moveChanges  = 5000 // changes that are taken up in one transaction
	moveDeletion = 1000 // events that are deleted in one transaction
	tidyEach     = 20   // portions after which the notes of changes are tidied
	// moveLittle is how many changes may be left when the hold begins.
	moveLittle = 500
	// moveWait is how long a move waits for what it can do nothing about.
	moveWait = 250 * time.Millisecond
	// moveRest is how long the clean rests after each portion, for everybody else.
	moveRest = 20 * time.Millisecond
	// moveStuck ends a transaction that a mover which was stopped has left open.
	moveStuck = "60s"
)

// moveRun is one step under way.
type moveRun struct {
	*Mover
	m              *Move
	source, target *Store
	lapped         time.Time // when the last lap ended
	laps           []any     // what took how long, for the log
}

// lap takes note of how long something took.
func (r *moveRun) lap(what string) {
	now := time.Now()
	if what != "" {
		r.laps = append(r.laps, what, now.Sub(r.lapped).Round(time.Millisecond))
	}
	r.lapped = now
}

// Advance does the next step of a move.
func (r *Mover) Advance(ctx context.Context, key uuid.UUID) (MoveStep, error) {
	m, err := moveRow(ctx, r.Home.pool, key)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !m.Open() {
		return MoveStep{Over: true}, nil
	}
	if err != nil {
		return MoveStep{}, err
	}
	step, err := r.step(ctx, m)
	if errors.Is(err, errMoved) {
		return MoveStep{}, nil
	}
	if err != nil {
		if ctx.Err() == nil {
			_, _ = r.Home.pool.Exec(ctx, "update tenant_moves set error = $2 where id = $1", key, text(cut(err.Error(), 1000)))
		}
		return MoveStep{}, fmt.Errorf("move tenant %s from %s to %s: %w", m.TenantID, m.Source, m.Target, err)
	}
	return step, nil
}

func (r *Mover) step(ctx context.Context, m *Move) (step MoveStep, err error) {
	run := &moveRun{Mover: r, m: m}
	if run.source, err = r.Open(m.Source); err != nil {
		return step, fmt.Errorf("the cell %q: %w", m.Source, err)
	}
	if run.target, err = r.Open(m.Target); err != nil {
		return step, fmt.Errorf("the cell %q: %w", m.Target, err)
	}
	switch m.Phase {
	case MovePrepare:
		return step, run.prepare(ctx)
	case MoveCopy:
		return step, run.copyPortion(ctx)
	case MoveCatchUp:
		return run.catchUp(ctx)
	case MoveSwitch:
		return run.switchOver(ctx)
	case MoveRelease:
		return step, run.release(ctx)
	case MoveClean:
		return run.clean(ctx)
	case MoveUndo:
		return run.undo(ctx)
	}
	return MoveStep{Over: true}, nil
}

func (r *Mover) log() *slog.Logger { return cmp.Or(r.Log, slog.New(slog.DiscardHandler)) }

func (r *Mover) pause(step string) error {
	if r.between == nil {
		return nil
	}
	return r.between(step)
}

// columnsOf is moveColumns, remembered while the mover lives: a schema changes with the program.
func (r *moveRun) columnsOf(ctx context.Context) func(table string) (string, error) {
	return func(table string) (string, error) {
		name := r.m.Source + " " + r.m.Target + " " + table
		r.mu.Lock()
		known := r.Mover.columns[name]
		r.mu.Unlock()
		if known != "" {
			return known, nil
		}
		// Not over the transactions of the caller, one of which may be copying.
		list, err := moveColumns(ctx, r.source.pool, r.target.pool, table, "")
		if err != nil {
			return "", err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.Mover.columns == nil {
			r.Mover.columns = map[string]string{}
		}
		r.Mover.columns[name] = list
		return list, nil
	}
}

// planned keeps the planner on indexes, as hotSettings do: it looks for few rows in big tables, by keys.
const planned = `set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off;
	set local plan_cache_mode = force_custom_plan; set local idle_in_transaction_session_timeout = '` + moveStuck + `'`

// beginPlanned begins a transaction with planned.
func beginPlanned(ctx context.Context, s *Store) (pgx.Tx, error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, planned); err != nil {
		rollBack(ctx, tx)
		return nil, err
	}
	return tx, nil
}

// carry runs fn with a transaction at the source and one at the target that holds the tenant's row there. The target commits first: were
// the source to fail then, what it gives up is copied again.
func (r *moveRun) carry(ctx context.Context, fn func(p *movePipe) error) error {
	to, err := beginPlanned(ctx, r.target)
	if err != nil {
		return err
	}
	defer rollBack(ctx, to)
	if err := r.lockTarget(ctx, to); err != nil {
		return err
	}
	from, err := beginPlanned(ctx, r.source)
	if err != nil {
		return err
	}
	defer rollBack(ctx, from)
	p := &movePipe{from: from, to: to, m: r.m, columns: r.columnsOf(ctx)}
	if err := fn(p); err != nil {
		return err
	}
	if err := r.pause("target commits"); err != nil {
		return err
	}
	if err := to.Commit(ctx); err != nil {
		return err
	}
	if err := r.pause("source commits"); err != nil {
		return err
	}
	r.m.Progress.Rows += p.rows
	return from.Commit(ctx)
}

// rollBack ends a transaction that was not committed.
func rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	_ = tx.Rollback(ctx) // that it is over already is as good
}

// lockTarget locks the tenant's row at the target, which must still wait for the tenant.
func (r *moveRun) lockTarget(ctx context.Context, to pgx.Tx) error {
	var waits bool
	err := to.QueryRow(ctx, "select coalesce(held_until = 'infinity', false) from tenants where key = $1 for no key update", r.m.TenantKey).Scan(&waits)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !waits {
		return errMoved
	}
	return err
}
