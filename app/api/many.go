package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// Actions on many at once: each is done alone, as by a request of its own, and has its own result and entry in the audit log. What is
// the case already stays as it is, so that a request may be sent again. For more, and for a pace, there are bulk retries.

// maxMany is how many deliveries or destinations one request may act on.
const maxMany = 500

// What became of one of many.
const (
	manyDone      = "done"
	manyUnchanged = "unchanged"
	manyRefused   = "refused"
)

type ManyDeliveriesRequest struct {
	Body struct {
		Tenant     string   `json:"tenant_id" doc:"Needed only where two tenants chose the same event id."`
		Deliveries []string `json:"delivery_ids" doc:"Up to 500, together with those of the events."`
		Events     []string `json:"event_ids" doc:"All deliveries of these events to which the action applies."`
	} `body:"json"`
}

type ManyDestinationsRequest struct {
	Body struct {
		Tenant       string   `json:"tenant_id" doc:"Needed unless the key is a tenant's."`
		Destinations []string `json:"destination_ids" api:"required" doc:"Up to 500."`
		Reason       string   `json:"reason" doc:"When disabling: why, for people."`
		Backlog      string   `json:"backlog" api:"schema=BacklogAction" doc:"When enabling: what happens to the events that were held."`
	} `body:"json"`
}

// ManyJSON is what became of each.
type ManyJSON struct {
	Results   []ManyResultJSON `json:"results" doc:"In the order of the request."`
	Done      int              `json:"done"`
	Unchanged int              `json:"unchanged"`
	Refused   int              `json:"refused"`
}

// ManyResultJSON is what became of one.
type ManyResultJSON struct {
	ID            string         `json:"id" doc:"Of the delivery or destination; of an event that has none to which the action applies, the event's."`
	TenantID      string         `json:"tenant_id,omitempty"`
	EventID       string         `json:"event_id,omitempty"`
	DestinationID string         `json:"destination_id,omitempty"`
	Result        string         `json:"result" api:"enum=done|unchanged|refused" doc:"'unchanged': it was so already."`
	Status        string         `json:"status,omitempty" doc:"Its state afterwards, where it is known."`
	Error         *manyErrorJSON `json:"error,omitempty" doc:"Why it was refused."`
}

type manyErrorJSON struct {
	Status  int    `json:"status" doc:"As a request for it alone would have been answered."`
	Code    string `json:"code" api:"schema=ErrorCode"`
	Message string `json:"message"`
}

// add adds a result; err says why it was refused.
func (m *ManyJSON) add(r ManyResultJSON, err error) {
	if err != nil {
		e := models.AsError(err)
		r.Result, r.Error = manyRefused, &manyErrorJSON{e.Status(), e.Code(), e.Message}
	}
	switch r.Result {
	case manyDone:
		m.Done++
	case manyUnchanged:
		m.Unchanged++
	default:
		m.Refused++
	}
	m.Results = append(m.Results, r)
}

// broken reports whether an error ends the whole request: nothing was done yet, and the next would fail likewise.
func (m *ManyJSON) broken(err error) bool {
	kind := models.AsError(err).Kind
	return m.Done == 0 && (kind == models.KindUnavailable || kind == models.KindInternal)
}

// checkMany checks lists of ids, and leaves out what is there twice.
func checkMany(lists map[string]*[]string) error {
	n := 0
	bad := map[string]string{}
	for field, list := range lists {
		seen := map[string]bool{}
		*list = slices.DeleteFunc(*list, func(id string) bool {
			twice := seen[id]
			seen[id] = true
			return twice
		})
		for i, id := range *list {
			if id == "" || !Readable(id) {
				bad[fmt.Sprintf("%s[%d]", field, i)] = "must be an id"
			}
		}
		n += len(*list)
	}
	for field := range lists {
		switch {
		case n == 0:
			bad[field] = "is required: ids of what to act on"
		case n > maxMany:
			bad[field] = fmt.Sprintf("must be at most %d ids in all", maxMany)
		}
	}
	if len(bad) > 0 {
		return &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}
	}
	return nil
}

// one is a delivery to act on, or what stands in the request for none.
type one struct {
	id       string
	delivery *models.Delivery // nil where err says why, or none applies
	err      error
}

