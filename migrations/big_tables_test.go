package migrations_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// small are tables that stay small in each installation, so that an index of them is made in milliseconds: a row for each user,
// destination or rule, not for each event.
var small = []string{"tenants", "destinations", "destination_filters", "destination_transforms", "destination_health", "health_deltas",
	"topics", "users", "sessions", "api_keys", "settings", "processes", "login_steps", "identities", "invitations", "memberships",
	"recovery_codes", "alert_rules", "channels", "portal_links"}

// lockedBefore is what migrations of earlier releases have done to tables that may be large, each with why it is left.
var lockedBefore = map[string]string{
	"00007_alerts_more.sql: locks alerts so that nobody writes (an index without CONCURRENTLY)": "a row for each alert that was ever opened, some thousands; an index of them takes milliseconds",
	"00011_audit.sql: locks audit so that nobody writes (an index without CONCURRENTLY)":        "made when the log held only sign-ins and changes of settings, some thousands of entries",
}

// TestMigrationsLeaveBigTablesAlone runs each migration over tables that are there before it, in a transaction as goose does, and
// looks at what it has done to those that may be large: a file of a table that is another one afterwards has been rewritten, a scan
// has read all of it, a lock of the mode SHARE is an index made while nobody can write. Each would take minutes with
// 10,000,000 events, in which nobody could publish.
func TestMigrationsLeaveBigTablesAlone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, modelstest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	names, err := filepath.Glob("*.sql")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range disturbs(ctx, t, conn, string(b)) {
			if what := name + ": " + found; lockedBefore[what] == "" {
				t.Errorf("%s. Add what is new without touching rows that are there; an index of a table with a day's partitions belongs into partitionedIndexes, of others into a migration with `-- +goose NO TRANSACTION` and CONCURRENTLY", what)
			}
		}
	}
}

// TestDisturbingMigrations tells that the test above sees what it is for.
func TestDisturbingMigrations(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, modelstest.DB(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for sql, want := range map[string]string{
		"create index x on attempts (code)":                                                              "locks attempts so that nobody writes (an index without CONCURRENTLY)",
		"create index x on audit (action)":                                                               "locks audit so that nobody writes (an index without CONCURRENTLY)",
		"alter table notifications alter column tries type bigint":                                       "rewrites notifications",
		"alter table events add column x uuid not null default gen_random_uuid()":                        "rewrites events_",
		"alter table deliveries add column x int generated always as (attempts + 1) stored":              "rewrites deliveries_",
		"alter table attempts alter column url drop not null, add check (number > 0)":                    "reads all of attempts_",
		"alter table events alter column time set not null":                                              "reads all of events_",
		"update deliveries set reason = '' where status = 'held'":                                        "reads all of deliveries_",
		"alter table alerts add constraint x foreign key (rule_key) references alert_rules(key)":         "reads all of alerts",
		"alter table events add column x text, add column y int not null default 0":                      "",
		"create table x (id bigint primary key); create index on x (id)":                                 "",
		"create index on users (name); alter table sessions add column x uuid default gen_random_uuid()": "",
		"alter table audit add constraint x check (action <> '') not valid":                              "",
	} {
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		found := strings.Join(disturbs(ctx, t, tx, "-- +goose Up\n"+sql+";"), ", ")
		if want == "" && found != "" || !strings.Contains(found, want) {
			t.Errorf("%s\nis said to do: %q, want %q", sql, found, want)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// disturbs runs a migration and returns what it has done to tables that may be large and that were there before, which have rows or
// not: an empty one is rewritten, read and locked all the same.
func disturbs(ctx context.Context, t *testing.T, db interface {
	migrations.Querier
	Begin(context.Context) (pgx.Tx, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}, migration string) (found []string) {
	t.Helper()
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	if strings.Contains(up, "+goose NO TRANSACTION") {
		return concurrently(ctx, t, db, up)
	}
	// The days' partitions are made by the program, after all migrations; here after the one that makes their table.
	days := func() {
		for _, table := range migrations.Partitioned {
			day := time.Now().UTC().Truncate(24 * time.Hour)
			from, to := migrations.LowestID(day), migrations.LowestID(day.AddDate(0, 0, 1))
			if table == "health_minutes" {
				from, to = day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339)
			}
			var there bool
			if err := db.QueryRow(ctx, "select to_regclass($1) is not null and not exists (select from pg_inherits where inhparent = to_regclass($1))", table).Scan(&there); err != nil {
				t.Fatal(err)
			}
			if there {
				if _, err := db.Exec(ctx, "create table "+migrations.PartitionName(table, day)+" partition of "+table+" for values from ('"+from+"') to ('"+to+"')"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tx, err := db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Tables of partitions have no file.
	if _, err := tx.Exec(ctx, `create temporary table before on commit drop as select c.oid, c.relname::text, c.relkind, pg_relation_filenode(c.oid) file,
		coalesce(s.seq_scan, 0) scans from pg_class c left join pg_stat_xact_user_tables s on s.relid = c.oid
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, up); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(ctx, `select b.relname, case when pg_relation_filenode(b.oid) <> b.file then 'rewrites ' || b.relname
			when shared then 'locks ' || b.relname || ' so that nobody writes (an index without CONCURRENTLY)'
			else 'reads all of ' || b.relname end
		from before b join pg_class c on c.oid = b.oid left join pg_stat_xact_user_tables s on s.relid = b.oid
			cross join lateral (select exists (select from pg_locks l where l.pid = pg_backend_pid() and l.relation = b.oid and l.mode = 'ShareLock') shared) l
		where pg_relation_filenode(b.oid) <> b.file or s.seq_scan > b.scans or shared
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	var table, what string
	if _, err := pgx.ForEachRow(rows, []any{&table, &what}, func() error {
		if !slices.Contains(small, table) {
			found = append(found, what)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	days()
	return found
}

// concurrently runs a migration that has no transaction, which is for indexes that are made concurrently and for nothing else.
func concurrently(ctx context.Context, t *testing.T, db migrations.Querier, up string) (found []string) {
	t.Helper()
	for statement := range strings.SplitSeq(up, ";") {
		var text []string
		for line := range strings.Lines(statement) {
			if code, _, _ := strings.Cut(line, "--"); strings.TrimSpace(code) != "" {
				text = append(text, strings.Fields(code)...)
			}
		}
		if len(text) == 0 {
			continue
		}
		words := strings.ToLower(strings.Join(text, " "))
		if !strings.Contains(words, "index concurrently") {
			found = append(found, "has no transaction, and does more than make indexes concurrently: "+words)
		}
		if _, err := db.Exec(ctx, words); err != nil {
			t.Fatal(err)
		}
	}
	return found
}
