package models

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/models/filter"
)

// Searched says how far a search among payloads got.
type Searched struct {
	Events   int    // that were looked at
	Complete bool   // all events of the time were looked at; false when the page was full before, too
	Stopped  bool   // it took too long, or there are too many events; the next page goes on
	As       string // what the text was taken for: SearchText or SearchFilter
	Note     string // for a text, why it was taken for one although it looks like a filter; for a filter, how it was read
}

// What a search was taken for.
const (
	SearchText   = "text"
	SearchFilter = "filter"
)

// Limits of one page of a search. What is beyond is on the next page.
const (
	maxSearched = 100_000
	searchTime  = 300 * time.Millisecond
	searchGrace = 3 * time.Second // for the portion under way when the time is over
)

// search is what somebody looks for among payloads.
type search struct {
	text   string         // part of the payload; empty with a filter
	filter *filter.Filter // nil with a text
	path   string         // what the payload of each match satisfies, see filter.JSONPath; empty for nothing
	note   string
}

// looksLikeFilter recognizes what somebody meant as a filter in search notation.
var looksLikeFilter = regexp.MustCompile(`^\(*-?[A-Za-z_][\w.-]*:\S`)

// looksLikeAddress recognizes a URL, which would be a filter on a field called https.
var looksLikeAddress = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://\S*$`)

// parseSearch reads a search: a filter in JSON or in search notation, or a text. A text in double quotes is always a text.
func parseSearch(text string) (*search, error) {
	text = strings.TrimSpace(text)
	if len(text) > filter.MaxBytes {
		return nil, Invalid("q", "is too long")
	}
	if strings.HasPrefix(text, "{") {
		f, err := filter.Parse([]byte(text))
		if err != nil {
			return nil, FilterError("q", err)
		}
		return filterSearch(f), nil
	}
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return &search{text: text[1 : len(text)-1]}, nil
	}
	if looksLikeAddress.MatchString(text) {
		return &search{text: text}, nil
	}
	as, compared := comparedAsSearch(text)
	if !compared {
		as = text
	}
	f, err := filter.ParseNewSearch(as)
	switch {
	case err == nil && !f.IsEmpty():
		found := filterSearch(f)
		if compared {
			found.note = "This was taken for `" + as + "`. In double quotes it is looked for as the text that it is."
		}
		return found, nil
	case err != nil && (compared || looksLikeFilter.MatchString(text)):
		return &search{text: text, note: "as a filter it " + filterMessage(err)}, nil
	}
	return &search{text: text}, nil
}

func filterSearch(f *filter.Filter) *search {
	path, _ := f.JSONPath()
	return &search{filter: f, path: path}
}

// searchEvents looks for a page of events by what is in their payloads: in portions by time, so that it takes bounded
// time however many events there are. conditions adds the query's other conditions.
func (s *Store) searchEvents(ctx context.Context, scope Scope, what *search, k *keyset, lo, hi uuid.UUID,
	conditions func(*query)) (*Page[*Event], error) {
	w := &searching{s: s, scope: scope, what: what, k: k, lo: lo, hi: hi, conditions: conditions, most: maxSearched}
	return w.page(ctx)
}

// page looks for the events and makes a page of them.
func (w *searching) page(ctx context.Context) (*Page[*Event], error) {
	what, k := w.what, w.k
	w.said.As, w.said.Note = SearchText, what.note
	if what.filter != nil {
		w.said.As = SearchFilter
	}
	var after uuid.UUID
	if k.decode(&after) {
		if k.descending() {
			w.hi = minUUID(w.hi, after)
		} else {
			w.lo = maxUUID(w.lo, next(after))
		}
	}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	if err := w.s.addDeliveries(ctx, w.found); err != nil {
		return nil, err
	}
	p := newPage(k, SortReceived, w.found, func(e *Event) any { return e.Key })
	if w.said.Stopped {
		if here := k.cursor(w.last); k.back {
			p.Prev = here
		} else {
			p.Next = here
		}
	}
	p.Searched = &w.said
	return p, nil
}

// searching is a search under way.
type searching struct {
	s          *Store
	scope      Scope
	what       *search
	k          *keyset
	lo, hi     uuid.UUID // what is left to look at: from lo until before hi
	conditions func(*query)
	most       int // events to look at

	found []*Event
	last  uuid.UUID // of the events that were looked at
	said  Searched
}

