package models

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
)

// A doctor checks what the path of events promises: every unfinished delivery has a job, and only one. It looks at one snapshot of
// the database, in which the promises hold at any instant.
type doctor struct {
	store    *Store
	tx       pgx.Tx
	findings []Finding
	lost     []Lost        // unfinished deliveries without a job
	dead     bool          // workers are gone, and nobody took over their jobs
	idle     int           // unfinished bulk retries without a job
	stuck    []DeliveryKey // finished deliveries that others with their ordering key wait behind
}

// DiagnoseQueue checks the queue against the deliveries. With repair it also queues what was lost, and makes the jobs of dead
// workers available again. It reads all deliveries that are kept; with a hundred million that takes minutes.
func (s *Store) DiagnoseQueue(ctx context.Context, repair bool) ([]Finding, error) {
	d := &doctor{store: s}
	err := s.inSnapshot(ctx, func(tx pgx.Tx) error {
		d.tx = tx
		if err := d.unpack(ctx); err != nil {
			return err
		}
		if err := d.workers(ctx); err != nil {
			return err
		}
		_, err := d.checkAll(ctx)
		return err
	})
	if err != nil || !repair {
		return d.findings, err
	}
	return d.findings, d.repair(ctx, s)
}

// queueChecks are what checkAll looks at, in its order.
var queueChecks = []struct {
	name string
	run  func(*doctor, context.Context) error
}{{"deliveries", (*doctor).deliveries}, {"events", (*doctor).events}, {"order", (*doctor).order}, {"jobs", (*doctor).jobs}, {"bulk retries", (*doctor).bulkRetries}}

