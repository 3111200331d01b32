package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type deliveryJSON struct {
	ID            string     `json:"id"`
	TenantID      string     `json:"tenant_id"`
	EventID       string     `json:"event_id"`
	DestinationID string     `json:"destination_id"`
	Topic         string     `json:"topic"`
	Status        string     `json:"status" api:"schema=DeliveryStatus"`
	Reason        string     `json:"reason,omitempty" doc:"Why it is filtered out, held, failed or cancelled, or is due and waits for its destination, in a sentence."`
	WaitingFor    string     `json:"waiting_for,omitempty" api:"enum=asked|eased|failing|limited|slow|short|order" doc:"Why it is due and not made yet, as 'reason' says in a sentence: the receiver asked for a pause or to slow down; the destination keeps failing and is tried a few times a second; its rate limit; it answers slowly; this server lacks ports, files or memory; an earlier event with its ordering key goes first."`
	Attempts      int        `json:"attempts" doc:"Made so far."`
	MaxAttempts   int        `json:"max_attempts" doc:"Made at most, unless somebody retries it by hand."`
	NextAttemptAt *time.Time `json:"next_attempt_at" doc:"null when none is due, or when it is not known how long the destination keeps it waiting; an estimate while 'reason' says that it waits."`
	LastAttemptAt *time.Time `json:"last_attempt_at" doc:"null before the first."`
	LastCode      *int       `json:"last_code" doc:"HTTP status of the last attempt; null where there was none."`
	LastError     *errorJSON `json:"last_error" doc:"Of the last attempt; null when it did not fail."`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	ErasedAt      *time.Time `json:"erased_at,omitempty" doc:"When the data of its event was erased, so that it cannot be sent again; absent while it is there."`
	Links         linksJSON  `json:"links"`
}

type errorJSON struct {
	Class   string `json:"class" api:"schema=ErrorClass"`
	Message string `json:"message" doc:"What happened, in a sentence."`
	Advice  string `json:"advice,omitempty" doc:"What to do about it."`
}

func (a *API) deliveryToJSON(d *models.Delivery) deliveryJSON {
	j := deliveryJSON{ID: d.ID(), TenantID: d.TenantID, EventID: d.PublicEventID, DestinationID: d.DestinationID, Topic: d.Topic,
		Status: d.Status,
		Reason: d.Reason, WaitingFor: d.WaitsFor, Attempts: d.Attempts, MaxAttempts: d.MaxAttempts, NextAttemptAt: d.NextAttemptAt,
		LastAttemptAt: d.LastAttemptAt,
		CreatedAt:     d.CreatedAt, UpdatedAt: d.UpdatedAt, ErasedAt: d.ErasedAt, Links: deliveryLinks(d).under(a.Base)}
	if d.LastCode != 0 {
		j.LastCode = &d.LastCode
	}
	if d.ErrorClass != "" {
		j.LastError = &errorJSON{d.ErrorClass, d.Error, d.Advice}
	}
	return j
}

type ListDeliveriesRequest struct {
	tenantParams
	models.DeliveryQuery
	OldSort string `query:"sort" doc:"The older name of 'order_by'."`
	cursorParams
}

func (a *API) FindDeliveries(ctx context.Context, c *Call, req *ListDeliveriesRequest,
	limit, most int) (*models.Page[*models.Delivery], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindDeliveries)
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.orDefault().part(limit, most); err != nil {
		return nil, err
	}
	if req.OldSort != "" {
		switch {
		case req.Sort != "" && req.Sort != req.OldSort:
			return nil, models.Invalid("sort", "contradicts order_by: leave it out")
		case !slices.Contains(models.DeliverySorts, req.OldSort):
			return nil, models.Invalid("sort", "must be one of "+strings.Join(models.DeliverySorts, ", "))
		}
		req.Sort = req.OldSort
	}
	return a.Store.Deliveries(ctx, scope, req.DeliveryQuery)
}

func (a *API) listDeliveries(ctx context.Context, c *Call, req *ListDeliveriesRequest) (*Reply, error) {
	list, err := a.FindDeliveries(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, a.deliveryToJSON)}, nil
}

type DeliveryRequest struct {
	Delivery string `path:"delivery"`
}

func (a *API) getDelivery(ctx context.Context, c *Call, req *DeliveryRequest) (*Reply, error) {
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		d, err := a.Store.Delivery(ctx, c.Scope(), req.Delivery)
		if err != nil {
			return nil, models.Following{}, err
		}
		final := d.Final()
		body := a.deliveryToJSON(d)
		return &Reply{Body: body, Final: &final, Links: body.Links.header("event"),
			ETag: fmt.Sprintf("%d-%d-%s", d.Turn, d.Attempts, d.Status)}, following(d), nil
	})
}

func (a *API) CancelDelivery(ctx context.Context, c *Call, req *DeliveryRequest) (*Reply, error) {
	d, err := a.Store.CancelDelivery(ctx, c.Scope(), req.Delivery, c.Actor.Name)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: a.deliveryToJSON(d)}, nil
}

type RetryRequest struct {
	Body struct {
		Event       string `json:"event_id" api:"required"`
		Destination string `json:"destination_id" api:"required"`
		Tenant      string `json:"tenant_id" doc:"Needed only where two tenants chose the same event id."`
	} `body:"json"`
}

type retriedJSON struct {
	Success    bool           `json:"success"`
	Status     string         `json:"status" api:"schema=WorkStatus"`
	Links      linksJSON      `json:"links"`
	Deliveries []deliveryJSON `json:"deliveries,omitempty" doc:"The delivery, after its attempt, where the caller waited for it."`
}

// Retry queues one attempt now, of an event's delivery to a destination.
func (a *API) Retry(ctx context.Context, c *Call, req *RetryRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	d, _, err := a.Store.RetryEvent(ctx, scope, req.Body.Event, req.Body.Destination, c.Actor.Name)
	if err != nil {
		if d != nil {
			a.AuditFailure(ctx, c, d.TenantScope(), "delivery.retry", d.ID(), err)
		}
		return nil, err
	}
	links := deliveryLinks(d).under(a.Base)
	links.Monitor, links.Self = links.Self, ""
	r := &Reply{Body: retriedJSON{Success: true, Status: workAccepted, Links: links}, Monitor: links.Monitor, Links: links.header(""),
		Applied: c.Prefer.waitApplied()}
	if c.Prefer.wait == 0 {
		return r, nil
	}
	after, settled, err := a.waitForAttempt(ctx, c, d, c.Prefer.wait)
	if err != nil || !settled {
		return r, err
	}
	r.Status, r.Body = http.StatusOK, retriedJSON{true, workDone, links, []deliveryJSON{a.deliveryToJSON(after)}}
	return r, nil
}

// waitForAttempt waits until a delivery has more attempts than it had.
func (a *API) waitForAttempt(ctx context.Context, c *Call, before *models.Delivery, wait time.Duration) (after *models.Delivery,
	settled bool, err error) {
	settled, err = a.wait(ctx, c, following(before), wait, func() (bool, error) {
		after, err = a.Store.Delivery(ctx, c.Scope(), before.ID())
		return err == nil && after.Attempts > before.Attempts, err
	})
	return after, settled, err
}

func following(d *models.Delivery) models.Following {
	return models.Following{Event: d.EventKey, Destination: d.DeliveryKey.Destination}
}
