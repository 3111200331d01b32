package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) destinationsPage(ctx context.Context, p *pageCtx) error {
	v := views.Destinations{Page: p.frame("Destinations", views.SectionDestinations), Query: p.query(), Types: adapters.All(), Any: true,
		Echo: adapters.Lookup("echo") != nil}
	v.API = apiCallOf("GET", "", "/tenants/", url.PathEscape(p.tenant.ID), "/destinations", queryOf[api.ListDestinationsRequest](v.Query))
	var req api.ListDestinationsRequest
	err := bindQuery(v.Query, &req)
	if err == nil {
		req.Text = strings.TrimSpace(req.Text)
		v.List, err = a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, req.DestinationQuery)
	}
	if err == nil && len(v.List) == 0 {
		all, aerr := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
		if aerr != nil {
			return aerr
		}
		v.Any = len(all) > 0
	}
	sortDestinations(v.List, v.Query.Get("sort"))
	v.Total = len(v.List)
	var stale bool
	if v.List, v.First, stale = destinationsPart(v.List, v.Query.Get("next"), v.Query.Get("prev")); stale {
		v.Notice = FirstPageNote
	}
	if err == nil {
		if v.Day, err = a.Store.RatesOfEach(ctx, v.List, time.Now().Add(-24*time.Hour)); err != nil {
			return err
		}
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.DestinationsPage(v)) })
}

// destinationsPart is a page of a list: the destinations after the one with the id next, or before that of prev. first is how many
// there are before the page; stale says that the id is not in the list any more.
func destinationsPart(list []*models.Destination, next, prev string) (part []*models.Destination, first int, stale bool) {
	if cursor := cmp.Or(next, prev); cursor != "" {
		at := slices.IndexFunc(list, func(d *models.Destination) bool { return d.ID == cursor })
		switch {
		case at < 0:
			stale = true
		case next != "":
			first = at + 1
		default:
			first = max(0, at-pageSize)
		}
	}
	return list[first:min(len(list), first+pageSize)], first, stale
}

// sortDestinations orders a list by name, state (the disabled ones, then those that fail, the most in a row first), success
// (the time of the last one) or created, with a minus in front the other way round. As they come, they are in the order of
// their creation.
func sortDestinations(list []*models.Destination, by string) {
	key, down := strings.CutPrefix(by, "-")
	less := map[string]func(a, b *models.Destination) int{
		"name": func(a, b *models.Destination) int {
			return cmp.Compare(strings.ToLower(a.Title()), strings.ToLower(b.Title()))
		},
		"state": func(a, b *models.Destination) int {
			if off := a.DisabledAt != nil; off != (b.DisabledAt != nil) {
				if off {
					return -1
				}
				return 1
			}
			return b.Health.Failures - a.Health.Failures
		},
		"success": func(a, b *models.Destination) int { return lastSuccess(a).Compare(lastSuccess(b)) },
	}[key]
	if less != nil {
		slices.SortStableFunc(list, less)
	}
	if down {
		slices.Reverse(list)
	}
}

func lastSuccess(d *models.Destination) time.Time {
	if d.Health.LastSuccess == nil {
		return time.Time{}
	}
	return *d.Health.LastSuccess
}

// destination reads the destination that the page is about.
func (p *pageCtx) destination(ctx context.Context) (*models.Destination, error) {
	return p.app.Store.Destination(ctx, p.call.Scope(), p.tenant.ID, p.Params("destination"))
}

// destinationFrame is the frame of a page about a destination. The first of its pages has its name as the title.
func (p *pageCtx) destinationFrame(d *models.Destination, title string) views.Page {
	crumbs := []views.Crumb{{Label: "Destinations", URL: views.DestinationsURL(p.tenant.ID)}}
	if title == "" {
		f := p.frame(d.Title(), views.SectionDestinations)
		f.Crumbs = crumbs
		return f
	}
	f := p.frame(title, views.SectionDestinations)
	f.Context = d.Title()
	f.Crumbs = append(crumbs, views.Crumb{Label: d.Title(), URL: views.DestinationURL(p.tenant.ID, d.ID)})
	return f
}

