package jobs

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// decision is what follows from an attempt.
type decision struct {
	status  string
	reason  string        // for failed and cancelled
	wait    time.Duration // until the next attempt, with retrying
	disable string        // why the destination is to be disabled; empty otherwise
}

// tried is an attempt as the decision needs it.
type tried struct {
	policy   models.RetryPolicy
	eligible bool            // the event may be retried
	number   int             // of the attempt, from 1
	err      *adapters.Error // nil when it was acknowledged
	code     int             // status of the answer, 0 when there was none
	asked    time.Duration   // the wait that the receiver asked for
	random   float64         // in [0, 1), for jitter
}

// decide says what follows from an attempt. It is the only place that does.
func decide(t tried) decision {
	e := t.err
	if e == nil {
		return decision{status: models.StatusDelivered}
	}
	switch e.Kind {
	case adapters.KindAbort:
		return failed("The receiver asked to end this delivery.")
	case adapters.KindGone:
		d := failed("The receiver says that it is gone for good.")
		d.disable = "The receiver says that it is gone for good: " + e.Message
		return d
	}
	retry, byPolicy := t.policy.Retries(t.code, string(e.Class))
	if !byPolicy {
		retry = e.Kind != adapters.KindPermanent
	}
	switch {
	case !retry && byPolicy:
		return failed("The retry_on in force leaves this error out, so that it is final.")
	case !retry:
		return failed("The receiver refuses this event as it is; trying again would not help.")
	case !t.eligible:
		return failed("The event was published as not eligible for retry, so that there was one attempt.")
	case t.number >= t.policy.Attempts():
		return failed(fmt.Sprintf("All %d attempts failed.", t.number))
	}
	asked := max(t.asked, e.After)
	return decision{status: models.StatusRetrying, wait: t.policy.Next(t.number, asked, t.random)}
}

func failed(reason string) decision { return decision{status: models.StatusFailed, reason: reason} }
