package models

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
)

// What a transaction writes, as metrics call it.
const (
	meterEvents   = "events"
	meterOutcomes = "outcomes"
)

// meter tells the metrics what became of a group of events.
func (a *Accepter) meter(group []*publishing, w *acceptWriter, took time.Duration, err error) {
	m := a.s.Metrics
	m.Committed(meterEvents, len(group), took, err)
	if err != nil {
		for range group {
			m.Refused(codes[KindUnavailable])
		}
		return
	}
	accepted, duplicates := 0, 0
	for _, p := range group {
		switch {
		case p.err != nil:
			a.s.meterRefused(p.err)
		case p.res.Duplicate:
			duplicates++
		default:
			accepted++
		}
	}
	m.Accepted(accepted, duplicates, w.filtered, w.routed)
}

// MeterRefused counts an event that is refused before it gets here.
func (s *Store) MeterRefused(err error) { s.meterRefused(err) }

func (s *Store) meterRefused(err error) { s.Metrics.Refused(AsError(err).Code()) }

// meter tells the metrics what was recorded.
func (r *Recorder) meter(w *recordWriter, took time.Duration, err error) {
	m := r.s.Metrics
	m.Committed(meterOutcomes, len(w.recorded), took, err)
	if m == nil || err != nil {
		return
	}
	out := make([]metrics.Outcome, len(w.recorded))
	for i, o := range w.recorded {
		out[i] = o.metered()
	}
	m.Recorded(out)
}

func (o *Outcome) metered() metrics.Outcome {
	c := metrics.Outcome{Type: o.Type, Status: o.Status}
	switch o.Status {
	case StatusDelivered, StatusFailed, StatusCancelled, StatusHeld:
		c.Final = true
	}
	a := o.Attempt
	if a == nil {
		return c
	}
	c.Attempted, c.OK, c.Class, c.Number, c.Trigger, c.Took = true, a.OK, a.ErrorClass, a.Number, a.Trigger, a.Duration
	c.Wait = max(0, a.StartedAt.Sub(o.Due)) // by two clocks
	c.Latency, _ = o.latency()
	return c
}

// watch adds the metrics that are read when somebody asks.
func (s *Store) watch() {
	pool := []string{"pool"}
	s.Metrics.Watch([]metrics.Desc{
		{Name: "waybill_db_pool_connections", Help: "Connections to PostgreSQL that are in use or idle, by pool.",
			Labels: []string{"pool", "state"}},
		{Name: "waybill_db_pool_max_connections", Help: "The most connections that a pool opens.", Labels: pool},
		{Name: "waybill_db_pool_acquires_total", Help: "How often a connection was taken out of a pool.", Labels: pool, Counter: true},
		{Name: "waybill_db_pool_waits_total", Help: "How often there was none and somebody had to wait.", Labels: pool, Counter: true},
		{Name: "waybill_db_pool_wait_seconds_total", Help: "How long they waited in all.", Labels: pool, Counter: true},
	}, func() (out []metrics.Sample) {
		pools := map[string]*pgxpool.Pool{"pages": s.pool.Pool, "hot": s.Hot, "jobs": s.Jobs}
		if s.replica != nil {
			pools["replica"] = s.replica.pool
		}
		for name, p := range pools {
			st := p.Stat()
			for n, v := range map[string]float64{"max_connections": float64(st.MaxConns()), "acquires_total": float64(st.AcquireCount()),
				"waits_total": float64(st.EmptyAcquireCount()), "wait_seconds_total": st.EmptyAcquireWaitTime().Seconds()} {
				out = append(out, metrics.Sample{Name: "waybill_db_pool_" + n, Value: v, Labels: []string{name}})
			}
			out = append(out, metrics.Sample{Name: "waybill_db_pool_connections", Value: float64(st.AcquiredConns()),
				Labels: []string{name, "in_use"}},
				metrics.Sample{Name: "waybill_db_pool_connections", Value: float64(st.IdleConns()), Labels: []string{name, "idle"}})
		}
		return out
	})
	table := []string{"table"}
	s.Metrics.WatchSlow("store", []metrics.Desc{
		{Name: "waybill_table_size_bytes", Help: "What a table takes up with its indexes, all days together.", Labels: table},
		{Name: "waybill_table_partitions", Help: "How many days of a table are kept, those made in advance included.", Labels: table},
		{Name: "waybill_partitions_ahead", Help: "For how many days after today the partitions are there, of the table with the fewest."},
		{Name: "waybill_oldest_partition_age_seconds", Help: "How long ago the oldest day that is kept ended."},
		{Name: "waybill_retention_seconds", Help: "How long events are kept (RETENTION_DAYS)."},
		{Name: "waybill_processes", Help: "Worker processes that are alive, by role.", Labels: []string{"role"}},
		{Name: "waybill_destinations", Help: "Destinations by type and state.", Labels: []string{"type", "state"}},
		{Name: "waybill_destinations_failing", Help: "Destinations that fail and are not disabled: three deliveries in a row have failed, or one was given up, and none succeeded since."},
		{Name: "waybill_deliveries_waiting", Help: "Deliveries that wait, by status: retrying or held.", Labels: []string{"status"}},
		{Name: "waybill_alerts", Help: "Alerts on destinations that are not resolved, by status.", Labels: []string{"status"}},
		{Name: "waybill_notifications_last_hour", Help: "Notifications of alerts that were made within the last hour, by status.",
			Labels: []string{"status"}},
		{Name: "waybill_clock_skew_seconds", Help: "By how much the database's clock is ahead of this process's."},
	}, s.vitals)
}

