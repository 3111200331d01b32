// Package modelstest helps to test what stands on the database: a database for each test, and records to fill it with.
package modelstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/migrations"
)

// Names of databases begin with these, so that nothing else on a shared server is touched.
const (
	templatePrefix = "waybill_template_"
	testPrefix     = "waybill_test_"
)

// templateLock is the advisory lock that serialises the making of templates on one server. Its number means nothing, but
// must differ from those that the program uses itself.
const templateLock = 7_241_907_399

// timeout bounds what is done before and after a test. It includes making the template, and waiting for others to make it.
const timeout = 2 * time.Minute

// DB makes a database with the current schema for one test, and returns its URL. The database is a copy of a template,
// which takes some hundredths of a second, and is dropped when the test ends, whoever is still connected.
//
// It lies on the server that TEST_DATABASE_URL names (the account there must be allowed to create databases). `make
// test` sets that, so that all packages share one server. Otherwise, as in a plain `go test ./models`, the first test
// that needs one starts a private server for its test binary; call Main in TestMain to have it stopped at the end.
func DB(tb testing.TB) string {
	tb.Helper()
	return clone(tb, func(ctx context.Context, s *server) (string, error) { return s.template(ctx) })
}

// Connect returns connections to a database of DB for the test's own statements. They are closed when the test ends.
func Connect(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // connects when it is used
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// Empty is like DB, but without any schema, for tests of the migrations themselves.
func Empty(tb testing.TB) string {
	tb.Helper()
	return clone(tb, func(context.Context, *server) (string, error) { return "template0", nil })
}

// Main runs the tests of a package and then stops the private server, if there is one. To be used as
//
//	func TestMain(m *testing.M) { modelstest.Main(m) }
//
// A package without it works too, but the end of its process then ends the server the hard way and leaves its files to
// be removed by a later run.
func Main(m *testing.M) {
	status := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the private PostgreSQL of the tests:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// server is the PostgreSQL server on which this process makes its databases.
type server struct {
	url     string
	private *postgres.Server // nil when somebody else runs the server

	mu   sync.Mutex
	name string // of the template, once made
}

// shared is the server of this process.
var shared struct {
	sync.Mutex
	server *server
	err    error // of the one attempt to start it
}

func sharedServer() (*server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = findServer()
	}
	return shared.server, shared.err
}

func findServer() (*server, error) {
	if u := os.Getenv("TEST_DATABASE_URL"); u != "" {
		if _, err := withDatabase(u, "any"); err != nil {
			return nil, fmt.Errorf("TEST_DATABASE_URL: %w", err)
		}
		return &server{url: u}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := postgres.StartTemporary(ctx)
	if err != nil {
		return nil, err
	}
	return &server{url: s.URL, private: s}, nil
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil || shared.server.private == nil {
		return nil
	}
	private := shared.server.private
	shared.server, shared.err = nil, errors.New("the tests are over")
	return private.Stop()
}

// clone makes a copy of the database that template names, for tb.
func clone(tb testing.TB, template func(context.Context, *server) (string, error)) string {
	tb.Helper()
	s, err := sharedServer()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	from, err := template(ctx, s)
	if err != nil {
		tb.Fatal("make the template database: ", err)
	}
	name := databaseName(tb.Name())
	dbURL, err := withDatabase(s.url, name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.exec(ctx, fmt.Sprintf("create database %s template %s", quote(name), quote(from))); err != nil {
		tb.Fatal("make the test's database: ", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := s.exec(ctx, fmt.Sprintf("drop database if exists %s with (force)", quote(name))); err != nil {
			tb.Error("drop the test's database: ", err)
		}
	})
	return dbURL
}

// template returns the name of the template database, which it makes unless some process has done so already.
func (s *server) template(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The date is part of the name because migrations make partitions for the coming days, and tests may run past midnight.
	name := templatePrefix + time.Now().UTC().Format("20060102") + "_" + migrations.Hash()
	if s.name == name {
		return name, nil
	}
	if err := makeTemplate(ctx, s.url, name, migrations.Apply); err != nil {
		return "", err
	}
	s.name = name
	return name, nil
}

// makeTemplate makes the database called name and applies the schema to it, unless that has been done. Packages are
// tested by several processes at once, so a lock on the server sees to it that only one of them does this.
func makeTemplate(ctx context.Context, serverURL, name string, apply func(ctx context.Context, url string) error) error {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // which also releases the lock
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return err
	}
	var complete bool
	err = conn.QueryRow(ctx, "select datistemplate from pg_database where datname = $1", name).Scan(&complete)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if complete {
		return nil
	}
	if err := dropOldTemplates(ctx, conn, name); err != nil {
		return err
	}
	// One that is no template yet was left by a process that did not get to the end.
	if _, err := conn.Exec(ctx, fmt.Sprintf("drop database if exists %s with (force)", quote(name))); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf("create database %s template template0", quote(name))); err != nil {
		return err
	}
	templateURL, err := withDatabase(serverURL, name)
	if err != nil {
		return err
	}
	if err := apply(ctx, templateURL); err != nil {
		return err
	}
	// A database that somebody is connected to cannot be copied, so nobody may connect any more.
	_, err = conn.Exec(ctx, fmt.Sprintf("alter database %s with is_template true allow_connections false", quote(name)))
	return err
}

var templateDate = regexp.MustCompile("^" + templatePrefix + `(\d{8})_`)

// dropOldTemplates drops the templates that were made before yesterday, for nobody uses them any more. Others made today
// stay: they may be those of another checkout whose tests are running. keep is not touched.
func dropOldTemplates(ctx context.Context, conn *pgx.Conn, keep string) error {
	rows, err := conn.Query(ctx, "select datname from pg_database where starts_with(datname, $1) and datname <> $2", templatePrefix, keep)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format("20060102")
	for _, n := range names {
		if m := templateDate.FindStringSubmatch(n); m == nil || m[1] >= yesterday {
			continue
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("alter database %s with is_template false", quote(n))); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("drop database if exists %s with (force)", quote(n))); err != nil {
			return err
		}
	}
	return nil
}

// exec executes one statement on a connection of its own. That costs a few milliseconds for each, and saves keeping (and
// closing) connections between tests.
func (s *server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName returns a new name that says which test it is for, within the 63 bytes that PostgreSQL allows.
func databaseName(test string) string {
	readable := notInName.ReplaceAllString(strings.ToLower(strings.TrimPrefix(test, "Test")), "_")
	return testPrefix + readable[:min(len(readable), 32)] + "_" + strings.ToLower(rand.Text()[:12])
}

// withDatabase returns serverURL with another database.
func withDatabase(serverURL, name string) (string, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return "", errors.New("it is not a URL") // err would repeat the password
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("it does not begin with postgres://")
	}
	u.Path = "/" + name
	return u.String(), nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
