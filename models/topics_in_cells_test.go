package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// topic changes the catalogue.
func (r *removal) topic(name string) {
	r.Helper()
	if err := r.home.PutTopic(r.Context(), Topic{Name: name, Description: "<b> & more", Example: json.RawMessage(`{ "b":1.0, "a":[] }`)}); err != nil {
		r.Fatal(err)
	}
}

// reads reads the feed from a cursor to its end, in small pages.
func (r *removal) reads(s *Store, scope Scope, since string, types ...string) (list []*FeedEntry) {
	r.Helper()
	for {
		page, err := s.Feed(r.Context(), scope, FeedQuery{Since: since, Types: types, Limit: 7})
		if err != nil {
			r.Fatal(err)
		}
		if list, since = append(list, page.Entries...), page.Next; !page.More {
			return list
		}
	}
}

func idsOf(list []*FeedEntry) []string {
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.ID
	}
	return ids
}

// TestTopicsInCells: a cell gets each change of a topic once, in home's order and with the same content, whoever copies, and none of
// before it was added.
func TestTopicsInCells(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	r := &removal{T: t, home: openStore(t, Options{URL: url})}
	r.topic("old")
	cell := withCell(t, r.home, "eu1")
	r.topic("first")
	const many = 2*topicsPortion + 50
	r.exec(r.home, `insert into changes (type, action, object, changes, state) select 'topic', 'updated', 'n' || n, '[{"field":"x", "to":1.0}]',
		'{ "name" : "n", "b":1, "a" : "é<" }' from generate_series(1, $1::int) n`, many)
	if err := r.home.DeleteTopic(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 { // as many processes
		s := openStore(t, Options{URL: cell.pool.Config().ConnString(), Home: r.home, Cell: "eu1"})
		all.Go(func() {
			if err := s.CopyTopics(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	print := func(list []*FeedEntry) (lines []string) {
		for _, e := range list {
			lines = append(lines, fmt.Sprint(e.ID, e.Type, e.Action, e.ObjectID, e.Time.UTC(), e.Changes, string(e.Object), e.TenantID))
		}
		return lines
	}
	anybody := Scope{key: 4711}
	here, there := print(r.reads(r.home, anybody, FeedStart))[1:], print(r.reads(cell, anybody, FeedStart))
	if len(there) != many+2 || !slices.Equal(here, there) {
		t.Fatalf("the cell has %d changes, home %d:\n%s\n%s", len(there), len(here), there[0], here[0])
	}
	t.Run("home was restored to a time before", func(t *testing.T) {
		r.exec(r.home, "delete from changes where position > 3")
		r.exec(r.home, "update feed set last = 3")
		r.exec(r.home, "update settings set value = '1' where key = $1", topicsVersion)
		if err := cell.CopyTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.topic("new")
		if err := cell.CopyTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		list := r.reads(cell, anybody, FeedStart)
		if len(list) != len(there)+1 || list[len(list)-1].ObjectID != "new" {
			t.Errorf("%d changes, the last of them of %s", len(list), list[len(list)-1].ObjectID)
		}
	})
}

// TestTopicsAcrossMoves has a tenant go from cell to cell while topics change, and the cells be behind each other in every way: it is told
// of each change once, in order, as events and by the feed, with cursors of before the move too.
func TestTopicsAcrossMoves(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	ctx := t.Context()
	told := map[string][]string{} // by tenant
	data := map[string]string{}   // by change
	publish := func(s *Store) {
		t.Helper()
		_, err := s.PublishChanges(ctx, func(_ context.Context, in []*PublishInput) ([]PublishResult, []error) {
			for _, x := range in {
				if !strings.HasPrefix(x.Topic, "waybill.topic.") {
					continue
				}
				told[x.TenantID] = append(told[x.TenantID], x.ID)
				if was := data[x.ID]; was != "" && was != string(x.Data) {
					t.Errorf("%s is told as\n%s and\n%s", x.ID, x.Data, was)
				}
				data[x.ID] = string(x.Data)
			}
			return make([]PublishResult, len(in)), make([]error, len(in))
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
	}
	copied := func(s *Store) {
		t.Helper()
		if err := s.CopyTopics(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, tenant := range []string{"acme", "stays", OperatorTenant} {
		if tenant != OperatorTenant {
			if _, _, err := r.home.PutTenant(ctx, tenant, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.home.CreateDestination(ctx, AllTenants(), tenant, DestinationInput{Patch: DestinationPatch{"id": "copy", "type": "echo",
			"topics": []string{"waybill.topic.*"}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*Store{r.cells["eu1"], r.cells["eu2"]} {
		if err := s.CopyOperators(ctx); err != nil {
			t.Fatal(err)
		}
	}
	acme := Scope{key: r.number(r.home, "select key from tenants where id = 'acme'")}
	at := HomeCell
	for i, to := range []string{"eu1", "eu2", "eu1", HomeCell, "eu2", HomeCell} {
		from, target := r.cells[at], r.cells[to]
		name := func(s string) string { return fmt.Sprintf("t%d-%s", i, s) }
		own := func(s *Store, what string) {
			t.Helper()
			if _, _, err := s.PutTenant(ctx, "acme", map[string]string{"is": name(what)}); err != nil {
				t.Fatal(err)
			}
		}
		r.topic(name("published"))
		own(from, "one")
		r.topic(name("also"))
		copied(from)
		publish(from)
		r.topic(name("read"))
		copied(from)
		own(from, "two")
		before := r.reads(from, acme, FeedStart)
		r.topic(name("copied"))
		copied(from)
		r.topic(name("behind"))
		done := map[string]bool{}
		r.dies = func(step string) error {
			if done[step] {
				return nil
			}
			done[step] = true
			follows := func() {
				if i%2 == 0 { // else it is behind the source
					copied(target)
					publish(target)
				}
			}
			switch step {
			case "capture":
				r.topic(name("copying"))
				follows()
			case "hold":
				r.topic(name("hold"))
				copied(from)
				follows()
			case "switch":
				r.topic(name("switch"))
				copied(from)
				publish(from)
				follows()
				r.topic(name("nowhere"))
				var gone *ElsewhereError
				if _, err := from.Feed(ctx, acme, FeedQuery{Since: FeedStart}); !errors.As(err, &gone) {
					t.Errorf("reading at the source: %v", err)
				}
				var held *HeldError
				if _, err := target.Feed(ctx, acme, FeedQuery{Since: FeedStart}); !errors.As(err, &held) {
					t.Errorf("reading at the target before it is released: %v", err)
				}
			}
			return nil
		}
		r.until(r.start(to), MoveDone)
		if !done["switch"] || !done["hold"] {
			t.Fatal(done)
		}
		r.topic(name("after"))
		own(target, "three")
		for _, s := range r.cells {
			copied(s)
			publish(s)
		}
		history := idsOf(r.reads(r.home, AllTenants(), FeedStart, FeedTopic))
		after := idsOf(r.reads(target, acme, FeedStart))
		if topics := idsOf(r.reads(target, acme, FeedStart, FeedTopic)); !slices.Equal(topics, history) {
			t.Fatalf("from %s to %s: the tenant reads %d changes of topics of %d:\n%v\n%v", at, to, len(topics), len(history), topics, history)
		}
		if !slices.Equal(after[:len(before)], idsOf(before)) {
			t.Errorf("from %s to %s: the order is another one", at, to)
		}
		for k, e := range before {
			if k < len(before)-8 { // each place of this stay, and one of those that it brought
				continue
			}
			if rest := idsOf(r.reads(target, acme, e.Cursor)); !slices.Equal(rest, after[k+1:]) {
				t.Errorf("from %s to %s: after cursor %d there are %d changes, not %d", at, to, k, len(rest), len(after)-k-1)
			}
		}
		for _, tenant := range []string{"acme", "stays", OperatorTenant} {
			if !slices.Equal(told[tenant], history) {
				t.Errorf("from %s to %s: %s is told\n%v, not\n%v", at, to, tenant, told[tenant], history)
			}
		}
		for cell, s := range r.cells {
			if list := r.reads(s, AllTenants(), FeedStart, FeedTopic); cell != HomeCell && len(list) > 0 {
				t.Errorf("operators see %d changes of topics in %s", len(list), cell)
			}
		}
		at = to
	}
}
