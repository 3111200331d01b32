package pages

import (
	"context"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
)

// Where tenants are in several databases (models/cell.go), a page of a tenant is answered with the API of its cell. Pages about people,
// keys and the server are home's.

// face is the dashboard over the API of a cell.
func (a *Pages) face(x *api.API) *Pages {
	if x == a.API {
		return a
	}
	if f, ok := a.faces.Load(x); ok {
		return f.(*Pages)
	}
	f := &Pages{API: x, provider: a.provider, faces: a.faces}
	for _, r := range f.PageRoutes() {
		f.handlers = append(f.handlers, r.handler)
	}
	a.faces.Store(x, f)
	for _, c := range a.Cells() { // those that were opened anew meanwhile are forgotten
		if c.Open() == x {
			return f
		}
	}
	a.faces.Delete(x)
	return f
}

// homePages are pages of a tenant that home answers, where its people and keys are.
var homePages = []string{"/t/:tenant/members", "/t/:tenant/invitations", "/t/:tenant/api-keys", "/t/:tenant/topics"}

// wholePages are pages over all tenants that are put together from all cells.
var wholePages = []string{"/tenants", "/events", "/audit", "/audit/export", "/alerts", "/alerts/channels",
	"/alerts/notifications"}

// onePages are pages over all tenants that are not.
var onePages = []string{"/server/usage", "/server/usage/export", "/find", "/find/names", "/events/counts", "/events/live", "/events/new",
	"/events/export"}

func isOf(path string, list []string, below bool) bool {
	for _, p := range list {
		if path == p || below && strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// placed answers a page in the database where it belongs. While there is only one, that is this one.
func (a *Pages) placed(ctx context.Context, p *pageCtx, i int, r pageRoute) error {
	if a.Cells() == nil || p.tenant != nil && isOf(r.Path, homePages, true) {
		return a.answer(ctx, p, r)
	}
	in := func(ctx context.Context, x *api.API) error {
		f := a.face(x)
		if f == a {
			return a.answer(ctx, p, r)
		}
		p.app = f
		there := r
		there.handler = f.handlers[i]
		return x.WhileAnswering(ctx, p.Ctx, func(ctx context.Context) error { return f.answer(ctx, p, there) })
	}
	switch {
	case p.tenant != nil:
		id := p.tenant.ID
		cell, err := a.Store.Place(ctx, id)
		if err != nil {
			return err
		}
		return a.Following(p.Ctx, cell, func(x *api.API) (err error) {
			p.app, p.tenant = a, nil
			if p.tenant, err = x.Store.Tenant(ctx, p.who.Scope, id); err != nil {
				return err
			}
			if x != a.API && (r.Path == "/t/:tenant/audit" || r.Path == "/t/:tenant/audit/export") {
				p.call.SpreadTenant(x)
				return a.answer(ctx, p, r)
			}
			ctx := ctx
			if !reads(p.Ctx) {
				ctx = x.Store.Guard(ctx, id)
			}
			err = in(ctx, x)
			if x != a.API && r.Path == "/t/:tenant/audit/:entry" && models.IsKind(err, models.KindNotFound) {
				p.app = a
				return a.answer(ctx, p, r)
			}
			return err
		})
	case isOf(r.Path, onePages, false):
		return api.Unplaced()
	case isOf(r.Path, wholePages, false) && reads(p.Ctx):
		x, err := a.Spread(ctx, p.Ctx, p.call)
		if err != nil {
			return err
		}
		return in(ctx, x)
	case r.Path == "/audit/:entry":
		return a.Searched(func(x *api.API) error { return in(ctx, x) })
	case isOf(r.Path, []string{"/alerts/:alert"}, true):
		return a.where(ctx, p, in, func(s *models.Store) error {
			_, err := s.Alert(ctx, models.AllTenants(), "", p.Params("alert"))
			return err
		})
	case isOf(r.Path, []string{"/alerts/notifications/:notification"}, true):
		return a.where(ctx, p, in, func(s *models.Store) error {
			_, err := s.Notification(ctx, models.AllTenants(), "", p.Params("notification"))
			return err
		})
	}
	return a.answer(ctx, p, r)
}

// where answers a page with the database that has what it is about.
func (a *Pages) where(ctx context.Context, p *pageCtx, in func(context.Context, *api.API) error, has func(*models.Store) error) error {
	var there *api.API
	err := a.Searched(func(x *api.API) error {
		there = x
		return has(x.Store)
	})
	if err != nil {
		return err
	}
	return in(ctx, there)
}

// eachOf does something with some events in the databases where their tenants are.
func (a *Pages) eachOf(ctx context.Context, events []*models.Event, do func(x *api.API, part []*models.Event) error) error {
	parts := map[*api.API][]*models.Event{}
	for _, e := range events {
		x, err := a.Of(ctx, e.TenantID)
		if err != nil {
			return err
		}
		parts[x] = append(parts[x], e)
	}
	for x, part := range parts {
		if err := do(x, part); err != nil {
			return err
		}
	}
	return nil
}
