package models

import "time"

// Span is a part of time. Zero times are open ends.
type Span struct {
	GTE, GT, LTE, LT time.Time
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
func (s Span) happened(q *query) {
	since, until := s.Ends()
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
