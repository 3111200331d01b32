package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// countedFor is for how long it is believed how many tenants the cells have. What this process places meanwhile it counts itself.
const countedFor = 10 * time.Second

// cellCounts are how many tenants the cells have, as new ones are placed by it.
type cellCounts struct {
	mu sync.Mutex
	at time.Time
	n  map[string]int
}

// putTenant creates or changes a tenant, and says in which cell that was.
func (a *API) putTenant(ctx context.Context, c *Call, req *PutTenantRequest, since models.Since) (x *API, created bool, err error) {
	if req.Body.Cell != "" && c.Actor.TenantID != "" {
		return nil, false, &models.Error{Kind: models.KindForbidden, Message: "cell is for operators' keys; " + c.Actor.Name +
			" sees one tenant only. Leave it out."}
	}
	if a.Cells() == nil {
		if req.Body.Cell != "" && req.Body.Cell != models.HomeCell {
			return nil, false, models.Invalid("cell", `must be "main" or left out: there is no other one`)
		}
		_, created, err = a.Store.PutTenantSince(ctx, req.Tenant, req.Body.Metadata, since)
		return a, created, err
	}
	err = untilThere(ctx, func() (err error) {
		x, created, err = a.putPlaced(ctx, req, since)
		return err
	})
	return x, created, err
}

// untilThere does something in the cell of a tenant, once more each time that the tenant goes, or has gone, to another one meanwhile.
func untilThere(ctx context.Context, do func() error) error {
	for deadline := time.Now().Add(heldFor); ; {
		err := do()
		if !models.IsMoving(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(heldLook):
		}
	}
}

func (a *API) putPlaced(ctx context.Context, req *PutTenantRequest, since models.Since) (x *API, created bool, err error) {
	at, key, exists, err := a.Store.PlaceNow(ctx, req.Tenant)
	if err != nil {
		return nil, false, err
	}
	if !exists {
		if at, err = a.choose(ctx, req.Body.Cell); err != nil {
			return nil, false, err
		}
	} else if want := req.Body.Cell; want != "" && want != models.NameOfCell(at) {
		return nil, false, &models.Error{Kind: models.KindConflict,
			Message: fmt.Sprintf("The tenant is in the cell %s. It does not go to another one by this; leave cell out.", models.NameOfCell(at))}
	}
	if x, err = a.In(at); err != nil {
		return nil, false, err
	}
	if x == a {
		_, created, err = a.Store.PutTenantSince(ctx, req.Tenant, req.Body.Metadata, since)
		return a, created, err
	}
	if !exists {
		if key, at, err = a.Store.PlaceTenant(ctx, req.Tenant, at, since); err != nil {
			return nil, false, err
		}
		if x, err = a.In(at); err != nil { // another request was quicker, and chose another one
			return nil, false, err
		}
		if x == a {
			return a.putPlaced(ctx, req, since)
		}
	}
	_, created, err = x.Store.PutTenantAs(ctx, key, req.Tenant, req.Body.Metadata, since)
	return x, created, x.named(err)
}

// choose says in which cell a new tenant is to be: the one that is asked for, or that with the fewest tenants of those that are not
// drained and are there. Empty is home.
func (a *API) choose(ctx context.Context, asked string) (string, error) {
	if asked == models.HomeCell {
		return "", nil
	}
	if asked != "" {
		_, err := a.In(asked)
		if models.IsKind(err, models.KindNotFound) {
			err = models.Invalid("cell", "is unknown")
		}
		return asked, err
	}
	n, err := a.counts.of(ctx, a.Store)
	if err != nil {
		return "", err
	}
	draining, err := a.Store.HomeDraining(ctx)
	if err != nil {
		return "", err
	}
	best, found, drained := "", draining == nil, a.drained()
	for _, c := range a.Cells() {
		if drained[c.Name] != nil || c.Open() == nil || c.Open().Store.Ready(ctx) != nil {
			continue
		}
		if !found || n[c.Name] < n[models.NameOfCell(best)] {
			best, found = c.Name, true
		}
	}
	if !found {
		return "", &models.Error{Kind: models.KindUnavailable, RetryAfter: 5 * time.Second,
			Message: "No cell takes new tenants now: those that are not drained do not answer. Try again, or name one in cell."}
	}
	a.counts.add(models.NameOfCell(best))
	return best, nil
}

func (k *cellCounts) of(ctx context.Context, s *models.Store) (map[string]int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n == nil || time.Since(k.at) > countedFor {
		n, err := s.CellTenants(ctx)
		if err != nil {
			return nil, err
		}
		k.n, k.at = n, time.Now()
	}
	out := map[string]int{}
	for name, n := range k.n {
		out[name] = n
	}
	return out, nil
}

func (k *cellCounts) add(cell string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n != nil {
		k.n[cell]++
	}
}

// deletePlaced deletes a tenant in its cell, and then home's part of it. What broke off in between is gone on with.
func (a *API) deletePlaced(ctx context.Context, c *Call, id string) error {
	t, err := a.Store.Tenant(ctx, c.Scope(), id)
	if err != nil {
		return err
	}
	return untilThere(ctx, func() error {
		at, key, _, err := a.Store.PlaceNow(ctx, id)
		if err != nil {
			return err
		}
		x, err := a.In(at)
		if err != nil {
			return err
		}
		ctx := x.Store.Guard(ctx, id)
		err = x.Store.DeleteTenant(ctx, c.Scope(), id)
		if x != a && (err == nil || models.IsKind(err, models.KindNotFound)) && key == t.Key {
			return a.Store.DeleteTenantAway(ctx, key)
		}
		return x.named(err)
	})
}

// tellCell says of a tenant in which cell it is, to operators.
func (a *API) tellCell(c *Call, t *models.TenantSummary) {
	if name := a.CellName(); name != "" && c.Actor.TenantID == "" {
		t.Cell = &name
	}
}
