package pages

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// eventsPage lists the events of a tenant, or of all.
func (a *Pages) eventsPage(ctx context.Context, p *pageCtx) error {
	v := views.Events{Page: p.frame("Events", views.SectionEvents), Query: p.query(), Retention: a.Store.Rules().Retention, Any: true}
	q, since := rangeStart(v.Query, time.Now())
	v.Since = since
	if p.tenant != nil {
		q.Set("tenant_id", p.tenant.ID)
	}
	v.API = apiCallOf("GET", "", "/events", queryOf[api.ListEventsRequest](q))
	err := a.eventOptions(ctx, p, &v)
	if err != nil {
		return err
	}
	if v.Topics, err = a.Store.TopicNames(ctx); err != nil {
		return err
	}
	var stale bool
	if v.List, stale, err = paged(ctx, p, q, a.FindEvents); stale {
		v.Notice = FirstPageNote
	}
	v.Spread = p.call.IsSpread()
	if err == nil && len(v.List.Items) == 0 && !v.Spread {
		any, aerr := a.Store.Events(ctx, p.call.Scope(), models.EventQuery{Page: models.PageQuery{Limit: 1}})
		if aerr != nil {
			return aerr
		}
		v.Any = len(any.Items) > 0
	}
	if err == nil {
		if err = a.eachOf(ctx, v.List.Items, func(x *api.API, part []*models.Event) error {
			return x.Store.ExplainEvents(ctx, part)
		}); err != nil {
			return err
		}
		if v.Views, err = a.Store.SavedViews(ctx, p.call.Scope(), p.call.Actor.UserID, models.ViewEvents); err != nil {
			return err
		}
		if !v.Spread { // nobody counts over several databases
			v.Histogram = a.histogram(ctx, p, q)
		}
	}
	if id := p.Query("event"); id != "" && err == nil {
		inspect := func(x *api.API) (err error) {
			v.Beside, err = a.face(x).inspector(ctx, p, id, v.ListURL())
			return err
		}
		if v.Spread {
			err = a.Searched(inspect)
		} else {
			err = inspect(a.API)
		}
		if models.IsKind(err, models.KindNotFound) {
			err = nil // it is gone; the list is there
		}
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.EventsPage(v)) })
}

// eventOptions reads the names of what the list can be limited to: of a tenant's destinations, or of the tenants that are asked for.
func (a *Pages) eventOptions(ctx context.Context, p *pageCtx, v *views.Events) error {
	if p.tenant == nil {
		var req api.ListEventsRequest
		if err := bindQuery(v.Query, &req); err != nil || len(req.Tenants) == 0 {
			return nil //nolint:nilerr // the list says what is wrong
		}
		v.Query["tenant_id"] = req.Tenants
		if p.call.IsSpread() {
			for _, id := range req.Tenants {
				v.Tenants = append(v.Tenants, views.Option{Value: id, Label: id})
			}
			return nil
		}
		list, _, err := a.Store.Tenants(ctx, p.call.Scope(), models.TenantQuery{IDs: req.Tenants})
		if err != nil {
			return err
		}
		for i := range list.Items {
			v.Tenants = append(v.Tenants, views.Option{Value: list.Items[i].ID, Label: list.Items[i].Name()})
		}
		return nil
	}
	list, err := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
	for _, d := range list {
		v.Destinations = append(v.Destinations, views.Option{Value: d.ID, Label: d.Title()})
	}
	return err
}

// histogram counts the events of a list over time; nil where that is not to be had, or not in time.
func (a *Pages) histogram(ctx context.Context, p *pageCtx, q url.Values) *models.EventHistogram {
	var req api.ListEventsRequest
	if err := bindQuery(q, &req); err != nil {
		return nil
	}
	scope, err := a.Store.Of(ctx, p.call.Scope(), req.Tenants...)
	if err != nil {
		return nil
	}
	h, err := a.Store.EventHistogram(ctx, scope, req.EventQuery, time.Now())
	if err != nil {
		return nil // of a search, or more than can be counted
	}
	return h
}

