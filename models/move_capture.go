package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How the source notes what changes while a tenant's rows are copied. Triggers that are made for the move write the keys of changed rows
// into a table of their own, in the transaction that changes them: it needs no logical replication, and costs other tenants a comparison
// for each row. The same triggers are the fence: each transaction that writes something of the tenant's takes a shared lock, the switch
// takes it alone, and who comes after it finds the tenant gone. So nothing can be written that is not copied, whoever writes it.

// MoveSchema has what is made for moves, at the source and at the target. Nothing of it stays when they are over.
const MoveSchema = "waybill_move"

// lockMove is the class of the lock that writes to a tenant on the move share.
const lockMove = 7

// movedAway is the SQLSTATE of a write to a tenant that is elsewhere by then. The detail is the tenant's id and the cell.
const movedAway = "WB001"

// asElsewhere makes an ElsewhereError of what the fence said.
func asElsewhere(err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != movedAway {
		return err
	}
	end := max(0, strings.LastIndexByte(pe.Detail, '|'))
	id, cell := pe.Detail[:end], strings.TrimPrefix(pe.Detail[end:], "|")
	if cell == HomeCell {
		cell = ""
	}
	return &ElsewhereError{TenantID: id, Cell: cell}
}

// Kinds of changed rows that are noted.
const (
	changedEvent        = 1 // by id
	changedDelivery     = 2 // by event and destination, with all its attempts
	changedNotification = 3 // by id
)

// captured says what a trigger notes of a row. old and new stand for the row.
var captured = map[string]string{
	"events":        "1, %[1]s.id, 0",
	"deliveries":    "2, %[1]s.event_id, %[1]s.destination_key",
	"attempts":      "2, %[1]s.event_id, %[1]s.destination_key",
	"notifications": "3, %[1]s.id, 0",
}

// moveNames are what is made for the move of one tenant.
type moveNames struct {
	tenant int64
}

func (n moveNames) changed() string { return fmt.Sprintf("%s.changed_%d", MoveSchema, n.tenant) }
func (n moveNames) staged(table string) string {
	return fmt.Sprintf("%s.s_%d_%s", MoveSchema, n.tenant, table)
}
func (n moveNames) fence(table string) string {
	return fmt.Sprintf("%s.note_%d_%s", MoveSchema, n.tenant, table)
}
func (n moveNames) trigger() string { return fmt.Sprintf("waybill_move_%d", n.tenant) }

// function is what the trigger of a table does. Erasing an event is no loss where it is gone from, so that only new ones are refused.
func (n moveNames) function(table string) string {
	note := captured[table]
	body := &strings.Builder{}
	fmt.Fprintf(body, `create or replace function %s() returns trigger language plpgsql as $f$
		declare gone text;
		begin
			perform pg_advisory_xact_lock_shared(%d, %d);
			select t.id || '|' || t.closed into gone from %s.moving t where t.tenant_key = %d and t.closed is not null;
			if found then
				if tg_op = 'DELETE' or tg_op = 'UPDATE' and tg_argv[0] = 'events' then return null; end if;
				raise exception 'the tenant is in another cell' using errcode = '%s', detail = gone;
			end if;`, n.fence(table), lockMove, int32(n.tenant), MoveSchema, n.tenant, movedAway)
	if note != "" {
		fmt.Fprintf(body, `
			if tg_op = 'DELETE' then
				insert into %[1]s (kind, id, destination) values (%[2]s);
			else
				insert into %[1]s (kind, id, destination) values (%[3]s);
			end if;`, n.changed(), fmt.Sprintf(note, "old"), fmt.Sprintf(note, "new"))
	}
	body.WriteString("\n\t\t\treturn null;\n\t\tend $f$")
	return body.String()
}

// when is the condition under which the trigger of a table does something: rows of others cost one comparison.
func (t *movedTable) when(row string, tenant int64) string {
	return fmt.Sprintf("%s.%s", row, strings.ReplaceAll(t.of, "{t}", fmt.Sprint(tenant)))
}

const (
	// ddlWait is how long a statement waits for its lock on a table: whoever comes after it waits as well.
	ddlWait = 200 * time.Millisecond
	// ddlWaitVacuum is how long now and then, while a vacuum is under way: PostgreSQL ends an autovacuum that is in the way of somebody
	// for as long as deadlock_timeout, which is a second. Of a big table it would take minutes.
	ddlWaitVacuum = 1500 * time.Millisecond
	// ddlPause is how long it then lets the others go on, longer from time to time.
	ddlPause, ddlPauseMost = 50 * time.Millisecond, time.Second
	ddlTries               = 60
)

// ddl runs statements on a table that others use, without making them wait for long.
func ddl(ctx context.Context, s *Store, statements ...string) error {
	wait, pause := ddlWait, ddlPause
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d", wait.Milliseconds())); err != nil {
				return err
			}
			for _, sql := range statements {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
		var pe *pgconn.PgError
		if err == nil || try == ddlTries || !errors.As(err, &pe) || pe.Code != "55P03" && pe.Code != "40P01" {
			return err
		}
		if err := pauseFor(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*3/2, ddlPauseMost)
		wait = ddlWait
		if try%4 == 0 && vacuuming(ctx, s) {
			wait = ddlWaitVacuum
		}
	}
}

