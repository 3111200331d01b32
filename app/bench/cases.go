package bench

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/valyala/fasthttp"
)

// tenant makes a tenant for a run.
func (b *bencher) tenant() (string, error) { return b.tenantIn("") }

// tenantIn makes a tenant for a run in a cell; "" for any.
func (b *bencher) tenantIn(cell string) (string, error) {
	b.tenants++
	id := fmt.Sprintf("bench-%d", b.tenants)
	var in any
	if cell != "" {
		in = map[string]any{"cell": cell}
	}
	_, err := b.must(201, "PUT", "/tenants/"+id, in)
	return id, err
}

// destination makes a destination that posts to a path of the sink.
func (b *bencher) destination(tenant, path string, more map[string]any) error {
	body := map[string]any{"type": "webhook", "topics": "*", "config": map[string]string{"url": b.host + path}}
	for k, v := range more {
		body[k] = v
	}
	_, err := b.must(201, "POST", "/tenants/"+tenant+"/destinations", body)
	return err
}

// reset forgets what came to the sink.
func (b *bencher) reset() {
	b.mu.Lock()
	b.latency = b.latency[:0]
	b.first, b.second = map[string]bool{}, map[string]time.Time{}
	b.mu.Unlock()
	b.received.Store(0)
}

// benchGroups is how many groups the events of a case with filters fall into, evenly.
const benchGroups = 20

// benchFilter has five rules, of which the last tells the groups apart.
func benchFilter(group int) map[string]any {
	return map[string]any{"seq": map[string]any{"$gte": 0}, "currency": map[string]any{"$in": []string{"EUR", "USD"}},
		"customer": map[string]any{"email": map[string]any{"$endsWith": "@example.com"}},
		"total":    map[string]any{"$lt": 1e9}, "zone": group}
}

// measure publishes a case's events to a new tenant and waits until all have arrived.
func measure(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenant, err := b.tenant()
	if err != nil {
		return r, err
	}
	for i := range c.fanOut + c.filtered {
		more := map[string]any{}
		if c.filtered > 0 {
			more["filter"] = benchFilter(i % benchGroups)
		}
		if err := b.destination(tenant, "/hook", more); err != nil {
			return r, err
		}
	}
	return b.load(ctx, c, func(int64) string { return tenant })
}

// load publishes a case's events, each to the tenant that it is told, and waits until all have arrived at /hook.
func (b *bencher) load(ctx context.Context, c benchCase, tenant func(k int64) string) (r benchResult, err error) {
	b.reset()
	stored, wal, err := b.space(ctx)
	if err != nil {
		return r, err
	}
	before := b.cpu()
	start := time.Now()
	took, err := b.publish(ctx, c, tenant)
	if err != nil {
		return r, err
	}
	accepted := time.Since(start)
	want := int64(c.events * c.fanOut)
	for deadline := time.Now().Add(3 * time.Minute); b.received.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, fmt.Errorf("%d of %d deliveries arrived", b.received.Load(), want)
		}
	}
	delivered := time.Unix(0, b.last.Load()).Sub(start)
	r.accepted = float64(c.events) / accepted.Seconds()
	r.delivered = float64(want) / delivered.Seconds()
	b.mu.Lock()
	r.e2e = percentiles(b.latency)
	b.mu.Unlock()
	r.publish = [2]float64{percentile(took, .5), percentile(took, .99)}
	r.cpu = float64((b.cpu() - before).Microseconds()) / 1000 / float64(c.events)
	r.memory = float64(b.memory() >> 20)
	after, end, err := b.space(ctx)
	r.stored, r.wal = float64(after-stored)/1024/float64(c.events), float64(end-wal)/1024/float64(c.events)
	return r, err
}

// space is how many bytes events, deliveries and attempts take up with their indexes, and how many were ever written to the
// write-ahead log.
func (b *bencher) space(ctx context.Context) (stored, wal int64, err error) {
	conn, err := pgx.Connect(ctx, b.pg.URL)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `select sum(pg_total_relation_size(inhrelid))::bigint, (pg_current_wal_lsn() - '0/0')::bigint from pg_inherits
		where inhparent in ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)`).Scan(&stored, &wal)
	return stored, wal, err
}

