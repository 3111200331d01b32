package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/valyala/fasthttp"
)

// pagesName is the case that measures how long lists, details and numbers take with much history. It is none of benchCases, for it
// prints what the others do not.
const pagesName = "pages"

const (
	pagesRate   = 200 // events a second while it is measured
	pagesRounds = 20  // requests of each address; fewer, but pagesLeast, of one that has taken pagesTime in all
	pagesLeast  = 5
	pagesTime   = 1000 * time.Millisecond
)

// filled starts a server and fills its database, with that many times the usual. Where dir is not empty, the database is kept there
// and found again.
func filled(ctx context.Context, scale float64, dir string, settings map[string]string,
	say func(format string, args ...any)) (p *pagesDB, err error) {
	b, err := startKept(ctx, dir, settings)
	if err != nil {
		return nil, err
	}
	p = &pagesDB{b: b, tenants: max(20, int(pagesTenants*min(scale, 1))), events: max(3_000, int(pagesEvents*scale))}
	if p.conn, err = pgx.Connect(ctx, b.pg.URL); err == nil {
		err = p.seed(ctx, say)
	}
	if err != nil {
		p.close(ctx)
		return nil, err
	}
	return p, nil
}

func (p *pagesDB) close(ctx context.Context) {
	if p.conn != nil {
		_ = p.conn.Close(context.WithoutCancel(ctx))
	}
	p.b.stop()
}

// pagesRun fills a database and measures.
func pagesRun(ctx context.Context, scale float64, dir string, settings map[string]string, stdout io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(stdout, format, args...) }
	p, err := filled(ctx, scale, dir, settings, say)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	b := p.b
	list, err := p.addresses(ctx)
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var published error
	wg.Go(func() {
		_, published = b.publish(loading, benchCase{publishers: 16, events: 1 << 30, rate: pagesRate,
			topic: func(k int64) string { return fmt.Sprintf("topic.%d", k%pagesTopics) }},
			func(k int64) string { return fmt.Sprintf("page-%d", k*7919%int64(p.tenants)) })
	})
	say("\n%d events a second come in; %d requests of each address at most, one at a time\n\n%-74s %8s %8s %8s\n", pagesRate, pagesRounds, "address",
		"p50 ms", "p95 ms", "max ms")
	err = p.measure(ctx, list, say)
	stop()
	wg.Wait()
	return errors.Join(err, published)
}

// address is one that is measured. API addresses are below /api/v1.
type address struct {
	path string
	page bool // of the dashboard
	took []float64
}

