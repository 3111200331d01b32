package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// whereabouts is how the cell of a request is found.
type whereabouts int

const (
	whereTenant  whereabouts = iota // by the tenant that it names, or by cell
	whereHome                       // in home: it concerns no tenant's data
	wherePublish                    // by each event
	whereObject                     // by the tenant that it names, else where the object is found
	whereMerged                     // in all cells at once, the answer being put together
	whereAudit                      // so, and of a tenant in home too, where its people and keys are
	whereAsked                      // by the tenant that it names, else in home
)

// homeRoutes are what begins the addresses of what home alone has.
var homeRoutes = []string{"/account", "/users", "/invitations", "/api-keys", "/topics", "/views", "/settings", "/server", "/cells", "/moves",
	"/destination-types", "/channel-types", "/filters/convert", "/healthz", "/openapi.json", "/alert-rules", "/channels",
	"/tenants/:tenant/token", "/tenants/:tenant/portal", "/tenants/:tenant/portal-links", "/tenants/:tenant/members"}

// whereOf is how the cell of a route's requests is found.
func whereOf(r route) whereabouts {
	for _, p := range homeRoutes {
		if r.Path == p || strings.HasPrefix(r.Path, p+"/") {
			return whereHome
		}
	}
	switch key := r.Method + " " + r.Path; key {
	case "PUT /tenants/:tenant", "DELETE /tenants/:tenant": // both databases have a part in it
		return whereHome
	case "POST /publish", "POST /publish/batch":
		return wherePublish
	case "GET /tenants", "GET /events", "GET /deliveries", "GET /attempts", "GET /alerts", "GET /notifications":
		return whereMerged
	case "GET /audit", "GET /audit/:entry", "GET /audit/export":
		return whereAudit
	case "POST /filters/test", "POST /transforms/test":
		return whereAsked
	case "POST /retry":
		return whereObject
	}
	if strings.HasPrefix(r.Path, "/alerts/") || strings.HasPrefix(r.Path, "/notifications/") {
		return whereObject
	}
	for _, name := range []string{":event", ":delivery", ":retry", ":erasure", ":attempt"} {
		if strings.Contains(r.Path, name) {
			return whereObject
		}
	}
	return whereTenant
}

// Placed is the handler of a route, the i-th of APIRoutes, that has its requests answered in the cell where they belong.
func (a *API) Placed(i int, r route) fiber.Handler {
	own, where := a.Once(r), whereOf(r)
	if where == whereHome {
		return own
	}
	return func(c *fiber.Ctx) error {
		if a.Cells() == nil {
			return own(c)
		}
		return a.dispatch(c, i, r, where, own)
	}
}

// dispatched is where a request belongs.
type dispatched struct {
	tenant string   // the only one that it is about; empty for none, or several
	cells  []string // in which it is answered
}