// publish returns how long the requests took, in milliseconds. A case with published is told of each request instead, and
// goes on when one fails.
func (b *bencher) publish(ctx context.Context, c benchCase, tenant func(k int64) string) (took []float64, err error) {
	var next, failures atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	size := max(c.batch, 1)
	for i := range c.publishers {
		base := b.base
		if len(b.bases) > 0 {
			base = b.bases[i%len(b.bases)]
		}
		wg.Go(func() {
			var mine []float64
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			path := "/publish"
			if c.batch > 0 {
				path = "/publish/batch"
			}
			req.SetRequestURI(base + path)
			req.Header.SetMethod("POST")
			req.Header.SetContentType("application/json")
			req.Header.Set("Authorization", "Bearer "+b.key)
			for ctx.Err() == nil {
				k := next.Add(int64(size)) - int64(size)
				if k >= int64(c.events) {
					break
				}
				if c.rate > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(float64(k) / float64(c.rate) * 1e9))))
				}
				at := time.Now()
				var body strings.Builder
				for i := range min(int64(size), int64(c.events)-k) {
					topic := "order.created"
					if c.topic != nil {
						topic = c.topic(k + i)
					}
					b.event(&body, tenant(k+i), topic, k+i, at)
				}
				req.SetBodyString(body.String())
				err := b.client.Do(req, resp)
				accepted, ms := err == nil && resp.StatusCode() == 202, float64(time.Since(at).Microseconds())/1000
				if c.published != nil {
					c.published(k, ms, accepted)
					continue
				}
				if !accepted {
					failures.Add(1)
				}
				mine = append(mine, ms)
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if n := failures.Load(); n > 0 {
		return nil, fmt.Errorf("%d requests were not accepted", n)
	}
	return took, nil
}

const (
	defaultSize = 1000 // bytes of an event's data: with tenant and topic the line has 1 KiB
	minSize     = 256
	padless     = 170 // bytes of the data beside its pad, about
)

// pad is a text of n letters that hardly compresses: PostgreSQL compresses rows of 2 KiB and more.
func pad(n int) string {
	random := make([]byte, n)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < n; i++ {
		random[i] = byte(r.Uint32())
	}
	return base64.RawURLEncoding.EncodeToString(random)[:n]
}

// event appends an event as a line of JSON.
func (b *bencher) event(out *strings.Builder, tenant, topic string, k int64, at time.Time) {
	var digits [32]byte
	number := func(before string, n int64) {
		out.WriteString(before)
		out.Write(strconv.AppendInt(digits[:0], n, 10))
	}
	out.WriteString(`{"tenant_id":"`)
	out.WriteString(tenant)
	out.WriteString(`","topic":"`)
	out.WriteString(topic)
	number(`","data":{"seq":`, k)
	number(`,"sent_at_ns":`, at.UnixNano())
	number(`,"zone":`, k%benchGroups)
	number(`,"total":`, k%1000)
	out.WriteString(`.50,"currency":"EUR","customer":{"email":"someone@example.com"},"pad":"`)
	out.WriteString(b.pad)
	out.WriteString("\"}}\n")
}

