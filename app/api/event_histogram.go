package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// eventHistogramRequest has the conditions of the list of events.
type eventHistogramRequest struct {
	tenantParams
	models.EventQuery
}

type eventHistogramJSON struct {
	Since    time.Time         `json:"since"`
	Until    time.Time         `json:"until"`
	Events   int               `json:"events" doc:"In all buckets."`
	Complete bool              `json:"complete" doc:"Whether each event was counted. Otherwise there are more than 6,000, and the numbers are estimates of a sample, but for 'exact'."`
	Share    float64           `json:"share" doc:"Share of the time that the sample looked at, evenly over each bucket; 1 for all."`
	Exact    []string          `json:"exact" api:"schema=DeliveryStatus" doc:"States that were counted one by one, whether or not it is complete."`
	Buckets  []eventBucketJSON `json:"buckets" doc:"60 of the same length, in order."`
}

type eventBucketJSON struct {
	Start  time.Time     `json:"start"`
	States models.Counts `json:"states" doc:"How many events have a delivery in this state, and none in a worse one: 'failed', 'retrying', 'held', 'pending', 'delivering', 'delivered', 'cancelled', 'filtered_out', and 'none' for those without deliveries. States without events are left out."`
}

func (a *API) getEventHistogram(ctx context.Context, c *Call, req *eventHistogramRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	h, err := a.Store.EventHistogram(ctx, scope, req.EventQuery, time.Now())
	if err != nil {
		return nil, err
	}
	out := eventHistogramJSON{Since: h.Since, Until: h.Until, Events: h.Events, Complete: h.Complete, Share: h.Share, Exact: h.Exact}
	if out.Exact == nil {
		out.Exact = []string{}
	}
	for _, b := range h.Buckets {
		out.Buckets = append(out.Buckets, eventBucketJSON{b.Start, b.States})
	}
	return &Reply{Body: out}, nil
}
