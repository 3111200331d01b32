package migrations_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

func TestMain(m *testing.M) { modelstest.Main(m) }

// TestApplyAtOnce starts several migrations of an empty database at once, as several processes of a deploy do.
func TestApplyAtOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := modelstest.Empty(t)
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() { errs <- migrations.Apply(ctx, url) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		t.Error(err)
	}
}

// TestApplyUnderLoad brings a database of the release before up to this one while somebody reads for long and others
// write. The migration waits for the reader, and nobody else waits for the migration for longer than a second.
func TestApplyUnderLoad(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	url := modelstest.DB(t)
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		return c
	}
	reader, writer := connect(), connect()
	if _, err := reader.Exec(ctx,
		`alter table events drop column traceparent; delete from goose_db_version where version_id = 6; drop index attempts_by_start`); err != nil {
		t.Fatal(err)
	}
	tx, err := reader.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select count(*) from events"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- migrations.Apply(ctx, url) }()
	write := func() time.Duration {
		began := time.Now()
		if _, err := writer.Exec(ctx,
			"insert into events (id, tenant_key, topic, retry, data) values (gen_random_uuid(), 1, '', true, '{}')"); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	var longest time.Duration
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; {
		longest = max(longest, write())
	}
	select {
	case err := <-done:
		t.Fatalf("the migration did not wait for the reader: %v", err)
	default:
	}
	if longest < 100*time.Millisecond {
		t.Errorf("no write waited for the migration (%v at most): was it under way?", longest)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	longest = max(longest, write())
	if longest > 1500*time.Millisecond { // a second, and what the machine is busy with
		t.Errorf("a write waited for %v", longest)
	}
	var column, valid bool
	if err := writer.QueryRow(ctx,
		`select exists (select from information_schema.columns where table_name = 'events' and column_name = 'traceparent'),
		(select indisvalid from pg_index where indexrelid = 'attempts_by_start'::regclass)`).Scan(&column, &valid); err != nil || !column || !valid {
		t.Errorf("column %v, index %v, %v", column, valid, err)
	}
}

// TestIndexes makes an index anew that a migration which was cut off left behind, and gives it to days to come.
func TestIndexes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := modelstest.DB(t)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	today := migrations.PartitionName("attempts", time.Now())
	for _, sql := range []string{
		"create index attempts_started on attempts using brin (started_at)", // of an earlier release
		"drop index attempts_by_start",
		"create index " + today + "_by_start on " + today + " using brin (started_at)",
		"update pg_index set indisvalid = false where indexrelid = '" + today + "_by_start'::regclass",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := migrations.Apply(ctx, url); err != nil {
			t.Fatal(err)
		}
	}
	if err := migrations.EnsurePartitions(ctx, conn, time.Now().AddDate(0, 0, 20), 0); err != nil {
		t.Fatal(err)
	}
	var without int
	if err := conn.QueryRow(ctx, `select count(*) from pg_inherits d where d.inhparent = 'attempts'::regclass and not exists (
		select 1 from pg_index x join pg_inherits a on a.inhrelid = x.indexrelid where x.indrelid = d.inhrelid and a.inhparent = 'attempts_by_start'::regclass and x.indisvalid)`).Scan(&without); err != nil || without != 0 {
		t.Errorf("%d days are without a valid index (%v)", without, err)
	}
	var replaced bool
	if err := conn.QueryRow(ctx, "select to_regclass('attempts_started') is not null").Scan(&replaced); err != nil || replaced {
		t.Errorf("the index of the earlier release is still there (%v)", err)
	}
}