// addresses are the lists, details and numbers, with conditions that nothing and little meets.
func (p *pagesDB) addresses(ctx context.Context) ([]*address, error) {
	var event, tenant, key, attempt string
	if err := p.conn.QueryRow(ctx, `select replace(a.event_id::text, '-', ''), t.id, to_hex(a.destination_key), a.number::text from attempts a
		join tenants t on t.key = a.tenant_key where t.id = 'page-0' and not a.ok order by a.started_at desc limit 1`).
		Scan(&event, &tenant, &key, &attempt); err != nil {
		return nil, err
	}
	out, err := p.b.must(200, "GET", "/attempts?tenant_id=page-0&status=failed&limit=1", nil)
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, name := range []string{"id", "delivery_id", "event_id", "destination_id"} {
		ids[name] = textAfter(string(out), `"`+name+`":"`)
	}
	day := time.Now().UTC()
	span := func(since, until time.Duration) string {
		return "since=" + day.Add(-since).Format(time.RFC3339) + "&until=" + day.Add(-until).Format(time.RFC3339)
	}
	var list []*address
	for _, of := range []string{"", "tenant_id=page-0", "tenant_id=" + p.small()} {
		for _, path := range []string{"/stats/overview?range=1h", "/stats/overview?range=24h", "/stats/overview?range=7d", "/stats/overview?range=30d",
			"/stats/failures?range=24h", "/stats/failures?range=30d", "/stats/destinations?range=24h", "/stats/destinations?range=30d", "/incidents?limit=20",
			"/events?", "/events?" + span(240*time.Hour, 200*time.Hour), "/events?topic=topic.3", "/events?topic=none", "/events?status=failed",
			"/events?status=held", "/events?status=pending", "/events?status=failed&topic=none", "/events?code=418", "/events?error_class=tls", "/events?q=nowhere",
			"/events?q=someone42@", "/events?q=order:17", "/events?order_by=status", "/stats/events?" + span(time.Hour, 0), "/stats/events?" + span(24*time.Hour, 0),
			"/stats/events?" + span(720*time.Hour, 0), "/stats/events?status=failed&" + span(720*time.Hour, 0), "/stats/events?topic=topic.3&" + span(24*time.Hour, 0),
			"/deliveries?", "/deliveries?status=failed", "/deliveries?status=filtered_out", "/deliveries?status=failed&status=held", "/deliveries?status=pending", "/deliveries?status=delivered&limit=1",
			"/deliveries?status=failed&topic=none", "/deliveries?code=418", "/deliveries?topic=none", "/deliveries?order_by=last_attempt_at",
			"/deliveries?dir=asc&" + span(360*time.Hour, 0), // from the middle on, as an export goes
			"/attempts?", "/attempts?status=failed", "/attempts?status=success", "/attempts?code=418", "/attempts?error_class=tls", "/attempts?topic=none",
			"/attempts?trigger=manual", "/retries?"} {
			if of != "" && !strings.HasSuffix(path, "?") {
				path += "&"
			}
			list = append(list, &address{path: path + of})
		}
	}
	for _, path := range []string{"/tenants", "/tenants?q=page-99", "/tenants?include=numbers&order_by=trouble&limit=50", "/tenants?order_by=last_event_at", "/events/" + ids["event_id"] + "?tenant_id=page-0", "/events/" + ids["event_id"] + "/deliveries?tenant_id=page-0",
		"/deliveries/" + ids["delivery_id"], "/attempts/" + ids["id"], "/tenants/page-0/destinations", "/tenants/page-0/destinations/" + ids["destination_id"] + "/health",
		"/deliveries?destination_id=" + ids["destination_id"] + "&tenant_id=page-0", "/deliveries?destination_id=page-0-3&tenant_id=page-0&status=filtered_out",
		"/attempts?destination_id=page-0-3&tenant_id=page-0&status=failed", "/attempts?destination_id=page-0-3&tenant_id=page-0&code=418"} {
		list = append(list, &address{path: path})
	}
	for _, path := range []string{"/tenants", "/events", "/t/page-0", "/t/page-0?range=30d", "/t/page-0/events", "/t/page-0/events?status=failed", "/t/page-0/events?q=nowhere",
		"/t/page-0/events/" + ids["event_id"], "/t/page-0/attempts", "/t/page-0/attempts?status=failed", "/t/page-0/attempts/" + ids["id"], "/t/page-0/destinations",
		"/t/page-0/destinations/" + ids["destination_id"], "/t/page-0/destinations/" + ids["destination_id"] + "/deliveries", "/t/page-0/retries", "/t/" + p.small(),
		"/t/" + p.small() + "/events"} {
		list = append(list, &address{path: path, page: true})
	}
	return list, nil
}

// textAfter is what follows a piece of JSON up to the next quote.
func textAfter(text, before string) string {
	_, rest, _ := strings.Cut(text, before)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// measure asks for each address in turn, round by round, so that what the machine does besides meets all of them.
func (p *pagesDB) measure(ctx context.Context, list []*address, say func(format string, args ...any)) error {
	bad := map[string]bool{}
	for range pagesRounds {
		for _, a := range list {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if len(a.took) >= pagesLeast && sum(a.took) > float64(pagesTime.Milliseconds()) {
				continue
			}
			began := time.Now()
			status, err := p.get(a)
			if err != nil {
				return err
			}
			if a.took = append(a.took, float64(time.Since(began).Microseconds())/1000); status != 200 && !bad[a.path] {
				bad[a.path] = true
				say("%s answered %d\n", a.path, status)
			}
		}
	}
	for _, a := range list {
		slices.Sort(a.took)
		name := a.path
		if !a.page {
			name = "/api/v1" + name
		}
		say("%-74s %8.1f %8.1f %8.1f\n", name, percentile(a.took, .5), percentile(a.took, .95), a.took[len(a.took)-1])
	}
	return nil
}

// get asks for an address, with an operator's key or session.
func (p *pagesDB) get(a *address) (status int, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	if a.page {
		req.SetRequestURI(strings.TrimSuffix(p.b.base, "/api/v1") + a.path)
		req.Header.SetCookie("waybill_session", p.cookie)
	} else {
		req.SetRequestURI(p.b.base + a.path)
		req.Header.Set("Authorization", "Bearer "+p.b.key)
	}
	err = p.b.client.Do(req, resp)
	return resp.StatusCode(), err
}
