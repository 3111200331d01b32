package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The phases of a move, in their order. Until MoveSwitch it can be cancelled.
const (
	MovePrepare = "prepare"  // makes the target ready, and has the source note what changes
	MoveCopy    = "copy"     // copies while the tenant goes on
	MoveCatchUp = "catch_up" // copies what has changed meanwhile, until little is left
	MoveSwitch  = "switch"   // holds the tenant, copies the rest, and has the source refuse it from then on
	MoveRelease = "release"  // lets the tenant go on at the target
	MoveClean   = "clean"    // deletes the tenant's rows at the source
	MoveUndo    = "undo"     // was cancelled: deletes what was copied
	MoveDone    = "done"
	MoveUndone  = "cancelled"
)

// MovePhases lists the phases of a move.
var MovePhases = []string{MovePrepare, MoveCopy, MoveCatchUp, MoveSwitch, MoveRelease, MoveClean, MoveUndo, MoveDone, MoveUndone}

// movePrefix begins the public ids of moves.
const movePrefix = "mov_"

// Move is a tenant on its way from one cell to another. Its row is at home.
type Move struct {
	Key            uuid.UUID
	TenantKey      int64
	TenantID       string
	Source, Target string // names of cells; HomeCell for home
	Phase          string // one of MovePhases
	Progress       MoveProgress
	Error          string // why the last try did not get on; empty for none
	Actor          string // who asked for it
	CreatedAt      time.Time
	SwitchedAt     *time.Time // since then the tenant is at the target
	FinishedAt     *time.Time
}

// MoveProgress is how far a move has come.
type MoveProgress struct {
	Events   int64 `json:"events"`  // copied, or to be so
	Total    int64 `json:"total"`   // that the source had when the copy began
	Rows     int64 `json:"rows"`    // copied in all, those that were copied again included
	Left     int64 `json:"left"`    // changes that are noted and not copied yet, as far as was looked
	Deleted  int64 `json:"deleted"` // events deleted at the source
	Tries    int   `json:"tries"`   // holds that were begun
	HeldMs   int64 `json:"held_ms"` // how long the tenant was held at last
	Running  int   `json:"cut_off"` // jobs that were under way at the switch, and are done again at the target
	MovedJob int64 `json:"jobs_moved"`

	Since    time.Time `json:"since,omitzero"`     // when the copy began, by the source's clock
	HeldAt   time.Time `json:"held_at,omitzero"`   // when the last hold began, by the mover's clock
	Verified bool      `json:"verified,omitempty"` // the numbers of rows were compared
	Undoing  bool      `json:"undoing,omitempty"`
	Stage    int       `json:"stage,omitempty"` // of the copy, or of the clean
	After    string    `json:"after,omitempty"` // the last key of the stage that was copied
	Mark     uuid.UUID `json:"mark,omitzero"`   // events up to this one were counted at both
	Base     int64     `json:"base,omitempty"`  // the first position in the target's feed
	Feed     int64     `json:"feed,omitempty"`  // the last position of the source's feed that was copied
}

// ID is the public id of the move.
func (m *Move) ID() string { return movePrefix + strings.ReplaceAll(m.Key.String(), "-", "") }

// Open reports whether the move is not over.
func (m *Move) Open() bool { return m.FinishedAt == nil }

// Cancellable reports whether the move can be cancelled.
func (m *Move) Cancellable() bool {
	return m.Phase == MovePrepare || m.Phase == MoveCopy || m.Phase == MoveCatchUp
}

const moveSelect = `select m.id, m.tenant_key, t.id, m.source, m.target, m.phase, m.progress, m.error, m.created_by, m.created_at, m.switched_at,
	m.finished_at from tenant_moves m join tenants t on t.key = m.tenant_key`

func scanMove(row pgx.CollectableRow) (*Move, error) {
	m := &Move{}
	var source, target *string
	err := row.Scan(&m.Key, &m.TenantKey, &m.TenantID, &source, &target, &m.Phase, &m.Progress, &m.Error, &m.Actor, &m.CreatedAt,
		&m.SwitchedAt,
		&m.FinishedAt)
	m.Source, m.Target = cellNamed(source), cellNamed(target)
	return m, err
}

// cellNamed is the name of a cell as the directory has it, where home is null.
func cellNamed(column *string) string {
	if column == nil {
		return HomeCell
	}
	return *column
}

// inDirectory is what the directory has for a cell.
func inDirectory(cell string) *string {
	if cell == HomeCell || cell == "" {
		return nil
	}
	return &cell
}

// moveRow reads a move.
func moveRow(ctx context.Context, db querier, key uuid.UUID) (*Move, error) {
	rows, err := db.Query(ctx, moveSelect+" where m.id = $1", key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanMove)
}

