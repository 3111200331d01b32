// Package migrations holds the database schema and brings a database up to it: our own SQL through goose, the job
// queue's tables through River's migrator, and the daily partitions.
//
// A migration expands; a later release contracts. Processes of the last release go on working while and after the new one
// migrates, and are replaced only then. So a migration may add (tables, nullable columns, columns with a constant default,
// indexes, values of an enum), and what the release before still reads or writes is renamed, narrowed or dropped by a
// migration of a later release. A process that starts refuses a schema that is not its own; one that runs does not ask
// again. A statement waits 0.9 s for a lock, for everybody behind it waits too, then lets the others go on and tries again.
package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

//go:embed *.sql
var files embed.FS

// RiverSchema is the PostgreSQL schema of the job queue's tables.
const RiverSchema = "river"

// riverVersion is the version of River's schema that this build works with.
const riverVersion = 8

// lockKey serialises migrations of several processes that start at once.
const lockKey = 7_241_907_315

// queueSettings keep river_job healthy: its rows live for milliseconds, so that the defaults would vacuum and analyze
// it far too late.
var queueSettings = []string{
	"autovacuum_vacuum_scale_factor=0.02", "autovacuum_vacuum_threshold=1000",
	"autovacuum_analyze_scale_factor=0.05", "autovacuum_analyze_threshold=1000",
	"autovacuum_vacuum_insert_scale_factor=0.1", "autovacuum_vacuum_cost_delay=1",
}

// queueUnused are indexes of river_job that serve searches which nothing here makes.
var queueUnused = []string{"river_job_args_index", "river_job_metadata_index"}

