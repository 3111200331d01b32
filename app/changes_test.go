package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
)

// follower reads the feed as a client does that keeps a copy: it knows nothing but its cursor.
type follower struct {
	*testApp
	query, cursor string
	seen          []models.FeedEntry
	ids           map[string]int
}

// follow begins to read from now on.
func (a *testApp) follow(query string) *follower {
	a.Helper()
	f := &follower{testApp: a, query: query, ids: map[string]int{}}
	f.cursor = a.want(200, "GET", "/changes?since=now"+query, nil).str("next")
	return f
}

// poll reads once, and fails when something comes twice.
func (f *follower) poll(header ...string) (n int) {
	f.Helper()
	out := f.want(200, "GET", "/changes?since="+f.cursor+f.query, nil, header...)
	var page api.ChangesJSON
	if err := json.Unmarshal([]byte(out.raw), &page); err != nil {
		f.Fatal(err)
	}
	for _, c := range page.Changes {
		f.take(*c)
	}
	f.cursor = page.Next
	return len(page.Changes)
}

func (f *follower) take(c models.FeedEntry) {
	f.Helper()
	if f.ids[c.ID]++; f.ids[c.ID] > 1 {
		f.Errorf("change %s came %d times", c.ID, f.ids[c.ID])
	}
	f.seen = append(f.seen, c)
}

// until reads until what was seen is enough.
func (f *follower) until(enough func() bool) {
	f.Helper()
	for deadline := time.Now().Add(time.Minute); !enough(); {
		if f.poll("Prefer", "wait=5"); time.Now().After(deadline) {
			f.Fatalf("the feed did not get there; it told %v", f.told())
		}
	}
}

// told is what was seen, in words.
func (f *follower) told() []string {
	out := make([]string, len(f.seen))
	for i, c := range f.seen {
		out[i] = c.Type + " " + c.ObjectID + " " + c.Action
	}
	return out
}

