package bench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// What the case pages fills the database with, at scale 1. One tenant in a thousand has a fifth of the events, as happens.
const (
	pagesEvents       = 3_000_000
	pagesTenants      = 1_000
	pagesDestinations = 10 // of a tenant; two take each event
	pagesDays         = 30 // over which the events are spread
)

// pagesDB is a filled database.
type pagesDB struct {
	b       *bencher
	conn    *pgx.Conn
	tenants int
	events  int
	cookie  string // of an operator's session
}

// seed makes tenants and destinations over the API, and their history with statements.
func (p *pagesDB) seed(ctx context.Context, say func(format string, args ...any)) error {
	began := time.Now()
	if err := p.makeTenants(ctx); err != nil {
		return err
	}
	say("%d tenants with %d destinations each: %.0f s\n", p.tenants, pagesDestinations, time.Since(began).Seconds())
	if err := p.history(ctx); err != nil {
		return err
	}
	if err := p.numbers(ctx); err != nil {
		return err
	}
	if err := p.session(ctx); err != nil {
		return err
	}
	if _, err := p.conn.Exec(ctx, "vacuum analyze"); err != nil {
		return err
	}
	var deliveries, attempts int
	if err := p.conn.QueryRow(ctx, "select (select count(*) from events), (select count(*) from deliveries), (select count(*) from attempts)").
		Scan(&p.events, &deliveries, &attempts); err != nil {
		return err
	}
	say("%d events, %d deliveries and %d attempts of %d days: %.0f s\n", p.events, deliveries, attempts, pagesDays,
		time.Since(began).Seconds())
	return nil
}