// inspector reads an event for its place beside a list. The delivery and the attempt that are shown are those of the address,
// else the worst delivery and its last attempt.
func (a *Pages) inspector(ctx context.Context, p *pageCtx, id, list string) (*views.Inspector, error) {
	considered, err := a.Store.EventDeliveries(ctx, p.call.Scope(), id)
	if err != nil {
		return nil, err
	}
	v := &views.Inspector{Event: views.Event{Page: p.frame("Event", views.SectionEvents), Considered: *considered}, List: list}
	v.Tenant = considered.Event.TenantID // in the list of all tenants, the pages are those of the event's
	if v.Attempts, err = a.Store.EventAttempts(ctx, p.call.Scope(), considered.Event.Key); err != nil {
		return nil, err
	}
	v.Delivery = views.Worst(v.Deliveries)
	var chosen *models.Attempt
	for _, at := range v.Attempts {
		if at.ID() == p.Query("attempt") {
			chosen = at
		}
	}
	for _, d := range v.Deliveries {
		if d.ID() == p.Query("delivery") || chosen != nil && chosen.DeliveryKey == d.DeliveryKey {
			v.Delivery = d
		}
	}
	for _, at := range v.Attempts { // the last one comes first
		if chosen == nil && v.Delivery != nil && at.DeliveryKey == v.Delivery.DeliveryKey {
			chosen = at
		}
	}
	if chosen == nil {
		return v, nil
	}
	whole, err := a.Store.Attempt(ctx, p.call.Scope(), chosen.ID())
	if err != nil {
		return nil, err
	}
	v.Attempt = &views.Attempt{Page: v.Page, Attempt: whole, Event: considered.Event, Delivery: v.Delivery}
	v.Attempt.Sent, v.Attempt.Transformed, err = a.Store.SentBody(ctx, whole, considered.Event)
	return v, err
}

func (a *Pages) eventPage(ctx context.Context, p *pageCtx) error {
	considered, err := a.Store.EventDeliveries(ctx, p.call.Scope(), p.Params("event"))
	if err != nil {
		return err
	}
	e := considered.Event
	if p.Query("panel") != "" {
		v, err := a.inspector(ctx, p, e.ID, localPath(p.Query("list")))
		if err != nil {
			return err
		}
		return p.render(ctx, http.StatusOK, views.InspectorView(*v))
	}
	title := "Event"
	if e.Topic != "" {
		title = "Event " + e.Topic
	}
	v := views.Event{Page: p.frame(title, views.SectionEvents), Considered: *considered, Raw: p.Query("view") == "raw"}
	v.Context = e.ID
	v.Crumbs = []views.Crumb{{Label: "Events", URL: views.EventsURL(p.tenant.ID)}}
	v.API = apiCallOf("GET", "", eventTail(p, e.ID, "/deliveries"))
	v.Refresh = !considered.Event.Counts.Final()
	v.Publish = publishCall(p.tenant.ID, e.Topic, e.Data)
	if v.Attempts, err = a.Store.EventAttempts(ctx, p.call.Scope(), e.Key); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.EventPage(v))
}

// eventTail is the API's path of an event within the page's tenant.
func eventTail(p *pageCtx, id, tail string) string {
	return "/events/" + url.PathEscape(id) + tail + "?tenant_id=" + url.QueryEscape(p.tenant.ID)
}

func (a *Pages) attemptPage(ctx context.Context, p *pageCtx) error {
	at, err := a.Store.Attempt(ctx, p.call.Scope(), p.Params("attempt"))
	if err != nil {
		return err
	}
	v := views.Attempt{Attempt: at}
	if v.Event, err = a.Store.EventOf(ctx, p.call.Scope(), at); err != nil {
		return err
	}
	v.Destination, err = a.Store.Destination(ctx, p.call.Scope(), p.tenant.ID, at.DestinationID)
	if models.IsKind(err, models.KindNotFound) {
		v.Destination, err = nil, nil // deleted since
	}
	if err != nil {
		return err
	}
	if v.Delivery, err = a.Store.Delivery(ctx, p.call.Scope(), at.DeliveryID()); err != nil {
		return err
	}
	v.Delivery.Destination = v.Destination
	if v.Sent, v.Transformed, err = a.Store.SentBody(ctx, at, v.Event); err != nil {
		return err
	}
	if v.LogsURL, v.TracesURL, err = a.LinksOf(ctx, p.call.Actor, at); err != nil {
		return err
	}
	if at.Number > 1 {
		v.Before = at.AttemptID(at.Number - 1)
		v.Older = views.AttemptURL(p.tenant.ID, v.Before)
	}
	if at.Number < v.Delivery.Attempts {
		v.Newer = views.AttemptURL(p.tenant.ID, at.AttemptID(at.Number+1))
	}
	v.Page = p.frame(attemptTitle(at), views.SectionEvents)
	v.Context = at.PublicEventID
	v.Crumbs = []views.Crumb{{Label: "Events", URL: views.EventsURL(p.tenant.ID)},
		{Label: at.PublicEventID, URL: views.EventURL(p.tenant.ID, at.PublicEventID)}}
	v.API = apiCallOf("GET", "", "/attempts/", url.PathEscape(at.ID()), "?include=event&include=response_data")
	return p.render(ctx, http.StatusOK, views.AttemptPage(v))
}

