package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type BulkRetryJSON struct {
	ID         string             `json:"id"`
	TenantID   string             `json:"tenant_id"`
	Status     string             `json:"status" api:"schema=BulkRetryStatus"`
	Total      int                `json:"total" doc:"Deliveries that it concerns."`
	Queued     int                `json:"queued"`
	Delivered  int                `json:"delivered"`
	Failed     int                `json:"failed" doc:"Again."`
	Skipped    int                `json:"skipped"`
	Waiting    int                `json:"waiting" doc:"Queued, without an outcome yet."`
	Remaining  int                `json:"remaining" doc:"Not queued yet."`
	SkippedBy  []skipJSON         `json:"skipped_by"`
	Note       string             `json:"note,omitempty" api:"enum=hourly_limit" doc:"What it waits for."`
	Rate       int                `json:"rate" doc:"Deliveries queued a second."`
	Actor      string             `json:"actor" doc:"Who started it."`
	Filter     models.RetryFilter `json:"filter" doc:"What was chosen, fixed at the start."`
	CreatedAt  time.Time          `json:"created_at"`
	ChangedAt  time.Time          `json:"changed_at" doc:"When it was paused, resumed or cancelled last."`
	ChangedBy  string             `json:"changed_by,omitempty"`
	FinishedAt *time.Time         `json:"finished_at" doc:"null until nothing changes any more."`
	Links      linksJSON          `json:"links"`
}

type skipJSON struct {
	Reason  string `json:"reason" api:"schema=SkipReason"`
	Count   int    `json:"count"`
	Message string `json:"message" doc:"The reason in words."`
}

func skipsToJSON(list []models.Skip) []skipJSON {
	out := []skipJSON{}
	for _, s := range list {
		out = append(out, skipJSON{s.Reason, s.Count, models.SkipWords[s.Reason]})
	}
	return out
}

func (a *API) bulkRetryToJSON(b *models.BulkRetry) BulkRetryJSON {
	return BulkRetryJSON{ID: b.ID(), TenantID: b.TenantID, Status: b.Status, Total: b.Total, Queued: b.Queued, Delivered: b.Delivered,
		Failed: b.Failed, Skipped: b.Skipped(),
		Waiting: b.Waiting(), Remaining: b.Remaining(), SkippedBy: skipsToJSON(b.Skips()), Note: b.Note, Rate: b.Rate, Actor: b.Actor,
		Filter:    b.Filter,
		CreatedAt: b.CreatedAt.UTC(), ChangedAt: b.ChangedAt.UTC(), ChangedBy: b.ChangedBy, FinishedAt: b.FinishedAt,
		Links: linksJSON{Self: bulkRetryPath(b)}.under(a.Base)}
}

func bulkRetryPath(b *models.BulkRetry) string { return APIPrefix + "/retries/" + b.ID() }

// BulkRequest names what is to be retried. Without a tenant it is that of the caller's key.
type BulkRequest struct {
	Body struct {
		Tenant     string             `json:"tenant_id" doc:"Needed unless the key is a tenant's."`
		Filter     models.RetryFilter `json:"filter"`
		Deliveries []string           `json:"delivery_ids" doc:"Instead of a filter: up to 1,000 deliveries."`
		Rate       int                `json:"rate" api:"min=1,max=10000,default=1000" doc:"Deliveries queued a second."`
	} `body:"json"`
}

func (r *BulkRequest) filter() models.RetryFilter {
	f := r.Body.Filter
	f.Deliveries = slices.Concat(f.Deliveries, r.Body.Deliveries)
	return f
}

type planJSON struct {
	Count         int                `json:"count" doc:"Deliveries that would be retried."`
	More          bool               `json:"more" doc:"Whether there are more than one bulk retry may have."`
	Filter        models.RetryFilter `json:"filter" doc:"What was chosen, with times fixed."`
	ByDestination []shareJSON        `json:"by_destination"`
	ByErrorClass  []shareJSON        `json:"by_error_class"`
	ByTopic       []shareJSON        `json:"by_topic"`
	Skipped       []skipJSON         `json:"skipped" doc:"What would be left alone."`
	Sample        []deliveryJSON     `json:"sample" doc:"Some of the deliveries."`
	Limits        planLimitsJSON     `json:"limits"`
}

type shareJSON struct {
	Key   string `json:"key"`
	Count int    `json:"count"`
}

type planLimitsJSON struct {
	PerRetry    int  `json:"per_retry" doc:"Deliveries in one bulk retry."`
	PerDelivery int  `json:"per_delivery" doc:"Manual retries of one delivery; 0 for no limit. A destination may have a lower one."`
	PerHour     int  `json:"per_hour" doc:"Manual retries of the tenant; 0 for no limit. A destination may have a lower one."`
	HourLeft    *int `json:"hour_left" doc:"null without a limit."`
}

func sharesToJSON(list []models.Share) []shareJSON {
	out := []shareJSON{}
	for _, s := range list {
		out = append(out, shareJSON(s))
	}
	return out
}

