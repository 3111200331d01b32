package pages

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// countsTime is how long the views of a list may be counted for one page. What is not counted by then is left out.
const countsTime = 2 * time.Second

// countedJSON is how many events a view has, for the page's script.
type countedJSON struct {
	Count int  `json:"count"`
	Exact bool `json:"exact"`
}

// eventCounts counts the events of the views beside a list: of those by state with the list's other conditions, and of the saved
// ones with their own.
func (a *Pages) eventCounts(ctx context.Context, p *pageCtx) error {
	ctx, cancel := context.WithTimeout(ctx, countsTime)
	defer cancel()
	lists := map[string]url.Values{}
	for name, status := range map[string]string{"all": "", "failed": models.StatusFailed, "retrying": models.StatusRetrying,
		"held": models.StatusHeld, "filtered_out": models.StatusFilteredOut} {
		q := p.query()
		q.Del("status")
		if status != "" {
			q.Set("status", status)
		}
		lists[name] = q
	}
	saved, err := a.Store.SavedViews(ctx, p.call.Scope(), p.call.Actor.UserID, models.ViewEvents)
	if err != nil {
		return err
	}
	for _, v := range saved {
		if q, err := url.ParseQuery(v.Query); err == nil {
			lists[v.ID()] = q
		}
	}
	out := map[string]countedJSON{}
	for name, q := range lists {
		q, _ := rangeStart(q, time.Now())
		if p.tenant != nil {
			q.Set("tenant_id", p.tenant.ID)
		}
		var req api.ListEventsRequest
		if err := bindQuery(q, &req); err != nil {
			continue // the list says what is wrong
		}
		var n *models.EventCount
		scope, err := a.Store.Of(ctx, p.call.Scope(), req.Tenants...)
		if err == nil {
			n, err = a.Store.CountEvents(ctx, scope, req.EventQuery)
		}
		if ctx.Err() != nil {
			break
		}
		if err == nil && n != nil {
			out[name] = countedJSON{n.Events, n.Exact}
		}
	}
	return p.answer(&api.Reply{Body: out}, nil)
}

// saveView keeps the conditions of a list under a name.
func (a *Pages) saveView(ctx context.Context, p *pageCtx) error {
	form := p.form()
	name, query := strings.TrimSpace(form.Value("name")), form.Value("query")
	mine := form.Value("mine") == "true"
	to := views.EventsURL(p.tenantID())
	if query != "" {
		to += "?" + query
	}
	to = localPath(to)
	var req api.SaveViewRequest
	req.Body.Tenant, req.Body.Name, req.Body.Query, req.Body.Mine = p.tenantID(), &name, &query, &mine
	if _, err := a.SaveView(ctx, p.call, &req); err != nil {
		return p.failed(to, err)
	}
	return p.done(to, said("The view “"+name+"” is saved."))
}

func (a *Pages) deleteView(ctx context.Context, p *pageCtx) error {
	to := views.EventsURL(p.tenantID())
	if _, err := a.DeleteView(ctx, p.call, &api.OneViewRequest{View: p.Params("view")}); err != nil {
		return p.failed(to, err)
	}
	return p.done(to, said("The view is deleted. Its events stay."))
}

// cancelEvents calls off what waits of the events that were selected.
func (a *Pages) cancelEvents(ctx context.Context, p *pageCtx) error {
	back := views.EventsURL(p.tenantID())
	var req api.ManyDeliveriesRequest
	req.Body.Tenant, req.Body.Events = p.tenant.ID, p.form().Values["event_id"]
	if len(req.Body.Events) == 0 {
		return p.failed(back, &models.Error{Kind: models.KindInvalid, Message: "No event is selected."})
	}
	r, err := a.CancelDeliveries(ctx, p.call, &req)
	if err != nil {
		return p.failed(back, err)
	}
	text, tone := "Nothing of the selected events waits.", views.ToneInfo
	if many, ok := r.Body.(*api.ManyJSON); ok && many.Done > 0 {
		text, tone = fmt.Sprintf("Cancelled: %d.", many.Done), views.ToneOK
	}
	return p.done(back, &views.Flash{Tone: tone, Text: text})
}