// TestMigrationsLockNothing reads our SQL: after the first release no migration rewrites or reads through a table that
// events pass, or makes an index of one, while it locks it.
func TestMigrationsLockNothing(t *testing.T) {
	t.Parallel()
	const hot = `(?:events|deliveries|attempts|river\.river_job)\b`
	refused := map[string]*regexp.Regexp{
		"an index belongs into partitionedIndexes": regexp.MustCompile(`(?is)create\s+(?:unique\s+)?index\s+.*\son\s+(?:only\s+)?` +
			hot),
		"changing a type rewrites the table": regexp.MustCompile(`(?is)alter\s+table\s+` + hot +
			`.*\salter\s+(?:column\s+)?\w+\s+(?:set\s+data\s+)?type\b`),
		"set not null reads the whole table": regexp.MustCompile(`(?is)alter\s+table\s+` + hot + `.*\sset\s+not\s+null`),
		"a constraint has to be not valid first": regexp.MustCompile(`(?is)alter\s+table\s+` + hot +
			`.*\sadd\s+(?:constraint|check|foreign|unique|primary)`),
		"a generated or volatile default rewrites a table": regexp.MustCompile(`(?is)alter\s+table\s+` + hot +
			`.*\sadd\s+column.*(?:generated\s+always|default\s+[^,;]*\()`),
		"changing all rows keeps writers waiting": regexp.MustCompile(`(?is)(?:update|delete\s+from)\s+` + hot),
	}
	names, err := filepath.Glob("*.sql")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names[1:] { // the first makes the tables
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(b), "-- +goose Down")
		for _, statement := range strings.Split(up, ";") {
			for why, pattern := range refused {
				if pattern.MatchString(statement) {
					t.Errorf("%s: %s: %s", name, why, strings.TrimSpace(statement))
				}
			}
		}
	}
}

// TestReplay takes all migrations but the first back, applies them again, and tells what they lock.
func TestReplay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := modelstest.DB(t)
	seen := map[string][]string{}
	if err := migrations.Replay(ctx, url, 1000, func(r migrations.Replayed) {
		if seen[r.Name] = r.Locks; r.Took <= 0 {
			t.Errorf("%s took %v", r.Name, r.Took)
		}
	}); err != nil {
		t.Fatal(err)
	}
	locks := regexp.MustCompile(`^AccessExclusiveLock on attempts and \d+ partitions,AccessExclusiveLock on erasures,AccessExclusiveLock on events and \d+ partitions,AccessExclusiveLock on tenants$`)
	if got := strings.Join(seen["00040_payload_keys.sql"], ","); !locks.MatchString(got) {
		t.Errorf("locks of 00040: %s", got)
	}
	if got := seen["00038_api_processes.sql"]; len(got) > 0 {
		t.Errorf("a table of its own locks %v", got)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var sealed, days bool
	if err := conn.QueryRow(ctx, `select exists (select from information_schema.columns where table_name = 'events' and column_name = 'sealed'),
		(select indisvalid from pg_index where indexrelid = 'attempts_by_start'::regclass)`).Scan(&sealed, &days); err != nil || !sealed || !days {
		t.Errorf("the schema afterwards: column %v, index %v, %v", sealed, days, err)
	}
}

// TestPartitions makes and drops partitions, also where rows of a day came before its partition.
func TestPartitions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, modelstest.DB(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	count := func() (n int) {
		t.Helper()
		if err := conn.QueryRow(ctx, "select count(*) from pg_inherits where inhparent = 'events'::regclass").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	later := time.Now().AddDate(0, 0, 30)
	if _, err := conn.Exec(ctx, "insert into events (id, tenant_key, topic, retry, data) values ($1, 1, '', true, '{}')",
		migrations.LowestID(later.Add(time.Second))); err != nil {
		t.Fatal(err)
	}
	if err := migrations.EnsurePartitions(ctx, conn, later, 2); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != before+3 { // four days, one of which has its row in the default partition
		t.Errorf("%d partitions, want %d", n, before+3)
	}
	dropped, err := migrations.DropPartitions(ctx, conn, later.AddDate(0, 0, -10))
	if err != nil || len(dropped) == 0 || count() != 4 { // what is left: three days ahead, and the default one
		t.Errorf("dropped %v, %d left, %v", dropped, count(), err)
	}
}
