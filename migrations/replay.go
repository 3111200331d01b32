package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// Replayed is what one migration did to tables that were there before it.
type Replayed struct {
	Name  string        // of its file, or of an index of partitionedIndexes
	Took  time.Duration // for so long the locks were held, the commit included
	Locks []string      // "AccessExclusiveLock on events and 38 partitions"; only those that keep others from writing or from being altered
}

// Replay measures the newest migrations on a database that is full, for `waybill bench`: it takes them back, with what is in their
// columns, and applies them again. No process may use the database meanwhile. It ends with the schema of this build.
func Replay(ctx context.Context, url string, newest int, see func(Replayed)) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	names = names[max(1, len(names)-newest):]
	for i := len(names) - 1; i >= 0; i-- {
		_, down, err := sections(names[i])
		if err == nil {
			_, err = conn.Exec(ctx, down)
		}
		if err != nil {
			return fmt.Errorf("take back %s: %w", names[i], err)
		}
	}
	for _, name := range names {
		up, _, err := sections(name)
		if err != nil {
			return err
		}
		r, err := replay(ctx, conn, name, up)
		if err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
		see(r)
	}
	for _, x := range partitionedIndexes {
		if _, err := conn.Exec(ctx, "drop index if exists "+x.name); err != nil {
			return err
		}
	}
	cfg, err := dbconn.Parse(url)
	if err != nil {
		return err
	}
	pool, err := poolFor(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	for _, x := range partitionedIndexes {
		began := time.Now()
		if err := x.ensure(ctx, pool); err != nil {
			return err
		}
		see(Replayed{Name: "index " + x.name, Took: time.Since(began), Locks: []string{"ShareUpdateExclusiveLock on one partition of " + x.table + " after the other"}})
	}
	return nil
}

// sections are the two halves of a migration.
func sections(name string) (up, down string, err error) {
	b, err := files.ReadFile(name)
	if err != nil {
		return "", "", err
	}
	up, down, found := strings.Cut(string(b), "-- +goose Down")
	if !found {
		return "", "", fmt.Errorf("%s has no way back", name)
	}
	return up, down, nil
}

// replay runs statements in a transaction and looks at its locks before they are let go.
func replay(ctx context.Context, conn *pgx.Conn, name, sql string) (r Replayed, err error) {
	r.Name = name
	var seen time.Duration // what looking took
	began := time.Now()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var newest uint32
		if err := tx.QueryRow(ctx, "select max(oid) from pg_class").Scan(&newest); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
		look := time.Now()
		defer func() { seen = time.Since(look) }()
		rows, err := tx.Query(ctx, `select l.mode || ' on ' || p.relname || case when count(*) > 1 then ' and ' || count(*) - 1 || ' partitions' else '' end
			from pg_locks l join pg_class c on c.oid = l.relation left join pg_inherits i on i.inhrelid = c.oid
				join pg_class p on p.oid = coalesce(i.inhparent, c.oid)
			where l.pid = pg_backend_pid() and c.relkind in ('r', 'p') and c.oid <= $1 and c.relnamespace = 'public'::regnamespace
				and l.mode in ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
			group by l.mode, p.relname order by 1`, newest)
		if err != nil {
			return err
		}
		r.Locks, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	r.Took = time.Since(began) - seen
	return r, err
}
