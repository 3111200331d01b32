package api

import (
	"context"
	"math"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type overviewRequest struct {
	Tenant string `query:"tenant_id" doc:"Only of this tenant; a tenant's key sees its own only."`
	Range  string `query:"range" api:"enum=1h|24h|7d|30d,default=24h" doc:"Length of the span, which ends now."`
}

// overviewJSON are the numbers that docs/monitoring.md defines.
type overviewJSON struct {
	Range        string    `json:"range"`
	Since        time.Time `json:"since" doc:"Start of the span: of its first bucket."`
	Until        time.Time `json:"until" doc:"Now."`
	CountedSince time.Time `json:"counted_since" doc:"From when on numbers are counted. What was before is in none of them."`

	Received    countedJSON `json:"received" doc:"Events accepted."`
	Delivered   countedJSON `json:"delivered" doc:"Deliveries that were acknowledged."`
	Failed      countedJSON `json:"failed" doc:"Deliveries that were given up. What is held or tried again is not among them."`
	SuccessRate ratioJSON   `json:"success_rate" doc:"Share of first attempts that succeeded, in percent."`
	P50         ratioJSON   `json:"latency_p50_ms" doc:"Time from receipt to acknowledgement, automatic retries included, that half of the deliveries did not exceed; within 5 %."`
	P95         ratioJSON   `json:"latency_p95_ms" doc:"The same for 95 of 100."`

	Retrying  *int      `json:"retrying" doc:"Deliveries that have failed and are due again, now; null when there are too many to be counted in time."`
	Held      *int      `json:"held" doc:"Deliveries that are kept for a destination that is or was disabled, now; null as above."`
	WaitingAt time.Time `json:"waiting_counted_at" doc:"When these two were counted: a moment ago where there are many."`
	Failing   int       `json:"failing" doc:"Destinations that fail, now: three deliveries in a row have failed, or one was given up, and none succeeded since. Disabled ones are not among them."`
	Disabled  int       `json:"disabled" doc:"Destinations that are disabled, now."`

	PointSeconds  int                  `json:"point_seconds" doc:"Length of what one of 'points' stands for."`
	BucketSeconds int                  `json:"bucket_seconds" doc:"Length of a bucket."`
	Points        []overviewPointJSON  `json:"points" doc:"All of the span in 20 to 28 parts of the same length, in order; the last is not over."`
	Buckets       []overviewBucketJSON `json:"buckets" doc:"The same in shorter parts: 60 for an hour, 48 for a day, 56 for a week, 60 for a month."`
}

type overviewPointJSON struct {
	Start       time.Time `json:"start"`
	Received    int64     `json:"received"`
	Delivered   int64     `json:"delivered"`
	Failed      int64     `json:"failed"`
	SuccessRate *float64  `json:"success_rate" api:"null" doc:"null when there was no first attempt."`
	P50         *float64  `json:"latency_p50_ms" api:"null" doc:"null when nothing was delivered."`
	P95         *float64  `json:"latency_p95_ms" api:"null" doc:"null when nothing was delivered."`
}

type countedJSON struct {
	Value    int64  `json:"value"`
	Previous *int64 `json:"previous" api:"null" doc:"Of the span before; null when that was not counted as a whole."`
}

type ratioJSON struct {
	Value    *float64 `json:"value" api:"null" doc:"null when there was nothing to tell it of."`
	Previous *float64 `json:"previous" api:"null" doc:"Of the span before; null when that was not counted as a whole."`
}

type overviewBucketJSON struct {
	Start     time.Time `json:"start"`
	Received  int64     `json:"received"`
	Delivered int64     `json:"delivered"`
	Retrying  int64     `json:"retrying" doc:"Deliveries whose first attempt failed, and that are tried again."`
	Failed    int64     `json:"failed" doc:"Deliveries that were given up."`
}

func (a *API) getOverview(ctx context.Context, c *Call, req *overviewRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	o, err := a.Store.Overview(ctx, scope, req.Range, time.Now())
	if err != nil {
		return nil, err
	}
	out := overviewJSON{Range: o.Range, Since: o.Since, Until: o.Until, CountedSince: o.CountedSince, Retrying: o.Retrying, Held: o.Held,
		WaitingAt: o.WaitingAt, Failing: o.Failing, Disabled: o.Disabled, PointSeconds: int(o.Point.Seconds()),
		BucketSeconds: int(o.Bucket.Seconds()),
		Received:      countedOf(o, func(t *models.Traffic) int64 { return t.Received }),
		Delivered:     countedOf(o, func(t *models.Traffic) int64 { return t.Delivered }),
		Failed:        countedOf(o, func(t *models.Traffic) int64 { return t.Failed }),
		SuccessRate:   ratioOf(o, (*models.Traffic).SuccessPercent),
		P50:           ratioOf(o, latencyMS(0.5)), P95: ratioOf(o, latencyMS(0.95))}
	for i := range o.Points {
		t := &o.Points[i].Traffic
		out.Points = append(out.Points, overviewPointJSON{o.Points[i].Start, t.Received, t.Delivered, t.Failed,
			rounded(t, (*models.Traffic).SuccessPercent), rounded(t, latencyMS(0.5)), rounded(t, latencyMS(0.95))})
	}
	for _, b := range o.Buckets {
		out.Buckets = append(out.Buckets, overviewBucketJSON{b.Start, b.Received, b.Delivered, b.Retrying, b.Failed})
	}
	return &Reply{Body: out}, nil
}

func countedOf(o *models.Overview, of func(*models.Traffic) int64) countedJSON {
	out := countedJSON{Value: of(&o.Sum)}
	if o.Before != nil {
		n := of(o.Before)
		out.Previous = &n
	}
	return out
}

func ratioOf(o *models.Overview, of func(*models.Traffic) (float64, bool)) ratioJSON {
	out := ratioJSON{Value: rounded(&o.Sum, of)}
	if o.Before != nil {
		out.Previous = rounded(o.Before, of)
	}
	return out
}

// rounded is a number to three places; nil when there is nothing to tell it of.
func rounded(t *models.Traffic, of func(*models.Traffic) (float64, bool)) *float64 {
	v, ok := of(t)
	if !ok {
		return nil
	}
	v = math.Round(v*1000) / 1000
	return &v
}

func latencyMS(p float64) func(*models.Traffic) (float64, bool) {
	return func(t *models.Traffic) (float64, bool) {
		d, ok := t.Latency(p)
		return float64(d) / float64(time.Millisecond), ok
	}
}

// namedDestinationJSON is a destination as numbers name it.
type namedDestinationJSON struct {
	TenantID        string `json:"tenant_id"`
	DestinationID   string `json:"destination_id"`
	DestinationName string `json:"destination_name" doc:"May be empty."`
	DestinationType string `json:"destination_type" api:"schema=DestinationType"`
}

func namedToJSON(d *models.Destination) namedDestinationJSON {
	return namedDestinationJSON{d.TenantID, d.ID, d.Name, d.Type}
}

type failuresJSON struct {
	Since        time.Time          `json:"since" doc:"Start of the span: events received from then on."`
	Total        int                `json:"total" doc:"Deliveries in all groups, of those that are not shown too."`
	Complete     bool               `json:"complete" doc:"Whether all were looked at. Otherwise there are more than 10,000 in a state, and the newest of them were."`
	CountedSince time.Time          `json:"counted_since" doc:"Those of events that were received from then on are counted: 'since' when it is complete."`
	Groups       []failureGroupJSON `json:"groups" doc:"The largest first, at most 50."`
}

type failureGroupJSON struct {
	namedDestinationJSON
	ErrorClass string     `json:"error_class" doc:"May be empty."`
	Error      string     `json:"error" doc:"The message, with … in place of what differs, such as ports and ids."`
	Example    string     `json:"example" doc:"The last message, as it was."`
	Count      int        `json:"count"`
	Failed     int        `json:"failed" doc:"Of these, given up."`
	Retrying   int        `json:"retrying" doc:"Of these, tried again."`
	Last       *time.Time `json:"last_attempt_at" api:"null" doc:"null when none was attempted, as with a filter that failed."`
}

func (a *API) getFailures(ctx context.Context, c *Call, req *overviewRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	since, err := models.OverviewSince(req.Range, time.Now())
	if err != nil {
		return nil, err
	}
	f, err := a.Store.Failures(ctx, scope, since)
	if err != nil {
		return nil, err
	}
	out := failuresJSON{Since: since, Total: f.Total, Complete: f.Complete, CountedSince: f.CountedSince, Groups: []failureGroupJSON{}}
	for _, g := range f.Groups {
		j := failureGroupJSON{namedToJSON(g.Destination), g.ErrorClass, g.Error, g.Example, g.Failed + g.Retrying, g.Failed, g.Retrying,
			nil}
		if !g.Last.IsZero() {
			j.Last = &g.Last
		}
		out.Groups = append(out.Groups, j)
	}
	return &Reply{Body: out}, nil
}

type busiestJSON struct {
	PointSeconds int        `json:"point_seconds" doc:"Length of what one of 'points' stands for."`
	Models       []busyJSON `json:"models" doc:"The busiest first, at most six."`
}

type busyJSON struct {
	namedDestinationJSON
	Delivered int             `json:"delivered"`
	ErrorRate *float64        `json:"error_rate" api:"null" doc:"Share of first attempts that failed, in percent; null when there was none."`
	GivenUp   int             `json:"failed" doc:"Deliveries that were given up."`
	P95       *float64        `json:"latency_p95_ms" api:"null" doc:"Time from receipt to acknowledgement that 95 of 100 of its newest 1,000 deliveries did not exceed; null when there was none."`
	Points    []busyPointJSON `json:"points"`
}

type busyPointJSON struct {
	Start     time.Time `json:"start"`
	Delivered int       `json:"delivered"`
	Failed    int       `json:"failed" doc:"First attempts that failed."`
}

func (a *API) getBusiest(ctx context.Context, c *Call, req *overviewRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	list, point, err := a.Store.Busiest(ctx, scope, req.Range, time.Now(), 6)
	if err != nil {
		return nil, err
	}
	out := busiestJSON{PointSeconds: int(point.Seconds()), Models: []busyJSON{}}
	for _, b := range list {
		j := busyJSON{namedDestinationJSON: namedToJSON(b.Destination), Delivered: b.Delivered, GivenUp: b.GivenUp}
		if b.Deliveries > 0 {
			rate := 100 - b.DeliveredPercent()
			j.ErrorRate = &rate
		}
		if b.P95 != nil {
			ms := float64(b.P95.Microseconds()) / 1000
			j.P95 = &ms
		}
		for _, p := range b.Points {
			j.Points = append(j.Points, busyPointJSON{p.Start, p.Delivered, p.Failed})
		}
		out.Models = append(out.Models, j)
	}
	return &Reply{Body: out}, nil
}
