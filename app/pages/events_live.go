package pages

import (
	"context"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
)

// What comes while a list of events is shown, for the page's script: to somebody who has logged in, by their session, in the
// words of the API. The addresses take the parameters of the page.

// listQuery is what the API is asked for what a page's address asks, within the page's tenant if it has one.
func (p *pageCtx) listQuery() url.Values {
	q, _ := rangeStart(p.query(), time.Now())
	if id := p.tenantID(); id != "" {
		q.Set("tenant_id", id)
	}
	return q
}

func (a *Pages) liveEvents(ctx context.Context, p *pageCtx) error {
	var req api.StreamEventsRequest
	if err := bindQuery(p.listQuery(), &req); err != nil {
		return err
	}
	token := p.Cookies(SessionCookie)
	return a.SendTail(models.OnPrimary(ctx), p.Ctx, p.call, &req, func() bool { return a.mayStillLook(token, p.tenant) })
}

// mayStillLook tells whether a session goes on, and sees a tenant, which is nil for all; also while the database does not say.
func (a *Pages) mayStillLook(token string, t *models.Tenant) bool {
	return a.mayStill(token, t, models.MayRead)
}

func (a *Pages) mayStill(token string, t *models.Tenant, perm models.Permission) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	actor, err := a.Store.Session(ctx, token)
	if actor != nil && t != nil {
		actor = actor.In(t)
	}
	return err == nil && actor != nil && actor.Can(perm) || models.IsUnavailable(err)
}

func (a *Pages) newEvents(ctx context.Context, p *pageCtx) error {
	var req api.NewEventsRequest
	if err := bindQuery(p.listQuery(), &req); err != nil {
		return err
	}
	return p.answer(a.NewEvents(ctx, p.call, &req))
}

// answer sends a reply of the API to the page's script.
func (p *pageCtx) answer(r *api.Reply, err error) error {
	if err != nil {
		return err
	}
	if r.Latest {
		p.app.Mark(p.Ctx)
	}
	p.Set("Cache-Control", "no-store")
	return p.JSON(r.Body)
}
