package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// topicsTo has a tenant's changes of topics sent to somebody.
func (a *testApp) topicsTo(tenant, url string) {
	a.Helper()
	a.want(201, "POST", "/tenants/"+tenant+"/destinations",
		`{"id":"topics","type":"webhook","topics":["waybill.topic.*"],"config":{"url":"`+url+`"}}`)
}

// changesOf are the changes of topics that a query finds, without their cursors.
func (a *testApp) changesOf(query string) (list []models.FeedEntry) {
	a.Helper()
	out := a.want(200, "GET", "/changes?since=start&types=topic"+query, nil)
	var page struct{ Changes []models.FeedEntry }
	if err := json.Unmarshal([]byte(out.raw), &page); err != nil {
		a.Fatal(err)
	}
	for i := range page.Changes {
		page.Changes[i].Cursor = ""
	}
	return page.Changes
}

// inOrder prints changes, in the order of their ids in a list.
func inOrder(t *testing.T, list []models.FeedEntry, order []models.FeedEntry) string {
	place := func(e models.FeedEntry) int {
		return slices.IndexFunc(order, func(x models.FeedEntry) bool { return x.ID == e.ID })
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y models.FeedEntry) int { return place(x) - place(y) })
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTopicsOfCells: tenants in every cell are told of changes of topics, once and as those of home are, by events, lists and streams.
func TestTopicsOfCells(t *testing.T) {
	t.Parallel()
	late := modelstest.Empty(t)
	a := newCelledApp(t, "eu1")
	const operators = "/tenants/" + models.OperatorTenant
	hooks := map[string]*hook{}
	for _, tenant := range []string{"in-main", "in-eu1", models.OperatorTenant} {
		hooks[tenant] = newHook(t)
		a.topicsTo(tenant, hooks[tenant].URL)
	}
	a.until("the cell knows what operators want", func() bool {
		var has bool
		err := a.cells["eu1"].QueryRow(t.Context(), `select exists (select 1 from settings where key = 'operators_copied'
			and value->'topics' @> '["waybill.topic.*"]')`).Scan(&has)
		return err == nil && has
	})
	stream := a.stream("?since=now&types=topic&tenant_id=in-eu1")
	a.want(200, "PUT", "/topics/one", `{"description":"<b> & é","example":{ "b":1.0, "a":[] }}`)
	a.want(200, "PUT", "/topics/one", `{"description":"Other","schema":{"type":"object"}}`)
	a.want(200, "PUT", "/topics/two", `{}`)
	a.want(200, "DELETE", "/topics/one", nil)
	a.want(200, "PUT", "/topics/last", `{}`)
	all := a.changesOf("&cell=main")
	want := inOrder(t, all, all)
	if len(all) != 5 || all[0].ObjectID != "one" || all[3].Action != models.FeedDeleted {
		t.Fatal(want)
	}
	for i := range all {
		_, e, ok := stream.next()
		if e.Cursor = ""; !ok || inOrder(t, []models.FeedEntry{e}, nil) != inOrder(t, all[i:i+1], nil) {
			t.Fatalf("change %d of the stream: %v %+v", i, ok, e)
		}
	}
	list := a.changesOf("&tenant_id=in-eu1")
	if got, _ := json.MarshalIndent(list, "", " "); string(got) != want {
		t.Errorf("the tenant in the cell reads\n%s, not\n%s", got, want)
	}
	told := func(tenant string) []models.FeedEntry { return hooks[tenant].entries(t) }
	for tenant := range hooks {
		a.until(tenant+" is told", func() bool { return len(told(tenant)) >= len(all) })
	}
	if got := a.changesOf("&cell=eu1"); len(got) > 0 {
		t.Errorf("operators see the cell's copies: %s", inOrder(t, got, all))
	}
	// Of a cell that is added now, nothing of before is told.
	a.addCell("eu2", late)
	a.want(201, "PUT", "/tenants/in-eu2", `{"cell":"eu2"}`)
	h := newHook(t)
	a.topicsTo("in-eu2", h.URL)
	a.want(200, "PUT", "/topics/later", `{}`)
	hooks["in-eu2"] = h
	for tenant, h := range hooks {
		a.until(tenant+" is told of the last", func() bool {
			return slices.ContainsFunc(h.got(), func(s string) bool { return strings.Contains(s, `"later"`) })
		})
	}
	all = a.changesOf("&cell=main")
	for tenant := range hooks {
		only := all
		if tenant == "in-eu2" {
			only = all[len(all)-1:]
			if got := a.changesOf("&tenant_id=in-eu2"); inOrder(t, got, all) != inOrder(t, only, all) {
				t.Errorf("a tenant in a cell that was added later reads %s", inOrder(t, got, all))
			}
		}
		if got := inOrder(t, told(tenant), all); got != inOrder(t, only, all) {
			t.Errorf("%s is told\n%s, not\n%s", tenant, got, inOrder(t, only, all))
		}
	}
	if got := a.want(200, "GET", "/events?tenant_id="+models.OperatorTenant+"&limit=100", nil).list(); len(got) != len(all) {
		t.Errorf("operators have %d events of %d changes", len(got), len(all))
	}
	a.want(200, "DELETE", operators+"/destinations/topics", nil)
}

// TestTopicsStreamOfMove: who follows a tenant's changes by a stream is cut off when it moves, and goes on where it is, missing nothing.
func TestTopicsStreamOfMove(t *testing.T) {
	t.Parallel()
	a := newCelledApp(t, "eu1")
	h := newHook(t)
	a.topicsTo("in-eu1", h.URL)
	last, names := "", []string{}
	query := "?since=now&types=topic&tenant_id=in-eu1"
	for _, cell := range []string{"main", "eu1"} {
		s := a.stream(query, "Last-Event-ID", last)
		a.want(200, "PUT", "/topics/before-"+cell, `{}`)
		_, e, _ := s.next()
		names = append(names, e.ObjectID)
		id := a.want(202, "POST", "/moves", `{"tenant_id":"in-eu1","cell":"`+cell+`"}`).str("id")
		a.want(200, "PUT", "/topics/within-"+cell, `{}`)
		for ok := true; ok; { // until the stream ends
			if _, e, ok = s.next(); ok {
				names = append(names, e.ObjectID)
			}
		}
		last, query = s.lastID, "?types=topic&tenant_id=in-eu1"
		a.eventually("/moves/"+id, func(o answer) bool { return o.str("status") == "done" })
	}
	s := a.stream(query, "Last-Event-ID", last)
	a.want(200, "PUT", "/topics/end", `{}`)
	for len(names) == 0 || names[len(names)-1] != "end" {
		_, e, ok := s.next()
		if !ok {
			t.Fatalf("the stream ended after %v", names)
		}
		names = append(names, e.ObjectID)
	}
	want := []string{"before-main", "within-main", "before-eu1", "within-eu1", "end"}
	if !slices.Equal(names, want) {
		t.Errorf("told by streams: %v, not %v", names, want)
	}
	a.until("the last one is told", func() bool { return len(h.got()) >= len(want) })
	var told []string
	for _, e := range h.entries(t) {
		told = append(told, e.ObjectID)
	}
	slices.Sort(told)
	if slices.Sort(want); !slices.Equal(told, want) {
		t.Errorf("told by events: %v, not %v", told, want)
	}
}
