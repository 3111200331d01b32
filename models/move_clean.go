package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lateCounts is how long after the switch processes still write what filters held back before it.
const lateCounts = 3 * time.Second

// sweep deletes a tenant's rows in one database, in portions.
type sweep struct {
	*moveRun
	s     *Store // where it deletes
	other *Store // where the rows are, too
	late  bool   // what came late is added there first
}

// clean deletes the next portion of the tenant's rows at the source.
func (r *moveRun) clean(ctx context.Context) (MoveStep, error) {
	if left := lateCounts - time.Since(*r.m.SwitchedAt); left > 0 && left < lateCounts {
		return MoveStep{Wait: left}, nil
	}
	over, err := (&sweep{r, r.source, r.target, true}).next(ctx)
	if err != nil {
		return MoveStep{}, err
	}
	if err := r.pause("clean"); err != nil {
		return MoveStep{}, err
	}
	if !over {
		return MoveStep{Wait: moveRest}, r.m.note(ctx, r.Home, MoveClean)
	}
	if err := errors.Join(uncapture(ctx, r.source, r.m), dropStages(ctx, r.target, r.m)); err != nil {
		return MoveStep{}, err
	}
	return MoveStep{Over: true}, r.m.note(ctx, r.Home, MoveDone)
}

// undo deletes the next portion of what a move that was cancelled has copied.
func (r *moveRun) undo(ctx context.Context) (MoveStep, error) {
	m := r.m
	if !m.Progress.Undoing {
		m.Progress.Stage, m.Progress.After, m.Progress.Undoing = 0, "", true
		if err := r.letGo(ctx); err != nil {
			return MoveStep{}, err
		}
		if err := uncapture(ctx, r.source, m); err != nil {
			return MoveStep{}, err
		}
		return MoveStep{}, m.note(ctx, r.Home, MoveUndo)
	}
	over, err := (&sweep{r, r.target, r.source, false}).next(ctx)
	if err != nil {
		return MoveStep{}, err
	}
	if err := r.pause("undo"); err != nil {
		return MoveStep{}, err
	}
	if !over {
		return MoveStep{Wait: moveRest}, m.note(ctx, r.Home, MoveUndo)
	}
	if err := dropStages(ctx, r.target, m); err != nil {
		return MoveStep{}, err
	}
	sql, args := "update tenants set held_until = null where key = $1 and held_until = 'infinity'", []any{m.TenantKey}
	if m.Target != HomeCell {
		sql, args = strings.Replace(sql, "held_until = null", "held_until = null, cell = $2", 1), append(args, m.Source)
	}
	if _, err := r.target.pool.Exec(ctx, sql, args...); err != nil {
		return MoveStep{}, err
	}
	return MoveStep{Over: true}, m.note(ctx, r.Home, MoveUndone)
}

// dropStages drops the places beside the target's tables.
func dropStages(ctx context.Context, s *Store, m *Move) error {
	_, err := s.pool.Exec(ctx, "drop table if exists "+strings.Join(m.stages(), ", "))
	if noSchema(err) {
		return nil
	}
	return err
}

// next deletes the next portion, and reports whether nothing is left.
func (w *sweep) next(ctx context.Context) (over bool, err error) {
	p := &w.m.Progress
	var through bool
	switch p.Stage {
	case 0:
		through, err = true, w.lateCounts(ctx)
	case 1:
		through, err = w.events(ctx)
	case 2:
		through, err = w.ids(ctx, "notifications")
	case 3:
		through, err = w.ids(ctx, "audit")
	case 4:
		through, err = w.byDestination(ctx)
	case 5:
		through, err = w.changes(ctx)
	default:
		return true, w.rest(ctx)
	}
	if through {
		p.Stage, p.After = p.Stage+1, ""
	}
	return false, err
}

// lateCounts adds what filters were counted to have held back after the counts were copied. Were the mover to die between the two
// databases, it would be added twice.
func (w *sweep) lateCounts(ctx context.Context) error {
	if !w.late {
		return nil
	}
	t := movedTableNamed("filter_counts")
	return pgx.BeginFunc(ctx, w.s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "delete from filter_counts where "+t.where(w.m.TenantKey)+" returning filter_key, hour, rule, events")
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		var key, events int64
		var hour time.Time
		var rule int32
		if _, err := pgx.ForEachRow(rows, []any{&key, &hour, &rule, &events}, func() error {
			b.Queue(`insert into filter_counts (filter_key, hour, rule, events) values ($1, $2, $3, $4)
				on conflict (filter_key, hour, rule) do update set events = filter_counts.events + excluded.events`, key, hour, rule, events)
			return nil
		}); err != nil || b.Len() == 0 {
			return err
		}
		return w.other.pool.SendBatch(ctx, b).Close()
	})
}

