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
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/migrations"
)

// What the case pages fills the database with, at scale 1. One tenant in a thousand has a fifth of the events, as happens, and the
// others' shares fall with their rank (Zipf).
const (
	pagesEvents       = 3_000_000
	pagesTenants      = 1_000
	pagesDestinations = 10 // of a tenant
	pagesTopics       = 7  // each destination takes one, so that one or two take each event, 1.43 on average
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

// small is the tenant that has few events.
func (p *pagesDB) small() string { return "page-" + strconv.Itoa(p.tenants*7/10) }

// seed makes tenants and destinations over the API, and their history with statements. A database that was kept has them.
func (p *pagesDB) seed(ctx context.Context, say func(format string, args ...any)) error {
	began := time.Now()
	if kept := p.b.kept; kept.Events > 0 {
		p.tenants, p.events = kept.Tenants, kept.Events
		say("%d events that an earlier run has kept\n", p.events)
		return p.session(ctx)
	}
	if err := p.makeTenants(ctx); err != nil {
		return err
	}
	say("%d tenants with %d destinations each: %.0f s\n", p.tenants, pagesDestinations, time.Since(began).Seconds())
	if err := p.history(ctx); err != nil {
		return err
	}
	say("their history: %.0f s\n", time.Since(began).Seconds())
	if err := p.numbers(ctx); err != nil {
		return err
	}
	if err := p.session(ctx); err != nil {
		return err
	}
	if _, err := p.conn.Exec(ctx, "vacuum analyze"); err != nil { // as autovacuum has done with days that are over
		return err
	}
	var deliveries, attempts int
	if err := p.conn.QueryRow(ctx, "select (select count(*) from events), (select count(*) from deliveries), (select count(*) from attempts)").
		Scan(&p.events, &deliveries, &attempts); err != nil {
		return err
	}
	say("%d events, %d deliveries and %d attempts of %d days: %.0f s\n", p.events, deliveries, attempts, pagesDays,
		time.Since(began).Seconds())
	return p.b.keep(kept{Events: p.events, Tenants: p.tenants})
}

// makeTenants makes them with their destinations.
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
						"topics": []string{"topic." + strconv.Itoa(k%pagesTopics)}})
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

