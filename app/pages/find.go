package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// find leads from an id to the page of what it is the id of, in the tenant. Anything else is searched for in the payloads
// of events.
func (a *Pages) find(ctx context.Context, p *pageCtx) error {
	text := strings.TrimSpace(p.Query("q"))
	tenant, scope := p.tenant.ID, p.call.Scope()
	for _, look := range []func() (string, error){
		pageOf(func() (*models.Event, error) { return a.Store.Event(ctx, scope, text) },
			func(e *models.Event) string { return views.EventURL(tenant, e.ID) }),
		pageOf(func() (*models.Destination, error) { return a.Store.Destination(ctx, scope, tenant, text) },
			func(d *models.Destination) string { return views.DestinationURL(tenant, d.ID) }),
		pageOf(func() (*models.Attempt, error) { return a.Store.Attempt(ctx, scope, text) },
			func(at *models.Attempt) string { return views.AttemptURL(tenant, at.ID()) }),
		pageOf(func() (*models.Delivery, error) { return a.Store.Delivery(ctx, scope, text) },
			func(d *models.Delivery) string { return views.EventURL(tenant, d.PublicEventID) }),
		pageOf(func() (*models.BulkRetry, error) { return a.Store.BulkRetry(ctx, scope, text) },
			func(b *models.BulkRetry) string { return views.RetryURL(tenant, b.ID()) }),
	} {
		if text == "" {
			break
		}
		to, err := look()
		if err == nil {
			return p.Redirect(to, http.StatusSeeOther)
		}
		if !models.IsKind(err, models.KindNotFound) {
			return err
		}
	}
	to := views.EventsURL(tenant)
	if text != "" {
		to += "?" + url.Values{"q": {text}}.Encode()
	}
	return p.Redirect(to, http.StatusSeeOther)
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