// makeTenants makes them with their destinations. Each destination takes one topic of five, so that two take each event.
func (p *pagesDB) makeTenants(ctx context.Context) error {
	next := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for range 8 {
		wg.Go(func() {
			for i := range next {
				id := "page-" + strconv.Itoa(i)
				_, err := p.b.must(201, "PUT", "/tenants/"+id, nil)
				for k := 0; k < pagesDestinations && err == nil; k++ {
					err = p.b.destination(id, "/hook", map[string]any{"id": fmt.Sprintf("%s-%d", id, k), "name": fmt.Sprintf("Receiver %d", k),
						"topics": []string{"topic." + strconv.Itoa(k%5)}})
				}
				if err != nil {
					once.Do(func() { failed = err })
				}
			}
		})
	}
	for i := range p.tenants {
		if ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

// history writes events, deliveries and attempts, a day at a time. Of a hundred deliveries 2 have failed, 1 waits for a retry, 2
// are held and 1 is cancelled; the disabled destinations are the last of every tenth tenant.
func (p *pagesDB) history(ctx context.Context) error {
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-pagesDays)
	for d := range pagesDays {
		if err := migrations.EnsurePartitions(ctx, p.conn, day.AddDate(0, 0, d), 0); err != nil {
			return err
		}
	}
	for _, sql := range []string{
		"set synchronous_commit = off",
		"set work_mem = '64MB'",
		`create temp table seed_tenants as select split_part(id, '-', 2)::int n, key from tenants where id like 'page-%'`,
		`create temp table seed_destinations as select t.n, d.key, t.key tenant, split_part(d.id, '-', 3)::int k from destinations d
			join seed_tenants t on t.key = d.tenant_key`,
		"create index on seed_destinations (n, k)",
		"analyze seed_tenants, seed_destinations",
		`update destinations set disabled_at = now() - interval '1 day', disabled_by = 'Waybill', disabled_reason = '100 deliveries in a row failed'
			where key in (select key from seed_destinations where k = 9 and n % 10 = 0)`,
		`update destinations set disabled_at = now() - interval '2 days', disabled_by = 'kim@example.com', disabled_reason = 'Maintenance'
			where key in (select key from seed_destinations where k = 8 and n % 20 = 0)`,
	} {
		if _, err := p.conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	for d := range pagesDays {
		from := day.AddDate(0, 0, d)
		length := min(24*time.Hour, time.Since(from)) // of today, so far
		numbers := strings.NewReplacer("$1", fmt.Sprint(from.UnixMilli()), "$2", fmt.Sprint(length.Milliseconds()), "$3",
			fmt.Sprint(p.events/pagesDays), "$4", fmt.Sprint(p.tenants))
		for _, sql := range seedDay {
			if _, err := p.conn.Exec(ctx, numbers.Replace(sql)); err != nil {
				return fmt.Errorf("%w in %.60s", err, sql)
			}
		}
	}
	return nil
}

// seedDay fills one day: $1 is its start and $2 its length in milliseconds, $3 how many events, $4 how many tenants.
var seedDay = []string{
	`drop table if exists seed_events`,
	`create temp table seed_events as
		select (lpad(to_hex($1::bigint + i::bigint * $2::bigint / $3::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4,
			15))::uuid id, i,
			to_timestamp(($1::bigint + i::bigint * $2::bigint / $3::bigint) / 1000.0) at, t.n, t.key tenant, i % 5 topic
		from (select i, md5(i::text || '/' || $1::text) h,
			case when i % 5 = 0 then 0 else (i * 7919) % $4::int end n from generate_series(0, $3::int - 1) i) x
		join seed_tenants t on t.n = x.n`,
	`insert into events (id, tenant_key, topic, retry, metadata, data)
		select id, tenant, 'topic.' || topic, true, '{"source": "shop"}',
			'{"order": ' || i || ', "total": ' || i % 1000 || '.50, "currency": "EUR", "customer": {"email": "someone' || i % 5000 || '@example.com"}, "pad": "' || repeat('x', 100) || '"}'
		from seed_events order by id`,
	`insert into deliveries (event_id, destination_key, tenant_key, status, attempts, last_attempt_at, next_attempt_at, last_code, error_class, error, advice, reason)
		select e.id, d.key, e.tenant, s.status::delivery_status, case when s.status in ('held', 'cancelled') then 0 else 1 end,
			case when s.status not in ('held', 'cancelled') then e.at + interval '20 ms' end, case when s.status = 'retrying' then now() +
				interval '6 hours' end,
			case s.status when 'delivered' then 200 when 'failed' then 404 when 'retrying' then 500 end,
			case s.status when 'failed' then 'not_found' when 'retrying' then 'server' end,
			case s.status when 'failed' then 'The receiver answered 404' when 'retrying' then 'The receiver answered 500' end,
			case when s.status in ('failed', 'retrying') then 'Look at the receiver.' end,
			case s.status when 'held' then 'The destination is disabled.' when 'cancelled' then 'Cancelled by Kim' end
		from seed_events e join seed_destinations d on d.n = e.n and d.k in (e.topic, e.topic + 5)
			cross join lateral (select case when (e.i * 31 + d.k) % 100 < 2 then 'failed' when (e.i * 31 + d.k) % 100 < 3 then 'retrying'
				when (e.i * 31 + d.k) % 100 < 5 then 'held' when (e.i * 31 + d.k) % 100 < 6 then 'cancelled' else 'delivered' end status) s
		order by e.id`,
	`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, code, ok, trigger, error_class, error, advice, method, url,
			request_header, response_header, response_body)
		select event_id, destination_key, tenant_key, last_attempt_at, 1, 20000 + (destination_key % 50) * 1000, last_code,
			status = 'delivered', 'automatic',
			error_class, error, advice, 'POST', 'http://127.0.0.1/hook', 'Content-Type: application/json' || E'\n' || 'User-Agent: Waybill',
			'Content-Type: text/plain', 'ok'
		from deliveries where event_id >= (select id from seed_events order by id limit 1)
			and event_id <= (select id from seed_events order by id desc limit 1) and last_attempt_at is not null
		order by last_attempt_at`,
}

// numbers adds up the history, as workers would have.
func (p *pagesDB) numbers(ctx context.Context) error {
	for _, sql := range []string{
		`update settings set value = to_jsonb(now() - interval '90 days') where key = 'traffic_since'`,
		`insert into health_minutes select destination_key, date_trunc('minute', started_at), tenant_key, count(*), count(*) filter (where not ok), count(*),
			count(*) filter (where not ok), count(*) filter (where not ok and code = 404), 0, 0, 0, 20 from attempts group by 1, 2, 3`,
		`insert into traffic select tenant, grain, b.start, sum(received), sum(delivered), sum(failed), sum(retrying), sum(first), sum(first_failed), '\xd40101'
			from (select tenant_key, e.start, 1 received, 0 delivered, 0 failed, 0 retrying, 0 first, 0 first_failed from events
					cross join lateral (select timestamptz 'epoch' + ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint *
						interval '1 ms' start) e
				union all select tenant_key, started_at, 0, ok::int, (code = 404)::int, (code = 500)::int, 1, (not ok)::int from attempts) x
			cross join lateral (values (0, 60), (0, 1800), (tenant_key, 60), (tenant_key, 1800)) g (tenant, grain)
			cross join lateral (select date_bin(grain * interval '1 second', x.start, 'epoch')) b (start)
			where grain = 1800 or x.start > now() - interval '3 hours'
			group by 1, 2, 3`,
		`insert into destination_health (destination_key, tenant_key, failures, attempts, since, last_failure_at, code, error_class, error, advice)
			select key, tenant, 5 + n % 90, 20, now() - interval '20 minutes', now() - interval '1 minute', 500, 'server',
				'The receiver answered 500', 'Look at the receiver.'
			from seed_destinations where k = 7 and n % 10 = 1`,
		`insert into topics (name) select 'topic.' || i from generate_series(0, 4) i on conflict do nothing`,
	} {
		if _, err := p.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%w in %.60s", err, sql)
		}
	}
	return nil
}

// session logs an operator in, for the pages.
func (p *pagesDB) session(ctx context.Context) error {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	p.cookie = base64.RawURLEncoding.EncodeToString(raw[:])
	hash := sha256.Sum256([]byte(p.cookie))
	_, err := p.conn.Exec(ctx, `with u as (insert into users (id, email, name, password_hash) values (gen_random_uuid(), 'bench@example.com', 'Bench', '-') returning id)
		insert into sessions (token_hash, user_id, expires_at) select $1, id, now() + interval '1 day' from u`, hash[:])
	return err
}
