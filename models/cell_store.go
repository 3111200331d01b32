package models

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/outbound"
	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/migrations"
)

// The settings about cells.
const (
	cellsLast    = "cells_last"    // the greatest number that a cell was given; none is given twice, for keys stay where rows go
	homeDraining = "home_draining" // since when new tenants go to cells only
	installation = "installation"  // an id of home
	cellOf       = "cell_of"       // in a cell: whose it is, see cellMark
)

// maxCells is how many cells there may be at once.
const maxCells = 100

// cellTry is how long the database of a new cell may take to answer.
const cellTry = 10 * time.Second

// cellMark is what a cell's database says that it is.
type cellMark struct {
	Installation string `json:"installation"`
	Number       int    `json:"number"`
	Name         string `json:"name"`
}

var cellName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func cellContext(number int) string { return fmt.Sprintf("cell %d", number) }

// ListCells reads the cells with their addresses, by name.
func (s *Store) ListCells(ctx context.Context) ([]Cell, error) {
	return s.listCells(ctx, s.pool)
}

func (s *Store) listCells(ctx context.Context, db querier) ([]Cell, error) {
	rows, err := db.Query(OnPrimary(ctx), "select number, name, address, draining_at, created_at from cells order by name")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (c Cell, err error) {
		var sealed []byte
		if err := r.Scan(&c.Number, &c.Name, &sealed, &c.DrainingAt, &c.CreatedAt); err != nil {
			return c, err
		}
		address, err := s.Keys.Open(sealed, cellContext(c.Number))
		if err != nil {
			return c, fmt.Errorf("the address of the cell %s: %w", c.Name, err)
		}
		c.Address = string(address)
		return c, nil
	})
}

// CountCells counts the cells, without a need to open their addresses.
func (s *Store) CountCells(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, "select count(*) from cells").Scan(&n)
	return n, err
}

// MaskedAddress is the cell's address as it is shown: without password and whatever else may be secret.
func (c *Cell) MaskedAddress() string { return outbound.MaskURL(c.Address) }

// HomeDraining is since when new tenants go to cells only; nil for not at all.
func (s *Store) HomeDraining(ctx context.Context) (*time.Time, error) {
	var at time.Time
	has, err := s.Setting(ctx, homeDraining, &at)
	if err != nil || !has {
		return nil, err
	}
	return &at, nil
}

// CellTenants counts the tenants of each cell, home included, by its name.
func (s *Store) CellTenants(ctx context.Context) (map[string]int, error) {
	rows, err := s.pool.Query(ctx, "select coalesce(cell, $1), count(*) from tenants where deleted_at is null and id <> $2 group by 1", HomeCell,
		OperatorTenant)
	if err != nil {
		return nil, err
	}
	out := map[string]int{HomeCell: 0}
	var name string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error {
		out[name] = n
		return nil
	})
	return out, err
}

