// Package migrations holds the database schema and brings a database up to it: our own SQL through goose, the job
// queue's tables through River's migrator, and the daily partitions.
package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
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
// it far too late, and its GIN indexes serve searches that nothing here makes.
const queueSettings = `
alter table river.river_job set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_vacuum_cost_delay = 1);
drop index if exists river.river_job_args_index;
drop index if exists river.river_job_metadata_index;`

// Hash identifies the schema: the same for the same migrations, different after any change. Tests name their
// template database by it.
func Hash() string {
	h := sha256.New()
	fmt.Fprintln(h, riverVersion, queueSettings)
	names, _ := fs.Glob(files, "*.sql")
	for _, n := range names {
		b, _ := files.ReadFile(n)
		fmt.Fprintln(h, n, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Apply brings the database at url up to this build's schema and makes the partitions of the coming days. Processes
// that start at once wait for each other. It never locks a table for longer than a few seconds: a statement that does
// not get its lock within five fails, and the whole can be run again.
func Apply(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(lockKey)); err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	cfg.MaxConns = 4
	cfg.ConnConfig.RuntimeParams["lock_timeout"] = "5s"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := applyOurs(ctx, pool); err != nil {
		return err
	}
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
	if _, err := pool.Exec(ctx, queueSettings); err != nil {
		return fmt.Errorf("tune the job queue: %w", err)
	}
	return EnsurePartitions(ctx, pool, time.Now(), PartitionsAhead)
}

func applyOurs(ctx context.Context, pool *pgxpool.Pool) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// ErrOldSchema says that the database has not been migrated to this build, or is newer than it.
var ErrOldSchema = errors.New("the database schema is not the one this build needs: run `waybill migrate`")

// Check returns ErrOldSchema unless the database is at this build's schema. It changes nothing.
func Check(ctx context.Context, pool *pgxpool.Pool) error {
	var have int64
	err := pool.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&have)
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrOldSchema, err)
	}
	if want := latest(); have != want {
		return fmt.Errorf("%w (it is at version %d, this build needs %d)", ErrOldSchema, have, want)
	}
	var river int64
	err = pool.QueryRow(ctx, "select coalesce(max(version), 0) from "+RiverSchema+".river_migration").Scan(&river)
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
