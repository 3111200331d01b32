package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// awaitField lets a receiver accept an event first and say later whether it has worked it off.
const awaitField = "await_completion"

// How long to wait between two looks at a status resource that does not say so itself.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// deliver posts the event. With await_completion, a receiver that answers 202 and names a status resource (RFC 9110, section
// 15.3.3) has not acknowledged the event until that resource says so, within the time for the whole attempt.
func (s *sender) deliver(ctx context.Context, r outbound.Request) (adapters.Receipt, error) {
	if !s.await {
		return s.client.Deliver(ctx, r)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.Do(ctx, r)
	if err != nil && resp.Code < 300 {
		return resp.Receipt, err
	}
	if e := outbound.Verdict(&resp); e != nil {
		return resp.Receipt, e
	}
	if resp.Code != http.StatusAccepted || resp.Location == "" {
		return resp.Receipt, nil
	}
	target, ok := s.statusTarget(resp.Location)
	if !ok {
		return resp.Receipt, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassProtocol,
			Message: "The receiver accepted the event (202) and named a status resource at another address, which is not asked.",
			Advice:  "Let Location name a resource of the same scheme, host and port as the destination's URL."}
	}
	if e := s.complete(ctx, &resp, target); e != nil {
		return resp.Receipt, e
	}
	return resp.Receipt, nil
}

// statusTarget is the path and query of a status resource. It must be where the event was posted to: what is sent along, such
// as custom headers with credentials, is for that receiver only.
func (s *sender) statusTarget(location string) (string, bool) {
	base, err := url.Parse(s.settings.Config["url"])
	if err != nil {
		return "", false
	}
	to, err := base.Parse(location)
	if err != nil {
		return "", false
	}
	to.Fragment = ""
	at, err := outbound.ParseURL(to.String())
	if err != nil || at.Scheme != s.endpoint.Scheme || at.Host != s.endpoint.Host || at.Port != s.endpoint.Port {
		return "", false
	}
	return at.Target, true
}

// complete asks the status resource until it says how the event has ended: 303 or a 2xx that is not preliminary completes it,
// any other status fails the attempt. 202 and a Retry-After beside a 2xx are preliminary. What it answers last is put into
// the receipt of the post.
func (s *sender) complete(ctx context.Context, posted *outbound.Response, target string) *adapters.Error {
	wait, pause := posted.After, firstPause
	for {
		if wait <= 0 {
			wait, pause = pause, min(2*pause, maxPause)
		}
		if end, _ := ctx.Deadline(); time.Until(end) < wait {
			return s.incomplete()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s.incomplete()
		}
		wait = 0
		resp, err := s.client.Do(ctx, outbound.Request{Method: http.MethodGet, Target: target, Header: &s.base})
		if err != nil {
			continue // The event was posted and must not be posted again for an answer that got lost on its way.
		}
		posted.Code, posted.RespHeader, posted.Body, posted.Truncated, posted.Retry = resp.Code, resp.RespHeader, resp.Body, resp.Truncated,
			resp.Retry
		switch {
		case resp.Code == http.StatusAccepted || resp.Code < 300 && resp.After > 0:
			wait = resp.After
			continue
		case resp.Code < 300 || resp.Code == http.StatusSeeOther:
			return nil
		}
		e := outbound.Verdict(&resp)
		if resp.Control == "" && e.Kind != adapters.KindThrottled {
			// A status resource that is gone or refuses says nothing about the address that events are posted to.
			e.Kind = adapters.KindTransient
			e.Message = fmt.Sprintf("The receiver accepted the event (202), and its status resource answered %d.", resp.Code)
			e.Advice = "Check the receiver's logs near this time, with the event id."
		}
		return e
	}
}

func (s *sender) incomplete() *adapters.Error {
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout,
		Message: fmt.Sprintf("The receiver accepted the event (202) and did not report its completion within %s.", s.timeout),
		Advice:  "Raise the destination's timeout, or see why the receiver's status resource does not change."}
}
