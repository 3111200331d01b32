package models

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Limits of how many rows a page holds.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// PageQuery says which part of a list is wanted. Pages are found by the key of their first or last row (keyset
// paging), so that rows that arrive meanwhile neither repeat nor hide others.
type PageQuery struct {
	Limit int    // rows; 0 for the default
	Max   int    // greatest Limit of this list; 0 for MaxLimit
	Asc   bool   // oldest first; the default is newest first
	Next  string // cursor of the page after; not together with Prev
	Prev  string // cursor of the page before
}

// Page is a part of a list.
type Page[T any] struct {
	Items   []T
	OrderBy string
	Dir     string // asc or desc
	Limit   int
	Next    string // cursor of the page after; empty at the end
	Prev    string // cursor of the page before; empty at the start

	Searched *Searched // of a search among payloads: how far it got; nil for other lists
	Looked   *Looked   // of a list that stopped looking before its page was full; nil for others
	Sorted   *Sorted   // of a list in an order that no index gives: how far the order reaches; nil for other lists

	Missing []string // cells that did not answer, of a list over several; see MergePages

	place  func(i int) any  // where a row is in the list; nil for a list whose places cannot be compared
	cursor func(any) string // that goes on after a place
}

// after is the cursor that goes on after a row.
func (p *Page[T]) after(i int) string { return p.cursor(p.place(i)) }

// keyset is a checked PageQuery.
type keyset struct {
	limit    int
	asc      bool
	back     bool // reading towards the start
	position json.RawMessage
	hash     string
}

type cursor struct {
	Hash     string          `json:"h"`
	Position json.RawMessage `json:"p"`
}

// keyset checks which part of a list is wanted. query is the list's query struct, and owner says whose rows are listed. A
// cursor belongs to both: one that was made for other filters is refused.
func (p PageQuery) keyset(owner, query any) (*keyset, error) {
	limit, most := p.Limit, p.Max
	if most == 0 {
		most = MaxLimit
	}
	if limit == 0 {
		limit = min(DefaultLimit, most)
	}
	if limit < 1 || limit > most {
		return nil, Invalid("limit", fmt.Sprintf("must be between 1 and %d", most))
	}
	if p.Next != "" && p.Prev != "" {
		return nil, malformed("Give either next or prev, not both.")
	}
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode([]any{reflect.TypeOf(query).Name(), owner, given(query), p.Asc})
	k := &keyset{limit: limit, asc: p.Asc, back: p.Prev != "", hash: strconv.FormatUint(h.Sum64(), 36)}
	if raw := p.Next + p.Prev; raw != "" {
		var c cursor
		b, err := base64.RawURLEncoding.DecodeString(raw)
		if err != nil || json.Unmarshal(b, &c) != nil || c.Hash == "" {
			return nil, foreignCursor()
		}
		if c.Hash != k.hash {
			return nil, malformed("The cursor belongs to a list with other filters: leave it out to start at the first page.")
		}
		k.position = c.Position
	}
	return k, nil
}

// decode reads the cursor's position into v and reports whether there is one.
func (k *keyset) decode(v any) bool {
	return k.position != nil && json.Unmarshal(k.position, v) == nil
}

// misplaced is the error of a list that was read from a cursor's position. One that is no place in it (a text where a number is
// compared) was not made here, and is the caller's mistake; the database tells so as a data exception (class 22).
func (k *keyset) misplaced(err error) error {
	var pe *pgconn.PgError
	if k.position != nil && errors.As(err, &pe) && strings.HasPrefix(pe.Code, "22") {
		return foreignCursor()
	}
	return err
}

func foreignCursor() error {
	return malformed("The cursor is not one of ours: copy it whole from the answer before, or leave it out for the first page.")
}

// descending is the direction in which rows are read from the database.
func (k *keyset) descending() bool { return k.asc == k.back }

func (k *keyset) order() string {
	if k.descending() {
		return "desc"
	}
	return "asc"
}

// op compares a row's key with the cursor's position.
func (k *keyset) op() string {
	if k.descending() {
		return "<"
	}
	return ">"
}

func (k *keyset) cursor(position any) string {
	p, _ := json.Marshal(position)
	b, _ := json.Marshal(cursor{k.hash, p})
	return base64.RawURLEncoding.EncodeToString(b)
}

// newPage makes a page of the up to limit+1 rows that were read.
func newPage[T any](k *keyset, orderBy string, rows []T, position func(T) any) *Page[T] {
	p := &Page[T]{OrderBy: orderBy, Dir: "desc", Limit: k.limit}
	if k.asc {
		p.Dir = "asc"
	}
	more := len(rows) > k.limit
	if more {
		rows = rows[:k.limit]
	}
	if k.back {
		for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
			rows[i], rows[j] = rows[j], rows[i]
		}
	}
	if len(rows) > 0 {
		if more || k.back {
			p.Next = k.cursor(position(rows[len(rows)-1]))
		}
		if k.back && more || !k.back && k.position != nil {
			p.Prev = k.cursor(position(rows[0]))
		}
	}
	p.Items, p.cursor, p.place = rows, k.cursor, func(i int) any { return position(rows[i]) }
	return p
}

// query collects the conditions of a SELECT and their arguments.
type query struct {
	conds []string
	args  []any
}

func newQuery() *query { return &query{} }

// and adds a condition; each ? stands for one argument.
func (q *query) and(cond string, args ...any) {
	q.conds = append(q.conds, q.bind(cond, args...))
}

// bind numbers the arguments of a piece of SQL.
func (q *query) bind(sql string, args ...any) string {
	for _, a := range args {
		q.args = append(q.args, a)
		sql = strings.Replace(sql, "?", "$"+strconv.Itoa(len(q.args)), 1)
	}
	return sql
}

func (q *query) sql() string {
	if len(q.conds) == 0 {
		return ""
	}
	return " where " + strings.Join(q.conds, " and ")
}

func (q *query) limit(n int) string { return q.bind(" limit ?", n) }

// pageOf is a page of keys with what the keys are of.
func pageOf[T, K any](p *Page[K], items []T) *Page[T] {
	return &Page[T]{Items: items, OrderBy: p.OrderBy, Dir: p.Dir, Limit: p.Limit, Next: p.Next, Prev: p.Prev, Sorted: p.Sorted,
		place:  p.place,
		cursor: p.cursor}
}
