package app

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
func (a *App) find(ctx context.Context, p *pageCtx) error {
	text := strings.TrimSpace(p.Query("q"))
	tenant, scope := p.tenant.ID, p.call.Scope()
	for _, look := range []func() (string, error){
		func() (string, error) {
			e, err := a.store.Event(ctx, scope, text)
			if err != nil {
				return "", err
			}
			return views.EventURL(tenant, e.ID), nil
		},
		func() (string, error) {
			d, err := a.store.Destination(ctx, scope, tenant, text)
			if err != nil {
				return "", err
			}
			return views.DestinationURL(tenant, d.ID), nil
		},
		func() (string, error) {
			at, err := a.store.Attempt(ctx, scope, text)
			if err != nil {
				return "", err
			}
			return views.AttemptURL(tenant, at.ID()), nil
		},
		func() (string, error) {
			d, err := a.store.Delivery(ctx, scope, text)
			if err != nil {
				return "", err
			}
			return views.EventURL(tenant, d.PublicEventID), nil
		},
		func() (string, error) {
			b, err := a.store.BulkRetry(ctx, scope, text)
			if err != nil {
				return "", err
			}
			return views.RetryURL(tenant, b.ID()), nil
		},
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