// vacuuming reports whether some table is being vacuumed; not whose, which not everybody may see.
func vacuuming(ctx context.Context, s *Store) (yes bool) {
	err := s.pool.QueryRow(ctx, `select exists (select 1 from pg_locks where locktype = 'relation' and mode = 'ShareUpdateExclusiveLock' and granted
		and database = (select oid from pg_database where datname = current_database()))`).Scan(&yes)
	return yes && err == nil
}

// capture has the source note what changes of the tenant. It may be called again.
func capture(ctx context.Context, s *Store, m *Move) error {
	n := moveNames{m.TenantKey}
	// One after the other, since two that make the same schema at once are in each other's way.
	err := ddl(ctx, s, "select pg_advisory_xact_lock(hashtext('"+MoveSchema+"'))", "create schema if not exists "+MoveSchema,
		"create table if not exists "+MoveSchema+".moving (tenant_key bigint primary key, id text not null, closed text)",
		"create table if not exists "+n.changed()+` (n bigint generated always as identity primary key, kind smallint not null,
			id uuid not null, destination bigint not null)`)
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, "insert into "+MoveSchema+".moving (tenant_key, id) values ($1, $2) on conflict do nothing", m.TenantKey,
		m.TenantID); err != nil {
		return err
	}
	for i := range movedTables {
		t := &movedTables[i]
		if !t.fenced {
			continue
		}
		var there bool
		if err := s.pool.QueryRow(ctx, "select exists (select 1 from pg_trigger where tgrelid = $1::regclass and tgname = $2)", t.name,
			n.trigger()).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		statements := []string{n.function(t.name), fmt.Sprintf("create trigger %s after insert or update on %s for each row when (%s) execute function %s('%s')",
			n.trigger(), t.name, t.when("new", m.TenantKey), n.fence(t.name), t.name)}
		if captured[t.name] != "" {
			statements = append(statements, fmt.Sprintf("create trigger %s_gone after delete on %s for each row when (%s) execute function %s('%s')",
				n.trigger(), t.name, t.when("old", m.TenantKey), n.fence(t.name), t.name))
		}
		if err := ddl(ctx, s, statements...); err != nil {
			return fmt.Errorf("note what changes in %s: %w", t.name, err)
		}
	}
	return nil
}

// uncapture takes all that away again.
func uncapture(ctx context.Context, s *Store, m *Move) error {
	n := moveNames{m.TenantKey}
	for i := range movedTables {
		t := &movedTables[i]
		if !t.fenced {
			continue
		}
		err := ddl(ctx, s, fmt.Sprintf("drop trigger if exists %s on %s", n.trigger(), t.name),
			fmt.Sprintf("drop trigger if exists %s_gone on %s", n.trigger(), t.name), "drop function if exists "+n.fence(t.name))
		if err != nil && !noSchema(err) {
			return fmt.Errorf("end the notes of what changes in %s: %w", t.name, err)
		}
	}
	err := ddl(ctx, s, "drop table if exists "+n.changed(), fmt.Sprintf("delete from %s.moving where tenant_key = %d", MoveSchema, m.TenantKey))
	if noSchema(err) {
		return nil
	}
	return err
}

// tidyChanged frees what was taken from the notes of changes: whoever takes some reads past what is dead.
func tidyChanged(ctx context.Context, s *Store, m *Move) error {
	_, err := s.pool.Exec(ctx, "vacuum (truncate false) "+moveNames{m.TenantKey}.changed())
	return err
}

// noSchema reports whether an error says that nothing was ever made for a move.
func noSchema(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "3F000" || pe.Code == "42P01")
}

// changedRows are keys of rows that have changed.
type changedRows struct {
	events        []uuid.UUID
	deliveries    []DeliveryKey
	notifications []uuid.UUID
	noted         int64 // entries that this is made of
}

func (c *changedRows) empty() bool { return c.noted == 0 }

// takeChanged takes some of what was noted. It is given back unless tx commits.
func takeChanged(ctx context.Context, tx pgx.Tx, m *Move, limit int) (*changedRows, error) {
	table := moveNames{m.TenantKey}.changed()
	// By one number, and not by a list of them: that is a scan of the index whatever the planner takes the size of the table for.
	rows, err := tx.Query(ctx, "delete from "+table+" where n <= (select max(n) from (select n from "+table+
		" order by n limit $1) x) returning kind, id, destination", limit)
	if err != nil {
		return nil, err
	}
	c := &changedRows{}
	type entry struct {
		kind        int16
		id          uuid.UUID
		destination int64
	}
	seen := map[entry]bool{}
	var e entry
	_, err = pgx.ForEachRow(rows, []any{&e.kind, &e.id, &e.destination}, func() error {
		c.noted++
		if seen[e] {
			return nil
		}
		seen[e] = true
		switch e.kind {
		case changedEvent:
			c.events = append(c.events, e.id)
		case changedDelivery:
			c.deliveries = append(c.deliveries, DeliveryKey{e.id, e.destination})
		case changedNotification:
			c.notifications = append(c.notifications, e.id)
		}
		return nil
	})
	return c, err
}