// Move returns the move with a public id. It is asked of home.
func (s *Store) Move(ctx context.Context, id string) (*Move, error) {
	body, ok := strings.CutPrefix(id, movePrefix)
	key, err := uuid.Parse(body)
	if !ok || err != nil || len(body) != 32 {
		return nil, notFound("There is no move %q.", cut(id, 80))
	}
	m, err := moveRow(ctx, s.pool, key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no move %q.", cut(id, 80))
	}
	return m, err
}

// StartMove begins to move a tenant to a cell: HomeCell, or the name of one that was added. The work is done by a job of home. The store
// is home's.
func (s *Store) StartMove(ctx context.Context, tenantID, cell, actor string) (*Move, error) {
	bad := problems{}
	for field, value := range map[string]string{"tenant_id": tenantID, "cell": cell} {
		if value == "" {
			bad.add(field, "is required")
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	t, err := s.Tenant(ctx, AllTenants(), tenantID)
	if err != nil {
		return nil, err
	}
	if t.ID == OperatorTenant {
		return nil, conflict("This tenant holds the operators' destinations, which are in the cell %q.", HomeCell)
	}
	m := &Move{Key: uuid.Must(uuid.NewV7()), TenantKey: t.Key, TenantID: t.ID, Target: cell, Phase: MovePrepare, Actor: actor}
	err = s.InTx(ctx, func(tx *Tx) error {
		var at *string
		if err := tx.QueryRow(ctx, "select cell from tenants where key = $1 and deleted_at is null for update", t.Key).Scan(&at); err != nil {
			return err
		}
		if m.Source = cellNamed(at); m.Source == cell {
			return conflict("The tenant %q is in the cell %q already.", t.ID, cell)
		}
		if cell != HomeCell {
			var draining bool // the lock is for RemoveCell
			err := tx.QueryRow(ctx, "select draining_at is not null from cells where name = $1 for key share", cell).Scan(&draining)
			if errors.Is(err, pgx.ErrNoRows) {
				return Invalid("cell", fmt.Sprintf("%q is no cell; GET /cells lists those that there are", cut(cell, 80)))
			}
			if err != nil {
				return err
			}
			if draining {
				return conflict("The cell %q is being drained. Choose another one, or end that first.", cell)
			}
		}
		_, err := tx.Exec(ctx, "insert into tenant_moves (id, tenant_key, source, target, phase, created_by) values ($1, $2, $3, $4, $5, $6)",
			m.Key, t.Key, inDirectory(m.Source), inDirectory(cell), m.Phase, text(actor))
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.Code == "23505" {
			return conflict("The tenant %q is on its way already. Wait for that move, or cancel it.", t.ID)
		}
		if err != nil {
			return err
		}
		if err := s.Queue.EnqueueMove(ctx, tx.Pgx, m.Key); err != nil {
			return err
		}
		if m, err = moveRow(ctx, tx, m.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "move.start", Object: m.ID(),
			Detail: map[string]any{"tenant": t.ID, "from": m.Source, "to": m.Target}})
	})
	return m, err
}

// CancelMove cancels a move whose tenant is not being switched yet. What was copied is deleted by the move's job.
func (s *Store) CancelMove(ctx context.Context, id string) (*Move, error) {
	m, err := s.Move(ctx, id)
	if err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "update tenant_moves set phase = $2, error = '' where id = $1 and phase = any($3)", m.Key, MoveUndo,
			[]string{MovePrepare, MoveCopy, MoveCatchUp})
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return conflict("This move cannot be cancelled any more. Move the tenant back instead.")
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "move.cancel", Object: m.ID(),
			Detail: map[string]any{"tenant": m.TenantID, "from": m.Source, "to": m.Target}})
	})
	if err != nil {
		return nil, err
	}
	return s.Move(ctx, id)
}

// ResumeMoves gives moves a job that are open and have none; see ResumeLost. It returns how many.
func (s *Store) ResumeMoves(ctx context.Context) (n int, err error) {
	if s.home != nil {
		return 0, nil // they are home's
	}
	return n, s.InTx(ctx, func(tx *Tx) error {
		open, err := s.Queue.MovesWithoutJob(ctx, tx.Pgx)
		if n = len(open); err != nil || n == 0 {
			return err
		}
		return s.Queue.EnqueueMove(ctx, tx.Pgx, open...)
	})
}

// note writes down how far the move has come. It is errMoved when somebody else has taken it elsewhere, or has cancelled it.
func (m *Move) note(ctx context.Context, home *Store, phase string) error {
	progress, err := json.Marshal(m.Progress)
	if err != nil {
		return err
	}
	tag, err := home.pool.Exec(ctx, `update tenant_moves set phase = $3, progress = $4, error = '',
		finished_at = case when $3 in ('done', 'cancelled') then now() end where id = $1 and phase = $2`, m.Key, m.Phase, phase, progress)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errMoved
	}
	m.Phase = phase
	return nil
}

// errMoved is that a move is not in the phase any more in which it was when it was read.
var errMoved = errors.New("the move has gone on meanwhile")
