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
	ErasedAt              *time.Time        `json:"erased_at,omitempty" doc:"When payload and metadata were erased; absent while they are there."`
	ErasedBecause         string            `json:"erased_because,omitempty" doc:"By whom and why, in a sentence."`
	Deliveries            models.Counts     `json:"deliveries,omitempty" doc:"How many deliveries it has in each state."`
	Links                 linksJSON         `json:"links"`
}

func (a *API) eventToJSON(e *models.Event) eventJSON {
	return eventJSON{ID: e.ID, TenantID: e.TenantID, Topic: e.Topic, MatchedDestinationIDs: e.Matched, Time: e.Time, ReceivedAt: e.Received,
		EligibleForRetry: e.Retry, Metadata: e.Metadata, Data: e.Data, ErasedAt: e.ErasedAt,
		ErasedBecause: e.ErasedWhy, Deliveries: e.Counts, Links: eventLinks(e).under(a.Base)}
}

type ListEventsRequest struct {
	tenantParams
	models.EventQuery
	cursorParams
}

func (a *API) FindEvents(ctx context.Context, c *Call, req *ListEventsRequest, limit, most int) (*models.Page[*models.Event], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindEvents)
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.orDefault().part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.Events(ctx, scope, req.EventQuery)
}

func (a *API) listEvents(ctx context.Context, c *Call, req *ListEventsRequest) (*Reply, error) {
	list, err := a.FindEvents(ctx, c, req, 100, 1000)
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
		_ = json.NewEncoder(h).Encode([]any{e.ID, e.Counts, e.Attempts, e.LastError, e.ErasedAt})
		body := a.eventToJSON(e)
		return &Reply{Body: body, Final: &final, Links: body.Links.header(""), ETag: strconv.FormatUint(h.Sum64(), 36)},
			models.Following{Event: e.Key}, nil
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
