package pages

import (
	"context"
	"net/http"
	"net/url"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// comparePage shows two attempts beside each other, the query's a and b; with all, also where any two differ.
func (a *Pages) comparePage(ctx context.Context, p *pageCtx) error {
	v := views.Comparison{All: p.Query("all") != ""}
	var first *models.Event
	for _, side := range []struct {
		name string
		to   *views.ComparedAttempt
	}{{"a", &v.A}, {"b", &v.B}} {
		id := p.Query(side.name)
		if id == "" {
			return models.Invalid(side.name, "is required: the id of an attempt. Choose two on an event's page.")
		}
		at, err := a.Store.Attempt(ctx, p.call.Scope(), id)
		if err != nil {
			return err
		}
		event, err := a.Store.EventOf(ctx, p.call.Scope(), at)
		if err != nil {
			return err
		}
		if first == nil {
			first = event
		}
		side.to.Attempt = at
		if side.to.Sent, _, err = a.Store.SentBody(ctx, at, event); err != nil {
			return err
		}
	}
	names, err := a.destinationNames(ctx, p)
	if err != nil {
		return err
	}
	v.A.Destination, v.B.Destination = names(v.A.Attempt), names(v.B.Attempt)
	attempts, err := a.Store.EventAttempts(ctx, p.call.Scope(), first.Key)
	if err != nil {
		return err
	}
	if v.A.EventKey != v.B.EventKey {
		attempts = append(attempts, v.B.Attempt)
	}
	v.Choices = views.AttemptOptions(attempts, names)
	v.Page = p.frame("Compare attempts", views.SectionEvents)
	v.Context = first.ID
	v.Crumbs = []views.Crumb{{Label: "Events", URL: views.EventsURL(p.tenant.ID)},
		{Label: first.ID, URL: views.EventURL(p.tenant.ID, first.ID)}}
	v.API = apiCallOf("GET", "", "/attempts/", url.PathEscape(v.A.ID()), "?include=event&include=response_data")
	return p.render(ctx, http.StatusOK, views.ComparePage(v))
}

// destinationNames names the destinations of attempts; those that are deleted by their ids.
func (a *Pages) destinationNames(ctx context.Context, p *pageCtx) (func(*models.Attempt) string, error) {
	list, err := a.destinationOptions(ctx, p)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, o := range list {
		names[o.Value] = o.Label
	}
	return func(at *models.Attempt) string {
		if name := names[at.DestinationID]; name != "" {
			return name
		}
		return at.DestinationID
	}, nil
}
