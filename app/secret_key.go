package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/seal"
)

// checkKeyTimeout bounds how long check-config waits for the database.
const checkKeyTimeout = 5 * time.Second

// checkKey holds SECRET_KEY against the database, without changing anything there. unknown says why that could not be
// done; a database that is not there yet is no mistake of the configuration.
func checkKey(ctx context.Context, cfg *config.Config) (wrong, unknown error) {
	ctx, cancel := context.WithTimeout(ctx, checkKeyTimeout)
	defer cancel()
	store, err := openSmall(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := store.Migrated(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckKey(ctx); errors.Is(err, models.ErrOtherKey) {
		return fmt.Errorf("SECRET_KEY: %w", err), nil
	} else if err != nil {
		return nil, err
	}
	return nil, nil
}

// openSmall opens the store for a command that looks at little.
func openSmall(ctx context.Context, cfg *config.Config) (*models.Store, error) {
	keys, err := seal.New(cfg.SecretKey, cfg.OlderKeys...)
	if err != nil {
		return nil, fmt.Errorf("SECRET_KEY: %w", err)
	}
	url, _ := cfg.SessionURL()
	return models.Open(ctx, models.Options{URL: url, Keys: keys, Rules: cfg.Rules(), MaxConns: 2, HotConns: 1, JobConns: 1})
}

// newKey has servers start with the SECRET_KEY of the environment from now on, although secrets in the database are sealed
// with one that is lost. Those have to be entered again.
func newKey(ctx context.Context, env func(string) string, stdout io.Writer) error {
	cfg, err := config.ReadConfig("serve", env)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	if cfg.Private() {
		pg, err := postgres.Start(ctx, postgres.Options{Dir: cfg.DataDir, Logf: func(string, ...any) {}})
		if err != nil {
			return err
		}
		defer func() { _ = pg.Stop() }() // what was committed is kept however it ends
		cfg.DatabaseURL = pg.URL
		if err := cfg.Secrets(); err != nil {
			return err
		}
	} else if cfg.SecretKey == "" {
		return errors.New("SECRET_KEY: is required")
	}
	store, err := openSmall(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrated(ctx); err != nil {
		return err
	}
	if err := store.AdoptKey(ctx); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Servers start with this SECRET_KEY from now on. `waybill doctor` names the destinations whose credentials have to be entered again.")
	return nil
}