// AddCell makes a cell of an empty database, which it migrates. What broke off is gone on with when it is called again.
func (s *Store) AddCell(ctx context.Context, name, address string) (*Cell, error) {
	bad := problems{}
	switch {
	case !cellName.MatchString(name):
		bad.add("name", "must be 1 to 32 small letters, digits and hyphens, and neither begin nor end with a hyphen")
	case name == HomeCell:
		bad.add("name", `must not be "main", which is the database of DATABASE_URL`)
	}
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		bad.add("address", "must be an address like postgres://user:password@host:5432/database")
	} else if _, err := dbconn.Parse(address); err != nil {
		bad.add("address", "must be an address like postgres://user:password@host:5432/database")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	home, err := s.installation(ctx)
	if err != nil {
		return nil, err
	}
	known, err := s.ListCells(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(known, func(c Cell) bool { return c.Name == name }) {
		return nil, conflict("There is a cell %q already. Choose another name, or remove that one first.", name)
	}
	if len(known) >= maxCells {
		return nil, conflict("There are %d cells, which is as many as there may be.", maxCells)
	}
	if err := claimable(ctx, address, home, name); err != nil {
		return nil, err
	}
	if err := migrations.Apply(ctx, address); err != nil {
		return nil, cellRefused(err)
	}
	there, err := Open(ctx, Options{URL: address, Keys: s.Keys, Home: s, Cell: name, MaxConns: 2, HotConns: 1, JobConns: 1})
	if err != nil {
		return nil, cellRefused(err)
	}
	defer there.Close()
	if err := there.KeepKey(ctx); err != nil {
		return nil, Invalid("address", "holds secrets that are sealed with another SECRET_KEY: a cell has the one of this server")
	}
	c := &Cell{Name: name, Address: address, CreatedAt: time.Now().UTC().Truncate(time.Microsecond)}
	if c.Number, err = s.cellNumber(ctx, there, home, name); err != nil {
		return nil, err
	}
	if err := errors.Join(there.begin(ctx, home, c), there.CopyTopics(ctx)); err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "insert into cells (number, name, address, created_at) values ($1, $2, $3, $4) on conflict do nothing",
			c.Number, c.Name, s.Keys.Seal([]byte(c.Address), cellContext(c.Number)), c.CreatedAt)
		if err == nil && tag.RowsAffected() == 0 {
			err = conflict("There is a cell %q already. Choose another name, or remove that one first.", name)
		}
		if err != nil {
			return err
		}
		if err := noteCells(ctx, tx); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "cell.add", Object: c.Name,
			Detail: map[string]any{"address": c.MaskedAddress()}})
	})
	return c, err
}

// installation is the id of home, which is made when it is first asked for.
func (s *Store) installation(ctx context.Context) (id string, err error) {
	err = s.pool.QueryRow(OnPrimary(ctx), `insert into settings (key, value) values ($1, to_jsonb($2::text))
		on conflict (key) do update set value = settings.value returning value #>> '{}'`, installation, uuid.NewString()).Scan(&id)
	return id, err
}

// cellRefused is the error of a database that cannot become a cell. What PostgreSQL said is in it, which may name the user, but no
// password.
func cellRefused(err error) error {
	return &Error{Kind: KindInvalid, Message: "The database cannot become a cell: " + cut(err.Error(), 500),
		Fields: map[string]string{"address": "leads to a database that cannot become a cell"}, Err: err}
}

