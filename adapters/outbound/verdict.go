package outbound

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Values of the answer header Webhook-Delivery, which receivers may send with any status but 2xx.
const (
	ControlDisable = "disable"       // deliver nothing more to this destination
	ControlAbort   = "abort-message" // do not try this event again
)

// Deliver is Do with the answer judged by Verdict: nil means that a status of success has come, and the whole answer
// behind it.
func (c *Client) Deliver(ctx context.Context, r Request) (adapters.Receipt, error) {
	resp, err := c.Do(ctx, r)
	if err != nil && resp.Code < 300 {
		// No status, or one of success whose answer broke off: not an acknowledgement.
		return resp.Receipt, err
	}
	if e := Verdict(&resp); e != nil {
		return resp.Receipt, e
	}
	return resp.Receipt, nil
}

// Verdict says what the status of a complete or partial answer means for the delivery; nil is success.
//
// 2xx is success whatever else the answer says. Statuses with which a receiver refuses what it looked at (400, 405,
// 411, 413, 414, 415, 422, 431) are final. 410, and any failing status with "Webhook-Delivery: disable", says that the
// destination is gone. 429 and 503 slow the destination down. Everything else is worth another try.
func Verdict(r *Response) *adapters.Error {
	code := r.Code
	if code >= 200 && code < 300 {
		return nil
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Raw: strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))}
	switch r.Control {
	case ControlDisable:
		e.Kind, e.Class = adapters.KindGone, adapters.ClassGone
		e.Message = fmt.Sprintf("The receiver asked for no more events (%d, webhook-delivery: disable).", code)
		e.Advice = "Enable the destination again once the receiver wants events."
		return e
	case ControlAbort:
		e.Kind, e.Class = adapters.KindAbort, adapters.ClassAborted
		e.Message = fmt.Sprintf("The receiver asked to end this delivery (%d, webhook-delivery: abort-message).", code)
		e.Advice = "Retry it by hand if the receiver should get it after all."
		return e
	}
	switch {
	case code < 400:
		e.Class = adapters.ClassRedirect
		e.Message = fmt.Sprintf("Answered %d; redirects are not followed.", code)
		if to := shortLocation(r.Location); to != "" {
			e.Message = fmt.Sprintf("Redirected to %s; redirects are not followed.", to)
		}
		e.Advice = "Change the destination's URL to the address that answers itself."
	case code < 500:
		clientFault(e, r)
	case code == 503:
		e.Kind, e.After = adapters.KindThrottled, r.Retry
		e.Class, e.Message = adapters.ClassServer, "The receiver answered 503."
		e.Advice = "Check the receiver's logs near this time, with the event id."
		if r.Retry > 0 {
			e.Class = adapters.ClassThrottled
			e.Message = fmt.Sprintf("The receiver is not available (503); next try honours Retry-After %s.", human(r.Retry))
		}
	default:
		e.Class, e.Message = adapters.ClassServer, fmt.Sprintf("The receiver answered %d.", code)
		e.Advice = "Check the receiver's logs near this time, with the event id."
	}
	return e
}

func clientFault(e *adapters.Error, r *Response) {
	code := r.Code
	e.Class = adapters.ClassRejected
	e.Message = fmt.Sprintf("The receiver refused the event: %d.", code)
	e.Advice = "The answer's body may say why; correct the receiver, then retry."
	switch code {
	case 400, 405, 411, 414, 415, 422, 431:
		e.Kind = adapters.KindPermanent
		if code == 405 {
			e.Advice = "Check the URL: this path does not accept POST."
		}
	case 413:
		e.Kind, e.Class = adapters.KindPermanent, adapters.ClassTooLarge
		e.Message = "The payload is larger than the receiver accepts (413)."
		e.Advice = "Raise the receiver's limit, send less data, or filter such events out."
	case 401, 403, 407:
		e.Class = adapters.ClassAuth
		e.Message = fmt.Sprintf("The receiver refused our credentials (%d).", code)
		e.Advice = "Check the secret with which the receiver verifies signatures, and the destination's custom headers."
	case 404:
		e.Class = adapters.ClassNotFound
		e.Message = "The target does not exist (404)."
		e.Advice = "Check the path of the destination's URL."
	case 408:
		e.Class = adapters.ClassTimeout
		e.Message = "The receiver did not get the whole request in time (408)."
		e.Advice = "Check the receiver and the proxies in front of it."
	case 409, 425:
		e.Message = fmt.Sprintf("The receiver cannot take the event now: %d.", code)
		e.Advice = "It will be retried."
	case 410:
		e.Kind, e.Class = adapters.KindGone, adapters.ClassGone
		e.Message = "The target does not exist any more (410)."
		e.Advice = "Correct the URL and enable the destination again, or delete it."
	case 429:
		e.Kind, e.Class, e.After = adapters.KindThrottled, adapters.ClassThrottled, r.Retry
		e.Message = "Asked to slow down."
		if r.Retry > 0 {
			e.Message = fmt.Sprintf("Asked to slow down; next try honours Retry-After %s.", human(r.Retry))
		}
		e.Advice = "Lower the destination's rate limit, or raise the receiver's."
	}
}

// shortLocation is where a redirect points, without a query or user, which may hold credentials.
func shortLocation(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return clip(u.String(), 200)
}

// maxRetryAfter bounds what a receiver may ask for, far above every schedule, so that sums do not overflow.
const maxRetryAfter = 365 * 24 * time.Hour

// RetryAfter reads a Retry-After header: seconds or a date (RFC 9110, section 10.2.3). It is 0 for a date in the past
// and for anything else.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