// Hash identifies the schema: the same for the same migrations, different after any change. Tests name their
// template database by it.
func Hash() string {
	h := sha256.New()
	fmt.Fprintln(h, riverVersion, queueSettings, queueUnused, queueIndex, partitionedIndexes, tableSettings)
	names, _ := fs.Glob(files, "*.sql")
	for _, n := range names {
		b, _ := files.ReadFile(n)
		fmt.Fprintln(h, n, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// lockTimeout is how long a statement of a migration waits for a lock. While it waits, everybody who comes after it
// waits as well, so that it rather gives up and tries again.
const lockTimeout = 900 * time.Millisecond

// patience is for how long a migration tries to get its locks.
const patience = 2 * time.Minute

// Apply brings the database at url up to this build's schema and makes the partitions of the coming days. Processes
// that start at once wait for each other. It never holds up others for longer than a second: a statement that does not
// get its lock within that time gives up its place and is tried again, for two minutes. The whole can be run again.
func Apply(ctx context.Context, url string) error {
	if err := CheckSession(ctx, url); err != nil {
		return err
	}
	cfg, err := dbconn.Parse(url)
	if err != nil {
		return err
	}
	conn, err := connectToLock(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := waitForOthers(ctx, conn); err != nil {
		return err
	}
	pool, err := poolFor(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	for _, step := range []func(context.Context, *pgxpool.Pool) error{
		applyOurs, applyRiver, tuneQueue, ensureQueueIndex, ensureIndexes,
		func(ctx context.Context, pool *pgxpool.Pool) error {
			return EnsurePartitions(ctx, pool, time.Now(), PartitionsAhead)
		}, sign,
	} {
		if err := untilLocked(ctx, func() error { return step(ctx, pool) }); err != nil {
			return err
		}
	}
	return nil
}

// connectToLock opens the connection that keeps other migrations waiting, which does not outlive this machine for long.
func connectToLock(ctx context.Context, cfg *pgxpool.Config) (*pgx.Conn, error) {
	one := cfg.ConnConfig.Copy()
	WithSettings(one, nil)
	return pgx.ConnectConfig(ctx, one)
}

// poolFor makes connections whose statements wait for a lock for lockTimeout.
func poolFor(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
	cfg = cfg.Copy()
	cfg.MaxConns = 4
	WithSettings(cfg.ConnConfig, map[string]string{"lock_timeout": fmt.Sprint(lockTimeout.Milliseconds())})
	return pgxpool.NewWithConfig(ctx, cfg)
}

// waitForOthers waits until no other process migrates the database, and keeps the next one waiting until conn is
// closed. It asks again and again: CREATE INDEX CONCURRENTLY waits for every older statement to end, and would wait for
// ever for one that waits for its own process.
func waitForOthers(ctx context.Context, conn *pgx.Conn) error {
	for {
		var ours bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", int64(lockKey)).Scan(&ours); err != nil {
			return fmt.Errorf("wait for another migration: %w", err)
		}
		if ours {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for another migration: %w", err)
		}
	}
}

// untilLocked runs a step of the migration again when it did not get a lock.
func untilLocked(ctx context.Context, step func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := step()
		if !lockNotAvailable(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a table stayed locked for %v; end what holds it (see pg_stat_activity) and run the migration again: %w",
				patience, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// lockNotAvailable reports whether a statement did not get a lock within its lock_timeout.
func lockNotAvailable(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "55P03"
}

// pause lets those go on who queued up behind us.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

func applyRiver(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, "create schema if not exists "+RiverSchema); err != nil {
		return err
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema})
	if err != nil {
		return err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: riverVersion}); err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	return nil
}

// tuneQueue gives the job queue's table our settings, unless it has them: that needs a lock which a vacuum may hold.
func tuneQueue(ctx context.Context, pool *pgxpool.Pool) error {
	tuned, err := QueueTuned(ctx, pool)
	if err != nil || tuned {
		return err
	}
	sql := "alter table " + RiverSchema + ".river_job set (" + strings.Join(queueSettings, ", ") + ")"
	for _, name := range queueUnused {
		sql += "; drop index if exists " + RiverSchema + "." + name
	}
	if _, err := pool.Exec(ctx, sql); err != nil {
		return fmt.Errorf("tune the job queue: %w", err)
	}
	return nil
}

// QueueTuned reports whether the job queue's table has our settings.
func QueueTuned(ctx context.Context, db Querier) (tuned bool, err error) {
	rows, err := db.Query(ctx,
		`select coalesce(c.reloptions @> $1, false) and not exists (select 1 from pg_class i where i.relnamespace = c.relnamespace
			and i.relname = any($2))
		from pg_class c where c.oid = to_regclass($3)`, queueSettings, queueUnused, RiverSchema+".river_job")
	if err != nil {
		return false, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
}

func applyOurs(ctx context.Context, pool *pgxpool.Pool) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithAllowOutofOrder(true))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// ErrOldSchema says that the database has not been migrated to this build.
var ErrOldSchema = errors.New("the database schema is not the one this build needs: run `waybill migrate`")

// ErrNewSchema says that a later build has migrated the database. Nothing takes that back.
var ErrNewSchema = errors.New("the database schema is newer than this build")

// Version is the program's. Apply leaves it in the database, so that an older build can name the one to run.
var Version string

// signature begins the comment that names the version which has migrated the database last.
const signature = "migrated by Waybill "

// sign leaves this build's version in the database, unless a later build has migrated it.
func sign(ctx context.Context, pool *pgxpool.Pool) error {
	var have int64
	var before string
	err := pool.QueryRow(ctx, `select coalesce(max(version_id), 0), coalesce(obj_description('goose_db_version'::regclass, 'pg_class'), '')
		from goose_db_version where is_applied`).Scan(&have, &before)
	now := signature + Version
	if err != nil || Version == "" || have > latest() || before == now {
		return err
	}
	_, err = pool.Exec(ctx, "comment on table goose_db_version is '"+strings.ReplaceAll(now, "'", "''")+"'")
	return err
}

// newSchema tells which version to run.
func newSchema(ctx context.Context, db oneRow, have, want int64) error {
	which := "a later version"
	var signed string
	if err := db.QueryRow(ctx, "select coalesce(obj_description('goose_db_version'::regclass, 'pg_class'), '')").Scan(&signed); err == nil {
		if v, ok := strings.CutPrefix(signed, signature); ok {
			which = "Waybill " + v
		}
	}
	return fmt.Errorf("%w (it is at version %d, this build knows %d): %s has migrated it; run that version or a later one", ErrNewSchema, have, want, which)
}

// Check returns ErrOldSchema or ErrNewSchema unless the database is at this build's schema. It changes nothing.
func Check(ctx context.Context, db oneRow) error { return check(ctx, db, false) }

// CheckRunning is Check for a process that runs already: a later build may have migrated the database, by adding to it.
func CheckRunning(ctx context.Context, db oneRow) error { return check(ctx, db, true) }

// oneRow is a pool, a connection or a transaction.
type oneRow interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func check(ctx context.Context, db oneRow, orLater bool) error {
	var have int64
	err := db.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&have)
	var pe *pgconn.PgError
	if err != nil && orLater && !errors.As(err, &pe) {
		return err // of the connection, which says nothing of the schema
	}
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrOldSchema, err)
	}
	switch want := latest(); {
	case have < want:
		return fmt.Errorf("%w (it is at version %d, this build needs %d)", ErrOldSchema, have, want)
	case have > want && !orLater:
		return newSchema(ctx, db, have, want)
	}
	var river int64
	err = db.QueryRow(ctx, "select coalesce(max(version), 0) from "+RiverSchema+".river_migration").Scan(&river)
	if err != nil || river < riverVersion {
		return fmt.Errorf("%w (the job queue is at version %d, this build needs %d)", ErrOldSchema, river, riverVersion)
	}
	return nil
}

func latest() int64 {
	names, _ := fs.Glob(files, "*.sql")
	v, _ := goose.NumericComponent(names[len(names)-1])
	return v
}
