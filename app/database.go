package app

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

// reachDatabase returns the address that a process works with, once it is known to do for it. serve migrates the database. A pooler
// that is away keeps nobody from starting but web.
func reachDatabase(ctx context.Context, cfg *config.Config) (address string, err error) {
	if cfg.Pooled() {
		if err := migrations.CheckTransactions(ctx, cfg.DatabaseURL); err != nil {
			return "", fmt.Errorf("DATABASE_URL: %w", err)
		}
		return cfg.DatabaseURL, nil
	}
	address, variable := cfg.SessionURL()
	if cfg.DirectURL != "" {
		if err := models.SameDatabase(ctx, cfg.DatabaseURL, address); err != nil {
			return "", err
		}
	}
	if cfg.Role == "serve" {
		err = migrations.Apply(ctx, address)
	} else {
		err = migrations.CheckSession(ctx, address)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", variable, err)
	}
	return address, nil
}