// claimable returns an error unless the database at an address is empty, or was begun to be made this very cell.
func claimable(ctx context.Context, address, home, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cellTry)
	defer cancel()
	conn, err := dbconn.Connect(ctx, address)
	if err != nil {
		return cellRefused(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var ours, others bool
	if err := conn.QueryRow(ctx, `select to_regclass('public.goose_db_version') is not null and to_regclass('public.settings') is not null,
		exists (select 1 from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f'))`).
		Scan(&ours, &others); err != nil {
		return cellRefused(err)
	}
	if !ours {
		if others {
			return Invalid("address", "leads to a database that is not empty: make one for the cell alone")
		}
		return nil
	}
	var here string
	var mark cellMark
	if err := conn.QueryRow(ctx, `select coalesce((select value #>> '{}' from settings where key = $1), ''),
		coalesce((select value from settings where key = $2), '{}')`, installation, cellOf).Scan(&here, &mark); err != nil {
		return cellRefused(err)
	}
	switch {
	case here == home:
		return Invalid("address", "leads to the database of DATABASE_URL, which is the cell main: make another one")
	case mark.Installation != "" && mark.Installation != home:
		return Invalid("address", "leads to a cell of another installation")
	case mark.Installation != "" && mark.Name != name:
		return Invalid("address", fmt.Sprintf("leads to the database of the cell %q", mark.Name))
	}
	var filled bool
	if err := conn.QueryRow(ctx, `select exists (select 1 from tenants) or exists (select 1 from users) or exists (select 1 from api_keys)
		or exists (select 1 from events) or exists (select 1 from topics)`).Scan(&filled); err != nil {
		return cellRefused(err)
	}
	if filled {
		return Invalid("address", "leads to a database with tenants, users, keys, topics or events of its own: a cell begins empty")
	}
	return nil
}

// cellNumber is the number of a new cell: the next one, or that which the database was given when this broke off.
func (s *Store) cellNumber(ctx context.Context, there *Store, home, name string) (n int, err error) {
	var mark cellMark
	if has, err := there.Setting(ctx, cellOf, &mark); err != nil || has && mark == (cellMark{home, mark.Number, name}) {
		return mark.Number, err
	}
	err = s.pool.QueryRow(OnPrimary(ctx), `insert into settings (key, value) values ($1, to_jsonb(1 + (select coalesce(max(number), 0) from cells)))
		on conflict (key) do update set value = to_jsonb((settings.value #>> '{}')::int + 1) returning (value #>> '{}')::int`,
		cellsLast).Scan(&n)
	return n, err
}

// begin makes this empty database the cell: it says whose it is, and gives out keys of its own.
func (s *Store) begin(ctx context.Context, home string, c *Cell) error {
	return pgx.BeginFunc(ctx, s.pool.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value",
			cellOf, cellMark{home, c.Number, c.Name}); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select format('%I.%I', schemaname, sequencename) from pg_sequences
			where schemaname = 'public' and data_type = 'bigint'::regtype`)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := tx.Exec(ctx, fmt.Sprintf("alter sequence %s restart with %d", name, c.firstKey())); err != nil {
				return err
			}
		}
		return nil
	})
}

// IsCell returns an error unless the store's database is this cell of its home.
func (s *Store) IsCell(ctx context.Context, c *Cell) error {
	home, err := s.home.installation(ctx)
	if err != nil {
		return err
	}
	var mark cellMark
	if _, err := s.Setting(ctx, cellOf, &mark); err != nil {
		return err
	}
	if mark != (cellMark{home, c.Number, c.Name}) {
		return errors.New("its database is not the one that was added as this cell")
	}
	return nil
}

// DrainCell has new tenants go elsewhere from now on, or no longer; HomeCell is the database of DATABASE_URL.
func (s *Store) DrainCell(ctx context.Context, name string, drain bool) error {
	action := "cell.undrain"
	if drain {
		action = "cell.drain"
	}
	return s.InTx(ctx, func(tx *Tx) error {
		sql, args := "update cells set draining_at = case when $2 then coalesce(draining_at, now()) end where name = $1", []any{name, drain}
		if name == HomeCell {
			sql, args = "delete from settings where key = $1", []any{homeDraining}
			if drain {
				sql = `insert into settings (key, value) values ($1, to_jsonb(now()))
					on conflict (key) do update set value = settings.value`
			}
		}
		tag, err := tx.Exec(ctx, sql, args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 && name != HomeCell {
			return noCell(name)
		}
		if err := noteCells(ctx, tx); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: action, Object: name})
	})
}

func noCell(name string) error {
	return notFound("There is no cell %q. GET /cells lists those that there are.", cut(name, 80))
}

// RemoveCell forgets a cell that no tenant is in. Its database stays as it is, and cannot become a cell again.
func (s *Store) RemoveCell(ctx context.Context, name string) error {
	if name == HomeCell {
		return conflict("The cell main is the database of DATABASE_URL, and cannot be removed. Drain it to have new tenants go elsewhere.")
	}
	return s.InTx(ctx, func(tx *Tx) error {
		var number int
		err := tx.QueryRow(ctx, "select number from cells where name = $1 for update", name).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			return noCell(name)
		}
		if err != nil {
			return err
		}
		var tenants, moves int
		if err := tx.QueryRow(ctx, `select (select count(*) from tenants where cell = $1 and deleted_at is null),
			(select count(*) from tenant_moves where finished_at is null and $1 in (source, target))`, name).Scan(&tenants, &moves); err != nil {
			return err
		}
		if tenants > 0 || moves > 0 {
			return conflict("The cell %q has %s and %s under way. Drain it, move its tenants elsewhere or delete them, then remove it.", name,
				countOf(tenants, "tenant", "tenants"), countOf(moves, "move", "moves"))
		}
		if _, err := tx.Exec(ctx, "delete from cells where number = $1", number); err != nil {
			return err
		}
		if err := noteCells(ctx, tx); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: AllTenants(), Action: "cell.remove", Object: name})
	})
}
