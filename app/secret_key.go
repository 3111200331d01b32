package app

import (
	"context"
	"crypto/rand"
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

// keysOf are the keys of a command. Without SECRET_KEY they open nothing, and are not asked to.
func keysOf(cfg *config.Config) (*seal.Keyring, error) {
	key := cfg.SecretKey
	if key == "" {
		key = rand.Text()
	}
	keys, err := seal.New(key, cfg.OlderKeys...)
	if err != nil {
		return nil, fmt.Errorf("SECRET_KEY: %w", err)
	}
	return keys, nil
}

// openBeside opens the store for a command that works beside servers: without DATABASE_URL that of serve, which has to run. needKey is
// what is said where there is no SECRET_KEY; empty where none is needed.
func openBeside(ctx context.Context, env func(string) string, needKey string) (*models.Store, error) {
	cfg, err := config.ReadConfig("doctor", env) // which leaves open where the database is, as this does
	if err != nil {
		return nil, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	if err := findPrivate(cfg); err != nil {
		return nil, err
	}
	if cfg.SecretKey == "" && needKey != "" {
		return nil, errors.New("SECRET_KEY: " + needKey)
	}
	return openMigrated(ctx, cfg)
}

// openMigrated is openSmall for a command that needs the schema of this build.
func openMigrated(ctx context.Context, cfg *config.Config) (*models.Store, error) {
	store, err := openSmall(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := store.Migrated(ctx); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

// openSmall opens the store for a command that looks at little.
func openSmall(ctx context.Context, cfg *config.Config) (*models.Store, error) {
	keys, err := keysOf(cfg)
	if err != nil {
		return nil, err
	}
	url, _ := cfg.SessionURL()
	return models.Open(ctx, models.Options{URL: url, Keys: keys, Rules: cfg.Defaults(), MaxConns: 2, HotConns: 1, JobConns: 1,
		PayloadKeys: cfg.PayloadKeysURL})
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

// resealTell is how often progress is printed.
const resealTell = time.Second

// errShut says that something could not be sealed anew.
var errShut = errors.New("some values could not be opened and stay as they are: " +
	"give the key that sealed them in SECRET_KEY_PREVIOUS and run this again; `waybill doctor` names them")

// reseal seals with SECRET_KEY what is sealed with one of SECRET_KEY_PREVIOUS, while servers work.
func reseal(ctx context.Context, env func(string) string, stdout io.Writer) error {
	store, err := openBeside(ctx, env, "is required")
	if err != nil {
		return err
	}
	defer store.Close()
	printed, last, shut := time.Now(), models.ResealProgress{}, 0
	line := func(p models.ResealProgress) {
		if p.What == "" {
			return
		}
		fmt.Fprintf(stdout, "%s: %d of %d sealed anew", p.What, p.Done, p.Of)
		if p.Shut > 0 {
			fmt.Fprintf(stdout, ", %d cannot be opened", p.Shut)
		}
		if p.Other > 0 {
			fmt.Fprintf(stdout, ", %d were changed by others meanwhile", p.Other)
		}
		fmt.Fprintln(stdout)
		printed = time.Now()
	}
	tell := func(p models.ResealProgress) {
		if last.What != p.What {
			line(last)
			shut += last.Shut
		} else if time.Since(printed) > resealTell {
			line(p)
		}
		last = p
	}
	// The cells first: their addresses are sealed as well, and tell that all is done.
	err = eachCell(ctx, store, func(ctx context.Context, c models.Cell) error {
		fmt.Fprintf(stdout, "In the cell %s:\n", c.Name)
		there, err := openBesideCell(ctx, store, &c)
		if err != nil {
			return err
		}
		defer there.Close()
		return there.Reseal(ctx, tell)
	})
	if err == nil {
		err = store.Reseal(ctx, tell)
	}
	line(last)
	switch shut += last.Shut; {
	case ctx.Err() != nil:
		return errors.New("broken off; run it again to go on")
	case err != nil:
		return err
	case shut > 0:
		return errShut
	}
	fmt.Fprintln(stdout, "Everything that is sealed is sealed with SECRET_KEY. Tokens of tenants and links in mails may still be signed with an older one.")
	return nil
}
