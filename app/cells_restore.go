package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// restoredCell is what workers would send out of one database.
type restoredCell struct {
	cell  string // models.HomeCell for home
	store *models.Store
	models.Restored
	err error // why it could not be looked at
}

// restoredEverywhere looks at home and at every cell. closeAll closes the cells.
func restoredEverywhere(ctx context.Context, home *models.Store) (list []*restoredCell, closeAll func(), err error) {
	closeAll = func() {
		for _, r := range list {
			if r.store != nil && r.store != home {
				r.store.Close()
			}
		}
	}
	r, err := home.Restored(ctx)
	if err != nil {
		return nil, closeAll, err
	}
	list = append(list, &restoredCell{cell: models.HomeCell, store: home, Restored: r})
	n, err := home.CountCells(ctx)
	if err != nil || n == 0 {
		return list, closeAll, err
	}
	cells, err := home.ListCells(ctx)
	if err != nil {
		return list, closeAll, fmt.Errorf("there are %d cells, whose addresses are sealed with SECRET_KEY: %w", n, err)
	}
	for _, c := range cells {
		r := &restoredCell{cell: c.Name}
		list = append(list, r)
		r.err = r.look(ctx, home, &c)
		if ctx.Err() != nil {
			return list, closeAll, ctx.Err()
		}
	}
	return list, closeAll, nil
}

func (r *restoredCell) look(ctx context.Context, home *models.Store, c *models.Cell) (err error) {
	if r.store, err = openBesideCell(ctx, home, c); err != nil {
		return err
	}
	first, cancel := context.WithTimeout(ctx, cellOpens)
	defer cancel()
	if err := r.store.Migrated(first); err != nil {
		return err
	}
	if err := r.store.IsCell(first, c); err != nil {
		return err
	}
	r.Restored, err = r.store.Restored(ctx)
	return err
}

// holdEverywhere disables the destinations of all databases that could be looked at.
func holdEverywhere(ctx context.Context, list []*restoredCell) error {
	workers := 0
	for _, r := range list {
		workers += r.Workers
	}
	if workers > 0 {
		return fmt.Errorf("%d workers are alive and send already: stop them first, or disable destinations on their pages", workers)
	}
	for _, r := range list {
		if r.err != nil {
			continue
		}
		n, err := r.store.HoldRestored(ctx, r.Restored, "waybill restore-check")
		if err != nil {
			return fmt.Errorf("in the cell %s, %d of %d destinations are disabled: %w", r.cell, n, len(r.Destinations), err)
		}
		for i := range r.Destinations {
			r.Destinations[i].Held = true
		}
	}
	return nil
}

// unseen is an error when some cells could not be looked at.
func unseen(list []*restoredCell) error {
	var names []string
	for _, r := range list {
		if r.err != nil {
			names = append(names, r.cell)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return errors.New("not looked at, and nothing of it is held: " + strings.Join(names, ", "))
}
