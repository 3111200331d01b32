package app

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
	EligibleForRetry      bool              `json:"eligible_for_retry"`
	Metadata              map[string]string `json:"metadata" api:"null"`
	Data                  json.RawMessage   `json:"data,omitempty" api:"schema=Payload" doc:"The payload, as it was published."`
	Deliveries            models.Counts     `json:"deliveries,omitempty" doc:"How many deliveries it has in each state."`
	Links                 linksJSON         `json:"links"`
}

func eventToJSON(e *models.Event) eventJSON {
	return eventJSON{e.ID, e.TenantID, e.Topic, e.Matched, e.Time, e.Received, e.Retry, e.Metadata, e.Data, e.Counts, eventLinks(e)}
}

// filterParams are the parameters that lists of events, deliveries and attempts share.
type filterParams struct {
	Tenants      []string  `query:"tenant_id" doc:"Only of these tenants; a tenant's key sees its own only."`
	Destinations []string  `query:"destination_id" doc:"Only of these destinations."`
	Code         int       `query:"code" doc:"Only where the last attempt was answered with this status."`
	ErrorClass   string    `query:"error_class" api:"schema=ErrorClass" doc:"Only where the last attempt failed so."`
	Since        time.Time `query:"since" doc:"Received from then on."`
	Until        time.Time `query:"until" doc:"Received before."`
	GTE          time.Time `query:"time[gte]" doc:"As 'since'."`
	GT           time.Time `query:"time[gt]" doc:"As 'since', without that millisecond."`
	LTE          time.Time `query:"time[lte]" doc:"As 'until', with that millisecond."`
	LT           time.Time `query:"time[lt]" doc:"As 'until'."`
	pageParams
}

// span is the time that the parameters ask for; both ends as models want them, from since until before until.
func (p filterParams) span() (since, until time.Time) {
	const grain = time.Millisecond // what event ids tell of time
	since, until = p.Since, p.Until
	if !p.GTE.IsZero() {
		since = p.GTE
	}
	if !p.GT.IsZero() {
		since = p.GT.Add(grain)
	}
	if !p.LT.IsZero() {
		until = p.LT
	}
	if !p.LTE.IsZero() {
		until = p.LTE.Add(grain)
	}
	return since, until
}

type listEventsRequest struct {
	IDs      []string `query:"id" doc:"Only these events."`
	Topics   []string `query:"topic" doc:"Only of these topics."`
	Statuses []string `query:"status" api:"schema=DeliveryStatus" doc:"Only with a delivery in one of these states."`
	Text     string   `query:"q" doc:"An id, a filter in JSON or search notation, or a text in the payload."`
	filterParams
}

func (a *App) listEvents(ctx context.Context, c *Call, req *listEventsRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	page, err := req.query(100, 1000)
	if err != nil {
		return nil, err
	}
	since, until := req.span()
	list, err := a.store.Events(ctx, scope, models.EventQuery{IDs: req.IDs, Destinations: req.Destinations, Topics: req.Topics, Statuses: req.Statuses,
		Code: req.Code, ErrorClass: req.ErrorClass, Text: req.Text, Since: since, Until: until, Page: page})
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, eventToJSON)}, nil
}

type eventRequest struct {
	Event  string `path:"event"`
	Tenant string `query:"tenant_id" doc:"Needed only where two tenants chose the same event id."`
}

func (a *App) getEvent(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		e, err := a.store.Event(ctx, scope, req.Event)
		if err != nil {
			return nil, models.Following{}, err
		}
		final := e.Counts.Final()
		h := fnv.New64a()
		_ = json.NewEncoder(h).Encode([]any{e.ID, e.Counts, e.Attempts, e.LastError})
		body := eventToJSON(e)
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

func (a *App) listEventDeliveries(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	return a.poll(ctx, c, func() (*Reply, models.Following, error) {
		con, err := a.store.EventDeliveries(ctx, scope, req.Event)
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
		links := deliveriesLinks(con.Event)
		body := eventDeliveriesJSON{pageToJSON(page, deliveryToJSON), skipped, links}
		tag, err := tagOfJSON(body)
		return &Reply{Body: body, Final: &final, Links: links.header("event"), ETag: tag}, models.Following{Event: con.Event.Key}, err
	})
}