// vitals reads how the database is.
func (s *Store) vitals(ctx context.Context) (out []metrics.Sample, err error) {
	err = s.Read(ctx, time.Time{}, func(there context.Context) error {
		out, err = s.vitalsOf(ctx, there)
		return err
	})
	return out, err
}

// vitalsOf reads with two contexts: here from the primary, there from a replica where there is one.
func (s *Store) vitalsOf(here, there context.Context) (out []metrics.Sample, err error) {
	add := func(name string, v float64, labels ...string) {
		out = append(out, metrics.Sample{Name: "waybill_" + name, Value: v, Labels: labels})
	}
	now := time.Now()
	skew, err := queue.ClockSkew(here, s.pool.Pool)
	if err != nil {
		return nil, err
	}
	add("clock_skew_seconds", skew.Seconds())
	add("retention_seconds", s.Rules().Retention.Seconds())
	days, err := migrations.Days(here, s.pool)
	if err != nil {
		return nil, err
	}
	for table, list := range days {
		add("table_partitions", float64(len(list)), table)
	}
	ahead, oldest := partitionSpan(days, now)
	add("partitions_ahead", float64(ahead))
	// Zeros, for an alert cannot see what is not there.
	always := map[string]map[string]float64{"processes": {"serve": 0, "work": 0}, "alerts": {"open": 0, "acknowledged": 0},
		"notifications_last_hour": {"queued": 0, "sent": 0, "failed": 0, "suppressed": 0}}
	add("oldest_partition_age_seconds", max(0, now.Sub(oldest.AddDate(0, 0, 1)).Seconds()))
	for _, r := range []struct{ name, sql string }{
		{"table_size_bytes", `select coalesce(p.inhparent, c.oid)::regclass::text, sum(pg_total_relation_size(c.oid)) from pg_class c
			left join pg_inherits p on p.inhrelid = c.oid and c.relkind = 'r'
			where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, '` + migrations.RiverSchema + `'::regnamespace) and (p.inhparent is not null or c.relname in ('river_job', 'audit'))
			group by 1`},
		{"processes", "select role, count(*)::numeric from processes where seen_at > now() - interval '5 seconds' group by 1"},
		{"destinations", "select type, count(*)::numeric, case when disabled_at is null then 'active' else 'disabled' end from destinations where deleted_at is null group by 1, 3"},
		{"alerts", "select status, count(*)::numeric from alerts where status <> 'resolved' group by 1"},
		{"notifications_last_hour", "select status, count(*)::numeric from notifications where id >= '" +
			migrations.LowestID(now.Add(-time.Hour)) + "' group by 1"},
	} {
		from := there
		if r.name == "processes" {
			from = here // those alive have been seen within seconds, and a replica may be as far behind
		}
		rows, err := s.pool.Query(from, r.sql)
		if err != nil {
			return nil, err
		}
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
			var label, second string
			var v float64
			if len(row.FieldDescriptions()) == 3 {
				err := row.Scan(&label, &v, &second)
				add(r.name, v, label, second)
				return struct{}{}, err
			}
			err := row.Scan(&label, &v)
			if m := always[r.name]; m != nil {
				m[label] = v
			} else {
				add(r.name, v, label)
			}
			return struct{}{}, err
		})
		if err != nil {
			return nil, err
		}
	}
	failing, _, err := s.troubled(there, AllTenants())
	if err != nil {
		return nil, err
	}
	add("destinations_failing", float64(failing))
	waiting, _, err := s.waiting(there, AllTenants())
	if err != nil {
		return nil, err
	}
	add("deliveries_waiting", float64(waiting.Retrying), StatusRetrying)
	add("deliveries_waiting", float64(waiting.Held), StatusHeld)
	for name, values := range always {
		for label, n := range values {
			add(name, n, label)
		}
	}
	return out, nil
}