// checkAll makes the checks of what unpack has unpacked. done is how many it made to their end.
func (d *doctor) checkAll(ctx context.Context) (done int, err error) {
	for _, check := range queueChecks {
		if err := check.run(d, ctx); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

func (d *doctor) add(check, level, message, advice string, examples ...string) {
	d.findings = append(d.findings, Finding{Check: check, Level: level, Message: message, Advice: advice, Examples: examples})
}

// unpack makes a table of all deliveries that jobs carry. PostgreSQL unpacks them itself and keeps them on its disk, so
// that a backlog of millions fits.
func (d *doctor) unpack(ctx context.Context) error {
	const item = queue.PackedSize
	// The table is gone at the end: its commit need not wait for a standby, which may be what is wrong.
	if _, err := d.tx.Exec(ctx, "set local synchronous_commit = off"); err != nil {
		return err
	}
	_, err := d.tx.Exec(ctx, fmt.Sprintf(`create temporary table queued on commit drop as
		select j.id job, (j.args->>'d')::bigint destination_key, encode(substring(b from %[1]d * i + 1 for 16), 'hex')::uuid event_id,
			('x' || encode(substring(b from %[1]d * i + 17 for 4), 'hex'))::bit(32)::int turn
		from %[2]s.river_job j cross join lateral (select decode(j.args->>'i', 'base64') b) x cross join lateral generate_series(0,
			length(b) / %[1]d - 1) i
		where j.kind = 'deliver' and %[3]s`, item, queue.Schema, queue.Open))
	if err == nil {
		_, err = d.tx.Exec(ctx, "analyze queued")
	}
	return err
}

// workers looks for jobs that a worker has taken which is gone.
func (d *doctor) workers(ctx context.Context) error {
	var alive, due int
	if err := d.tx.QueryRow(ctx,
		`select (select count(*) from processes where role in ('serve', 'work') and seen_at > now() - interval '5 seconds'),
		(select count(*) from (select 1 from `+queue.Schema+`.river_job where state = 'available' and scheduled_at < now() - interval '1 minute' limit 100000) x)`).Scan(&alive, &due); err != nil {
		return err
	}
	switch {
	case alive == 0 && due > 0:
		d.add("workers", LevelFail, fmt.Sprintf("No worker is alive, and %d jobs have been due for more than a minute.", due),
			"Start `waybill work` (or `serve`), and see why the last one ended.")
	case alive == 0:
		d.add("workers", LevelWarn, "No worker is alive; nothing is due.", "Start `waybill work` (or `serve`).")
	case due > 0:
		d.add("workers", LevelWarn, fmt.Sprintf("%d workers are alive, and %d jobs have been due for more than a minute.", alive, due),
			"Destinations may be slow, or there are too few workers: see docs/monitoring.md, WaybillDeliveriesLate.")
	default:
		d.add("workers", LevelOK, fmt.Sprintf("%d workers are alive, and no job has been due for more than a minute.", alive), "")
	}
	// A worker takes over the jobs of one that has been silent, and those that name nobody among the processes. What is
	// left after that has nobody who looks after it, perhaps because no worker is there.
	rows, err := d.tx.Query(ctx,
		`select coalesce(j.attempted_by[array_upper(j.attempted_by, 1)], ''), count(*) from `+queue.Schema+`.river_job j
		where j.state = 'running' and not exists (select 1 from processes p where p.id = j.attempted_by[array_upper(j.attempted_by, 1)]
			and p.seen_at > now() - interval '30 seconds')
		group by 1 order by 2 desc`)
	if err != nil {
		return err
	}
	var worker string
	var n, all int
	var examples []string
	if _, err := pgx.ForEachRow(rows, []any{&worker, &n}, func() error {
		all += n
		if len(examples) < maxExamples {
			examples = append(examples, fmt.Sprintf("process %s: %d", worker, n))
		}
		return nil
	}); err != nil {
		return err
	}
	if all == 0 {
		d.add("dead workers", LevelOK, "Every job that runs belongs to a process that is alive.", "")
		return nil
	}
	d.dead = true
	d.add("dead workers", LevelFail, fmt.Sprintf("%d jobs belong to processes that are gone.", all),
		"Start a worker, which takes over what it can within seconds; if they stay, run `waybill doctor -repair`, which makes them available again.", examples...)
	return nil
}

// deliveries looks for unfinished ones that no job carries at their turn. One that waits behind
// another with its ordering key gets its job when it is first. All deliveries are read once, one after the other: with the
// conditions on others beside it, the planner would rather read each day by its key, which takes four times as long.
func (d *doctor) deliveries(ctx context.Context) error {
	rows, err := d.tx.Query(ctx, `with v as materialized (select event_id, destination_key, turn, status from deliveries
			where status in ('pending', 'delivering', 'retrying'))
		select v.event_id, v.destination_key, v.turn, v.status from v
		where not exists (
			select 1 from queued q where q.event_id = v.event_id and q.destination_key = v.destination_key and q.turn = v.turn)
			and not (v.status = 'pending' and exists (select 1 from ordered_deliveries me join ordered_deliveries x
				on x.destination_key = me.destination_key and x.ordering_key = me.ordering_key and x.seq < me.seq
				where me.destination_key = v.destination_key and me.event_id = v.event_id))
		order by v.event_id`)
	if err != nil {
		return err
	}
	byStatus := map[string]int{}
	var examples []string
	var l Lost
	var status string
	if _, err := pgx.ForEachRow(rows, []any{&l.EventKey, &l.Destination, &l.Turn, &status}, func() error {
		d.lost = append(d.lost, l)
		byStatus[status]++
		if len(examples) < maxExamples {
			examples = append(examples, l.ID()+" ("+status+")")
		}
		return nil
	}); err != nil {
		return err
	}
	if len(d.lost) == 0 {
		var unfinished int
		if err := d.tx.QueryRow(ctx, "select count(*) from (select 1 from queued limit 1000000) x").Scan(&unfinished); err != nil {
			return err
		}
		d.add("deliveries", LevelOK, fmt.Sprintf("Every unfinished delivery has its job (%d are on their way).", unfinished),
			"")
		return nil
	}
	d.add("deliveries", LevelFail, fmt.Sprintf("%d deliveries are unfinished, and no job carries them (%v).", len(d.lost),
		byStatus),
		"Run `waybill doctor -repair`, which queues them again, and report this: it must not happen.", examples...)
	return nil
}

// order looks for deliveries that wait behind a finished one with their ordering key. Those of a deleted destination
// wait for nothing.
func (d *doctor) order(ctx context.Context) error {
	rows, err := d.tx.Query(ctx, `select h.event_id, h.destination_key from (
			select distinct on (destination_key, ordering_key) * from ordered_deliveries order by destination_key, ordering_key, seq) h
		join destinations n on n.key = h.destination_key and n.deleted_at is null
		left join deliveries v on v.event_id = h.event_id and v.destination_key = h.destination_key
		where v.status is null or v.status in ('delivered', 'cancelled', 'filtered_out') or v.status = 'failed' and n.on_exhausted <> $1
		order by h.seq`, ExhaustedBlock)
	if err != nil {
		return err
	}
	var k DeliveryKey
	var examples []string
	if _, err := pgx.ForEachRow(rows, []any{&k.EventKey, &k.Destination}, func() error {
		d.stuck = append(d.stuck, k)
		if len(examples) < maxExamples {
			examples = append(examples, k.ID())
		}
		return nil
	}); err != nil {
		return err
	}
	if len(d.stuck) > 0 {
		d.add("order", LevelFail, fmt.Sprintf("%d deliveries are finished, and others with the same ordering key still wait behind them.",
			len(d.stuck)),
			"Run `waybill doctor -repair`, which lets those go on, and report this: it must not happen.", examples...)
		return nil
	}
	d.add("order", LevelOK, "No delivery waits behind a finished one with the same ordering key.", "")
	return nil
}

// jobs looks for those that carry what there is not, or what another carries as well.
func (d *doctor) jobs(ctx context.Context) error {
	bad := len(d.findings)
	oldest, err := d.oldestDay(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		sql             string
		args            []any
		message, advice string
	}{
		{`select q.event_id, q.destination_key, q.job from queued q where q.event_id >= $1 and not exists (
				select 1 from deliveries v where v.event_id = q.event_id and v.destination_key = q.destination_key)`, []any{oldest},
			"jobs carry deliveries that do not exist", "They end by themselves when they run. Report this: it must not happen."},
		// A join would read all deliveries; this looks for those that are queued, each in its day.
		{`select q.event_id, q.destination_key, q.job from queued q where q.turn > (
				select v.turn from deliveries v where v.event_id = q.event_id and v.destination_key = q.destination_key)`, nil,
			"jobs are for a turn that their delivery has not reached",
			"They do nothing when they run; the delivery itself is checked apart. Report this: it must not happen."},
		{`select event_id, destination_key, min(job) from queued group by event_id, destination_key, turn having count(*) > 1`, nil,
			"deliveries are in several jobs of the same turn, and could be sent twice at once",
			"Cancel those that are named, or let them go out twice. Report this: it must not happen."},
	} {
		n, examples, err := d.inJobs(ctx, func(k DeliveryKey, job int64) string { return fmt.Sprintf("%s in job %d", k.ID(), job) },
			c.sql, c.args...)
		if err != nil {
			return err
		}
		if n > 0 {
			d.add("jobs", LevelFail, fmt.Sprintf("%d %s.", n, c.message), c.advice, examples...)
		}
	}
	if len(d.findings) == bad {
		d.add("jobs", LevelOK, "Every job carries deliveries that exist, and none that another carries too.", "")
	}
	return nil
}

// inJobs counts the deliveries in jobs that a query finds, and tells of the first ones.
func (d *doctor) inJobs(ctx context.Context, tell func(k DeliveryKey, job int64) string, sql string, args ...any) (n int, examples []string,
	err error) {
	rows, err := d.tx.Query(ctx, sql, args...)
	if err != nil {
		return 0, nil, err
	}
	var k DeliveryKey
	var job int64
	_, err = pgx.ForEachRow(rows, []any{&k.EventKey, &k.Destination, &job}, func() error {
		if n++; n <= maxExamples {
			examples = append(examples, tell(k, job))
		}
		return nil
	})
	return n, examples, err
}

// events looks for those that jobs carry and that are not there although their day is. Workers go on looking for them.
func (d *doctor) events(ctx context.Context) error {
	days, err := migrations.Days(ctx, d.tx)
	if err != nil {
		return err
	}
	kept := make([]string, len(days["events"]))
	for i, day := range days["events"] {
		kept[i] = day.Format(time.DateOnly)
	}
	// The day is in the first 48 bits of the id, in milliseconds (RFC 9562, section 5.7).
	n, examples, err := d.inJobs(ctx, func(k DeliveryKey, job int64) string {
		return fmt.Sprintf("event_id %s, destination_key %d, job %d", k.EventKey, k.Destination, job)
	}, `select q.event_id, q.destination_key, min(q.job) from queued q
		where not exists (select 1 from events e where e.id = q.event_id)
			and to_timestamp(('x' || left(replace(q.event_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)::date
				= any($1::text[]::date[])
		group by 1, 2 order by 1, 2`, kept)
	if err != nil {
		return err
	}
	if n == 0 {
		d.add("events", LevelOK, "Every event that a job carries is there.", "")
		return nil
	}
	d.add("events", LevelFail, fmt.Sprintf("%d deliveries wait for events that cannot be found, although their days are kept.", n),
		"Workers look for them again, after ten minutes at the latest. Bring the rows of the table events back from a backup; docs/monitoring.md says how to give deliveries up. Report this: it must not happen.", examples...)
	return nil
}

// bulkRetries looks for unfinished ones without a job.
func (d *doctor) bulkRetries(ctx context.Context) error {
	keys, err := d.store.Queue.WithoutJob(ctx, d.tx, false)
	if err != nil {
		return err
	}
	if d.idle = len(keys); d.idle == 0 {
		d.add("bulk retries", LevelOK, "Every unfinished bulk retry has its job.", "")
		return nil
	}
	var examples []string
	for _, k := range keys[:min(d.idle, maxExamples)] {
		examples = append(examples, BulkRetryID(k))
	}
	d.add("bulk retries", LevelFail, fmt.Sprintf("%d bulk retries are unfinished, and no job carries them.", d.idle),
		"Workers look for them every hour; `waybill doctor -repair` gives them a job now.", examples...)
	return nil
}

// oldestDay is the lowest id of the oldest day that is kept. What a job carries of earlier days was dropped with them.
func (d *doctor) oldestDay(ctx context.Context) (id uuid.UUID, err error) {
	days, err := migrations.Days(ctx, d.tx)
	if err != nil {
		return id, err
	}
	oldest := time.Unix(0, 0)
	for _, list := range days {
		if len(list) > 0 && list[0].After(oldest) {
			oldest = list[0]
		}
	}
	return uuid.Parse(migrations.LowestID(oldest))
}

// repair queues what was lost and makes the jobs of dead workers available again.
func (d *doctor) repair(ctx context.Context, store *Store) error {
	if d.dead {
		jobs, err := store.Abandon(ctx)
		if err != nil {
			return err
		}
		d.add("repair", LevelOK, fmt.Sprintf("%d jobs of dead processes were made available again.", jobs), "")
	}
	if len(d.lost) > 0 {
		n, err := store.Requeue(ctx, d.lost)
		if err != nil {
			return err
		}
		d.add("repair", LevelOK, fmt.Sprintf("%d deliveries were queued again.", n), "")
	}
	if len(d.stuck) > 0 {
		n, err := store.PassOn(ctx, d.stuck)
		if err != nil {
			return err
		}
		d.add("repair", LevelOK, fmt.Sprintf("%d deliveries that waited for their order were queued.", n), "")
	}
	if d.idle > 0 {
		n, err := store.ResumeLost(ctx)
		if err != nil {
			return err
		}
		d.add("repair", LevelOK, fmt.Sprintf("%d bulk retries were given a job.", n), "")
	}
	n, err := store.CancelHeldOfDeleted(ctx)
	if n > 0 {
		d.add("repair", LevelOK, fmt.Sprintf("%d held deliveries of deleted destinations were cancelled.", n), "")
	}
	return err
}
