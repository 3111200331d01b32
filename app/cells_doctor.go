package app

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// openBesideCell opens a cell for a command that looks at little.
func openBesideCell(ctx context.Context, home *models.Store, c *models.Cell) (*models.Store, error) {
	return models.Open(ctx, models.Options{URL: c.Address, Keys: home.Keys, Home: home, Cell: c.Name,
		MaxConns: 2, HotConns: 1, JobConns: 1})
}

// examineCells makes the doctor's checks in every cell. What cannot be checked is a finding, and keeps the doctor from no other cell.
func examineCells(ctx context.Context, home *models.Store, cfg *config.Config, repair bool) ([]models.Finding, error) {
	n, err := home.CountCells(ctx)
	if err != nil || n == 0 {
		return nil, err
	}
	if cfg.SecretKey == "" {
		return []models.Finding{{Check: "cells", Level: models.LevelWarn,
			Message: fmt.Sprintf("Not checked: there are %d cells, whose addresses are sealed, and SECRET_KEY is not given.", n),
			Advice:  "Run the doctor with the SECRET_KEY of web and work."}}, nil
	}
	list, err := home.ListCells(ctx)
	if err != nil {
		return []models.Finding{{ //nolint:nilerr // it is a finding
			Check: "cells", Level: models.LevelFail, Message: "The cells were not checked: " + err.Error() + ".",
			Advice: "Set the key that sealed their addresses in SECRET_KEY or SECRET_KEY_PREVIOUS."}}, nil
	}
	var found []models.Finding
	for _, c := range list {
		some, err := examineCell(ctx, home, &c, repair)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if err != nil {
			some = append(some, models.Finding{Check: "cell", Level: models.LevelFail, Message: "A check could not be made: " + err.Error() + ".",
				Advice: "See whether its PostgreSQL runs, and run the doctor again."})
		}
		for _, f := range some {
			f.Cell = c.Name
			found = append(found, f)
		}
	}
	return found, nil
}

// examineCell makes the checks of one cell. Where one finds that others cannot be made it is the last one.
func examineCell(ctx context.Context, home *models.Store, c *models.Cell, repair bool) ([]models.Finding, error) {
	first, cancel := context.WithTimeout(ctx, cellOpens)
	defer cancel()
	session := models.CheckSession(first, c.Address, "the address of the cell "+c.Name)
	found := []models.Finding{session}
	if session.Level != models.LevelOK {
		return found, nil
	}
	store, err := openBesideCell(ctx, home, c)
	if err != nil {
		return found, err
	}
	defer store.Close()
	schema := models.CheckSchema(first, store)
	if found = append(found, schema); schema.Level != models.LevelOK {
		return found, nil
	}
	if err := store.IsCell(first, c); err != nil {
		return found, err
	}
	more, err := store.Diagnose(ctx, time.Now(), true)
	if found = append(found, more...); err != nil {
		return found, err
	}
	more, err = store.DiagnoseQueue(ctx, repair)
	return append(found, more...), err
}