// TestChanges makes every kind of change and finds it in the feed, once, in order and without a secret.
func TestChanges(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	f := a.follow("")
	if f.poll() != 0 {
		t.Errorf("changes of before: %v", f.told())
	}
	a.want(201, "PUT", "/tenants/acme", `{"metadata":{"plan":"pro"}}`)
	f.poll()
	if len(f.seen) != 4 || f.seen[0].Type != models.FeedTenant || *f.seen[0].TenantID != "acme" ||
		!strings.Contains(string(f.seen[0].Object), `"plan":"pro"`) || f.seen[1].Type != models.FeedRule {
		t.Fatalf("a new tenant: %v", f.told())
	}
	f.seen = nil
	const secret, header = "whsec_c2VjcmV0IHRoYXQgbm9ib2R5IHNoYWxsIHNlZQ==", "token-that-nobody-shall-see"
	body := map[string]any{"id": "hook", "type": "webhook", "topics": []string{"a"},
		"config":      map[string]any{"url": "https://example.com/hooks", "custom_headers": map[string]string{"X-Token": header}},
		"credentials": map[string]string{"secret": secret}, "filter": map[string]any{"total": map[string]any{"$gte": 10}},
		"retry": map[string]any{"max_attempts": 3}}
	a.want(201, "POST", "/tenants/acme/destinations", body)
	a.want(200, "PATCH", "/tenants/acme/destinations/hook", `{"name":"Billing <b>","topics":["a","b"]}`)
	a.want(200, "PUT", "/tenants/acme/destinations/hook/disable", `{"reason":"Maintenance"}`)
	a.want(200, "PUT", "/tenants/acme/destinations/hook/enable", `{}`)
	a.want(200, "POST", "/tenants/acme/destinations/hook/secrets/rotate", `{}`)
	a.want(200, "DELETE", "/tenants/acme/destinations/hook", nil)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"last","type":"echo","topics":"*"}`)
	a.want(200, "PUT", "/topics/order.created", `{"description":"An order"}`)
	a.want(200, "PUT", "/topics/order.created", `{"description":"An order"}`) // changes nothing
	a.want(200, "PUT", "/topics/order.created", `{"description":"A customer ordered"}`)
	a.want(200, "DELETE", "/topics/order.created", nil)
	rule := a.want(201, "POST", "/tenants/acme/alert-rules", `{"when":{"consecutive_failures":3}}`).str("id")
	a.want(200, "PATCH", "/tenants/acme/alert-rules/"+rule, `{"every":"30m"}`)
	a.want(200, "DELETE", "/tenants/acme/alert-rules/"+rule, nil)
	a.want(200, "PUT", "/tenants/acme", `{"metadata":{"plan":"free"}}`)
	a.want(200, "PUT", "/tenants/acme", `{"metadata":{"plan":"free"}}`) // changes nothing
	f.poll()
	want := []string{"destination hook created", "destination hook updated", "destination hook disabled", "destination hook enabled",
		"destination hook updated", "destination hook deleted",
		"destination last created", "topic order.created created", "topic order.created updated", "topic order.created deleted",
		"alert_rule " + rule + " created", "alert_rule " + rule + " updated", "alert_rule " + rule + " deleted", "tenant acme updated"}
	if !slices.Equal(f.told(), want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(f.told(), "\n"), strings.Join(want, "\n"))
	}
	all, _ := json.Marshal(f.seen)
	for _, s := range []string{secret, header, secret[len(secret)-6:]} {
		if strings.Contains(string(all), s) {
			t.Errorf("a change tells %s: %s", s, all)
		}
	}
	updated := f.seen[1]
	if *updated.Version != 2 || len(updated.Changes) != 2 || !strings.Contains(string(updated.Object), `"name":"Billing <b>"`) ||
		!strings.Contains(string(updated.Object), `"filter":{"total":{"$gte":10}}`) ||
		!strings.Contains(string(updated.Object), `"url":"https://example.com/hooks"`) {
		t.Errorf("the update: %+v %s", updated, updated.Object)
	}
	if string(f.seen[5].Object) != "null" || !strings.Contains(string(f.seen[2].Object), `"disabled_reason":"Maintenance"`) {
		t.Errorf("%s %s", f.seen[5].Object, f.seen[2].Object)
	}
	f.seen = nil
	a.want(200, "DELETE", "/tenants/acme", nil)
	f.poll()
	if told := f.told(); len(told) != 5 || told[0] != "destination last deleted" || told[4] != "tenant acme deleted" {
		t.Errorf("a deleted tenant: %v", told)
	}

	// From the start, in small pages, and only of some types.
	start := &follower{testApp: a, query: "&limit=3", cursor: "start", ids: map[string]int{}}
	for start.poll() > 0 {
	}
	if first := slices.Index(start.told(), "tenant acme created"); first < 0 || len(start.seen)-first != 4+len(want)+5 {
		t.Errorf("from the start: %v", start.told())
	}
	topics := &follower{testApp: a, query: "&types=topic,alert_rule&limit=1000", cursor: "start", ids: map[string]int{}}
	topics.poll()
	for _, c := range topics.seen {
		if c.Type != models.FeedTopic && c.Type != models.FeedRule {
			t.Errorf("%v", topics.told())
		}
	}
	for query, field := range map[string]string{"": "since", "?since=tomorrow": "since", "?since=now&types=user": "types",
		"?since=now&limit=5000": "limit"} {
		if out := a.want(422, "GET", "/changes"+query, nil); out.str("fields", field) == "" {
			t.Errorf("%s: %s", query, out.raw)
		}
	}
	if out := a.want(410, "GET", "/changes?since=999999", nil); !strings.Contains(out.raw, "list everything anew") ||
		out.str("code") != "past" {
		t.Errorf("a cursor of another database: %s", out.raw)
	}
}

// TestChangesOfTenants is about who sees whose changes.
func TestChangesOfTenants(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for _, id := range []string{"acme", "globex"} {
		a.tenant(id)
	}
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	f, all := token.follow(""), a.follow("&tenant_id=globex")
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"Theirs"}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Ours"}`)
	a.want(201, "POST", "/alert-rules", `{"when":{"consecutive_failures":3}}`)
	a.want(200, "PUT", "/topics/order.created", `{}`)
	f.poll()
	if got := f.told(); !slices.Equal(got, []string{"destination inbox updated", "topic order.created created"}) ||
		*f.seen[0].TenantID != "acme" {
		t.Errorf("a tenant's token: %v", got)
	}
	all.poll()
	if got := all.told(); len(got) != 2 || *all.seen[0].TenantID != "globex" {
		t.Errorf("of one tenant: %v", got)
	}
	token.want(404, "GET", "/changes?since=now&tenant_id=globex", nil)
	a.as("").want(401, "GET", "/changes?since=now", nil)
	publisher := a.want(201, "POST", "/api-keys", `{"name":"Shop","scopes":["publish"]}`).str("key")
	a.as(publisher).want(403, "GET", "/changes?since=now", nil)

	// One who waits hears of their own only.
	began := time.Now()
	done := make(chan answer, 1)
	go func() { done <- token.do("GET", "/changes?since="+f.cursor, nil, "Prefer", "wait=30") }()
	a.waiting(1)
	a.want(200, "PATCH", "/tenants/globex/destinations/inbox", `{"name":"Theirs again"}`)
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Ours again"}`)
	if out := <-done; out.str("changes", "0", "object", "name") != "Ours again" || out.header.Get("Preference-Applied") != "wait=30" ||
		time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %s", time.Since(began), out.raw)
	}
}