// history writes events, deliveries and attempts, a day at a time. Of a hundred deliveries 2 have failed after three attempts, 2 are
// held, 1 is cancelled, 3 were delivered by their second attempt, and 1 of the last three days waits for a retry; the disabled
// destinations are the last of every tenth tenant.
func (p *pagesDB) history(ctx context.Context) error {
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-pagesDays)
	for d := range pagesDays {
		if err := migrations.EnsurePartitions(ctx, p.conn, day.AddDate(0, 0, d), 0); err != nil {
			return err
		}
	}
	for _, sql := range []string{
		`create table seed_tenants as select split_part(id, '-', 2)::int n, key from tenants where id like 'page-%'`,
		`create table seed_destinations as select t.n, d.key, t.key tenant, split_part(d.id, '-', 3)::int k from destinations d
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
	days := make(chan int, pagesDays)
	for d := range pagesDays {
		days <- d
	}
	close(days)
	var g errgroup.Group
	for range seedWriters {
		g.Go(func() error {
			conn, err := pgx.Connect(ctx, p.b.pg.URL)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if _, err := conn.Exec(ctx, "set synchronous_commit = off; set work_mem = '64MB'"); err != nil {
				return err
			}
			for d := range days {
				if err := p.fillDay(ctx, conn, day.AddDate(0, 0, d), d >= pagesDays-3); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// seedWriters is how many days are written at once.
const seedWriters = 3

// fillDay writes a day. Of a recent one something still waits for a retry.
func (p *pagesDB) fillDay(ctx context.Context, conn *pgx.Conn, from time.Time, recent bool) error {
	length := min(24*time.Hour, time.Since(from)) // of today, so far
	numbers := strings.NewReplacer("$1", fmt.Sprint(from.UnixMilli()), "$2", fmt.Sprint(length.Milliseconds()), "$3",
		fmt.Sprint(p.events/pagesDays), "$4", fmt.Sprint(p.tenants), "$5", strconv.Itoa(pagesTopics), "$6", strconv.FormatBool(recent))
	for _, sql := range seedDay {
		if _, err := conn.Exec(ctx, numbers.Replace(sql)); err != nil {
			return fmt.Errorf("%w in %.60s", err, sql)
		}
	}
	return nil
}

// seedDay fills one day: $1 is its start and $2 its length in milliseconds, $3 how many events, $4 how many tenants, $5 how many
// topics, $6 whether something of it still waits for a retry, which is in days: nothing is to move while it is measured.
var seedDay = []string{
	`drop table if exists seed_events`,
	`create temp table seed_events as
		select (lpad(to_hex($1::bigint + i::bigint * $2::bigint / $3::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4,
			15))::uuid id, i,
			to_timestamp(($1::bigint + i::bigint * $2::bigint / $3::bigint) / 1000.0) at, t.n, t.key tenant, i % $5 topic
		from (select i, h, case when i % 9 = 0 then 0
				else least($4::int, floor(exp(('x' || right(h, 7))::bit(28)::int / (2.0 ^ 28) * ln($4::int + 1)))::int) - 1 end n
			from (select i, md5(i::text || '/' || $1::text) h from generate_series(0, $3::int - 1) i) y) x
		join seed_tenants t on t.n = x.n`,
	`insert into events (id, tenant_key, topic, retry, metadata, data)
		select id, tenant, 'topic.' || topic, true, '{"source": "shop"}',
			'{"order": ' || i || ', "total": ' || i % 1000 || '.50, "currency": "EUR", "customer": {"email": "someone' || i % 5000 || '@example.com"}, "pad": "' || repeat('x', 100) || '"}'
		from seed_events order by id`,
	`drop table if exists seed_deliveries`,
	`create temp table seed_deliveries as
		select e.id event_id, d.key destination_key, e.tenant tenant_key, e.at, d.key % 50 * 1000 slower, s.n,
			case when s.n < 2 then 'failed' when s.n < 4 then 'held' when s.n < 5 then 'cancelled'
				when s.n < 6 and $6 then 'retrying' else 'delivered' end status,
			case when s.n < 2 then 3 when s.n < 5 then 0 when s.n < 6 and $6 then 1 when s.n between 6 and 8 then 2 else 1 end attempts
		from seed_events e join seed_destinations d on d.n = e.n and d.k in (e.topic, e.topic + $5)
			cross join lateral (select (e.i * 31 + d.k) % 100 n) s`,
	`insert into deliveries (event_id, destination_key, tenant_key, status, attempts, last_attempt_at, next_attempt_at, last_code, error_class, error, advice, reason)
		select event_id, destination_key, tenant_key, status::delivery_status, attempts,
			case when attempts > 0 then at + interval '20 ms' + (attempts - 1) * interval '5 seconds' end,
			case when status = 'retrying' then now() + interval '5 days' end,
			case status when 'delivered' then 200 when 'failed' then 404 when 'retrying' then 500 end,
			case status when 'failed' then 'not_found' when 'retrying' then 'server' end,
			case status when 'failed' then 'The receiver answered 404' when 'retrying' then 'The receiver answered 500' end,
			case when status in ('failed', 'retrying') then 'Look at the receiver.' end,
			case status when 'held' then 'The destination is disabled.' when 'cancelled' then 'Cancelled by Kim' end
		from seed_deliveries order by event_id`,
	`insert into river.river_job (args, kind, max_attempts, queue, state, scheduled_at)
		select jsonb_build_object('d', destination_key, 'n', tenant_key, 'r', true,
			'i', encode(uuid_send(event_id) || int4send(0), 'base64')),
			'deliver', 10000, 'retry', 'available', now() + interval '5 days'
		from seed_deliveries where status = 'retrying'`,
	`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, code, ok, trigger, error_class, error, advice, method, url,
			request_header, response_header, response_body)
		select event_id, destination_key, tenant_key, started_at, number, 20000 + slower,
			case when ok then 200 else coalesce(code, 500) end, ok, 'automatic',
			case when not ok then coalesce(class, 'server') end, case when not ok then 'The receiver answered ' || coalesce(code, 500) end,
			case when not ok then 'Look at the receiver.' end, 'POST', 'http://127.0.0.1/hook',
			'Content-Type: application/json' || E'\n' || 'User-Agent: Waybill',
			'Content-Type: text/plain', 'ok'
		from (select *, number = attempts and status = 'delivered' ok,
			at + interval '20 ms' + (number - 1) * interval '5 seconds' started_at,
				case status when 'failed' then 404 end code, case status when 'failed' then 'not_found' end class
			from seed_deliveries cross join lateral generate_series(1, attempts) number) a
		order by started_at`,
	// The numbers, as workers would have added them up. Retries after midnight count for a time that the next day has as well, which
	// another connection may be writing: hence the order.
	`insert into health_minutes select destination_key, date_trunc('minute', started_at), tenant_key, count(*) filter (where number = 1),
			count(*) filter (where not ok and number = 1), count(*), count(*) filter (where not ok),
			count(*) filter (where code = 404 and number = 3), 0, 0, 0, 20
		from attempts where event_id >= (select id from seed_events order by id limit 1)
			and event_id <= (select id from seed_events order by id desc limit 1)
		group by 1, 2, 3 on conflict do nothing`,
	`insert into traffic as t select tenant, grain, b.start, sum(received), sum(delivered), sum(failed), sum(retrying), sum(first), sum(first_failed), '\xd40101'
		from (select tenant tenant_key, at start, 1 received, 0 delivered, 0 failed, 0 retrying, 0 first, 0 first_failed from seed_events
			union all select tenant_key, at + interval '20 ms' + (number - 1) * interval '5 seconds', 0,
				(status = 'delivered' and number = attempts)::int,
					(status = 'failed' and number = attempts)::int, retried, (number = 1)::int, retried
				from seed_deliveries cross join generate_series(1, attempts) number
					cross join lateral (select (number = 1 and (status = 'retrying' or attempts > 1))::int retried) r) x
			cross join lateral (values (0, 60), (0, 1800), (tenant_key, 60), (tenant_key, 1800)) g (tenant, grain)
			cross join lateral (select date_bin(grain * interval '1 second', x.start, 'epoch')) b (start)
		where grain = 1800 or x.start > now() - interval '3 hours'
		group by 1, 2, 3 order by 1, 2, 3
		on conflict (tenant_key, grain, start) do update set received = t.received + excluded.received,
			delivered = t.delivered + excluded.delivered,
			failed = t.failed + excluded.failed, retrying = t.retrying + excluded.retrying, first = t.first + excluded.first, first_failed = t.first_failed + excluded.first_failed`,
}

// numbers writes what else workers know of the history.
func (p *pagesDB) numbers(ctx context.Context) error {
	for _, sql := range []string{
		`update settings set value = to_jsonb(now() - interval '90 days') where key = 'traffic_since'`,
		`insert into destination_health (destination_key, tenant_key, failures, attempts, since, last_failure_at, code, error_class, error, advice)
			select key, tenant, 5 + n % 90, 20, now() - interval '20 minutes', now() - interval '1 minute', 500, 'server',
				'The receiver answered 500', 'Look at the receiver.'
			from seed_destinations where k = 7 and n % 10 = 1`,
		`drop table seed_tenants, seed_destinations`,
		`insert into topics (name) select 'topic.' || i from generate_series(0, 6) i on conflict do nothing`,
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
	_, err := p.conn.Exec(ctx, `with u as (insert into users (id, email, name, password_hash) values (gen_random_uuid(), 'bench@example.com', 'Bench', '-')
			on conflict (lower(email)) do update set name = excluded.name returning id)
		insert into sessions (token_hash, user_id, expires_at) select $1, id, now() + interval '1 day' from u`, hash[:])
	return err
}