// measureRetries compares when second attempts arrive with when they were due, as the API told.
func measureRetries(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenant, err := b.tenant()
	if err != nil {
		return r, err
	}
	if err := b.destination(tenant, "/again", map[string]any{"retry": map[string]any{"schedule": []string{"5s"}}}); err != nil {
		return r, err
	}
	b.reset()
	before := b.cpu()
	due := map[string]time.Time{}
	done := make(chan error, 1)
	go func() {
		_, err := b.publish(ctx, c, func(int64) string { return tenant })
		done <- err
	}()
	for published := false; ; {
		if err := b.waiting(tenant, due); err != nil {
			return r, err
		}
		b.mu.Lock()
		again := len(b.second)
		b.mu.Unlock()
		if published && again == c.events {
			break
		}
		select {
		case err := <-done:
			if err != nil {
				return r, err
			}
			published = true
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	var late []float64
	for id, at := range due {
		late = append(late, float64(b.second[id].Sub(at).Microseconds())/1000)
	}
	if len(late) < c.events/2 {
		return r, fmt.Errorf("only %d of %d deliveries were seen waiting", len(late), c.events)
	}
	r.e2e = percentiles(late)
	r.cpu = float64((b.cpu() - before).Microseconds()) / 1000 / float64(c.events)
	r.memory = float64(b.memory() >> 20)
	return r, nil
}

// waiting notes when the deliveries that wait for a retry are due.
func (b *bencher) waiting(tenant string, due map[string]time.Time) error {
	out, err := b.must(200, "GET", "/deliveries?status=retrying&limit=1000&tenant_id="+tenant, nil)
	if err != nil {
		return err
	}
	var page struct {
		Models []struct {
			Event string     `json:"event_id"`
			Next  *time.Time `json:"next_attempt_at"`
		} `json:"models"`
	}
	if err := json.Unmarshal(out, &page); err != nil {
		return err
	}
	for _, m := range page.Models {
		if m.Next != nil {
			due[m.Event] = *m.Next
		}
	}
	return nil
}

// measureFairness measures a healthy tenant while two others have trouble.
func measureFairness(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	hanging, err := b.tenant()
	if err != nil {
		return r, err
	}
	failing, err := b.tenant()
	if err != nil {
		return r, err
	}
	err = errors.Join(b.destination(hanging, "/hang", nil), b.destination(failing, "/fail", map[string]any{"disable_after": 0}))
	if err != nil {
		return r, err
	}
	scale := float64(c.events) / 1500
	for tenant, n := range map[string]int{hanging: int(2_000 * scale), failing: int(100_000 * scale)} {
		if _, err := b.publish(ctx, benchCase{publishers: 8, events: n, batch: 100}, func(int64) string { return tenant }); err != nil {
			return r, err
		}
	}
	return measure(ctx, b, c)
}

// measureWithBacklog measures with half a million deliveries held and as many waiting for their next attempt.
func measureWithBacklog(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	held, err := b.tenant()
	if err != nil {
		return r, err
	}
	if err := b.destination(held, "/hook", map[string]any{"disabled_at": time.Now()}); err != nil {
		return r, err
	}
	waiting, err := b.tenant()
	if err != nil {
		return r, err
	}
	// A destination that fails all the time would be tried a few times a second only.
	if err := b.destination(waiting, "/mostly", map[string]any{"disable_after": 0,
		"retry": map[string]any{"schedule": []string{"6h"}}}); err != nil {
		return r, err
	}
	n := c.events * 25 / 2
	for _, tenant := range []string{held, waiting} {
		if _, err := b.publish(ctx, benchCase{publishers: 8, events: n, batch: 500}, func(int64) string { return tenant }); err != nil {
			return r, err
		}
	}
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		out, err := b.must(200, "GET", "/deliveries?status=pending&limit=1&tenant_id="+waiting, nil)
		if err != nil {
			return r, err
		}
		if strings.Contains(string(out), `"models":[]`) {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, errors.New("the deliveries that should wait for a retry were not attempted in time")
		}
	}
	return measure(ctx, b, c)
}

// measureSpread spreads the events over many tenants and destinations.
func measureSpread(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenants := make([]string, 1000)
	for i := range tenants {
		if tenants[i], err = b.tenant(); err != nil {
			return r, err
		}
		for k := range 10 {
			topic := "order.created" // of the first; nothing is published for the others
			if k > 0 {
				topic = fmt.Sprintf("order.%d", k)
			}
			if err := b.destination(tenants[i], "/hook", map[string]any{"topics": []string{topic}}); err != nil {
				return r, err
			}
		}
	}
	return b.load(ctx, c, func(k int64) string { return tenants[int(k)%len(tenants)] })
}

// measureAfterRest is about plans that are made while the queue is empty.
func measureAfterRest(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenants := make([]string, 64)
	for i := range tenants {
		if tenants[i], err = b.tenant(); err != nil {
			return r, err
		}
		if err := b.destination(tenants[i], "/hook", nil); err != nil {
			return r, err
		}
	}
	conn, err := pgx.Connect(ctx, b.pg.URL)
	if err != nil {
		return r, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "vacuum analyze"); err != nil {
		return r, err
	}
	return b.load(ctx, c, func(k int64) string { return tenants[int(k)%len(tenants)] })
}

func percentiles(v []float64) [4]float64 {
	return [4]float64{percentile(v, .5), percentile(v, .95), percentile(v, .99), percentile(v, 1)}
}

// percentile sorts v and returns its value at q, from 0 to 1.
func percentile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[int(q*float64(len(v)-1))]
}
