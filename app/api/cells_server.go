package api

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// cellCheckup is how long the checks of cells may take, which are made at once. Each ends by itself a little before.
const cellCheckup = 3 * time.Second

// joinCells adds to what home says of the server how the cells are, and what the doctor's checks found in them.
func (a *API) joinCells(ctx context.Context, s *models.ServerState) (err error) {
	if a.Cells() == nil {
		return nil
	}
	if s.Cells, err = a.cellStates(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cellCheckup)
	defer cancel()
	checkups := make([]atomic.Pointer[models.Checkup], len(s.Cells))
	var all sync.WaitGroup
	for i, c := range s.Cells {
		if i == 0 || !c.Reachable {
			continue
		}
		all.Go(func() {
			x, err := a.In(c.Name)
			if err != nil {
				return // it is told as one that was not looked at
			}
			found, err := x.Store.Checkup(ctx)
			if err != nil {
				x.Log.Warn("the cell could not be checked", "error", err)
				return
			}
			checkups[i].Store(&found)
		})
	}
	all.Wait()
	for i := range s.Cells {
		c := &s.Cells[i]
		switch found := checkups[i].Load(); {
		case i == 0, !c.Served:
		case !c.Reachable:
			s.Checkup = s.Checkup.Join(c.Name, []models.Finding{c.Away()}, nil)
		case found == nil:
			s.Checkup = s.Checkup.Join(c.Name, nil, []models.Unchecked{{Check: "everything", Why: "It could not be checked."}})
		default:
			s.Checkup = s.Checkup.Join(c.Name, found.Findings, found.Unchecked)
		}
	}
	return nil
}