// TestLateChanges holds the transaction of a change open while others come and are read. Neither is it skipped nor does
// anything come twice, whoever commits when.
func TestLateChanges(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	for i := range 8 {
		a.tenant(fmt.Sprint("t", i))
	}
	f := a.follow("&types=destination")
	ctx := context.Background()
	// Each begins its change before the next one does, and commits after it.
	begun, commit, done := make(chan struct{}), make([]chan struct{}, 8), make(chan error)
	for i := range commit {
		commit[i] = make(chan struct{})
		go func() {
			done <- a.Store.InTx(ctx, func(tx *models.Tx) error {
				_, err := tx.Pgx.Exec(ctx, "insert into changes (type, action, object) values ('destination', 'updated', $1)",
					fmt.Sprint("late", i))
				begun <- struct{}{}
				<-commit[i]
				return err
			})
		}()
		<-begun
	}
	for i := 7; i >= 0; i-- {
		close(commit[i])
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a.want(200, "PATCH", fmt.Sprintf("/tenants/t%d/destinations/inbox", i), `{"name":"Another"}`)
		if n := f.poll(); n != 2 {
			t.Errorf("%d changes after transaction %d committed: %v", n, i, f.told())
		}
	}
	if len(f.seen) != 16 {
		t.Errorf("%d changes: %v", len(f.seen), f.told())
	}
}

// TestOldChanges lets changes grow old.
func TestOldChanges(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	f := a.follow("")
	old := f.cursor
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"One"}`)
	f.poll()
	ctx := context.Background()
	if _, err := a.db.Exec(ctx, "update changes set at = at - interval '8 days'"); err != nil {
		t.Fatal(err)
	}
	a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"Two"}`)
	if _, err := a.Store.Upkeep(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	if out := a.want(410, "GET", "/changes?since="+old, nil); !strings.Contains(out.raw, "no longer kept") {
		t.Errorf("%s", out.raw)
	}
	if n := f.poll(); n != 1 || f.seen[1].Action != models.FeedUpdated {
		t.Errorf("%d: %v", n, f.told())
	}
	start := &follower{testApp: a, cursor: "start", ids: map[string]int{}}
	if start.poll() != 1 {
		t.Errorf("from the start: %v", start.told())
	}
}
