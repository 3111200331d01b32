package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

const usage = `Waybill delivers events to the destinations your customers configured.

Usage: waybill <command>

  serve         web and worker in one process; brings its own PostgreSQL without DATABASE_URL
  web           the dashboard and the API
  work          a worker
  migrate       bring the database up to this version
  doctor        check a live database and say what is wrong (see waybill doctor -h)
  restore-check say what is sent again after the database was restored, and hold it (see waybill restore-check -h)
  check-config  read the environment, report every problem, and where each value comes from
  cells         add, drain and remove further databases for tenants (see waybill cells -h)
  users         list, add and change users, reset their passwords (see waybill users -h)
  new-key       go on with another SECRET_KEY although the one of before is lost
  reseal        seal what is kept secret with SECRET_KEY that is sealed with one of SECRET_KEY_PREVIOUS
  openapi       print the description of the API (OpenAPI 3.1)
  capacity      say what a mix of events takes: processors, disk, memory (see waybill capacity -h)
  bench         measure this machine: accept, deliver, latency (see waybill bench -h)
  version       print the version

Every setting is an environment variable; .env.example lists them.
`

// Main runs a command and returns the process's exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := "help"
	if len(args) > 0 {
		command = args[0]
	}
	var rest []string
	if len(args) > 1 {
		rest = args[1:]
	}
	if help, err := withoutArguments(command, rest); help || err != nil {
		if err == nil {
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintln(stderr, "waybill:", err)
		return 2
	}
	migrations.Version = config.Version
	var err error
	switch command {
	case "serve", "web", "work":
		err = serve(ctx, command, stdout)
	case "migrate":
		err = migrate(ctx, stdout)
	case "doctor":
		err = doctor(ctx, rest, os.Getenv, stdout)
	case "check-config":
		err = checkConfig(ctx, rest, stdout)
	case "users":
		err = users(ctx, rest, os.Getenv, os.Stdin, stdout)
	case "cells":
		err = cellsCommand(ctx, rest, os.Getenv, os.Stdin, stdout)
	case "restore-check":
		err = restoreCheck(ctx, rest, os.Getenv, stdout)
	case "new-key":
		err = newKey(ctx, os.Getenv, stdout)
	case "reseal":
		err = reseal(ctx, os.Getenv, stdout)
	case "openapi":
		err = api.PrintAPI(os.Getenv, stdout)
	case "capacity":
		err = bench.Capacity(rest, stdout)
	case "bench":
		err = bench.Run(ctx, rest, stdout)
	case "version":
		fmt.Fprintln(stdout, config.Version)
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "waybill: there is no command %q\n\n%s", command, usage)
		return 2
	}
	if err != nil {
		if err != errUnwell {
			fmt.Fprintln(stderr, "waybill:", err)
		}
		return 1
	}
	return 0
}

// withoutArguments looks at what is given to a command that takes nothing: whoever asks it for help is helped, and the
// program does not start in spite of words that it does not know.
func withoutArguments(command string, rest []string) (help bool, err error) {
	if len(rest) == 0 || !slices.Contains([]string{"serve", "web", "work", "migrate", "new-key", "reseal", "openapi", "version", "help"}, command) {
		return false, nil
	}
	if slices.Contains([]string{"-h", "-help", "--help"}, rest[0]) || command == "help" {
		return true, nil
	}
	return false, fmt.Errorf("%s takes no arguments, and %q is one; settings are environment variables, see .env.example", command, rest[0])
}

