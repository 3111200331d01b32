package models

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
)

// tailKept is how old a cursor may be with which a reader goes on.
const tailKept = 24 * time.Hour

// Start is what a reader is told first: what has come since a cursor. "now" is the cursor of now. What is looked for again is
// told again, so that readers know events by their ids.
func (r *TailReader) Start(ctx context.Context, after string) (*TailPart, error) {
	s := r.t.s
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	from := now
	if after != "" && after != TailNow {
		var ok bool
		if from, ok = parseMoment(after); !ok {
			return nil, Invalid("after", `must be "now", or a cursor that an earlier answer gave`)
		}
	}
	if from.ahead(now) {
		return nil, aheadOfTail()
	}
	// Not before it is counted in: between that and what is read here nothing may be missed.
	select {
	case <-r.joined:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.t.ctx.Done():
		return &TailPart{Cursor: from.cursor()}, nil
	}
	if now.at.Sub(from.at) > tailKept {
		return r.reload(now, "The cursor is older than a day.")
	}
	select {
	case r.t.resume <- struct{}{}:
		defer func() { <-r.t.resume }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return r.since(ctx, from)
}

func (r *TailReader) reload(now moment, why string) (*TailPart, error) {
	text, err := r.t.write(TailMessage{Reload: why})
	return &TailPart{Text: text, Cursor: now.cursor()}, err
}

// since makes a part of what has come since a moment.
func (r *TailReader) since(ctx context.Context, from moment) (*TailPart, error) {
	m := r.match
	tracked, err := m.newest(ctx, tailTracked)
	if err != nil {
		return nil, err
	}
	span := tailSpan{since: from, late: tailLatest, events: wideEvents, deliveries: usualDeliveries, scope: m.scope, tracked: tracked}
	if time.Since(from.at) > wideEvery {
		span.deliveries = wideDeliveries
	}
	seen, err := m.s.tailLook(ctx, span)
	if err != nil {
		return nil, err
	}
	ids, fresh := m.scope.seesOf(seen.rows)
	if len(ids) > tailAmong {
		return r.reload(seen.now, "More has changed since the cursor than is told at once.")
	}
	matched, err := m.among(ctx, ids)
	if err != nil {
		return nil, err
	}
	tell := make([]uuid.UUID, 0, len(matched))
	for _, id := range ids {
		if slices.Contains(matched, id) || slices.Contains(tracked, id) {
			tell = append(tell, id)
		}
	}
	if len(tell) > tailMost {
		return r.reload(seen.now, "More has changed since the cursor than is told at once.")
	}
	list, err := m.s.summaries(ctx, tell)
	if err != nil {
		return nil, err
	}
	part := &TailPart{Cursor: seen.now.cursor()}
	for _, e := range list {
		text, err := r.t.write(TailMessage{Event: e, Fresh: fresh[e.Key], Matches: slices.Contains(matched, e.Key)})
		if err != nil {
			return nil, err
		}
		part.Text = append(part.Text, text...)
	}
	return part, nil
}
