package models

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/seal"
)

func TestMain(m *testing.M) { modelstest.Main(m) }

// TestComparedAsSearch writes comparisons of other languages in search notation.
func TestComparedAsSearch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`data.customer.email = a@example.com`: `data.customer.email:a@example.com`, `status="paid in full"`: `status:"paid in full"`, `total == 10`: `total:10`,
		`total >= 10 AND (status = paid OR status = 'open') NOT test:true`: `total:>=10 AND (status:paid OR status:'open') NOT test:true`, `a != b`: `NOT a:b`,
		`at = 2026-01-31T12:00:00Z`: `at:"2026-01-31T12:00:00Z"`, `note = say:"x"`: `note:"say:\"x\""`, `path = a\b*`: `path:"a\\b*"`, `a:1 b = 2`: `a:1 b:2`,
		`paid`: ``, `status:paid`: ``, `a=b&c=d`: ``, `a =`: ``, `= b`: ``,
	} {
		got, ok := comparedAsSearch(text)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		if _, err := filter.ParseNewSearch(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

func newStore(t *testing.T) *Store {
	t.Helper()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{URL: modelstest.DB(t), Keys: keys, Rules: DefaultRules(), MaxConns: 2, HotConns: 1, JobConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestParseSearch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`paid`: "text paid", `order 17`: "text order 17", ` "12:30" `: "text 12:30", `https://example.com/a`: "text https://example.com/a",
		`a@b.example`: "text a@b.example",
		`status:paid`: "filter", `-status:paid total:>=10`: "filter", `{"total": {"$gte": 10}}`: "filter",
		`{"$expr": "data.total > 10"}`: "filter", `(a:1 OR b:2) c:3`: "filter",
		`status:paid OR total:>10 topic:x`: "note", `total:>`: "note", `status:paid and more`: "note",
		`{"total": {"$nope": 10}}`: "error", `{"total": `: "error",
		`data.customer.email = a@example.com`: "filter", `total>=10`: "filter", `a = 1 or b = 2`: "note", `utm_source=x&utm_medium=y`: "text utm_source=x&utm_medium=y",
		`YWJjZA==`: "text YWJjZA==", `a < b < c`: "note", `1 = 1`: "text 1 = 1",
	} {
		what, err := parseSearch(text)
		var got string
		switch {
		case err != nil:
			got = "error"
			if AsError(err).Fields["q"] == "" || AsError(err).Position == nil {
				t.Errorf("%s: %v", text, err)
			}
		case what.filter != nil:
			got = "filter"
		case what.note != "":
			got = "note"
		default:
			got = "text " + what.text
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

// some makes filters and payloads at random, of few names and values, so that they have to do with each other.
type some struct{ *rand.Rand }

func pickOf(r some, from ...string) string { return from[r.IntN(len(from))] }

func (r some) scalar() string {
	return pickOf(r, `1`, `2`, `10`, `-1.5`, `1.0`, `"1"`, `"10"`, `"a"`, `"ab"`, `""`, `"A\"b"`, `"\u00e4"`, `true`, `false`, `null`,
		`"2026-03-01T12:00:00Z"`, `"2026-03-01T13:00:00+01:00"`, `12345678901234567890`)
}

func (r some) value(depth int) string {
	switch n := r.IntN(6); {
	case depth == 0 || n < 2:
		return r.scalar()
	case n < 4:
		parts := make([]string, r.IntN(3))
		for i := range parts {
			parts[i] = r.value(depth - 1)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return r.payload(depth - 1)
}

func (r some) payload(depth int) string {
	var parts []string
	for _, name := range []string{"a", "b", "c.d", ""} {
		if r.IntN(2) == 0 {
			parts = append(parts, fmt.Sprintf("%q: %s", name, r.value(depth)))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (r some) pattern(depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		switch r.IntN(9) {
		case 0:
			return r.scalar()
		case 1:
			return `{"` + pickOf(r, "$gt", "$gte", "$lt", "$lte") + `": ` + pickOf(r, `1`, `10`, `"a"`, `-1.5`,
				`"2026-03-01T12:00:00Z"`) + `}`
		case 2:
			return `{"` + pickOf(r, "$in", "$nin") + `": [` + r.scalar() + `, ` + r.scalar() + `]}`
		case 3:
			return `{"` + pickOf(r, "$contains", "$startsWith", "$endsWith", "$regex") + `": ` + pickOf(r, `"a"`, `"b"`, `"1"`) + `}`
		case 4:
			return `{"$exist": ` + pickOf(r, "true", "false") + `}`
		case 5:
			return `{"$neq": ` + r.scalar() + `}`
		case 6:
			return `{"$gte": 10, "$lte": 10}`
		case 7:
			return `{"$ref": "data.` + pickOf(r, "a", "b") + `"}`
		}
		return `{"$eq": ` + r.value(1) + `}`
	}
	switch r.IntN(5) {
	case 0:
		return `{"$or": [` + r.pattern(depth-1) + `, ` + r.pattern(depth-1) + `]}`
	case 1:
		return `{"$not": ` + r.pattern(depth-1) + `}`
	case 2:
		return `[` + r.pattern(depth-1) + `]`
	}
	return `{"` + pickOf(r, "a", "b", "c.d") + `": ` + r.pattern(depth-1) + `, "` + pickOf(r, "e", "") + `": ` + r.pattern(depth-1) + `}`
}

// The database is asked with a condition that every match satisfies, so that a search finds exactly what the filter
// matches. This is tried on filters and payloads made at random.
func TestSearchPathsAreNecessary(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := some{rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))}
	batch := &pgx.Batch{}
	type pair struct {
		source, data string
		match        bool
	}
	var pairs []pair
	narrowed, matched := 0, 0
	for len(pairs) < 6000 {
		source := `{"` + pickOf(r, "a", "b", "c.d") + `": ` + r.pattern(2) + `}`
		f, err := filter.Parse([]byte(source))
		if err != nil {
			continue
		}
		path, ok := f.JSONPath()
		if !ok {
			continue
		}
		data := r.payload(3)
		match := f.Match(filter.NewDoc("e", "t", time.Now(), nil, []byte(data))).Match
		if match {
			matched++
		}
		pairs = append(pairs, pair{source + " as " + path, data, match})
		batch.Queue(`select $1::text ~ '[,\[]\s*\[' or coalesce(jsonb_path_match($1::text::jsonb, $2::text::jsonpath, '{}', true), true)`,
			data, path)
	}
	answers := s.pool.SendBatch(t.Context(), batch)
	defer answers.Close()
	for _, p := range pairs {
		var may bool
		if err := answers.QueryRow().Scan(&may); err != nil {
			t.Fatalf("%s on %s: %v", p.source, p.data, err)
		}
		if p.match && !may {
			t.Errorf("%s matches %s, but the database leaves it out", p.source, p.data)
		}
		if !may {
			narrowed++
		}
	}
	if matched < 200 || narrowed < 1000 {
		t.Errorf("of %d pairs %d match and %d are left out by the database: nothing was tried", len(pairs), matched, narrowed)
	}
}

// searchable is a store with a tenant and events with payloads in the order of their receipt.
func searchable(t *testing.T, payloads ...string) (*Store, Scope) {
	t.Helper()
	s := newStore(t)
	tenant, _, err := s.PutTenant(t.Context(), "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range payloads {
		_, err := s.pool.Exec(t.Context(),
			"insert into events (id, tenant_key, caller_id, topic, retry, data) values ($1, $2, $3, 't', true, $4)", newEventID(),
			tenant.Key, fmt.Sprintf("e%03d", i), data)
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, tenant.Scope()
}

func found(t *testing.T, p *Page[*Event], err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range p.Items {
		ids = append(ids, e.ID)
	}
	return strings.Join(ids, " ")
}

// Payloads that jsonb cannot hold are searched all the same.
func TestSearchFindsWhatTheDatabaseCannotHold(t *testing.T) {
	t.Parallel()
	s, scope := searchable(t, `{"n": 10}`, `{"n": 10, "x": "\u0000"}`, `{"n": 10, "x": 1e999999}`, `{"n": 10, "x": "\ud800"}`, `{"n": 11}`,
		`{"n": [[10]]}`, `{"n": "10"}`)
	for text, want := range map[string]string{
		`n:10`: "e006 e005 e003 e002 e001 e000", `{"n": 10}`: "e005 e003 e002 e001 e000", `n:>10`: "e004",
		`{"$expr": "data.n == 11"}`: "e004", `-n:10`: "e004", `id:e004`: "e004",
		`\u0000`: "e001", `"10"`: "e006 e005 e003 e002 e001 e000",
	} {
		p, err := s.Events(t.Context(), scope, EventQuery{Text: text})
		if got := found(t, p, err); got != want {
			t.Errorf("%s finds %s, want %s", text, got, want)
		}
		if p.Searched == nil || p.Searched.Events != 7 || !p.Searched.Complete {
			t.Errorf("%s: %+v", text, p.Searched)
		}
	}
	p, err := s.Events(t.Context(), scope, EventQuery{Text: " e003 "})
	if got := found(t, p, err); got != "e003" || p.Searched != nil {
		t.Errorf("an id finds %s, %+v", got, p.Searched)
	}
}

func TestSearchPagesInBoundedPortions(t *testing.T) {
	t.Parallel()
	var payloads []string
	for i := range 60 {
		payloads = append(payloads, fmt.Sprintf(`{"n": %d}`, i%10))
	}
	s, scope := searchable(t, payloads...)
	for _, asc := range []bool{false, true} {
		var seen []string
		q := PageQuery{Limit: 2, Asc: asc}
		stopped := 0
		for range 50 {
			k, err := q.keyset(nil, EventQuery{})
			if err != nil {
				t.Fatal(err)
			}
			what, err := parseSearch("n:3")
			if err != nil {
				t.Fatal(err)
			}
			lo, hi := idRange(time.Time{}, time.Time{})
			w := &searching{s: s, scope: scope, what: what, k: k, lo: lo, hi: hi, conditions: func(*query) {}, most: 15}
			p, err := w.page(context.Background())
			seen = append(seen, strings.Fields(found(t, p, err))...)
			if p.Searched.Stopped {
				stopped++
				if p.Searched.Events != 15 || p.Next == "" {
					t.Errorf("%+v, next %q", p.Searched, p.Next)
				}
			}
			if q.Next = p.Next; q.Next == "" {
				break
			}
		}
		want := "e053 e043 e033 e023 e013 e003"
		if asc {
			want = "e003 e013 e023 e033 e043 e053"
		}
		if got := strings.Join(seen, " "); got != want || stopped == 0 {
			t.Errorf("asc %v: %s (stopped %d times), want %s", asc, got, stopped, want)
		}
	}
	// Other conditions hold as well, and cursors belong to their search.
	p, err := s.Events(t.Context(), scope, EventQuery{Text: "n:3", Topics: []string{"other"}})
	if got := found(t, p, err); got != "" {
		t.Errorf("another topic finds %s", got)
	}
	p, err = s.Events(t.Context(), scope, EventQuery{Text: "n:3", Page: PageQuery{Limit: 2}})
	if got := found(t, p, err); got != "e053 e043" || p.Searched.Complete || p.Searched.Stopped {
		t.Errorf("%s %+v", got, p.Searched)
	}
	if _, err := s.Events(t.Context(), scope, EventQuery{Text: "n:4", Page: PageQuery{Limit: 2, Next: p.Next}}); !IsKind(err,
		KindMalformed) {
		t.Errorf("a cursor of another search: %v", err)
	}
	p, err = s.Events(t.Context(), scope, EventQuery{Text: "n:3", Page: PageQuery{Limit: 2, Next: p.Next}})
	if got := found(t, p, err); got != "e033 e023" {
		t.Errorf("the next page: %s", got)
	}
	p, err = s.Events(t.Context(), scope, EventQuery{Text: "n:3", Page: PageQuery{Limit: 2, Prev: p.Prev}})
	if got := found(t, p, err); got != "e053 e043" {
		t.Errorf("and back: %s", got)
	}
}
