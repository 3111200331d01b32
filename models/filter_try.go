package models

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
)

// TrialEvents is how many recent events a filter is tried on unless the caller says otherwise.
const TrialEvents = 50

// MaxTrialEvents is how many recent events a filter can be tried on.
const MaxTrialEvents = 1000

// trialScan is among how many of a tenant's newest events those of certain topics are looked for.
const trialScan = 20_000

// RecentEvents lists the newest events that subscriptions to topics take, without their deliveries, newest first. No subscriptions
// mean all. Rare topics are looked for among the newest events only, so that it takes bounded time.
func (s *Store) RecentEvents(ctx context.Context, scope Scope, topics []string, limit int) ([]*Event, error) {
	q := newQuery()
	scope.where(q, "e.tenant_key")
	q.and("t.deleted_at is null")
	q.and("e.erased_at is null")
	if len(topics) > 0 && !slices.Contains(topics, AllTopics) {
		_, oldest, err := s.eventWindow(ctx, scope, uuid.UUID{}, highestUUID, "desc", trialScan)
		if err != nil {
			return nil, err
		}
		q.and("e.id >= ?", oldest)
		q.and("e.topic like any(?)", likePatterns(topics))
	}
	rows, err := s.pool.Query(ctx, eventSelect+q.sql()+" order by e.id desc"+q.limit(limit), q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.eventScanner(ctx))
}

// likePatterns are subscriptions as SQL's LIKE takes them.
func likePatterns(subscriptions []string) []string {
	out := make([]string, len(subscriptions))
	for i, s := range subscriptions {
		out[i] = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(s)
	}
	return out
}

// Try evaluates a filter on the event and says which rule decided.
func (e *Event) Try(f *filter.Filter) filter.Verdict { return f.Explain(e.doc()) }

// Transform returns what a transform makes of the event. The error is a sentence for whoever wrote the transform.
func (e *Event) Transform(p *filter.Projection) ([]byte, error) { return p.Body(e.doc()) }

// TrialEvent is an event that a caller makes up to try a filter or a transform on.
type TrialEvent struct {
	ID       string            `json:"id"`
	Topic    string            `json:"topic"`
	Time     *time.Time        `json:"time" doc:"Now when missing."`
	Metadata map[string]string `json:"metadata"`
	Data     json.RawMessage   `json:"data" doc:"Any JSON."`
}

// Event makes an event of what the caller wrote.
func (t *TrialEvent) Event() *Event {
	e := &Event{ID: t.ID, Topic: t.Topic, Time: time.Now().UTC(), Metadata: t.Metadata, Data: t.Data}
	if t.Time != nil {
		e.Time = *t.Time
	}
	return e
}

// FilterError is the error about a filter that cannot be understood, with its place. field names the filter in the
// caller's request.
func FilterError(field string, err error) *Error {
	e := Invalid(field, filterMessage(err))
	e.Position = filterPosition(err)
	return e
}

// filterPosition is where in a filter the mistake is; nil when it is the filter as a whole.
func filterPosition(err error) *Position {
	var fe *filter.Error
	if errors.As(err, &fe) && (fe.Line > 0 || fe.Path != "") {
		return &Position{Line: fe.Line, Column: fe.Column, Path: fe.Path}
	}
	return nil
}

// seenFields bounds the fields of one event that are suggested.
const seenFields = 300

// SuggestedField is a field that was seen in recent events.
type SuggestedField struct {
	filter.SeenField
	Events int // in how many of the events
}

// SuggestFields lists the fields of the events, those in most events first. The type and the example are those of the
// newest event that has the field.
func SuggestFields(events []*Event) []SuggestedField {
	place := map[string]int{}
	var out []SuggestedField
	for _, e := range events {
		for _, f := range e.doc().Fields(seenFields) {
			i, known := place[f.Path]
			if !known {
				i = len(out)
				place[f.Path] = i
				out = append(out, SuggestedField{SeenField: f})
			}
			if out[i].Type == "null" {
				out[i].SeenField = f // what the field holds when it holds something says more
			}
			out[i].Events++
		}
	}
	slices.SortStableFunc(out, func(a, b SuggestedField) int { return b.Events - a.Events })
	return out
}
