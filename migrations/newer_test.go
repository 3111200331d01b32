package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestNewerSchema: an old build names the version that has migrated the database, and does not ask for a migration. Not parallel: it
// sets the program's version.
func TestNewerSchema(t *testing.T) {
	ctx := context.Background()
	url := modelstest.DB(t)
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	apply := func(version string) {
		t.Helper()
		migrations.Version = version
		defer func() { migrations.Version = "" }()
		if err := migrations.Apply(ctx, url); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string) {
		t.Helper()
		err := migrations.Check(ctx, pool)
		if !errors.Is(err, migrations.ErrNewSchema) || errors.Is(err, migrations.ErrOldSchema) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "waybill migrate") {
			t.Errorf("refused with %v, want %s", err, want)
		}
	}
	apply("v9.8.7")
	if err := migrations.Check(ctx, pool); err != nil {
		t.Error(err)
	}
	if _, err := pool.Exec(ctx, "insert into goose_db_version (version_id, is_applied) values (999, true)"); err != nil {
		t.Fatal(err)
	}
	refused("Waybill v9.8.7 has migrated it; run that version or a later one")
	apply("v1.0.0") // by an older one, which does not say it was it
	refused("Waybill v9.8.7")
	if err := migrations.CheckRunning(ctx, pool); err != nil {
		t.Errorf("a process that runs already: %v", err)
	}
	if _, err := pool.Exec(ctx, "comment on table goose_db_version is null"); err != nil {
		t.Fatal(err)
	}
	refused("a later version has migrated it")
}

// TestDaysAreVacuumedSoon: a day's events and attempts are vacuumed before the next checkpoint, and need not be again.
func TestDaysAreVacuumedSoon(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, modelstest.DB(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var late int
	if err := pool.QueryRow(ctx, `select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent in ('events'::regclass, 'attempts'::regclass)
			and not coalesce(c.reloptions @> array['autovacuum_vacuum_insert_scale_factor=0.01', 'autovacuum_freeze_min_age=0'], false)`).Scan(&late); err != nil || late > 0 {
		t.Errorf("%d days are vacuumed late: %v", late, err)
	}
}