func attemptTitle(at *models.Attempt) string {
	if at.Trigger == models.TriggerTest {
		return "Test"
	}
	return "Attempt " + strconv.Itoa(at.Number)
}

// retryDelivery queues one attempt now. Why it cannot be done is said on the page that the button was on.
func (a *Pages) retryDelivery(ctx context.Context, p *pageCtx) error {
	d, err := a.Store.Delivery(ctx, p.call.Scope(), p.Params("delivery"))
	if err != nil {
		return err
	}
	back := p.back(views.EventURL(p.tenant.ID, d.PublicEventID))
	if d.Status == models.StatusPending || d.Status == models.StatusDelivering {
		return p.done(back, &views.Flash{Tone: views.ToneInfo, Text: "This delivery is on its way already."})
	}
	req := &api.RetryRequest{}
	req.Body.Event, req.Body.Destination, req.Body.Tenant = d.PublicEventID, d.DestinationID, p.tenant.ID
	if _, err := a.Retry(ctx, p.call, req); err != nil {
		return p.failed(back, err)
	}
	flash := said("Retry queued for 1 delivery.")
	if event := views.EventURL(p.tenant.ID, d.PublicEventID); back != event {
		flash.LinkText, flash.LinkURL = "Show the event", event
	}
	return p.done(back, flash)
}

// retryEvent queues one attempt now for each delivery of an event that has failed. What cannot be queued is said.
func (a *Pages) retryEvent(ctx context.Context, p *pageCtx) error {
	considered, err := a.Store.EventDeliveries(ctx, p.call.Scope(), p.Params("event"))
	if err != nil {
		return err
	}
	back := p.back(views.EventURL(p.tenant.ID, considered.Event.ID))
	failed := views.FailedOf(considered.Deliveries)
	if considered.Event.ErasedAt != nil {
		return p.done(back, &views.Flash{Tone: views.ToneInfo,
			Text: "The data of this event was erased, so that it cannot be sent again. " + considered.Event.ErasedWhy})
	}
	if len(failed) == 0 {
		return p.done(back, &views.Flash{Tone: views.ToneInfo,
			Text: "No delivery of this event is left that has failed and can be retried."})
	}
	var refused *models.Error
	queued := 0
	for _, d := range failed {
		req := &api.RetryRequest{}
		req.Body.Event, req.Body.Destination, req.Body.Tenant = d.PublicEventID, d.DestinationID, p.tenant.ID
		if _, err := a.Retry(ctx, p.call, req); err == nil {
			queued++
		} else if refused = api.Refusal(err); refused == nil {
			return err
		}
	}
	flash := said("Retry queued for " + views.Deliveries(queued) + ".")
	if refused != nil {
		flash.Tone = views.ToneWarn
		flash.Text += " " + views.Deliveries(len(failed)-queued) + " could not be queued: " + refused.Message
	}
	return p.done(back, flash)
}

func (a *Pages) cancelDeliveryPage(ctx context.Context, p *pageCtx) error {
	d, err := a.Store.Delivery(ctx, p.call.Scope(), p.Params("delivery"))
	if err != nil {
		return err
	}
	back := p.back(views.EventURL(p.tenant.ID, d.PublicEventID))
	if _, err := a.CancelDelivery(ctx, p.call, &api.DeliveryRequest{Delivery: d.ID()}); err != nil {
		return p.failed(back, err)
	}
	return p.done(back, said("The delivery was cancelled."))
}

// back is the page that a button was on, as its form says.
func (p *pageCtx) back(otherwise string) string {
	if to := p.form().Value("return"); to != "" {
		return localPath(to)
	}
	return otherwise
}

// failed ends an action that could not be carried out, on the page that it was started from.
func (p *pageCtx) failed(back string, err error) error {
	e := api.Refusal(err)
	if e == nil {
		return err
	}
	return p.done(back, &views.Flash{Tone: views.ToneBad, Text: e.Message})
}