func (a *API) dispatch(c *fiber.Ctx, i int, r route, where whereabouts, own fiber.Handler) error {
	keyed := r.Method == http.MethodPost && len(c.Request().Header.Peek("Idempotency-Key")) > 0
	if where == wherePublish && !keyed {
		return own(c) // the event is read once, and accepted where it belongs
	}
	ctx, cancel := CallContext()
	defer cancel()
	var call *Call
	var d dispatched
	err := a.WhileAnswering(ctx, c, func(ctx context.Context) (err error) {
		if call, err = a.APICall(ctx, c, r.Perm); err != nil {
			return err
		}
		c.Locals(callLocal, call)
		d, err = a.placeOf(ctx, c, call, r, where)
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case len(d.cells) == 1:
		return a.runIn(c, d.cells[0], d.tenant, i, own)
	case where == whereAsked:
		return own(c)
	case where == whereMerged, where == whereAudit && !strings.Contains(r.Path, ":entry"):
		call.cells = d.cells
		return own(c)
	case (where == whereObject || where == whereAudit) && !keyed:
		return a.search(c, d.cells, i, own)
	}
	return a.unplaced(keyed)
}

// unplaced is the error of a request that could be for any cell, and whose answer is not put together of them all.
func (a *API) unplaced(keyed bool) error {
	what := "this is not put together from all of them"
	if keyed {
		what = "an Idempotency-Key holds in one of them"
	}
	return &models.Error{Kind: models.KindInvalid, Message: fmt.Sprintf("The tenants are in several databases, and %s: "+
		"name tenant_id, or one of them in the query (cell=%s).", what, strings.Join(a.allCells(), ", cell=")),
		Fields: map[string]string{"tenant_id": "is required, or cell in the query"}}
}

// placeOf finds out where a request belongs. The parameter cell is for nobody behind it.
func (a *API) placeOf(ctx context.Context, c *fiber.Ctx, call *Call, r route, where whereabouts) (d dispatched, err error) {
	args := c.Context().QueryArgs()
	if cell := string(args.Peek("cell")); args.Has("cell") {
		args.Del("cell")
		if cell != models.HomeCell && !slices.ContainsFunc(a.Cells(), func(x *Cell) bool { return x.Name == cell }) {
			return d, models.Invalid("cell", "must be one of "+strings.Join(a.allCells(), ", "))
		}
		d.cells = []string{cell}
	}
	ids := tenantsOf(c, r)
	if t := call.Actor.TenantID; t != "" {
		ids = []string{t} // whatever else it asks for, it sees nothing else
	}
	named := len(d.cells) > 0
	for _, id := range ids {
		cell, err := a.Store.Place(ctx, id)
		if err != nil {
			return d, err
		}
		cell = models.NameOfCell(cell)
		if named && !slices.Contains(d.cells, cell) {
			return d, models.Invalid("cell", fmt.Sprintf("must be %s, where the tenant %s is, or be left out", cell, id))
		}
		if !slices.Contains(d.cells, cell) {
			d.cells = append(d.cells, cell)
		}
	}
	switch {
	case len(ids) == 1:
		d.tenant = ids[0]
	case len(ids) == 0 && !named && where == wherePublish: // it has none, and is refused
		d.cells = []string{models.HomeCell}
	case len(ids) == 0 && !named:
		d.cells = a.allCells()
	}
	if where == whereAudit && !named && !slices.Contains(d.cells, models.HomeCell) {
		d.cells, d.tenant = append(d.cells, models.HomeCell), ""
	}
	return d, nil
}

// tenantsOf are the tenants that a request names: in its path, its query or its body.
func tenantsOf(c *fiber.Ctx, r route) (ids []string) {
	if strings.HasPrefix(r.Path, "/tenants/:tenant") {
		return []string{PathParam(c, "tenant")}
	}
	add := func(id string) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for k, v := range c.Context().QueryArgs().All() {
		if name, _, _ := strings.Cut(string(k), "["); name == "tenant_id" || r.Path == "/tenants" && name == "id" {
			add(string(v))
		}
	}
	if c.Method() == http.MethodGet || c.Method() == http.MethodHead {
		return ids
	}
	type names struct {
		TenantID string `json:"tenant_id"`
	}
	var one names
	if r.Path != "/publish/batch" {
		_ = json.Unmarshal(c.Body(), &one) // what cannot be read is refused by who reads it all
		add(one.TenantID)
		return ids
	}
	raws, _ := splitBatch(c.Body())
	for _, raw := range raws {
		one = names{}
		_ = json.Unmarshal(raw, &one)
		add(one.TenantID)
	}
	return ids
}

// guardLocal is where a request keeps the tenant that it changes something of, for Store.Guard.
const guardLocal = "guarded tenant"

// runIn answers a request in a cell. When the tenant has gone elsewhere meanwhile it is answered there, and while it goes it waits.
func (a *API) runIn(c *fiber.Ctx, cell, tenant string, i int, own fiber.Handler) error {
	if tenant != "" && !safe(c) {
		c.Locals(guardLocal, tenant)
	}
	return a.Following(c, cell, func(x *API) error {
		if x == a {
			return own(c)
		}
		return x.handlers[i](c)
	})
}

// Following does something in a cell, and in that to which the tenant has gone when it is there no more.
func (a *API) Following(c *fiber.Ctx, cell string, run func(x *API) error) error {
	deadline := time.Now().Add(heldFor)
	for hops := 0; ; {
		x, err := a.In(cell)
		if err == nil {
			err = x.named(run(x))
		}
		var gone *models.ElsewhereError
		var held *models.HeldError
		switch {
		case errors.As(err, &gone) && hops < maxHops:
			hops++
			a.Store.ForgetPlace(gone.TenantID)
			cell = gone.Cell
		case errors.As(err, &held) && time.Now().Before(deadline):
			<-time.After(heldLook)
		default:
			return err
		}
		c.Response().ResetBody()
	}
}

// search asks the cells one after the other for what a request names, home first, and answers from the first that has it.
func (a *API) search(c *fiber.Ctx, cells []string, i int, own fiber.Handler) error {
	return firstThatHas(cells, func(cell string) error { return a.runIn(c, cell, "", i, own) })
}

// Searched asks home and the cells, one after the other, until one has what is looked for.
func (a *API) Searched(find func(x *API) error) error {
	return firstThatHas(a.allCells(), func(cell string) error {
		x, err := a.In(cell)
		if err != nil {
			return err
		}
		return x.named(find(x))
	})
}

// firstThatHas looks for something in the cells, one after the other, until one has it.
func firstThatHas(cells []string, find func(cell string) error) error {
	var missing []string
	var last error
	for _, cell := range cells {
		err := find(cell)
		switch {
		case models.IsKind(err, models.KindNotFound):
			last = err
		case err != nil && models.IsUnavailable(err):
			missing, last = append(missing, cell), err
		default:
			return err
		}
	}
	if len(missing) > 0 {
		return &models.Error{Kind: models.KindUnavailable, RetryAfter: 2 * time.Second, Err: last,
			Message: "It was not found where it could be looked for, and these databases do not answer: " + strings.Join(missing, ", ") +
				". Try again."}
	}
	return last
}

// Spread finds out in which cells a page over tenants is read: those of the tenants that its query names, or all. Of one, its API is to
// be used; of several the call reads its list in all of them.
func (a *API) Spread(ctx context.Context, c *fiber.Ctx, call *Call) (x *API, err error) {
	var names []string
	for _, id := range tenantsOf(c, route{}) {
		cell, err := a.Store.Place(ctx, id)
		if err != nil {
			return nil, err
		}
		if cell = models.NameOfCell(cell); !slices.Contains(names, cell) {
			names = append(names, cell)
		}
	}
	switch len(names) {
	case 0:
		call.cells = a.allCells()
	case 1:
		return a.In(names[0])
	default:
		call.cells = names
	}
	return a, nil
}

// SpreadTenant has the call read a list in the cell of a tenant and in home, where its people and keys are.
func (c *Call) SpreadTenant(x *API) { c.cells = []string{x.Store.CellName(), models.HomeCell} }

// IsSpread reports whether the call reads its list in several cells.
func (c *Call) IsSpread() bool { return c.cells != nil }

// Unplaced is the error of a page over all tenants that is not put together from several databases.
func Unplaced() error {
	return &models.Error{Kind: models.KindInvalid,
		Message: "The tenants are in several databases, and this is not put together from all of them. Open it in a tenant."}
}
