package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/models"
)

// Cells (models/cell.go) have an API each, of the same routes over another Store. Requests come to that of home, which finds out who
// calls and in which cell the tenant is, and hands them on. While there are no cells, a request costs a look at a pointer.

// Cell is a further database as this process knows it.
type Cell struct {
	models.Cell
	served bool // by this process; see CELLS
	state  *cellState
}

// cellState is what changes while the cell is served.
type cellState struct {
	api atomic.Pointer[API] // nil while it is not open
	why atomic.Pointer[string]
	saw atomic.Pointer[sighting]
}

// sighting is whether a cell answers, and since when that is so.
type sighting struct {
	there bool
	since time.Time
}

// NewCell makes a cell that is not open yet.
func NewCell(c models.Cell, served bool) *Cell {
	return &Cell{Cell: c, served: served, state: &cellState{}}
}

// With is the same cell as it is described now.
func (c *Cell) With(now models.Cell) *Cell { return &Cell{Cell: now, served: c.served, state: c.state} }

// Opened says that the cell's requests can be answered.
func (c *Cell) Opened(x *API) {
	c.state.api.Store(x)
	c.state.why.Store(nil)
	c.Saw(true)
}

// Failed says why the cell could not be opened.
func (c *Cell) Failed(why string) {
	c.state.why.Store(&why)
	c.Saw(false)
}

// Saw says whether the cell answers now, and reports whether that is another answer than the last time.
func (c *Cell) Saw(there bool) (changed bool) {
	before := c.state.saw.Load()
	if before != nil && before.there == there {
		return false
	}
	return c.state.saw.CompareAndSwap(before, &sighting{there, time.Now().UTC().Truncate(time.Millisecond)})
}

// Since is when the cell began to answer, or no longer did; nil while nobody has looked.
func (c *Cell) Since() *time.Time {
	if s := c.state.saw.Load(); s != nil {
		return &s.since
	}
	return nil
}

// Served reports whether this process serves the cell.
func (c *Cell) Served() bool { return c.served }

// Open is the API of the cell; nil while it is not open.
func (c *Cell) Open() *API { return c.state.api.Load() }

// Why says why the cell is not open; empty where nothing went wrong.
func (c *Cell) Why() string {
	if w := c.state.why.Load(); w != nil {
		return *w
	}
	return ""
}

// SetCells tells the API of home which cells there are; nil for none.
func (a *API) SetCells(list []*Cell) {
	if len(list) == 0 {
		a.cells.Store(nil)
		return
	}
	a.cells.Store(&list)
}

// Cells are the further databases; nil while there are none.
func (a *API) Cells() []*Cell {
	if l := a.root().cells.Load(); l != nil {
		return *l
	}
	return nil
}

// root is the API of home.
func (a *API) root() *API {
	if a.home != nil {
		return a.home
	}
	return a
}

// ForCell makes the API of a cell, over its own store. Limits are counted where home counts them.
func (a *API) ForCell(store *models.Store) *API {
	x := New(a.Cfg, a.Log.With("cell", store.CellName()), a.Env)
	x.home, x.Store, x.Traces, x.Bootstrap, x.limits = a, store, a.Traces, a.Bootstrap, a.limits
	x.ErrorPage = a.ErrorPage
	for _, r := range x.APIRoutes() {
		x.handlers = append(x.handlers, x.Once(r))
	}
	return x
}

// CellName names the cell that this API is of; empty while there are none.
func (a *API) CellName() string {
	if a.Cells() == nil {
		return ""
	}
	return a.Store.CellName()
}

// In is the API of a cell by its name; HomeCell and the empty name are home's.
func (a *API) In(name string) (*API, error) {
	home := a.root()
	if name == "" || name == models.HomeCell {
		return home, nil
	}
	i := slices.IndexFunc(home.Cells(), func(c *Cell) bool { return c.Name == name })
	if i < 0 {
		return nil, &models.Error{Kind: models.KindNotFound, Message: fmt.Sprintf("There is no cell %q.", name),
			Fields: map[string]string{"cell": "is unknown"}}
	}
	c := home.Cells()[i]
	switch x := c.Open(); {
	case x != nil:
		return x, nil
	case !c.served:
		return nil, &models.Error{Kind: models.KindUnavailable, RetryAfter: 5 * time.Second,
			Message: fmt.Sprintf("This process does not serve the cell %s (CELLS). Send the request to one that does.", name)}
	}
	return nil, cellAway(name, nil)
}

// cellAway is the error of a cell that does not answer.
func cellAway(name string, err error) error {
	return &models.Error{Kind: models.KindUnavailable, RetryAfter: 2 * time.Second, Err: err,
		Message: fmt.Sprintf("The cell %s, a database that holds some of the tenants, does not answer. Try again.", name)}
}

// named is an error of this API's database, which says of a cell that it is the cell that does not answer.
func (a *API) named(err error) error {
	if err == nil || a.home == nil {
		return err
	}
	if e := models.AsError(err); e.Kind == models.KindUnavailable && e.Err != nil {
		return cellAway(a.Store.CellName(), err)
	}
	return err
}