// planRetry says what a bulk retry would do.
func (a *API) planRetry(ctx context.Context, c *Call, req *BulkRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.Store.PlanBulkRetry(ctx, scope, req.filter())
	if err != nil {
		return nil, err
	}
	j := planJSON{Count: p.Count, More: p.More, Filter: p.Filter, ByDestination: sharesToJSON(p.ByDestination),
		ByErrorClass: sharesToJSON(p.ByErrorClass),
		ByTopic:      sharesToJSON(p.ByTopic), Skipped: skipsToJSON(p.Skipped), Sample: []deliveryJSON{},
		Limits: planLimitsJSON{PerRetry: p.Limits.PerBulk.Most, PerDelivery: p.Limits.PerDelivery.Most, PerHour: p.Limits.PerHour.Most}}
	if p.Limits.PerHour.Most > 0 {
		j.Limits.HourLeft = &p.HourlyLeft
	}
	for _, d := range p.Sample {
		j.Sample = append(j.Sample, a.deliveryToJSON(d))
	}
	return &Reply{Body: j}, nil
}

// StartRetry starts a bulk retry.
func (a *API) StartRetry(ctx context.Context, c *Call, req *BulkRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	b, _, err := a.Store.StartBulkRetry(ctx, scope, models.BulkInput{Filter: req.filter(), Rate: req.Body.Rate,
		IdempotencyKey: c.IdempotencyKey, Actor: c.Actor.Name})
	if err != nil {
		a.AuditFailure(ctx, c, scope, "retry.start", "", err)
		return nil, err
	}
	r := &Reply{Body: a.bulkRetryToJSON(b), Monitor: bulkRetryPath(b), Shown: true, Applied: c.Prefer.waitApplied()}
	if c.Prefer.wait == 0 {
		return r, nil
	}
	after, err := a.waitForRetry(ctx, c, b, c.Prefer.wait)
	if err != nil {
		return nil, err
	}
	if r.Body = a.bulkRetryToJSON(after); after.Final() {
		r.Status = http.StatusOK
	}
	return r, nil
}

// waitForRetry waits until a bulk retry is over, or the time is, and returns how it is then.
func (a *API) waitForRetry(ctx context.Context, c *Call, b *models.BulkRetry, wait time.Duration) (*models.BulkRetry, error) {
	_, err := a.wait(ctx, c, models.Following{Retry: b.Key}, wait, func() (bool, error) {
		now, err := a.Store.BulkRetry(ctx, c.Scope(), b.ID())
		if err != nil {
			return false, err
		}
		b = now
		return b.Final(), nil
	})
	return b, err
}

type ListRetriesRequest struct {
	Tenants []string `query:"tenant_id" doc:"Only of these tenants."`
	models.BulkQuery
	pageParams
}

func (a *API) FindRetries(ctx context.Context, c *Call, req *ListRetriesRequest, limit, most int) (*models.Page[*models.BulkRetry], error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.BulkRetries(ctx, scope, req.BulkQuery)
}

func (a *API) listRetries(ctx context.Context, c *Call, req *ListRetriesRequest) (*Reply, error) {
	list, err := a.FindRetries(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, a.bulkRetryToJSON)}, nil
}

type OneRetryRequest struct {
	Retry string `path:"retry"`
}

func (a *API) getRetry(ctx context.Context, c *Call, req *OneRetryRequest) (*Reply, error) {
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		b, err := a.Store.BulkRetry(ctx, c.Scope(), req.Retry)
		if err != nil {
			return nil, models.Following{}, err
		}
		return a.retryReply(b), models.Following{Retry: b.Key}, nil
	})
}

func (a *API) retryReply(b *models.BulkRetry) *Reply {
	final := b.Final()
	return &Reply{Body: a.bulkRetryToJSON(b), Final: &final, ETag: fmt.Sprintf("%s-%t-%d-%d-%d-%d-%d-%d-%s", b.Status, final,
		b.ChangedAt.UnixMilli(), b.Total, b.Queued, b.Delivered, b.Failed, b.Skipped(), b.Note)}
}

// changeRetry carries an action on a bulk retry out that changes its status.
func (a *API) changeRetry(ctx context.Context, c *Call, id string, change func(context.Context, models.Scope, string,
	string) (*models.BulkRetry, error)) (*Reply, error) {
	b, err := change(ctx, c.Scope(), id, c.Actor.Name)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.bulkRetryToJSON(b)}, nil
}

func (a *API) PauseRetry(ctx context.Context, c *Call, req *OneRetryRequest) (*Reply, error) {
	return a.changeRetry(ctx, c, req.Retry, a.Store.PauseBulkRetry)
}

func (a *API) ResumeRetry(ctx context.Context, c *Call, req *OneRetryRequest) (*Reply, error) {
	return a.changeRetry(ctx, c, req.Retry, a.Store.ResumeBulkRetry)
}

func (a *API) CancelRetry(ctx context.Context, c *Call, req *OneRetryRequest) (*Reply, error) {
	return a.changeRetry(ctx, c, req.Retry, a.Store.CancelBulkRetry)
}