func serve(ctx context.Context, role string, stdout io.Writer) error {
	cfg, err := config.ReadConfig(role, os.Getenv)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	log := newLogger(cfg)
	// Files of settings are read anew for it, once the process runs; until then it must not end it.
	early := make(chan os.Signal, 1)
	signal.Notify(early, syscall.SIGHUP)
	defer signal.Stop(early)
	a, err := New(ctx, cfg, log)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.Close()
	if role != "work" {
		if _, err := a.Listen(); err != nil {
			return err
		}
	}
	err = a.Run(ctx, func() { a.greet(stdout) })
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// greet says what a person needs to go on.
func (a *App) greet(w io.Writer) {
	ctx, cancel := api.CallContext()
	defer cancel()
	if a.Cfg.Role == "work" {
		a.Log.Info("the worker runs")
		return
	}
	code, err := a.Store.SetupCode(ctx)
	if err != nil {
		a.Log.Error("cannot read the set-up code", "error", err)
	}
	if a.Cfg.Role == "web" {
		a.Log.Info("web runs", "address", a.listener.Addr().String(), "url", a.Cfg.BaseURL)
		if code != "" {
			a.Log.Info("no user yet: open the set-up link once", "url", a.Cfg.BaseURL+"/setup?code="+code)
		}
		return
	}
	fmt.Fprintf(w, "\nWaybill %s runs.\n\n  Dashboard  %s\n", config.Version, a.Cfg.BaseURL)
	if code != "" {
		fmt.Fprintf(w, "  Set-up     %s/setup?code=%s   (once, makes the first user)\n", a.Cfg.BaseURL, code)
	}
	key, file := "$API_KEY", a.Cfg.DataDir+"/api_key"
	switch {
	case a.Cfg.NewAPIKey:
		key = a.Cfg.APIKey
		fmt.Fprintf(w, "  API key    %s   (kept in %s, not shown again)\n", key, file)
	case a.Cfg.KeyInFile:
		key = "$(cat " + file + ")"
		fmt.Fprintf(w, "  API key    the one in %s\n", file)
	}
	fmt.Fprintf(w, `
Publish a first event to the built-in Echo inbox and see its delivery:

  curl -s %[1]s/api/v1/publish -H "Authorization: Bearer %[2]s" -H "Prefer: wait=5" \
    -d '{"tenant_id":"demo","topic":"order.created","data":{"order":1,"total":29.95}}'

`, a.Cfg.BaseURL, key)
}

func migrate(ctx context.Context, stdout io.Writer) error {
	cfg, err := config.ReadConfig("migrate", os.Getenv)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	url, variable := cfg.SessionURL()
	if cfg.DirectURL != "" {
		if err := models.SameDatabase(ctx, cfg.DatabaseURL, cfg.DirectURL); err != nil {
			return err
		}
	}
	if err := migrations.Apply(ctx, url); err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	fmt.Fprintln(stdout, "The database is at this version's schema.")
	return migrateCells(ctx, cfg, stdout)
}

// migrateCells brings the further databases up that home knows. Their addresses are sealed with SECRET_KEY.
func migrateCells(ctx context.Context, cfg *config.Config, stdout io.Writer) error {
	store, err := openSmall(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	var n int
	if n, err = store.CountCells(ctx); err != nil || n == 0 {
		return err
	}
	if cfg.SecretKey == "" {
		return fmt.Errorf("SECRET_KEY: is needed to migrate the %d cells, whose addresses are sealed with it", n)
	}
	var failed error
	if err := eachCell(ctx, store, func(ctx context.Context, c models.Cell) error {
		if err := migrations.Apply(ctx, c.Address); err != nil {
			failed = errors.Join(failed, fmt.Errorf("the cell %s: %w", c.Name, err)) // the others are migrated all the same
			return nil
		}
		fmt.Fprintf(stdout, "The cell %s is at this version's schema.\n", c.Name)
		return nil
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return nil
}

func checkConfig(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) > 0 && args[0] == "-example" {
		fmt.Fprint(stdout, config.EnvExample())
		return nil
	}
	role := "serve"
	if len(args) > 0 {
		role = args[0]
	}
	cfg, err := config.ReadConfig(role, os.Getenv)
	if err == nil && cfg.DatabaseURL != "" && cfg.SecretKey != "" {
		var unknown error
		if err, unknown = checkKey(ctx, cfg); unknown != nil {
			fmt.Fprintf(stdout, "SECRET_KEY was not checked against the database: %v.\n", unknown)
		}
	}
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	fmt.Fprint(stdout, config.Table(cfg.Settings()))
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(stdout, "\nWarning: %s.\n", w)
	}
	fmt.Fprintf(stdout, "\nThe configuration is fine for `waybill %s`.\n", role)
	return nil
}
