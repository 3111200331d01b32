package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/models"
)

// errUnwell is how the doctor ends when something is wrong, which it has said already.
var errUnwell = errors.New("")

// doctor checks a live database and says what is wrong.
func doctor(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	fs.SetOutput(stdout)
	asJSON := fs.Bool("json", false, "print the findings as JSON")
	repair := fs.Bool("repair", false, "also queue again what was lost, and make the jobs of dead processes available")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	cfg, err := config.ReadConfig("doctor", env)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	found, err := examine(ctx, cfg, *repair)
	if err != nil {
		return err
	}
	unwell := slices.ContainsFunc(found, func(f models.Finding) bool { return f.Level == models.LevelFail })
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			OK     bool             `json:"ok"`
			Checks []models.Finding `json:"checks"`
		}{!unwell, found}); err != nil {
			return err
		}
	} else {
		printFindings(stdout, found, unwell)
	}
	if unwell {
		return errUnwell
	}
	return nil
}

// examine makes all checks. Where one finds that others cannot be made it is the only one.
func examine(ctx context.Context, cfg *config.Config, repair bool) ([]models.Finding, error) {
	if err := findPrivate(cfg); err != nil {
		return nil, err
	}
	keys, err := keysOf(cfg)
	if err != nil {
		return nil, err
	}
	address, variable := cfg.SessionURL()
	store, err := models.Open(ctx, models.Options{URL: address, Keys: keys, Rules: cfg.Defaults(), MaxConns: 2, HotConns: 1,
		JobConns: 1, PayloadEncryption: cfg.PayloadEncryption, PayloadKeys: cfg.PayloadKeysURL})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	session := models.CheckSession(ctx, address, variable)
	if session.Level != models.LevelOK {
		return []models.Finding{session}, nil
	}
	schema := models.CheckSchema(ctx, store)
	found := []models.Finding{session, schema}
	if schema.Level != models.LevelOK {
		return found, nil
	}
	if err := store.KnowSettings(ctx); err != nil { // such as how long events are kept
		return found, err
	}
	if cfg.DirectURL != "" {
		found = append(found, store.CheckPooler(ctx, cfg.DatabaseURL))
	}
	if cfg.ReplicaURL != "" {
		found = append(found, models.CheckReplica(ctx, address, cfg.ReplicaURL, cfg.ReplicaLag))
	}
	for _, check := range []func() ([]models.Finding, error){
		func() ([]models.Finding, error) { return store.Diagnose(ctx, time.Now(), cfg.SecretKey != "") },
		func() ([]models.Finding, error) { return store.DiagnoseQueue(ctx, repair) },
	} {
		more, err := check()
		found = append(found, more...)
		if err != nil {
			return found, fmt.Errorf("a check could not be made: %w", err)
		}
	}
	more, err := examineCells(ctx, store, cfg, repair)
	return append(found, more...), err
}

// findPrivate fills in where the private PostgreSQL of a server that runs is, and the key that it keeps.
func findPrivate(cfg *config.Config) error {
	if !cfg.Private() {
		return nil
	}
	url, err := postgres.Running(cfg.DataDir)
	if err != nil {
		return err
	}
	cfg.DatabaseURL = url
	if cfg.SecretKey == "" {
		b, err := os.ReadFile(filepath.Join(cfg.DataDir, models.KeyFile))
		if err != nil {
			return fmt.Errorf("SECRET_KEY: %w", err)
		}
		cfg.SecretKey = strings.TrimSpace(string(b))
	}
	return nil
}

func printFindings(w io.Writer, found []models.Finding, unwell bool) {
	for _, f := range found {
		message := f.Message
		if f.Cell != "" {
			message = "In the cell " + f.Cell + ": " + message
		}
		fmt.Fprintf(w, "%-4s  %-13s %s\n", f.Level, f.Check, message)
		for _, e := range f.Examples {
			fmt.Fprintf(w, "%20s - %s\n", "", e)
		}
		if f.Advice != "" {
			fmt.Fprintf(w, "%20s %s\n", "", f.Advice)
		}
	}
	if unwell {
		fmt.Fprintln(w, "\nSomething is wrong: see the lines that begin with \"fail\".")
	} else {
		fmt.Fprintln(w, "\nThe database is well.")
	}
}
