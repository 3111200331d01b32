package models

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// A list over several databases is put together of a page of each. Its cursor holds theirs, so that each goes on after the last of its
// rows that was shown; such lists lead forward only.

// CellPages says from where the page of each cell is read: its cursor, empty for the first page. A cell that is not named has no more.
type CellPages map[string]string

// mergedPrefix begins the cursors of lists over several databases; no other one does, for they are JSON objects in base64.
const mergedPrefix = "cells."

// Cells reads a cursor of a list over several databases. names are the cells of the first page.
func (p PageQuery) Cells(names []string) (CellPages, error) {
	if p.Prev != "" {
		return nil, malformed("A list over several databases leads forward only: leave prev out.")
	}
	out := CellPages{}
	if p.Next == "" {
		for _, n := range names {
			out[n] = ""
		}
		return out, nil
	}
	raw, ours := strings.CutPrefix(p.Next, mergedPrefix)
	b, err := base64.RawURLEncoding.DecodeString(raw)
	if !ours || err != nil || json.Unmarshal(b, &out) != nil || len(out) == 0 {
		return nil, foreignCursor()
	}
	for n := range out {
		if !slices.Contains(names, n) {
			delete(out, n) // the cell was removed, or others were asked for
		}
	}
	return out, nil
}

func (c CellPages) cursor() string {
	if len(c) == 0 {
		return ""
	}
	b, _ := json.Marshal(c)
	return mergedPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// MergePages makes a page of those of several cells, by the order of the list. from says where they were read from, and pages are what
// was read; a cell without a page did not answer, is named, and is asked for the same page again with the next one.
func MergePages[T any](from CellPages, pages map[string]*Page[T]) *Page[T] {
	out := &Page[T]{Items: []T{}}
	next := CellPages{}
	type reading struct {
		name string
		page *Page[T]
		at   int
	}
	var open []*reading
	for name, cursor := range from {
		p := pages[name]
		if p == nil {
			out.Missing = append(out.Missing, name)
			next[name] = cursor
			continue
		}
		out.OrderBy, out.Dir, out.Limit = p.OrderBy, p.Dir, p.Limit
		out.addNotes(p)
		open = append(open, &reading{name: name, page: p})
	}
	slices.Sort(out.Missing)
	slices.SortFunc(open, func(a, b *reading) int { return cmp.Compare(a.name, b.name) })
	for len(out.Items) < out.Limit {
		var first *reading
		cut := false
		for _, r := range open {
			if r.at == len(r.page.Items) {
				cut = cut || r.page.Next != "" // what follows there may come before what others have
				continue
			}
			if first == nil {
				first = r
				continue
			}
			order := comparePlaces(r.page.place(r.at), first.page.place(first.at))
			if out.Dir == "desc" {
				order = -order
			}
			if order < 0 {
				first = r
			}
		}
		if first == nil || cut {
			break
		}
		out.Items = append(out.Items, first.page.Items[first.at])
		place := first.page.place(first.at)
		for _, r := range open { // what is in two of them is of a tenant that goes from one to the other
			if r.at < len(r.page.Items) && comparePlaces(r.page.place(r.at), place) == 0 {
				r.at++
			}
		}
	}
	for _, r := range open {
		switch {
		case r.at < len(r.page.Items) && r.at == 0:
			next[r.name] = from[r.name]
		case r.at < len(r.page.Items):
			next[r.name] = r.page.after(r.at - 1)
		case r.page.Next != "":
			next[r.name] = r.page.Next
		}
	}
	out.Next = next.cursor()
	return out
}

// addNotes adds how far a page's list has looked.
func (p *Page[T]) addNotes(of *Page[T]) {
	if l := of.Looked; l != nil {
		if p.Looked == nil {
			p.Looked = &Looked{Until: l.Until}
		}
		p.Looked.Events += l.Events
	}
	if s := of.Searched; s != nil {
		if p.Searched == nil {
			c := *s
			p.Searched = &c
			return
		}
		p.Searched.Events += s.Events
		p.Searched.Complete = p.Searched.Complete && s.Complete
		p.Searched.Stopped = p.Searched.Stopped || s.Stopped
	}
}

// Mergeable reports whether rows of this page can be put in order with those of others.
func (p *Page[T]) Mergeable() bool { return p.place != nil || len(p.Items) == 0 && p.Next == "" }

// comparePlaces orders two places of one list, ascending.
func comparePlaces(a, b any) int {
	switch x := a.(type) {
	case uuid.UUID:
		y := b.(uuid.UUID)
		return bytes.Compare(x[:], y[:])
	case int64:
		return cmp.Compare(x, b.(int64))
	case DeliveryKey:
		return x.compare(b.(DeliveryKey))
	case attemptedPosition:
		y := b.(attemptedPosition)
		return cmp.Or(x.At.Compare(y.At), x.DeliveryKey.compare(y.DeliveryKey))
	case attemptPosition:
		y := b.(attemptPosition)
		return cmp.Or(x.At.Compare(y.At), bytes.Compare(x.EventID[:], y.EventID[:]), cmp.Compare(x.Destination, y.Destination),
			cmp.Compare(x.Number, y.Number))
	case tenantPlace:
		y := b.(tenantPlace)
		for i := range min(len(x.Values), len(y.Values)) {
			if c := x.compare(i, y); c != 0 {
				return c
			}
		}
		return cmp.Compare(x.Key, y.Key)
	}
	return 0
}

// compare orders two tenants by one of the values of an order: numbers, or texts byte by byte.
func (p tenantPlace) compare(i int, q tenantPlace) int {
	if p.numbers {
		x, _ := strconv.ParseInt(p.Values[i], 10, 64)
		y, _ := strconv.ParseInt(q.Values[i], 10, 64)
		return cmp.Compare(x, y)
	}
	return cmp.Compare(p.Values[i], q.Values[i])
}
