package models

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/alertrule"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// healthPast is a database with days of minutes of three destinations.
type healthPast struct {
	*testing.T
	s   *Store
	now time.Time
}

const (
	pastDays = 5
	all      = 10_000 // portions
)

func newPast(t *testing.T) *healthPast {
	t.Helper()
	p := &healthPast{T: t, s: openStore(t, Options{URL: modelstest.DB(t)}), now: time.Now().UTC().Truncate(time.Minute)}
	var days []time.Time
	for d := range pastDays + 1 {
		days = append(days, startOfDay(p.now.AddDate(0, 0, -d)))
	}
	// Of the oldest day there is no partition: its minutes are in the one for all else.
	if err := migrations.EnsureDays(t.Context(), p.s.pool, map[string][]time.Time{"health_minutes": days}); err != nil {
		t.Fatal(err)
	}
	// Every minute, most minutes, and hardly any.
	p.exec(`insert into health_minutes (destination_key, minute, tenant_key, deliveries, failed_deliveries, attempts, failed_attempts,
			given_up, peak, at_end, filter_failures, lag_ms)
		select d, m, 9, n % 11, n % 5, n % 13, n % 7, n % 3, n % 17, 0, n % 2, 5
		from generate_series(1, 3) d, generate_series($1::timestamptz - interval '6 days 90 minutes', $1, '1 minute') m,
			lateral (select (extract(epoch from m)::bigint / 60 * 31 + d * 7) % 1009 n) x
		where d = 1 or d = 2 and n % 4 <> 0 or d = 3 and n % 397 = 0`, p.now)
	return p
}

func (p *healthPast) exec(sql string, args ...any) {
	p.Helper()
	if _, err := p.s.pool.Exec(p.Context(), sql, args...); err != nil {
		p.Fatalf("%s: %v", sql, err)
	}
}

func (p *healthPast) count(sql string, args ...any) (n int) {
	p.Helper()
	if err := p.s.pool.QueryRow(p.Context(), sql, args...).Scan(&n); err != nil {
		p.Fatalf("%s: %v", sql, err)
	}
	return n
}

// retain has events be kept for so long.
func (p *healthPast) retain(keep time.Duration) {
	rules := *p.s.Rules()
	rules.Retention = keep
	p.s.live.rules.Store(&rules)
}

// roll adds up hours, in so many portions at most.
func (p *healthPast) roll(most int) (hours int) {
	p.Helper()
	hours, err := p.s.RollHours(p.Context(), time.Now(), func() bool {
		most--
		return most >= 0
	})
	if err != nil {
		p.Fatal(err)
	}
	return hours
}

// all adds up all hours, and makes sure that nothing is left.
func (p *healthPast) all() {
	p.Helper()
	p.roll(all)
	if n := p.count("select count(*) from health_hours_late"); n != 0 {
		p.Errorf("%d hours that came late are left", n)
	}
}

// late folds one more attempt into a minute.
func (p *healthPast) late(ctx context.Context, tx pgx.Tx, destination int64, ago time.Duration) {
	p.Helper()
	b := &pgx.Batch{}
	c := minuteCounts{tenant: 9, deliveries: 1000, attempts: 1000, failedAttempts: 100, peak: 500}
	c.queue(b, healthMinute{destination, p.now.Add(-ago)})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		p.Fatal(err)
	}
}

func (p *healthPast) lateNow(destination int64, ago time.Duration) {
	p.Helper()
	if err := pgx.BeginFunc(p.Context(), p.s.pool, func(tx pgx.Tx) error {
		p.late(p.Context(), tx, destination, ago)
		return nil
	}); err != nil {
		p.Fatal(err)
	}
}