// events deletes events with what belongs to them.
func (w *sweep) events(ctx context.Context) (over bool, err error) {
	n := 0
	err = pgx.BeginFunc(ctx, w.s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, planned); err != nil {
			return err
		}
		ids, err := w.nextEvents(ctx, tx, uuid.UUID{}, moveDeletion)
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		list := uuidList(ids)
		for _, sql := range []string{"delete from attempts where event_id = any(", "delete from deliveries where event_id = any(",
			"delete from events where id = any("} {
			if _, err := tx.Exec(ctx, sql+list+")"); err != nil {
				return err
			}
		}
		return nil
	})
	w.m.Progress.Deleted += int64(n)
	return n < moveDeletion, err
}

// ids deletes rows of a table that both databases have. Home's audit log has entries that never moved, and some that came since.
func (w *sweep) ids(ctx context.Context, table string) (over bool, err error) {
	t := movedTableNamed(table)
	known := w.s
	if !w.late {
		known = w.other
	}
	rows, err := known.pool.Query(ctx, "select id from "+table+" where "+t.where(w.m.TenantKey)+" and id > $1 order by id limit $2",
		uuidOr(w.m.Progress.After), moveHistory)
	if err != nil {
		return false, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(ids) == 0 {
		return true, err
	}
	if w.late {
		if err := w.addLate(ctx, t, ids); err != nil {
			return false, err
		}
	}
	_, err = w.s.pool.Exec(ctx, "delete from "+table+" where id = any($1)", ids)
	w.m.Progress.After = ids[len(ids)-1].String()
	return len(ids) < moveHistory, err
}

// addLate copies those rows to the target that are missing there.
func (w *sweep) addLate(ctx context.Context, t *movedTable, ids []uuid.UUID) error {
	rows, err := w.other.pool.Query(ctx, "select id from "+t.name+" where id = any($1)", ids)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return slices.Contains(there, id) })
	if len(missing) == 0 || t.name != "audit" { // the others are deleted by retention
		return nil
	}
	return pgx.BeginFunc(ctx, w.other.pool, func(to pgx.Tx) error {
		return pgx.BeginFunc(ctx, w.s.pool, func(from pgx.Tx) error {
			p := &movePipe{from: from, to: to, m: w.m, columns: w.columnsOf(ctx)}
			return p.put(ctx, t, "id = any("+uuidList(missing)+")")
		})
	})
}

// byDestination deletes what is kept of each minute of a destination.
func (w *sweep) byDestination(ctx context.Context) (over bool, err error) {
	p := &w.m.Progress
	if p.After == "" {
		p.After = "0"
	}
	known := w.s // of a copy the destinations are still to come
	if !w.late {
		known = w.other
	}
	var key int64
	err = known.pool.QueryRow(ctx, "select key from destinations where tenant_key = $1 and key > $2::text::bigint order by key limit 1", w.m.TenantKey,
		p.After).Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	p.After = fmt.Sprint(key)
	b := &pgx.Batch{}
	for _, table := range []string{"health_minutes", "health_hours", "health_hours_late", "rate_limits", "destination_waits"} {
		b.Queue("delete from "+table+" where destination_key = $1", key)
	}
	if !w.late {
		rows, err := known.pool.Query(ctx, "select key from destination_filters where destination_key = $1", key)
		if err != nil {
			return false, err
		}
		filters, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return false, err
		}
		b.Queue("delete from filter_counts where filter_key = any($1)", filters)
	}
	return false, w.s.pool.SendBatch(ctx, b).Close()
}

func (w *sweep) changes(ctx context.Context) (over bool, err error) {
	tag, err := w.s.pool.Exec(ctx, `delete from changes where seq in (select seq from changes where tenant_key = $1 and position is not null
		and ($2 or position >= $3) limit $4)`, w.m.TenantKey, w.late, w.m.Progress.Base, moveHistory)
	return err == nil && tag.RowsAffected() < moveHistory, err
}

// rest deletes what is left.
func (w *sweep) rest(ctx context.Context) error {
	b := &pgx.Batch{}
	for i := range slices.Backward(movedTables) {
		switch t := &movedTables[i]; {
		case t.name == "tenants", t.how == movesLive, t.name == "audit", t.name == "changes": // they had their steps
		case !w.late && w.m.Target == HomeCell && t.how == movesStaged: // home has made some of its own
		default:
			b.Queue("delete from " + t.name + " where " + t.where(w.m.TenantKey))
		}
	}
	return w.s.pool.SendBatch(ctx, b).Close()
}
