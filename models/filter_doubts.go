package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/filter"
)

// Limits of the look at recent events, by which a filter that can never match is told from one that seldom does.
const (
	doubtEvents = 300             // the newest ones, of the filter's topics
	doubtBytes  = 16 << 20        // of their payloads
	doubtTime   = 2 * time.Second // what it may take; later there is no warning
	doubtScan   = trialScan       // among how many events those of certain topics are looked for
)

// Warning says that a request was carried out, but probably does not do what its sender means.
type Warning struct {
	Field   string  `json:"field" doc:"Of the request, that it is about."`
	Path    string  `json:"path" doc:"The field of events that no recent one has, as filters write it."`
	Meant   *string `json:"meant" doc:"The field that may be meant; null when none is alike."`
	Message string  `json:"message"`
}

// doubter looks through events for the fields that a filter needs.
type doubter struct {
	field    string // of the request
	needed   []filter.Needed
	nested   map[int]filter.Needed // where a key was written with dots, what is meant
	seen     []bool
	nestedIn []bool
	fields   []string // that the events have
	events   int
}

func newDoubter(field string, f *filter.Filter) *doubter {
	d := &doubter{field: field, needed: f.Needed(), nested: map[int]filter.Needed{}}
	d.seen, d.nestedIn = make([]bool, len(d.needed)), make([]bool, len(d.needed))
	for i, n := range d.needed {
		if m, ok := n.Nested(); ok {
			d.nested[i] = m
		}
	}
	return d
}

// look takes an event into account, and reports whether there is anything left to look for.
func (d *doubter) look(e *Event) bool {
	d.events++
	doc := e.doc()
	for i, n := range d.needed {
		d.seen[i] = d.seen[i] || n.In(doc)
		if m, ok := d.nested[i]; ok && !d.seen[i] {
			d.nestedIn[i] = d.nestedIn[i] || m.In(doc)
		}
	}
	left := slices.Contains(d.seen, false)
	if left {
		for _, f := range doc.Fields(seenFields) {
			if len(d.fields) < 10*seenFields && !slices.Contains(d.fields, f.Path) {
				d.fields = append(d.fields, f.Path)
			}
		}
	}
	return left
}

// warnings are about the fields that no event has. Without any event, only a key with dots is worth a word.
func (d *doubter) warnings() (list []Warning) {
	for i, n := range d.needed {
		m, dotted := d.nested[i]
		if d.seen[i] || d.events == 0 && !dotted {
			continue
		}
		w := Warning{Field: d.field, Path: n.Path()}
		w.Message = fmt.Sprintf("No event has the field %s, of the last %d that this destination would get.", w.Path, d.events)
		if d.events == 0 {
			w.Message = "There is no event yet to compare with."
		}
		if dotted {
			meant := m.Path()
			w.Meant = &meant
			w.Message += fmt.Sprintf(" It is one key with a dot in its name. The field within an object is written %s in JSON, "+
				"and %s:… in search notation.", m.JSON(), meant)
			if d.nestedIn[i] {
				w.Message += " Events have that one."
			}
		} else if k := slices.IndexFunc(d.fields, n.Resembles); k >= 0 {
			w.Meant = &d.fields[k]
			w.Message += fmt.Sprintf(" Events have %s.", d.fields[k])
		}
		list = append(list, w)
	}
	return list
}

// DoubtsOf says which fields a filter needs that none of these events has. field names the filter in the caller's request.
func DoubtsOf(field string, f *filter.Filter, events []*Event) []Warning {
	d := newDoubter(field, f)
	for _, e := range events {
		if len(d.needed) == 0 || !d.look(e) {
			return nil
		}
	}
	return d.warnings()
}

// Doubts is DoubtsOf for the newest events of the topics, few enough that it takes a bounded time. It is no reason to fail:
// when it takes too long or does not work, there are no warnings.
func (s *Store) Doubts(ctx context.Context, scope Scope, field string, f *filter.Filter, topics []string) []Warning {
	d := newDoubter(field, f)
	if len(d.needed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doubtTime)
	defer cancel()
	q := newQuery()
	scope.where(q, "e.tenant_key")
	q.and("t.deleted_at is null")
	q.and("e.erased_at is null")
	if len(topics) > 0 && !slices.Contains(topics, AllTopics) {
		_, oldest, err := s.eventWindow(ctx, scope, uuid.UUID{}, highestUUID, "desc", doubtScan)
		if err != nil {
			return nil
		}
		q.and("e.id >= ?", oldest)
		q.and("e.topic like any(?)", likePatterns(topics))
	}
	rows, err := s.pool.Query(ctx, eventSelect+q.sql()+" order by e.id desc"+q.limit(doubtEvents), q.args...)
	if err != nil {
		return nil
	}
	defer rows.Close()
	for bytes := 0; bytes < doubtBytes && rows.Next(); {
		e, err := s.scanEvent(ctx, rows)
		if err != nil {
			return nil
		}
		if !d.look(e) {
			return nil
		}
		bytes += len(e.Data)
	}
	if rows.Close(); rows.Err() != nil {
		return nil
	}
	return d.warnings()
}