// Of is the API of the cell where a tenant is.
func (a *API) Of(ctx context.Context, tenantID string) (*API, error) {
	home := a.root()
	if home.Cells() == nil || tenantID == "" {
		return home, nil
	}
	name, err := home.Store.Place(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	return home.In(name)
}

// How long a request waits for a tenant that goes to another cell, and how often it looks.
const (
	heldFor  = 3 * time.Second
	heldLook = 25 * time.Millisecond
	maxHops  = 4 // from cell to cell
)

// Accept accepts events, each in the cell where its tenant is. Each has its own result or error, in order.
func (a *API) Accept(ctx context.Context, ins []*models.PublishInput) ([]models.PublishResult, []error) {
	if a.Cells() == nil {
		return a.Accepter.PublishAll(ctx, ins)
	}
	res, errs := make([]models.PublishResult, len(ins)), make([]error, len(ins))
	todo := make([]int, len(ins))
	for i := range ins {
		todo[i] = i
	}
	for deadline, hops := time.Now().Add(heldFor), 0; len(todo) > 0; {
		a.acceptWhere(ctx, ins, todo, res, errs)
		var again []int
		pause := false
		for _, i := range todo {
			var gone *models.ElsewhereError
			var held *models.HeldError
			switch {
			case a.home != nil && errors.As(errs[i], &gone): // its Idempotency-Key is here
			case errors.As(errs[i], &gone) && time.Now().Before(deadline):
				a.root().Store.ForgetPlace(ins[i].TenantID)
				again, pause = append(again, i), pause || hops > 0 // the directory follows within a moment
			case models.IsKind(errs[i], models.KindNotFound) && hops == 0 && a.moved(ctx, ins[i].TenantID):
				a.root().Store.ForgetPlace(ins[i].TenantID)
				again = append(again, i)
			case errors.As(errs[i], &held) && time.Now().Before(deadline):
				again, pause = append(again, i), true
			}
		}
		if todo = again; len(todo) == 0 {
			break
		}
		hops++
		if pause {
			select {
			case <-ctx.Done():
				return res, errs
			case <-time.After(heldLook):
			}
		}
	}
	return res, errs
}

// moved reports whether a tenant is elsewhere than where it was believed to be.
func (a *API) moved(ctx context.Context, tenantID string) bool {
	home := a.root()
	before, err := home.Store.Place(ctx, tenantID)
	if err != nil {
		return false
	}
	now, _, exists, err := home.Store.PlaceNow(ctx, tenantID)
	return err == nil && exists && now != before
}

// acceptWhere makes one try for some of the events, by cell and all cells at once.
func (a *API) acceptWhere(ctx context.Context, ins []*models.PublishInput, todo []int, res []models.PublishResult, errs []error) {
	by, order := map[*API][]int{}, []*API{}
	for _, i := range todo {
		x := a
		if a.home == nil {
			if x, errs[i] = a.Of(ctx, ins[i].TenantID); errs[i] != nil {
				continue
			}
		}
		if by[x] == nil {
			order = append(order, x)
		}
		by[x] = append(by[x], i)
	}
	accept := func(x *API) {
		part := make([]*models.PublishInput, len(by[x]))
		for k, i := range by[x] {
			part[k] = ins[i]
		}
		r, e := x.Accepter.PublishAll(ctx, part)
		for k, i := range by[x] {
			res[i], errs[i] = r[k], x.named(e[k])
		}
	}
	if len(order) == 1 {
		accept(order[0])
		return
	}
	var wg sync.WaitGroup
	for _, x := range order {
		wg.Go(func() { accept(x) })
	}
	wg.Wait()
}

// everywhere is how long cells may take that are asked at once for a list over all tenants. What is there by then is shown.
const everywhere = 2 * time.Second

// MissingCellsHeader names the cells that a list over all tenants lacks.
const MissingCellsHeader = "Waybill-Missing-Cells"

// eachCell does something in several cells at once, within a bound, and returns the names of those that did not answer. An error of
// another kind ends it all.
func (a *API) eachCell(ctx context.Context, names []string, do func(ctx context.Context, i int,
	x *API) error) (missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, everywhere)
	defer cancel()
	var mu sync.Mutex
	g := errgroup.Group{}
	for i, name := range names {
		g.Go(func() error {
			x, err := a.In(name)
			if err == nil {
				err = do(ctx, i, x)
			}
			if err == nil || !models.IsUnavailable(err) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, name)
			return nil
		})
	}
	err = g.Wait()
	slices.Sort(missing)
	if err == nil && len(missing) == len(names) {
		err = cellAway(strings.Join(missing, ", "), nil)
	}
	return missing, err
}

// allCells are the names of home and of all cells.
func (a *API) allCells() []string {
	names := []string{models.HomeCell}
	for _, c := range a.Cells() {
		names = append(names, c.Name)
	}
	return names
}
