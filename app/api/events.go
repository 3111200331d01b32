package api

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type eventJSON struct {
	ID                    string            `json:"id"`
	TenantID              string            `json:"tenant_id"`
	Topic                 string            `json:"topic" doc:"May be empty."`
	MatchedDestinationIDs []string          `json:"matched_destination_ids" doc:"Destinations to which it went."`
	Time                  time.Time         `json:"time" doc:"When it happened, as the publisher says."`
	ReceivedAt            time.Time         `json:"received_at" doc:"When it was accepted."`
	DestinationID         string            `json:"destination_id,omitempty" doc:"Within an attempt, the destination that it went to."`
	EligibleForRetry      bool              `json:"eligible_for_retry"`
	Metadata              map[string]string `json:"metadata" api:"null"`
	Data                  json.RawMessage   `json:"data,omitempty" api:"schema=Payload" doc:"The payload, as it was published."`
	Deliveries            models.Counts     `json:"deliveries,omitempty" doc:"How many deliveries it has in each state."`
	Links                 linksJSON         `json:"links"`
}

func (a *API) eventToJSON(e *models.Event) eventJSON {
	return eventJSON{ID: e.ID, TenantID: e.TenantID, Topic: e.Topic, MatchedDestinationIDs: e.Matched, Time: e.Time, ReceivedAt: e.Received,
		EligibleForRetry: e.Retry, Metadata: e.Metadata, Data: e.Data, Deliveries: e.Counts, Links: eventLinks(e).under(a.Base)}
}

// filterParams are the parameters that lists of events, deliveries and attempts share.
type filterParams struct {
	Tenants      []string      `query:"tenant_id" doc:"Only of these tenants; a tenant's key sees its own only."`
	Destinations []string      `query:"destination_id" doc:"Only of these destinations."`
	Codes        []models.Code `query:"code" doc:"Only where the last attempt is shown with one of these codes."`
	ErrorClass   string        `query:"error_class" api:"schema=ErrorClass" doc:"Only where the last attempt failed so."`
	cursorParams
}

// receivedParams are the times of lists of events and deliveries: of the receipt, and of when the event happened.
type receivedParams struct {
	Since       time.Time `query:"since" doc:"Received from then on; the same as 'received[gte]'."`
	Until       time.Time `query:"until" doc:"Received before; the same as 'received[lt]'."`
	ReceivedGTE time.Time `query:"received[gte]" doc:"Received then or later."`
	ReceivedGT  time.Time `query:"received[gt]" doc:"Received later, by a millisecond at least."`
	ReceivedLTE time.Time `query:"received[lte]" doc:"Received then, in that millisecond, or earlier."`
	ReceivedLT  time.Time `query:"received[lt]" doc:"Received earlier."`
	GTE         time.Time `query:"time[gte]" doc:"Happened then or later, by the event's 'time'."`
	GT          time.Time `query:"time[gt]" doc:"Happened later."`
	LTE         time.Time `query:"time[lte]" doc:"Happened then or earlier."`
	LT          time.Time `query:"time[lt]" doc:"Happened earlier."`
}

// received is when the events were received that the parameters ask for, from since until before until; the stricter of two
// conditions counts.
func (p receivedParams) received() (since, until time.Time) {
	return models.Span{GTE: p.ReceivedGTE, GT: p.ReceivedGT, LTE: p.ReceivedLTE, LT: p.ReceivedLT}.Within(models.Span{GTE: p.Since, LT: p.Until}).Ends()
}

// happened is when they happened.
func (p receivedParams) happened() models.Span {
	return models.Span{GTE: p.GTE, GT: p.GT, LTE: p.LTE, LT: p.LT}
}

type ListEventsRequest struct {
	IDs      []string `query:"id" doc:"Only these events."`
	Topics   []string `query:"topic" doc:"Only of these topics."`
	Statuses []string `query:"status" api:"schema=DeliveryStatus" doc:"Only with a delivery in one of these states."`
	Text     string   `query:"q" doc:"An id, a filter in JSON or search notation, or a text in the payload."`
	Order    string   `query:"order_by" doc:"'received_at' when missing. Other orders are made within portions, see 'sorted' in the answer; not with 'q'. 'status' begins with what needs somebody, when ascending."`
	receivedParams
	filterParams
}

// Query is what the parameters ask for, with so many rows a page.
func (req *ListEventsRequest) Query(limit, most int) (models.EventQuery, error) {
	page, err := req.cursorParams.orDefault().Query(limit, most)
	since, until := req.received()
	return models.EventQuery{IDs: req.IDs, Destinations: req.Destinations, Topics: req.Topics, Statuses: req.Statuses, Codes: req.Codes, ErrorClass: req.ErrorClass,
		Text: req.Text, Since: since, Until: until, Time: req.happened(), Sort: req.Order, Page: page}, err
}

func (a *API) listEvents(ctx context.Context, c *Call, req *ListEventsRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	q, err := req.Query(100, 1000)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Events(ctx, scope, q)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, a.eventToJSON)}, nil
}

type eventRequest struct {
	Event  string `path:"event"`
	Tenant string `query:"tenant_id" doc:"Needed only where two tenants chose the same event id."`
}

func (a *API) getEvent(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		e, err := a.Store.Event(ctx, scope, req.Event)
		if err != nil {
			return nil, models.Following{}, err
		}
		final := e.Counts.Final()
		h := fnv.New64a()
		_ = json.NewEncoder(h).Encode([]any{e.ID, e.Counts, e.Attempts, e.LastError})
		body := a.eventToJSON(e)
		return &Reply{Body: body, Final: &final, Links: body.Links.header(""), ETag: strconv.FormatUint(h.Sum64(), 36)}, models.Following{Event: e.Key}, nil
	})
}

type skippedJSON struct {
	DestinationID string `json:"destination_id"`
	Reason        string `json:"reason" doc:"Why it did not concern this destination."`
}

type eventDeliveriesJSON struct {
	pageJSON[deliveryJSON]
	Skipped []skippedJSON `json:"skipped" doc:"Destinations that it did not concern."`
	Links   linksJSON     `json:"links"`
}

func (a *API) listEventDeliveries(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		con, err := a.Store.EventDeliveries(ctx, scope, req.Event)
		if err != nil {
			return nil, models.Following{}, err
		}
		page := &models.Page[*models.Delivery]{Items: con.Deliveries, OrderBy: "destination", Dir: "asc", Limit: len(con.Deliveries)}
		skipped := []skippedJSON{}
		for _, s := range con.Skipped {
			skipped = append(skipped, skippedJSON{s.Destination.ID, s.Reason})
		}
		final := true
		for _, d := range con.Deliveries {
			final = final && d.Final()
		}
		links := deliveriesLinks(con.Event).under(a.Base)
		body := eventDeliveriesJSON{pageToJSON(page, a.deliveryToJSON), skipped, links}
		tag, err := tagOfJSON(body)
		return &Reply{Body: body, Final: &final, Links: links.header("event"), ETag: tag}, models.Following{Event: con.Event.Key}, err
	})
}