// destinationTail is a path of the API below a destination.
func destinationTail(d *models.Destination, tail ...string) string {
	return "/tenants/" + url.PathEscape(d.TenantID) + "/destinations/" + url.PathEscape(d.ID) + strings.Join(tail, "")
}

func (a *Pages) destinationPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	rules := a.Store.RulesOf(p.tenant)
	v := views.Destination{Page: p.destinationFrame(d, ""), Destination: d, Policy: rules.Retry, Timeout: rules.Timeout,
		MaxInFlight: rules.InFlight(d)}
	v.API = apiCallOf("GET", "", destinationTail(d))
	if d.Retry != nil {
		v.Policy = d.Retry.Or(rules.Retry)
	}
	if d.Timeout != nil {
		v.Timeout = time.Duration(*d.Timeout)
	}
	if v.Limits, err = a.Store.LimitsOf(ctx, d); err != nil {
		return err
	}
	if v.Held, v.HeldMore, err = a.held(ctx, d); err != nil {
		return err
	}
	if v.Health, err = a.healthView(ctx, p, d); err != nil {
		return err
	}
	recent, err := a.Store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Destinations: []string{d.ID},
		Page: models.PageQuery{Limit: 5}})
	if err != nil {
		return err
	}
	v.Recent = recent.Items
	name([]*models.Destination{d}, v.Recent)
	return p.render(ctx, http.StatusOK, views.DestinationPage(v))
}

// healthView is how a destination does, for its page.
func (a *Pages) healthView(ctx context.Context, p *pageCtx, d *models.Destination) (v views.Health, err error) {
	rules := a.Store.RulesOf(p.tenant)
	v = views.Health{Health: d.Health, Off: d.DisabledAt != nil, Limit: d.DisableLimit(rules.DisableAfter),
		Least: rules.DisableLeast, Now: time.Now()}
	day := v.Now.UTC().Truncate(time.Hour).Add(-23 * time.Hour)
	if v.Day, err = a.Store.RatesOf(ctx, d.Key, day); err != nil {
		return v, err
	}
	if v.History, err = a.Store.HealthHistory(ctx, day, time.Hour, d.Key); err != nil {
		return v, err
	}
	if v.Changes, err = a.Store.StateChanges(ctx, d, 20); err != nil {
		return v, err
	}
	waits, err := a.Store.Waits(ctx, []int64{d.Key})
	if err != nil {
		return v, err
	}
	v.Wait = waits[d.Key]
	open, err := a.Store.Alerts(ctx, p.call.Scope(), p.tenant.ID, models.AlertQuery{Statuses: []string{models.AlertOpen,
		models.AlertAcknowledged}, Destinations: []string{d.ID},
		Page: models.PageQuery{Limit: 20}})
	if err == nil {
		v.Alerts = open.Items
	}
	return v, err
}

// held counts the deliveries that wait for a destination; more says that it was not counted to the end.
func (a *Pages) held(ctx context.Context, d *models.Destination) (n int, more bool, err error) {
	return a.Store.Held(ctx, d.Key)
}

func (a *Pages) destinationDeliveriesPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v := views.DestinationDeliveries{Page: p.destinationFrame(d, "Deliveries"), Destination: d, Query: p.query()}
	q, since := rangeStart(v.Query, time.Now())
	v.Since = since
	q.Set("tenant_id", p.tenant.ID)
	q.Set("destination_id", d.ID)
	v.API = apiCallOf("GET", "", "/deliveries", queryOf[api.ListDeliveriesRequest](q))
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.FindDeliveries); stale {
		v.Flash = &views.Flash{Tone: views.ToneInfo, Text: FirstPageNote}
	}
	if err == nil {
		name([]*models.Destination{d}, v.List.Items)
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.DestinationDeliveriesPage(v)) })
}

// name gives deliveries their destinations. Those of deleted ones stay without.
func name(list []*models.Destination, deliveries []*models.Delivery) {
	byKey := map[int64]*models.Destination{}
	for _, d := range list {
		byKey[d.Key] = d
	}
	for _, d := range deliveries {
		d.Destination = byKey[d.DeliveryKey.Destination]
	}
}
