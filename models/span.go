package models

import "time"

// Span is a part of time. Zero times are open ends.
type Span struct {
	GTE, GT, LTE, LT time.Time
}

// ReceivedSpan is when the events were received that a list shows. Of several conditions the strictest counts.
type ReceivedSpan struct {
	Since       time.Time `query:"since" label:"From" doc:"Received from then on; the same as 'received[gte]'."`
	Until       time.Time `query:"until" label:"To" doc:"Received before; the same as 'received[lt]'."`
	ReceivedGTE time.Time `query:"received[gte]" label:"Received from" doc:"Received then or later."`
	ReceivedGT  time.Time `query:"received[gt]" label:"Received after" doc:"Received later, by a millisecond at least."`
	ReceivedLTE time.Time `query:"received[lte]" label:"Received until" doc:"Received then, in that millisecond, or earlier."`
	ReceivedLT  time.Time `query:"received[lt]" label:"Received before" doc:"Received earlier."`
}

// ends is the same span by Since and Until alone.
func (r ReceivedSpan) ends() ReceivedSpan {
	s := Span{GTE: r.ReceivedGTE, GT: r.ReceivedGT, LTE: r.ReceivedLTE, LT: r.ReceivedLT}.Within(Span{GTE: r.Since, LT: r.Until})
	since, until := s.Ends()
	return ReceivedSpan{Since: since, Until: until}
}

// HappenedSpan is when the events happened that a list shows.
type HappenedSpan struct {
	GTE time.Time `query:"time[gte]" label:"Happened from" doc:"Happened then or later, by the event's 'time'."`
	GT  time.Time `query:"time[gt]" label:"Happened after" doc:"Happened later."`
	LTE time.Time `query:"time[lte]" label:"Happened until" doc:"Happened then or earlier."`
	LT  time.Time `query:"time[lt]" label:"Happened before" doc:"Happened earlier."`
}

// StartedSpan is when the attempts were started that a list shows. Of several conditions the strictest counts.
type StartedSpan struct {
	Since time.Time `query:"since" label:"From" doc:"Started from then on; the same as 'time[gte]'."`
	Until time.Time `query:"until" label:"To" doc:"Started before; the same as 'time[lt]'."`
	GTE   time.Time `query:"time[gte]" label:"Started from" doc:"Started then or later."`
	GT    time.Time `query:"time[gt]" label:"Started after" doc:"Started later."`
	LTE   time.Time `query:"time[lte]" label:"Started until" doc:"Started then or earlier."`
	LT    time.Time `query:"time[lt]" label:"Started before" doc:"Started earlier."`
}

// within is the same span without Since and Until.
func (r StartedSpan) within() StartedSpan {
	s := Span{GTE: r.GTE, GT: r.GT, LTE: r.LTE, LT: r.LT}.Within(Span{GTE: r.Since, LT: r.Until})
	return StartedSpan{GTE: s.GTE, GT: s.GT, LTE: s.LTE, LT: s.LT}
}

// grain is what an event's id tells of its time.
const grain = time.Millisecond

func ceil(t time.Time) time.Time {
	if c := t.Truncate(grain); c.Before(t) {
		return c.Add(grain)
	}
	return t
}

// Ends are the span's ends for times of whole milliseconds: from since until before until. Of two conditions on one end the
// stricter counts.
func (s Span) Ends() (since, until time.Time) {
	if !s.GTE.IsZero() {
		since = ceil(s.GTE)
	}
	if !s.GT.IsZero() {
		since = later(since, s.GT.Truncate(grain).Add(grain))
	}
	if !s.LT.IsZero() {
		until = ceil(s.LT)
	}
	if !s.LTE.IsZero() {
		until = earlier(until, s.LTE.Truncate(grain).Add(grain))
	}
	return since, until
}

// Within is the span as far as it lies within another.
func (s Span) Within(o Span) Span {
	return Span{GTE: later(s.GTE, o.GTE), GT: later(s.GT, o.GT), LTE: earlier(s.LTE, o.LTE), LT: earlier(s.LT, o.LT)}
}

func later(a, b time.Time) time.Time {
	if a.IsZero() || b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// happened asks for events e that happened within the span: by the publisher's clock, or where it did not say by the time of
// receipt, which is in the id.
func (s HappenedSpan) happened(q *query) {
	since, until := Span(s).Ends()
	for _, c := range []struct {
		op string
		at time.Time
	}{{">=", s.GTE}, {">", s.GT}, {"<", s.LT}, {"<=", s.LTE}} {
		switch {
		case c.at.IsZero():
		case c.op[0] == '>':
			q.and("(e.time "+c.op+" ? or e.time is null and e.id >= ?)", c.at, lowestUUID(since))
		default:
			q.and("(e.time "+c.op+" ? or e.time is null and e.id < ?)", c.at, lowestUUID(until))
		}
	}
}
