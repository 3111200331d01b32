package pages

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) retriesPage(ctx context.Context, p *pageCtx) error {
	v := views.Retries{Page: p.frame("Retries", views.SectionRetries), Query: p.query()}
	q := maps.Clone(v.Query)
	q.Set("tenant_id", p.tenant.ID)
	v.API = apiCallOf("GET", "", "/retries", queryOf[api.ListRetriesRequest](q))
	var err error
	v.List, err = found(ctx, p, q, api.ListRetriesRequest{}, a.FindRetries)
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.RetriesPage(v)) })
}

// retryConditions are the conditions of a bulk retry in an address or a form.
type retryConditions struct {
	Statuses     []string      `query:"status"`
	Destinations []string      `query:"destination_id"`
	Topics       []string      `query:"topic"`
	ErrorClasses []string      `query:"error_class"`
	Codes        []models.Code `query:"code"`
	Events       []string      `query:"event_id"`
	Deliveries   []string      `query:"delivery_ids"`
	Since        time.Time     `query:"since"`
	Until        time.Time     `query:"until"`
	Rate         int           `query:"rate"`
	Chosen       string        `query:"chosen"` // rows were to be selected
}

// retryFilter reads the conditions of a bulk retry. Its fields are named as the form's controls.
func retryFilter(q url.Values) (f models.RetryFilter, rate int, err error) {
	var c retryConditions
	if err := bindQuery(q, &c); err != nil {
		return f, 0, err
	}
	if c.Chosen != "" && len(c.Events)+len(c.Deliveries) == 0 {
		return f, 0, &models.Error{Kind: models.KindInvalid,
			Message: "No row was selected. Go back and select some, or choose by conditions here."}
	}
	f = models.RetryFilter{Statuses: c.Statuses, Destinations: c.Destinations, Topics: c.Topics, ErrorClasses: c.ErrorClasses,
		Codes: c.Codes, Events: c.Events, Deliveries: c.Deliveries}
	if !c.Since.IsZero() {
		f.Since = &c.Since
	}
	if !c.Until.IsZero() {
		f.Until = &c.Until
	}
	return f, c.Rate, nil
}

