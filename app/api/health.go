package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type ratesJSON struct {
	Deliveries       int      `json:"deliveries" doc:"Attempted for the first time."`
	FailedDeliveries int      `json:"failed_deliveries" doc:"Of those, failed the first attempt."`
	Attempts         int      `json:"attempts"`
	FailedAttempts   int      `json:"failed_attempts"`
	GivenUp          int      `json:"given_up" doc:"Deliveries that have failed: no retry is left."`
	FailurePercent   *float64 `json:"failure_rate" doc:"Of the deliveries, in percent; null when there was none."`
	FilterFailures   int      `json:"filter_failures" doc:"Events on which the filter failed."`
}

func ratesToJSON(r models.Rates) ratesJSON {
	j := ratesJSON{r.Deliveries, r.Failed, r.Attempts, r.FailedAttempts, r.GivenUp, nil, r.FilterFailures}
	if r.Deliveries > 0 {
		p := 100 - r.DeliveredPercent()
		j.FailurePercent = &p
	}
	return j
}

type healthBucketJSON struct {
	Start          time.Time `json:"start"`
	FailuresInARow int       `json:"failures_in_a_row" doc:"The most within it."`
	ratesJSON
}

type destinationHealthJSON struct {
	Failures     int                  `json:"failures_in_a_row" doc:"Deliveries that failed since the last success."`
	Attempts     int                  `json:"failed_attempts_in_a_row" doc:"Attempts that failed since the last success."`
	GivenUp      int                  `json:"given_up" doc:"Deliveries of these that have failed: no retry is left."`
	Since        *time.Time           `json:"failing_since" doc:"null while it does not fail."`
	LastFailure  *time.Time           `json:"last_failure_at" doc:"null for never."`
	LastSuccess  *time.Time           `json:"last_success_at" doc:"null for never."`
	LastError    *errorJSON           `json:"last_error" doc:"null while there was none."`
	Certificate  *certificateJSON     `json:"certificate" doc:"null without TLS, and before the first connection."`
	Waits        *waitsJSON           `json:"waits" doc:"Why deliveries that are due are not made yet; null when none waits."`
	DisableAfter int                  `json:"disable_after" doc:"Limit in force; 0 for never."`
	Rates        map[string]ratesJSON `json:"rates" doc:"By window: '15m', '1h', '24h'."`
	History      []healthBucketJSON   `json:"history" doc:"The last 24 hours by the hour, without empty ones."`
}

type waitsJSON struct {
	Why        string     `json:"why" api:"enum=asked|eased|failing|limited|slow|short" doc:"The receiver asked for a pause or to slow down; it keeps failing and is tried a few times a second; it has a rate limit; it answers slowly; this server lacks ports, files or memory."`
	Reason     string     `json:"reason" doc:"The same in a sentence."`
	Deliveries int        `json:"deliveries" doc:"How many are due, up to 10,000."`
	Until      *time.Time `json:"until" doc:"When they will have been tried, about; null when that is not known."`
}

type certificateJSON struct {
	ExpiresAt time.Time `json:"expires_at"`
	SeenAt    time.Time `json:"seen_at" doc:"When the attempt was started whose connection showed it."`
}

// healthWindows are the windows for which rates are told.
var healthWindows = map[string]time.Duration{"15m": 15 * time.Minute, "1h": time.Hour, "24h": 24 * time.Hour}

// getHealth tells how a destination does.
func (a *API) getHealth(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	t, err := a.Store.Tenant(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	h, now := d.Health, time.Now()
	out := destinationHealthJSON{Failures: h.Failures, Attempts: h.Attempts, GivenUp: h.GivenUp, Since: h.Since, LastFailure: h.LastFailure,
		LastSuccess:  h.LastSuccess,
		DisableAfter: d.DisableLimit(a.Store.RulesOf(t).DisableAfter), Rates: map[string]ratesJSON{}, History: []healthBucketJSON{}}
	if h.ErrorClass != "" {
		out.LastError = &errorJSON{h.ErrorClass, h.Error, h.Advice}
	}
	if h.CertificateEnds != nil {
		out.Certificate = &certificateJSON{*h.CertificateEnds, *h.CertificateAt}
	}
	waits, err := a.Store.Waits(ctx, []int64{d.Key})
	if err != nil {
		return nil, err
	}
	if w := waits[d.Key]; w != nil {
		out.Waits = &waitsJSON{Why: w.Why, Reason: w.Reason(), Deliveries: w.Waiting}
		if at := w.Expected(now); !at.IsZero() {
			out.Waits.Until = &at
		}
	}
	for name, window := range healthWindows {
		r, err := a.Store.RatesOf(ctx, d.Key, now.Add(-window))
		if err != nil {
			return nil, err
		}
		out.Rates[name] = ratesToJSON(r)
	}
	history, err := a.Store.HealthHistory(ctx, now.Add(-24*time.Hour), time.Hour, d.Key)
	if err != nil {
		return nil, err
	}
	for _, b := range history {
		out.History = append(out.History, healthBucketJSON{b.Start, b.Peak, ratesToJSON(b.Rates)})
	}
	return &Reply{Body: out}, nil
}
