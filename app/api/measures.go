package api

import (
	"context"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// measureParams are the parameters that both kinds of numbers share. Their names are those of Outpost's v1 API.
type measureParams struct {
	Start        time.Time `query:"time[start]" api:"required,example=2026-01-31T00:00:00Z" doc:"Start of the span, included."`
	End          time.Time `query:"time[end]" api:"required,example=2026-02-01T00:00:00Z" doc:"End of the span, not included."`
	Granularity  string    `query:"granularity" api:"example=1h" doc:"Length of a bucket: a number and 's', 'm', 'h', 'd', 'w' or 'M'; without it there is one row for the span."`
	Measures     []string  `query:"measures" api:"required,example=count"`
	Dimensions   []string  `query:"dimensions" doc:"What to split the numbers by."`
	Tenant       string    `query:"tenant_id" doc:"Only of this tenant."`
	Tenants      []string  `query:"filters[tenant_id]" doc:"For operators."`
	Destinations []string  `query:"filters[destination_id]"`
	Topics       []string  `query:"filters[topic]"`
}

type measureEventsRequest struct {
	measureParams
}

type measureAttemptsRequest struct {
	measureParams
	Types    []string `query:"filters[destination_type]" api:"schema=DestinationType"`
	Statuses []string `query:"filters[status]" api:"enum=success|failed"`
	Codes    []string `query:"filters[code]" doc:"HTTP status, or class of error."`
	Manual   []string `query:"filters[manual]" api:"enum=true|false"`
	Numbers  []string `query:"filters[attempt_number]" doc:"From 1."`
}

type measuredJSON struct {
	Data     []measuredPointJSON  `json:"data"`
	Metadata measuredMetadataJSON `json:"metadata"`
}

type measuredPointJSON struct {
	Bucket     *time.Time        `json:"time_bucket,omitempty" doc:"Start of the bucket; absent without 'granularity'."`
	Dimensions map[string]string `json:"dimensions" doc:"By the names that were asked for."`
	Metrics    map[string]any    `json:"metrics" doc:"By measure: whole numbers, and fractions for rates and averages."`
}

type measuredMetadataJSON struct {
	Granularity string `json:"granularity,omitempty"`
	QueryTimeMS int64  `json:"query_time_ms"`
	RowCount    int    `json:"row_count"`
	RowLimit    int    `json:"row_limit"`
	Truncated   bool   `json:"truncated" doc:"Whether there were more rows than the limit."`
}

func (a *API) measureEvents(ctx context.Context, c *Call, req *measureEventsRequest) (*Reply, error) {
	return a.measure(ctx, c, req.measureParams, nil, a.Store.MeasureEvents)
}

func (a *API) measureAttempts(ctx context.Context, c *Call, req *measureAttemptsRequest) (*Reply, error) {
	return a.measure(ctx, c, req.measureParams, map[string][]string{"destination_type": req.Types, "status": req.Statuses,
		"code":   req.Codes,
		"manual": req.Manual, "attempt_number": req.Numbers}, a.Store.MeasureAttempts)
}

func (a *API) measure(ctx context.Context, c *Call, p measureParams, filters map[string][]string,
	run func(context.Context, models.Scope, models.MeasureQuery) (*models.Measured, error)) (*Reply, error) {
	if c.Actor.TenantID != "" {
		// A caller that sees one tenant must not learn of others, not even by asking for none.
		for _, d := range p.Dimensions {
			if d == "tenant_id" {
				return nil, notForTenants("dimensions")
			}
		}
		if len(p.Tenants) > 0 {
			return nil, notForTenants("filters[tenant_id]")
		}
	}
	scope, err := a.Store.Of(ctx, c.Scope(), p.Tenant)
	if err != nil {
		return nil, err
	}
	q := models.MeasureQuery{Start: p.Start, End: p.End, Granularity: p.Granularity, Measures: p.Measures, Dimensions: p.Dimensions,
		Filters: map[string][]string{"tenant_id": p.Tenants, "destination_id": p.Destinations, "topic": p.Topics}}
	for name, values := range filters {
		q.Filters[name] = values
	}
	m, err := run(ctx, scope, q)
	if err != nil {
		return nil, err
	}
	out := measuredJSON{Data: make([]measuredPointJSON, len(m.Points)), Metadata: measuredMetadataJSON{Granularity: p.Granularity,
		QueryTimeMS: m.Took.Milliseconds(), RowCount: len(m.Points), RowLimit: models.MaxMeasured, Truncated: m.Truncated}}
	for i, pt := range m.Points {
		out.Data[i] = measuredPointJSON{Dimensions: pt.Dimensions, Metrics: pt.Values}
		if !pt.Bucket.IsZero() {
			out.Data[i].Bucket = &m.Points[i].Bucket
		}
	}
	return &Reply{Status: http.StatusOK, Body: out}, nil
}

func notForTenants(field string) error {
	return &models.Error{Kind: models.KindForbidden,
		Message: "Only operators may split or filter by tenant_id; the numbers are of your own tenant anyway.",
		Fields:  map[string]string{field: "must not name tenant_id"}}
}
