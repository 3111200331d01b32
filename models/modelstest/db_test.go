package modelstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// helperEnv makes the test binary a program that makes one database on a private server and ends, with or without Main.
const helperEnv = "WAYBILL_MODELSTEST_HELPER"

func TestMain(m *testing.M) { Main(m) }

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) }) // the database may be gone
	return c
}

func query[T any](tb testing.TB, url, sql string, args ...any) T {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var v T
	if err := connect(tb, url).QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func serverURL(tb testing.TB) string {
	tb.Helper()
	s, err := sharedServer()
	if err != nil {
		tb.Fatal(err)
	}
	return s.url
}

func databaseExists(tb testing.TB, name string) bool {
	tb.Helper()
	return query[bool](tb, serverURL(tb), "select exists (select from pg_database where datname = $1)", name)
}

// Tests get databases of their own, with the schema in them, and they are gone afterwards.
func TestDB(t *testing.T) {
	t.Parallel()
	names := make(chan string, 8)
	t.Run("tests", func(t *testing.T) {
		for i := range cap(names) {
			t.Run(fmt.Sprintf("number %d of a test with a name that is far too long for a database", i), func(t *testing.T) {
				t.Parallel()
				url := DB(t)
				names <- query[string](t, url, "select current_database()::text")
				if n := query[int](t, url, "select count(*) from information_schema.tables where table_schema = 'river'"); n == 0 {
					t.Error("there is no schema in the database")
				}
				c := connect(t, url) // stays open: the database is dropped nevertheless
				if _, err := c.Exec(t.Context(), "create table only_here ()"); err != nil {
					t.Error("a table of another test is here: ", err)
				}
			})
		}
	})
	close(names)
	seen := map[string]bool{}
	for n := range names {
		if seen[n] {
			t.Errorf("%s was given to two tests", n)
		}
		seen[n] = true
		if databaseExists(t, n) {
			t.Errorf("%s is still there", n)
		}
	}
	if len(seen) == 0 {
		t.Error("no database was made")
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	if n := query[int](t, Empty(t),
		"select count(*) from pg_class where relnamespace not in (select oid from pg_namespace where nspname in ('pg_catalog', 'information_schema', 'pg_toast'))"); n != 0 {
		t.Errorf("there are %d things in the empty database", n)
	}
}

// Of many that need the template at once, one makes it.
func TestTemplateIsMadeOnce(t *testing.T) {
	t.Parallel()
	name := templateNamed(t, "once")
	var calls atomic.Int32
	apply := func(ctx context.Context, url string) error {
		calls.Add(1)
		return execAt(ctx, url, "create table t ()")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := makeTemplate(context.Background(), serverURL(t), name, apply); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
}

// One that was not finished is made anew, and those of past days are dropped.
func TestTemplateLeftBehind(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url, name := serverURL(t), templateNamed(t, "broken")
	old := templatePrefix + "20200131_old_" + databaseName("x")[len(testPrefix):]
	broken := errors.New("broken")
	if err := makeTemplate(ctx, url, name, func(ctx context.Context, url string) error {
		return errors.Join(execAt(ctx, url, "create table t ()"), broken)
	}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if err := execAt(ctx, url, fmt.Sprintf("create database %s is_template true allow_connections false", quote(old))); err != nil {
		t.Fatal(err)
	}
	if err := makeTemplate(ctx, url, name, func(ctx context.Context, url string) error {
		return execAt(ctx, url, "create table t ()")
	}); err != nil {
		t.Fatal(err)
	}
	if !query[bool](t, url, "select datistemplate and not datallowconn from pg_database where datname = $1", name) {
		t.Error("it is no template, or open for connections")
	}
	if databaseExists(t, old) {
		t.Error("the old template is still there")
	}
}

// templateNamed returns the name of a template for one test, which is dropped in the end.
func templateNamed(tb testing.TB, what string) string {
	tb.Helper()
	name := templatePrefix + time.Now().UTC().Format("20060102") + "_" + databaseName(what)[len(testPrefix):]
	tb.Cleanup(func() {
		for _, sql := range []string{"alter database %s with is_template false", "drop database %s with (force)"} {
			if err := execAt(context.Background(), serverURL(tb), fmt.Sprintf(sql, quote(name))); err != nil {
				tb.Error(err)
			}
		}
	})
	return name
}

func execAt(ctx context.Context, url, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

func TestTemplateIsNamedByTheMigrations(t *testing.T) {
	t.Parallel()
	s, err := sharedServer()
	if err != nil {
		t.Fatal(err)
	}
	DB(t)
	if !strings.HasSuffix(s.name, "_"+migrations.Hash()) {
		t.Errorf("the template is called %q", s.name)
	}
	if len(s.name) > 63 {
		t.Errorf("%q is longer than PostgreSQL allows", s.name)
	}
}

// A test binary on its own starts a server, and with Main leaves nothing behind.
func TestPrivateServer(t *testing.T) {
	if os.Getenv(helperEnv) != "" {
		DB(t)
		return
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestPrivateServer$", "-test.v")
	cmd.Env = append(os.Environ(), helperEnv+"=1", "TEST_DATABASE_URL=", "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPrivateServer") {
		t.Fatalf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"host=localhost dbname=x", "mysql://localhost/x", "postgres://u:secret@[::1/x"} {
		if _, err := withDatabase(url, "x"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