// answers are what all who read minutes or hours say, over odd spans.
func (p *healthPast) answers() map[string]string {
	p.Helper()
	out := map[string]string{}
	say := func(name string, answer any, err error) {
		p.Helper()
		if err != nil {
			p.Fatalf("%s: %v", name, err)
		}
		out[name] = fmt.Sprintf("%+v", answer)
	}
	list := []*Destination{{Key: 1}, {Key: 2}, {Key: 3}, {Key: 4}}
	for _, ago := range []time.Duration{0, 7 * time.Minute, 95 * time.Minute, 5 * time.Hour, 24*time.Hour + 59*time.Minute,
		49*time.Hour + time.Second, 100 * time.Hour, 30 * oneDay} {
		since := p.now.Add(-ago)
		for _, d := range list {
			r, err := p.s.RatesOf(p.Context(), d.Key, since)
			say(fmt.Sprint("rates of ", d.Key, " for ", ago), r, err)
		}
		each, err := p.s.RatesOfEach(p.Context(), list, since)
		say(fmt.Sprint("each for ", ago), each, err)
		for _, length := range []time.Duration{20 * time.Minute, time.Hour, 90 * time.Minute, 3 * time.Hour} {
			h, err := p.s.HealthHistory(p.Context(), since, length, 1, 2, 3)
			say(fmt.Sprint("history for ", ago, " by ", length), h, err)
		}
		rules := pass{now: p.now, rules: map[int64]*AlertRule{1: {Condition: failureRate(p.T, ago)}}}
		err = p.s.InTx(p.Context(), func(tx *Tx) error {
			rules.tx = tx
			rates, err := rules.rates(p.Context(), map[int64]bool{})
			say(fmt.Sprint("rates of rules for ", ago), rates, err)
			return nil
		})
		if err != nil {
			p.Fatal(err)
		}
	}
	for name, r := range overviewRanges {
		since, point := r.span(p.now), time.Duration(r.join)*r.bucket
		err := p.s.within(p.Context(), measureTimeout, func(tx pgx.Tx) error {
			for _, d := range list {
				b := &Busy{}
				err := b.read(p.Context(), tx, d.Key, since, point, r.count/r.join)
				say(fmt.Sprint("busy ", d.Key, " for ", name), []any{b.Points, b.Rates, b.Delivered}, err)
			}
			return nil
		})
		if err != nil {
			p.Fatal(err)
		}
	}
	return out
}

func failureRate(t *testing.T, window time.Duration) alertrule.Condition {
	t.Helper()
	var c alertrule.Condition
	minutes := max(1, int(min(window, oneDay).Minutes()))
	if err := c.UnmarshalJSON(fmt.Appendf(nil, `{"failure_rate": 1, "window": "%dm"}`, minutes)); err != nil {
		t.Fatal(err)
	}
	return c
}

// same compares what is said now with what minutes alone say.
func (p *healthPast) same(when string) {
	p.Helper()
	got := p.answers()
	p.exec("create table saved as select * from health_hours_span")
	p.exec("update health_hours_span set covered_from = '2000-01-01', covered_to = '2000-01-01'")
	want := p.answers()
	p.exec("update health_hours_span set (covered_from, covered_to) = (select covered_from, covered_to from saved)")
	p.exec("drop table saved")
	different := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			if different++; different <= 3 {
				p.Errorf("%s: %s is\n%.300s\nof minutes alone\n%.300s", when, name, got[name], want[name])
			}
		}
	}
	if different > 3 {
		p.Errorf("%s: %d of %d answers are different", when, different, len(want))
	}
}

// TestHours: what is read of a destination's past is the same while its hours are added up and afterwards, and is read from them then.
func TestHours(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.same("before")
	p.roll(20)
	p.same("after some portions")
	if p.all(); p.count("select count(*) from health_hours") < 2*24*6 {
		t.Error("hours are missing")
	}
	p.same("after all")
	if n := p.roll(all); n != int(rollAgain/time.Hour) {
		t.Errorf("%d hours were added up again", n)
	}
	before := p.answers()
	// Nobody asks for the minutes of hours that are added up, unless it is to know more exactly.
	p.exec("delete from health_minutes where minute < $1", p.now.Add(-5*time.Hour).Truncate(time.Hour))
	after := p.answers()
	for _, name := range []string{"history for 720h0m0s by 3h0m0s", "rates of 1 for 720h0m0s", "each for 720h0m0s",
		"busy 2 for 30d", "busy 1 for 7d"} {
		if after[name] == "" || after[name] != before[name] {
			t.Errorf("%s is read from minutes: %.300s, before %.300s", name, after[name], before[name])
		}
	}
}

// TestLateMinutes: minutes that are written when their hour is added up already count at once, also while it is added up anew. Whoever
// writes them knows nothing of hours, like processes of the release before.
func TestLateMinutes(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.all()
	p.lateNow(1, 30*time.Hour)
	p.lateNow(1, 30*time.Hour+time.Minute)
	p.lateNow(3, 77*time.Hour) // where perhaps there was none
	p.lateNow(4, 50*time.Hour) // of a destination that had none
	p.lateNow(2, 20*oneDay)    // in the partition for all else
	p.same("late")
	if n := p.count("select count(*) from health_hours_late"); n < 4 || n > 5 {
		t.Errorf("%d hours are noted", n)
	}
	tx, err := p.s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.late(t.Context(), tx, 4, 50*time.Hour) // whose hour is noted already
	p.late(t.Context(), tx, 2, 60*time.Hour)
	p.roll(all)
	p.same("while others are written")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.same("after these")
	p.all()
	p.same("added up anew")
	if n := p.count("select deliveries from health_hours where destination_key = 4"); n != 2000 {
		t.Errorf("the hour has %d deliveries", n)
	}
}