// chosen finds the deliveries that a request names; applies chooses among those of an event by their state.
func (a *API) chosen(ctx context.Context, c *Call, req *ManyDeliveriesRequest, applies []string) ([]one, error) {
	if err := checkMany(map[string]*[]string{"delivery_ids": &req.Body.Deliveries, "event_ids": &req.Body.Events}); err != nil {
		return nil, err
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	var out []one
	named := map[string]bool{}
	add := func(id string, d *models.Delivery, err error) {
		if d == nil || !named[d.ID()] {
			out = append(out, one{id, d, err})
		}
		if d != nil {
			named[d.ID()] = true
		}
	}
	for _, id := range req.Body.Deliveries {
		d, err := a.Store.Delivery(ctx, scope, id)
		if err != nil && !models.IsKind(err, models.KindNotFound) {
			return nil, err
		}
		if err != nil {
			d = nil
		}
		add(id, d, err)
	}
	for _, id := range req.Body.Events {
		page, err := a.Store.Deliveries(ctx, scope, models.DeliveryQuery{EventIDs: []string{id}, Statuses: applies,
			Page: models.PageQuery{Limit: models.MaxLimit}})
		if err != nil && !models.IsKind(err, models.KindNotFound) {
			return nil, err
		}
		if err != nil || len(page.Items) == 0 {
			add(id, nil, err)
			continue
		}
		for _, d := range page.Items {
			add(d.ID(), d, nil)
		}
	}
	if len(out) > maxMany {
		return nil, models.Invalid("event_ids",
			fmt.Sprintf("have %d deliveries to which this applies; at most %d are acted on at once: choose fewer, or start a bulk retry", len(out),
				maxMany))
	}
	return out, nil
}

// actOnDeliveries does something with each delivery. act says whether it changed anything.
func (a *API) actOnDeliveries(ctx context.Context, c *Call, req *ManyDeliveriesRequest, applies []string,
	act func(*models.Delivery) (after string, changed bool, err error)) (*Reply, error) {
	list, err := a.chosen(ctx, c, req, applies)
	if err != nil {
		return nil, err
	}
	out := &ManyJSON{Results: []ManyResultJSON{}}
	for _, o := range list {
		d := o.delivery
		if d == nil {
			out.add(ManyResultJSON{ID: o.id, Result: manyUnchanged}, o.err)
			continue
		}
		r := ManyResultJSON{ID: d.ID(), TenantID: d.TenantID, EventID: d.PublicEventID, DestinationID: d.DestinationID,
			Result: manyUnchanged,
			Status: d.Status}
		after, changed, err := act(d)
		if err != nil && out.broken(err) {
			return nil, err
		}
		if err == nil {
			r.Status = after
		}
		if changed {
			r.Result = manyDone
		}
		out.add(r, err)
	}
	return &Reply{Body: out}, nil
}

// CancelDeliveries calls deliveries off.
func (a *API) CancelDeliveries(ctx context.Context, c *Call, req *ManyDeliveriesRequest) (*Reply, error) {
	return a.actOnDeliveries(ctx, c, req, []string{models.StatusPending, models.StatusRetrying, models.StatusHeld},
		func(d *models.Delivery) (string, bool, error) {
			if d.Status == models.StatusCancelled {
				return d.Status, false, nil
			}
			after, err := a.Store.CancelDelivery(ctx, c.Scope(), d.ID(), c.Actor.Name)
			if err != nil {
				return "", false, err
			}
			return after.Status, true, nil
		})
}

// RetryDeliveries queues one attempt now for each delivery.
func (a *API) RetryDeliveries(ctx context.Context, c *Call, req *ManyDeliveriesRequest) (*Reply, error) {
	return a.actOnDeliveries(ctx, c, req, []string{models.StatusFailed, models.StatusRetrying}, func(d *models.Delivery) (string, bool,
		error) {
		if d.Status == models.StatusPending || d.Status == models.StatusDelivering {
			return d.Status, false, nil
		}
		queued, err := a.Store.RetryDelivery(ctx, c.Scope(), d.DeliveryKey, models.TriggerManual, c.Actor.Name)
		if err != nil {
			a.AuditFailure(ctx, c, d.TenantScope(), "delivery.retry", d.ID(), err)
		}
		return models.StatusPending, queued, err
	})
}

// actOnDestinations does something with each destination. act says whether it changed anything.
func (a *API) actOnDestinations(ctx context.Context, c *Call, req *ManyDestinationsRequest, act func(tenant *models.Tenant,
	d *models.Destination) (changed bool, err error), after string) (*Reply, error) {
	if err := checkMany(map[string]*[]string{"destination_ids": &req.Body.Destinations}); err != nil {
		return nil, err
	}
	if req.Body.Tenant == "" {
		req.Body.Tenant = c.Actor.TenantID
	}
	if req.Body.Tenant == "" {
		return nil, models.Invalid("tenant_id", "is required")
	}
	tenant, err := a.Store.Tenant(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	out := &ManyJSON{Results: []ManyResultJSON{}}
	for _, id := range req.Body.Destinations {
		r := ManyResultJSON{ID: id, TenantID: tenant.ID, DestinationID: id, Result: manyUnchanged, Status: after}
		d, err := a.Store.Destination(ctx, c.Scope(), tenant.ID, id)
		var changed bool
		if err == nil {
			changed, err = act(tenant, d)
		}
		if err != nil {
			if r.Status = ""; out.broken(err) {
				return nil, err
			}
		}
		if changed {
			r.Result = manyDone
		}
		out.add(r, err)
	}
	return &Reply{Body: out}, nil
}

// EnableDestinations starts deliveries to destinations again.
func (a *API) EnableDestinations(ctx context.Context, c *Call, req *ManyDestinationsRequest) (*Reply, error) {
	actions := []string{models.BacklogDeliver, models.BacklogDrop, models.BacklogKeep}
	if req.Body.Backlog != "" && !slices.Contains(actions, req.Body.Backlog) {
		return nil, models.Invalid("backlog", "must be one of "+strings.Join(actions, ", "))
	}
	return a.actOnDestinations(ctx, c, req, func(tenant *models.Tenant, d *models.Destination) (bool, error) {
		backlog := models.Backlog{Action: req.Body.Backlog}
		if backlog.Action == "" {
			backlog.Action = a.Store.EnableAction(tenant)
		}
		if d.DisabledAt == nil {
			return false, nil
		}
		_, err := a.Store.EnableDestination(ctx, c.Scope(), tenant.ID, d.ID, c.Actor.Name, backlog)
		return err == nil, err
	}, "active")
}

// DisableDestinations stops deliveries to destinations.
func (a *API) DisableDestinations(ctx context.Context, c *Call, req *ManyDestinationsRequest) (*Reply, error) {
	return a.actOnDestinations(ctx, c, req, func(tenant *models.Tenant, d *models.Destination) (bool, error) {
		if d.DisabledAt != nil {
			return false, nil
		}
		_, err := a.Store.DisableDestination(ctx, c.Scope(), tenant.ID, d.ID, c.Actor.Name, strings.TrimSpace(req.Body.Reason))
		return err == nil, err
	}, "disabled")
}