// conditionsOf are a frozen filter as the fields of a form.
func conditionsOf(f models.RetryFilter) url.Values {
	q := url.Values{"status": f.Statuses, "destination_id": f.Destinations, "topic": f.Topics, "error_class": f.ErrorClasses,
		"event_id": f.Events, "delivery_ids": f.Deliveries}
	for _, c := range f.Codes {
		q.Add("code", string(c))
	}
	if len(f.Deliveries) > 0 {
		return q
	}
	if f.Since != nil {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Until != nil {
		q.Set("until", f.Until.UTC().Format(time.RFC3339Nano))
	}
	return q
}

// named gives the problems of a filter the names of the form's controls.
func named(e *models.Error) *models.Error {
	if e == nil || e.Fields == nil {
		return e
	}
	out := *e
	out.Fields = map[string]string{}
	for field, message := range e.Fields {
		out.Fields[strings.TrimPrefix(field, "filter.")] = message
	}
	return &out
}

func (a *Pages) newRetryPage(ctx context.Context, p *pageCtx) error {
	return a.showNewRetry(ctx, p, p.query(), nil)
}

// showNewRetry shows what a bulk retry would do. refused is why it was not started.
func (a *Pages) showNewRetry(ctx context.Context, p *pageCtx, q url.Values, refused *models.Error) error {
	v := views.NewRetry{Page: p.frame("Retry deliveries", views.SectionRetries), Key: uuid.NewString()}
	v.Crumbs = []views.Crumb{{Label: "Retries", URL: views.RetriesURL(p.tenant.ID)}}
	var err error
	if v.Destinations, err = a.destinationOptions(ctx, p); err != nil {
		return err
	}
	if v.Topics, err = a.Store.TopicNames(ctx); err != nil {
		return err
	}
	f, _, err := retryFilter(q)
	if err == nil {
		v.Plan, err = a.Store.PlanBulkRetry(ctx, p.call.Scope(), f)
	}
	form := views.Form{Values: q, Err: named(refused)}
	if err != nil {
		if form.Err = named(api.Refusal(err)); form.Err == nil {
			return err
		}
	} else {
		f = v.Plan.Filter
	}
	form.Values = conditionsOf(f)
	if err != nil {
		for _, name := range []string{"code", "since", "until"} { // as they were typed
			if q.Has(name) {
				form.Values[name] = q[name]
			}
		}
	}
	frozen := form.Values
	for _, name := range []string{"status", "destination_id", "topic", "error_class", "code", "event_id", "delivery_ids", "since",
		"until"} {
		for _, value := range frozen[name] {
			v.Hidden = append(v.Hidden, views.Label{Name: name, Text: value})
		}
	}
	form.Values["topic"] = []string{strings.Join(frozen["topic"], ", ")}
	form.Values["rate"] = []string{strconv.Itoa(models.DefaultBulkRate)}
	if rate := q.Get("rate"); rate != "" {
		form.Values["rate"] = []string{rate}
	}
	v.Form, v.Invalid = form, form.Err != nil
	v.API = apiCallOf("POST", indented(map[string]any{"tenant_id": p.tenant.ID, "filter": f}), "/retries/plan")
	return p.render(ctx, listStatus(form.Err), views.NewRetryPage(v))
}

// destinationOptions are the tenant's destinations as choices.
func (a *Pages) destinationOptions(ctx context.Context, p *pageCtx) ([]views.Option, error) {
	list, err := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
	if err != nil {
		return nil, err
	}
	out := make([]views.Option, len(list))
	for i, d := range list {
		out[i] = views.Option{Value: d.ID, Label: d.Title()}
	}
	return out, nil
}

// startRetryPage starts what the plan has shown.
func (a *Pages) startRetryPage(ctx context.Context, p *pageCtx) error {
	q := url.Values(p.form().Values)
	f, rate, err := retryFilter(q)
	if err == nil {
		req := &api.BulkRequest{}
		req.Body.Tenant, req.Body.Filter, req.Body.Rate = p.tenant.ID, f, rate
		p.call.IdempotencyKey = q.Get("key")
		var reply *api.Reply
		if reply, err = a.StartRetry(ctx, p.call, req); err == nil {
			id := reply.Body.(api.BulkRetryJSON).ID
			return p.done(views.RetryURL(p.tenant.ID, id), said("The bulk retry has started."))
		}
	}
	e := api.Refusal(err)
	if e == nil {
		return err
	}
	return a.showNewRetry(ctx, p, q, e)
}

// shownFailures is how many of those that failed again the page of a bulk retry shows.
const shownFailures = 20

func (a *Pages) retryPage(ctx context.Context, p *pageCtx) error {
	b, err := a.Store.BulkRetry(ctx, p.call.Scope(), p.Params("retry"))
	if err != nil {
		return err
	}
	v := views.Retry{Page: p.frame("Bulk retry", views.SectionRetries), BulkRetry: b, Now: time.Now()}
	v.Context = b.ID()
	v.Crumbs = []views.Crumb{{Label: "Retries", URL: views.RetriesURL(p.tenant.ID)}}
	v.API = apiCallOf("GET", "", "/retries/", b.ID())
	v.Refresh = !b.Final()
	if v.Destinations, err = a.destinationOptions(ctx, p); err != nil {
		return err
	}
	if b.Failed > 0 {
		if v.Failures, err = a.Store.FailuresOf(ctx, b, shownFailures); err != nil {
			return err
		}
	}
	return p.render(ctx, http.StatusOK, views.RetryPage(v))
}

// changeRetryPage carries an action on a bulk retry out and goes back to its page.
func (a *Pages) changeRetryPage(ctx context.Context, p *pageCtx, change api.UseCase[api.OneRetryRequest], text string) error {
	to := views.RetryURL(p.tenant.ID, p.Params("retry"))
	if _, err := change(ctx, p.call, &api.OneRetryRequest{Retry: p.Params("retry")}); err != nil {
		return p.failed(to, err)
	}
	return p.done(to, said(text))
}

func (a *Pages) pauseRetryPage(ctx context.Context, p *pageCtx) error {
	return a.changeRetryPage(ctx, p, a.PauseRetry, "The bulk retry is paused.")
}

func (a *Pages) resumeRetryPage(ctx context.Context, p *pageCtx) error {
	return a.changeRetryPage(ctx, p, a.ResumeRetry, "The bulk retry goes on.")
}

func (a *Pages) cancelRetryPage(ctx context.Context, p *pageCtx) error {
	return a.changeRetryPage(ctx, p, a.CancelRetry, "The bulk retry was cancelled.")
}
