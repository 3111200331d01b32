package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// find leads from a name or an ID to a page. An ID leads there at once; with panel=1 the answer is only what was found, for
// the dialog of Ctrl K.
func (a *Pages) find(ctx context.Context, p *pageCtx) error {
	text := strings.TrimSpace(p.Query("q"))
	v := views.Find{Page: p.frame("Find", ""), Query: text}
	panel := p.Query("panel") != ""
	to, err := a.pageOfID(ctx, p, text)
	if err != nil {
		return err
	}
	if to != "" && !panel {
		return p.Redirect(to, http.StatusSeeOther)
	}
	if to != "" {
		v.Groups = append(v.Groups, views.HitGroup{Title: "ID", Hits: []views.Hit{{Label: text, Icon: "arrow-right", URL: to, Mono: true}}})
	}
	group := views.HitGroup{Title: "Pages"}
	for _, h := range v.Pages() {
		if text == "" || strings.Contains(strings.ToLower(h.Label), strings.ToLower(text)) {
			group.Hits = append(group.Hits, h)
		}
	}
	if len(group.Hits) > 0 {
		v.Groups = append(v.Groups, group)
	}
	if text != "" && p.tenant != nil {
		v.Groups = append(v.Groups, views.HitGroup{Title: "Events", Hits: []views.Hit{{Label: "Search events for “" + text + "”",
			Icon: "search", URL: views.EventsURL(p.tenant.ID) + "?" + url.Values{"q": {text}}.Encode()}}})
	}
	if panel {
		return p.render(ctx, http.StatusOK, views.FindHits(v))
	}
	return p.render(ctx, http.StatusOK, views.FindPage(v))
}

// pageOfID is the page of what has this ID in the tenant; empty when nothing has it.
func (a *Pages) pageOfID(ctx context.Context, p *pageCtx, id string) (string, error) {
	if id == "" || p.tenant == nil {
		return "", nil
	}
	tenant, scope := p.tenant.ID, p.call.Scope()
	for _, look := range []func() (string, error){
		pageOf(func() (*models.Event, error) { return a.Store.Event(ctx, scope, id) },
			func(e *models.Event) string { return views.EventURL(tenant, e.ID) }),
		pageOf(func() (*models.Destination, error) { return a.Store.Destination(ctx, scope, tenant, id) },
			func(d *models.Destination) string { return views.DestinationURL(tenant, d.ID) }),
		pageOf(func() (*models.Attempt, error) { return a.Store.Attempt(ctx, scope, id) },
			func(at *models.Attempt) string { return views.AttemptURL(tenant, at.ID()) }),
		pageOf(func() (*models.Delivery, error) { return a.Store.Delivery(ctx, scope, id) },
			func(d *models.Delivery) string { return views.EventURL(tenant, d.PublicEventID) }),
		pageOf(func() (*models.BulkRetry, error) { return a.Store.BulkRetry(ctx, scope, id) },
			func(b *models.BulkRetry) string { return views.RetryURL(tenant, b.ID()) }),
	} {
		to, err := look()
		if err == nil {
			return to, nil
		}
		if !models.IsKind(err, models.KindNotFound) {
			return "", err
		}
	}
	return "", nil
}

// pageOf reads something and says where its page is.
func pageOf[T any](read func() (T, error), page func(T) string) func() (string, error) {
	return func() (string, error) {
		found, err := read()
		if err != nil {
			return "", err
		}
		return page(found), nil
	}
}

// helpPage lists the keys, and where to read on.
func (a *Pages) helpPage(ctx context.Context, p *pageCtx) error {
	return p.render(ctx, http.StatusOK, views.HelpPage(views.Help{Page: p.frame("Help", "")}))
}