// run looks at portions until the page is full, everything was looked at, or it has taken long enough.
func (w *searching) run(ctx context.Context) error {
	started := time.Now()
	portion := 500
	bounded, cancel := context.WithDeadline(ctx, started.Add(searchTime+searchGrace))
	defer cancel()
	for {
		began := time.Now()
		n, last, err := w.s.eventWindow(bounded, w.scope, w.lo, w.hi, w.k.order(), min(portion, w.most-w.said.Events))
		if err == nil && n > 0 {
			err = w.look(bounded, last)
		}
		switch {
		case err != nil && bounded.Err() != nil && ctx.Err() == nil:
			w.said.Stopped = w.said.Events > 0
			if !w.said.Stopped {
				return &Error{Kind: KindUnavailable, Message: "The search took too long. Choose a shorter time, or search for less.",
					RetryAfter: time.Second, Err: err}
			}
			return nil
		case err != nil:
			return err
		case len(w.found) > w.k.limit:
			return nil
		case n == 0:
			w.said.Complete = true
			return nil
		}
		w.said.Events += n
		if w.last = last; w.k.descending() {
			w.hi = last
		} else {
			w.lo = next(last)
		}
		if w.said.Events >= w.most || time.Since(started) > searchTime {
			w.said.Stopped = true
			return nil
		}
		if time.Since(began) < 50*time.Millisecond {
			portion = min(2*portion, 20_000)
		}
	}
}

// eventWindow finds the first events in an order, asc or desc: how many they are, up to a limit, and the last of them. It
// reads an index only.
func (s *Store) eventWindow(ctx context.Context, scope Scope, lo, hi uuid.UUID, order string, most int) (n int, last uuid.UUID, err error) {
	q := newQuery()
	scope.where(q, "e.tenant_key")
	q.and("e.id >= ?", lo)
	q.and("e.id < ?", hi)
	err = s.pool.QueryRow(ctx, `select count(*), coalesce((array_agg(x.id))[count(*)], '00000000-0000-0000-0000-000000000000')
		from (select e.id from events e`+q.sql()+" order by e.id "+order+q.limit(most)+") x", q.args...).Scan(&n, &last)
	return n, last, err
}

// look looks at the events of a portion, up to last.
func (w *searching) look(ctx context.Context, last uuid.UUID) error {
	before := len(w.found)
	err := w.read(ctx, last, w.what.path != "")
	var pe *pgconn.PgError
	if w.what.path != "" && errors.As(err, &pe) && ctx.Err() == nil {
		// Some payload is JSON that jsonb cannot hold, such as \u0000 or 1e999999. Then all are looked at here.
		w.found = w.found[:before]
		return w.read(ctx, last, false)
	}
	return err
}

func (w *searching) read(ctx context.Context, last uuid.UUID, narrowed bool) error {
	q := newQuery()
	w.scope.where(q, "e.tenant_key")
	if w.k.descending() {
		q.and("e.id >= ?", last)
		q.and("e.id < ?", w.hi)
	} else {
		q.and("e.id >= ?", w.lo)
		q.and("e.id <= ?", last)
	}
	w.conditions(q)
	q.and("e.erased_at is null")
	switch {
	case w.what.filter == nil:
		// What is sealed is looked at below.
		q.and("(e.sealed is not null or position(lower(?) in lower(e.data)) > 0)", w.what.text)
	case narrowed:
		// Lists directly inside of lists are taken along: the path does not look into them.
		q.and(`case when e.sealed is not null then true else e.data ~ '[,\[]\s*\[' or coalesce(jsonb_path_match(e.data::jsonb, ?::jsonpath, '{}',
			true), true) end`, w.what.path)
	}
	rows, err := w.s.pool.Query(ctx, eventSelect+q.sql()+" order by e.id "+w.k.order(), q.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := w.s.scanEvent(ctx, rows)
		if err != nil {
			return err
		}
		switch {
		case e.ErasedAt != nil: // its key is not there
			continue
		case w.what.filter != nil && !e.Try(w.what.filter).Match:
			continue
		case w.what.filter == nil && e.PayloadKey != 0 && !strings.Contains(strings.ToLower(string(e.Data)), strings.ToLower(w.what.text)):
			continue
		}
		if w.found = append(w.found, e); len(w.found) > w.k.limit {
			return nil
		}
	}
	return rows.Err()
}

// namedEvent returns the event whose id a search is, or nil.
func (s *Store) namedEvent(ctx context.Context, scope Scope, text string) (*Event, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxIDLength || !idChars.match(text) {
		return nil, nil
	}
	e, err := s.event(ctx, scope, text)
	if IsKind(err, KindNotFound) {
		return nil, nil
	}
	return e, err
}