// TestHoursAfterTheClockWasSetBack: hours that a clock which was ahead took for over are added up again.
func TestHoursAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.all()
	p.exec("update health_hours_span set covered_to = covered_to + interval '7 hours'")
	p.lateNow(1, 5*time.Minute)
	p.exec("delete from health_hours_late") // for by that clock it was not late
	p.all()
	p.same("set back")
	if n := p.count("select count(*) from health_hours_span where covered_to > now()"); n != 0 {
		t.Error("hours to come are said to be added up")
	}
}

// TestHoursPastRetention: hours go with their minutes, whoever drops these.
func TestHoursPastRetention(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.all()
	p.retain(4 * oneDay)
	if dropped, err := p.s.Upkeep(t.Context(), time.Now()); err != nil || len(dropped) != 1 {
		t.Fatal(dropped, err)
	}
	p.same("dropped")
	p.all()
	p.same("dropped and added up")
	p.retain(3 * oneDay)
	p.all()
	p.same("minutes are to be dropped")
	// As the release before does it.
	if _, err := migrations.DropPartitions(t.Context(), p.s.pool, time.Now().Add(-p.s.Rules().Retention)); err != nil {
		t.Fatal(err)
	}
	p.all()
	p.same("dropped by another release")
	if n := p.count("select count(*) from health_hours where hour < $1", startOfDay(p.now.Add(-3*oneDay))); n != 0 {
		t.Errorf("%d hours past retention are left", n)
	}
	p.retain(30 * oneDay)
	p.all()
	p.same("kept for longer again")
}

// TestHoursAfterAnUpgrade fills a database of the release before up, by several processes.
func TestHoursAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.exec(`drop trigger note_late_minute on health_minutes; drop function note_late_minute();
		drop table health_hours_late, health_hours_span, health_hours; delete from goose_db_version where version_id = 42`)
	if err := migrations.Apply(t.Context(), p.s.pool.Config().ConnString()); err != nil {
		t.Fatal(err)
	}
	if n := p.count("select count(*) from health_hours"); n != 0 {
		t.Errorf("the migration has added up %d hours", n)
	}
	p.same("migrated")
	type done struct {
		hours int
		err   error
	}
	ends := make(chan done, 3)
	for range cap(ends) {
		go func() {
			n, err := p.s.RollHours(t.Context(), time.Now(), func() bool { return true })
			ends <- done{n, err}
		}()
	}
	sum := 0
	for range cap(ends) {
		d := <-ends
		if d.err != nil {
			t.Fatal(d.err)
		}
		sum += d.hours
	}
	// Six days, some of the newest hours for each process, and the empty span before.
	if sum < 6*24 || sum > 6*24+3*5 {
		t.Errorf("%d hours were added up", sum)
	}
	p.all()
	p.same("filled")
}

// TestMoveOfHours: a tenant that moves between databases whose hours are added up keeps its past.
func TestMoveOfHours(t *testing.T) {
	t.Parallel()
	r := newRemoval(t)
	key := r.everything(r.home, "acme")
	r.fold(r.home)
	destinations := func(s *Store) map[int64]Rates {
		t.Helper()
		list, err := s.Destinations(t.Context(), AllTenants(), "acme", DestinationQuery{})
		if err != nil {
			t.Fatal(err)
		}
		rates, err := s.RatesOfEach(t.Context(), list, time.Now().AddDate(0, 0, -30))
		if err != nil {
			t.Fatal(err)
		}
		return rates
	}
	roll := func() {
		t.Helper()
		for _, s := range r.cells {
			if _, err := s.RollHours(t.Context(), time.Now(), func() bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := destinations(r.home)
	if len(before) == 0 {
		t.Fatal("nothing was sent to the tenant's destinations")
	}
	roll()
	at := HomeCell
	for _, to := range []string{"eu1", HomeCell, "eu1"} {
		r.until(r.start(to), MoveDone)
		if left := r.number(r.cells[at], "select count(*) from health_hours where tenant_key = $1", key); left != 0 {
			t.Errorf("%d hours are left in %s", left, at)
		}
		at = to
		if now := destinations(r.cells[at]); !maps.Equal(now, before) {
			t.Errorf("in %s: %v, before %v", at, now, before)
		}
		roll()
		if now := destinations(r.cells[at]); !maps.Equal(now, before) {
			t.Errorf("in %s, added up: %v, before %v", at, now, before)
		}
		if n := r.number(r.cells[at], "select count(*) from health_hours where tenant_key = $1", key); n == 0 {
			t.Errorf("%s has no hours of the tenant", at)
		}
	}
}
