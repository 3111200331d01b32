package app

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// history writes events of a tenant with their deliveries and attempts, one each second up to now, all delivered but those with
// another status by their place; 1 is the oldest.
func (a *testApp) history(tenant string, n int, others map[int]string) {
	a.Helper()
	a.exec(`with e as (insert into events (id, tenant_key, topic, retry, data)
			select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - ($2 - i) * 1000), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid,
				(select key from tenants where id = $1), case when i = 1 then 'first' else 'order.created' end, true, '{}' from generate_series(1, $2::int) i returning id)
		insert into deliveries (event_id, destination_key, tenant_key, status, attempts, last_attempt_at)
		select id, (select d.key from destinations d join tenants t on t.key = d.tenant_key where d.id = 'inbox' and t.id = $1), (select key from tenants where id = $1), 'delivered', 1, now() from e`,
		tenant, n)
	for place, status := range others {
		a.exec(`update deliveries set status = $2::delivery_status where event_id = (select e.id from events e join tenants t on t.key = e.tenant_key where t.id = $1
			order by e.id offset $3 - 1 limit 1) and tenant_key = (select key from tenants where id = $1)`, tenant, status, place)
	}
	a.exec(`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, code, ok, trigger)
		select event_id, destination_key, tenant_key, timestamptz 'epoch' + ('x' || left(replace(event_id::text, '-', ''), 12))::bit(48)::bigint * interval '1 ms', 1, 1000, 200,
			status = 'delivered', case when row_number() over (order by event_id) = 1 then 'manual' else 'automatic' end
		from deliveries where tenant_key = (select key from tenants where id = $1)`, tenant)
}

// TestListsLookOnlySoFar: a list whose conditions few rows meet stops after a while and says how far it looked. Who goes on with its
// cursors finds every row once, in both directions.
func TestListsLookOnlySoFar(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.Store.ListTime = time.Nanosecond // each page is one portion
	a.tenant("acme")
	a.history("acme", 3500, map[int]string{2: "pending", 1700: "pending", 3400: "pending"})
	for _, path := range []string{"/events?topic=first", "/events?status=pending", "/deliveries?topic=first", "/deliveries?status=pending",
		"/attempts?trigger=manual", "/attempts?topic=first"} {
		want := 1
		if strings.Contains(path, "pending") {
			want = 3
		}
		for _, query := range []string{"&tenant_id=acme", "&tenant_id=acme&dir=asc", "", "&dir=asc", "&tenant_id=acme&limit=1"} {
			var ids []string
			var looked float64
			pages, cursor := 0, ""
			for {
				o := a.want(200, "GET", path+query+cursor, nil)
				for _, m := range o.body["models"].([]any) {
					ids = append(ids, m.(map[string]any)["id"].(string))
				}
				if l, ok := o.body["looked"].(map[string]any); ok {
					looked += l["events"].(float64)
					if at, err := time.Parse(time.RFC3339, l["until"].(string)); err != nil || time.Since(at) > 26*time.Hour && !strings.Contains(query, "asc") {
						t.Errorf("%s: looked up to %v", path+query, l["until"])
					}
				}
				if pages++; o.str("pagination", "next") == "" || pages > 60 {
					break
				}
				cursor = "&next=" + url.QueryEscape(o.str("pagination", "next"))
			}
			slices.Sort(ids)
			if len(ids) != want || len(slices.Compact(ids)) != want {
				t.Errorf("%s found %d, want %d", path+query, len(ids), want)
			}
			if query == "&dir=asc" && strings.HasPrefix(path, "/attempts") {
				continue // over all tenants, the first portion that has any reaches far
			}
			if pages < 2 || looked < 1000 || pages > 60 {
				t.Errorf("%s: %d pages, %v looked at", path+query, pages, looked)
			}
		}
	}
}

// TestPagesLookOnlySoFar: a page whose list stopped before it found anything says so and leads on, until it has found what there is.
func TestPagesLookOnlySoFar(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.Store.ListTime = time.Nanosecond
	a.tenant("acme")
	a.history("acme", 3500, map[int]string{2: "pending"})
	v := a.visitor()
	for path, found := range map[string]string{"/t/acme/attempts?trigger=manual": `a[href^="/t/acme/attempts/att_"]`,
		"/t/acme/destinations/inbox/deliveries?status=pending": `a[href^="/t/acme/events/"]`, "/t/acme/events?status=pending": `a[href^="/t/acme/events/evt_"]`} {
		p, further := v.get(path), 0
		for p.Find("tbody "+found).Length() == 0 && further < 60 {
			if p.text("#looked") == "" {
				t.Errorf("%s: the page does not say that it looked only so far", p.path)
				break
			}
			next := p.Find(`a:contains("Look further back"), a:contains("Search older events")`).AttrOr("href", "")
			if next == "" {
				t.Errorf("%s: no way on", p.path)
				break
			}
			further++
			p = v.get(next)
		}
		if further == 0 || p.Find("tbody "+found).Length() == 0 {
			t.Errorf("%s: after %d pages: %s", path, further, p.text("main"))
		}
	}
}

// TestRareStatesAreFound: what is rare is found at once, however much there is besides, with and without further conditions.
func TestRareStatesAreFound(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.Store.ListTime = time.Nanosecond
	a.tenant("acme")
	a.tenant("globex")
	a.history("acme", 3000, map[int]string{1: "failed", 5: "held", 6: "failed", 2999: "cancelled"})
	a.history("globex", 10, map[int]string{3: "failed"})
	for query, want := range map[string]int{"status=failed": 3, "status=failed&tenant_id=acme": 2, "status=failed&status=held&tenant_id=acme": 3,
		"status=held": 1, "status=retrying": 0, "status=cancelled&tenant_id=acme": 1, "status=failed&topic=first&tenant_id=acme": 1,
		"status=failed&destination_id=inbox&tenant_id=acme": 2, "status=failed&topic=none&tenant_id=acme": 0, "status=failed&tenant_id=acme&tenant_id=globex": 3,
		"status=failed&tenant_id=acme&dir=asc": 2, "status=failed&tenant_id=acme&order_by=status": 2} {
		for _, list := range []string{"/events?", "/deliveries?"} {
			o := a.want(200, "GET", list+query, nil)
			if got := len(o.body["models"].([]any)); got != want || o.body["looked"] != nil || o.str("pagination", "next") != "" {
				t.Errorf("%s%s: %d, want %d; looked %v", list, query, got, want, o.body["looked"])
			}
		}
	}
	// Page by page, there and back.
	for _, list := range []string{"/events?", "/deliveries?"} {
		query := list + "status=failed&status=held&status=cancelled&tenant_id=acme&limit=1"
		var ids []string
		o := a.want(200, "GET", query, nil)
		for {
			ids = append(ids, o.str("models", "0", "id"))
			if o.str("pagination", "next") == "" {
				break
			}
			o = a.want(200, "GET", query+"&next="+url.QueryEscape(o.str("pagination", "next")), nil)
		}
		var back []string
		for {
			back = append(back, o.str("models", "0", "id"))
			if o.str("pagination", "prev") == "" {
				break
			}
			o = a.want(200, "GET", query+"&prev="+url.QueryEscape(o.str("pagination", "prev")), nil)
		}
		slices.Reverse(back)
		if len(ids) != 4 || fmt.Sprint(ids) != fmt.Sprint(back) {
			t.Errorf("%s there %v, back %v", list, ids, back)
		}
	}
}
