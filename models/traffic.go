package models

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// Traffic are the numbers of a span of time. docs/monitoring.md defines them, for pages, API and metrics alike. Test events
// count as any other; deliveries that are held or cancelled count as received only.
type Traffic struct {
	Received    int64 // events accepted
	Delivered   int64 // deliveries that were acknowledged
	Failed      int64 // deliveries that were given up
	Retrying    int64 // deliveries whose first attempt failed and that are tried again
	First       int64 // first attempts
	FirstFailed int64 // of those, failed
	Attempts    int64 // all of them
	Bytes       int64 // of the payloads of events accepted

	took latencies
}

// add adds the numbers of another span.
func (t *Traffic) add(o *Traffic) {
	t.Received += o.Received
	t.Delivered += o.Delivered
	t.Failed += o.Failed
	t.Retrying += o.Retrying
	t.First += o.First
	t.FirstFailed += o.FirstFailed
	t.Attempts += o.Attempts
	t.Bytes += o.Bytes
	t.took.mergeAll(o.took)
}

// SuccessPercent is the share of first attempts that succeeded, 0 to 100; ok is false when there was none.
func (t *Traffic) SuccessPercent() (percent float64, ok bool) {
	if t.First == 0 {
		return 0, false
	}
	return 100 * float64(t.First-t.FirstFailed) / float64(t.First), true
}

// Latency is the time from receipt to acknowledgement that a share p of the deliveries did not exceed, automatic retries
// included, within 5 %; ok is false when there was none.
func (t *Traffic) Latency(p float64) (d time.Duration, ok bool) { return t.took.percentile(p) }

// Grains of the spans that are kept. Minutes are for the last hours only.
const (
	grainMinute   = time.Minute
	grainHalfHour = 30 * time.Minute
	// minutesKept and trafficKept are how long spans stay: long enough for the longest range, and the one before it.
	minutesKept = 3 * time.Hour
	trafficKept = 62 * 24 * time.Hour
)

// trafficKey is whose numbers of which minute a transaction writes.
type trafficKey struct {
	tenant int64
	minute int64 // Unix time, in minutes
}

// trafficDeltas are those of one transaction.
type trafficDeltas map[trafficKey]*Traffic

func (d *trafficDeltas) of(tenant int64, at time.Time) *Traffic {
	if *d == nil {
		*d = trafficDeltas{}
	}
	k := trafficKey{tenant, at.Unix() / 60}
	t := (*d)[k]
	if t == nil {
		t = &Traffic{}
		(*d)[k] = t
	}
	return t
}

// outcome takes note of what became of a delivery.
func (d *trafficDeltas) outcome(o *Outcome, now time.Time) {
	a := o.Attempt
	if a == nil {
		if o.Status == StatusFailed {
			d.of(o.TenantKey, now).Failed++
		}
		return
	}
	t := d.of(o.TenantKey, a.StartedAt)
	t.Attempts++
	if a.Number == 1 {
		t.First++
		if !a.OK {
			t.FirstFailed++
		}
	}
	switch {
	case o.Status == StatusDelivered:
		t.Delivered++
		if took, ok := o.latency(); ok {
			t.took.add(took)
		}
	case o.Status == StatusFailed:
		t.Failed++
	case o.Status == StatusRetrying && a.Number == 1:
		t.Retrying++
	}
}

// latency is how long a delivery took from the receipt of its event; ok is false for what somebody asked for, and tests.
func (o *Outcome) latency() (took time.Duration, ok bool) {
	a := o.Attempt
	if a == nil || !a.OK || a.Trigger != TriggerAutomatic {
		return 0, false
	}
	return max(time.Microsecond, a.StartedAt.Add(a.Duration).Sub(eventTime(o.EventKey))), true
}

const intoTraffic = `traffic_deltas (tenant_key, minute, received, delivered, failed, retrying, first, first_failed, latencies, attempts, bytes)`

// copyTo adds the rows to what a transaction writes when it commits.
func (d trafficDeltas) copyTo(copies []pgcopy.Copy, c *pgcopy.Rows) []pgcopy.Copy {
	if len(d) == 0 {
		return copies
	}
	c.Reset()
	for k, t := range d {
		c.Row(11)
		c.Int8(k.tenant)
		c.Time(time.Unix(k.minute*60, 0))
		for _, n := range []int64{t.Received, t.Delivered, t.Failed, t.Retrying, t.First, t.FirstFailed} {
			c.Int4(int32(n))
		}
		c.BytesOrNull(t.took.pack())
		c.Int4(int32(t.Attempts))
		c.Int8(t.Bytes)
	}
	return append(copies, pgcopy.Copy{Into: intoTraffic, Rows: c})
}

// span is a row of traffic.
type span struct {
	tenant int64 // 0 for all
	grain  time.Duration
	start  time.Time
}

func scanTraffic(row pgx.CollectableRow, to ...any) (t *Traffic, err error) {
	t = &Traffic{}
	var packed []byte
	err = row.Scan(append(to, &t.Received, &t.Delivered, &t.Failed, &t.Retrying, &t.First, &t.FirstFailed, &packed, &t.Attempts,
		&t.Bytes)...)
	t.took.merge(packed)
	return t, err
}

const trafficNumbers = "received, delivered, failed, retrying, first, first_failed, latencies, attempts, bytes"

// foldTraffic adds what transactions did since it was called last to the numbers of the spans. One process does this at a time.
func foldTraffic(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "delete from traffic_deltas returning tenant_key, minute, "+trafficNumbers)
	if err != nil {
		return err
	}
	spans := map[span]*Traffic{}
	if _, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var tenant int64
		var minute time.Time
		t, err := scanTraffic(row, &tenant, &minute)
		for _, of := range []int64{0, tenant} {
			for _, grain := range []time.Duration{grainMinute, grainHalfHour} {
				s := span{of, grain, minute.UTC().Truncate(grain)}
				if spans[s] == nil {
					spans[s] = &Traffic{}
				}
				spans[s].add(t)
			}
		}
		return struct{}{}, err
	}); err != nil || len(spans) == 0 {
		return err
	}
	keys := slices.SortedFunc(maps.Keys(spans), func(a, b span) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.grain, b.grain), a.start.Compare(b.start))
	})
	tenants, grains, starts := make([]int64, len(keys)), make([]int32, len(keys)), make([]time.Time, len(keys))
	for i, k := range keys {
		tenants[i], grains[i], starts[i] = k.tenant, int32(k.grain/time.Second), k.start
	}
	rows, err = tx.Query(ctx, `select t.tenant_key, t.grain, t.start, t.latencies from unnest($1::bigint[], $2::int[], $3::timestamptz[]) u (t, g, s)
		join traffic t on t.tenant_key = u.t and t.grain = u.g and t.start = u.s where t.latencies is not null`, tenants, grains, starts)
	if err != nil {
		return err
	}
	var tenant int64
	var grain int32
	var start time.Time
	var packed []byte
	if _, err := pgx.ForEachRow(rows, []any{&tenant, &grain, &start, &packed}, func() error {
		spans[span{tenant, time.Duration(grain) * time.Second, start.UTC()}].took.merge(packed)
		return nil
	}); err != nil {
		return err
	}
	var numbers [8][]int64
	took := make([][]byte, len(keys))
	for i, k := range keys {
		t := spans[k]
		for j, n := range []int64{t.Received, t.Delivered, t.Failed, t.Retrying, t.First, t.FirstFailed, t.Attempts, t.Bytes} {
			numbers[j] = append(numbers[j], n)
		}
		took[i] = t.took.pack()
	}
	_, err = tx.Exec(ctx, `insert into traffic (tenant_key, grain, start, `+trafficNumbers+`)
		select t, g, s, r, d, f, y, n, nf, l, a, b from unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::bigint[], $5::bigint[],
			$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[])
			u (t, g, s, r, d, f, y, n, nf, l, a, b)
		on conflict (tenant_key, grain, start) do update set received = traffic.received + excluded.received,
			delivered = traffic.delivered + excluded.delivered, failed = traffic.failed + excluded.failed,
			retrying = traffic.retrying + excluded.retrying, first = traffic.first + excluded.first,
			first_failed = traffic.first_failed + excluded.first_failed, latencies = excluded.latencies,
			attempts = traffic.attempts + excluded.attempts, bytes = traffic.bytes + excluded.bytes`,
		tenants, grains, starts, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], took, numbers[6], numbers[7])
	return err
}

// readTraffic reads the numbers of the scope's tenants, or of all, by the start of each span of the grain from since on. What was not
// folded yet is counted in.
func (s *Store) readTraffic(ctx context.Context, scope Scope, grain time.Duration, since time.Time) (map[time.Time]*Traffic, error) {
	keys, all := scope.keys(), scope.all
	if all {
		keys = []int64{0}
	}
	out := map[time.Time]*Traffic{}
	err := s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		for _, q := range []struct {
			sql  string
			args []any
		}{
			{"select start, " + trafficNumbers + " from traffic where tenant_key = any($1) and grain = $2 and start >= $3",
				[]any{keys, int32(grain / time.Second), since}},
			{"select minute, " + trafficNumbers + " from traffic_deltas where ($1 or tenant_key = any($2)) and minute >= $3",
				[]any{all, keys, since}},
		} {
			rows, err := tx.Query(ctx, q.sql, q.args...)
			if err != nil {
				return err
			}
			if _, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
				var at time.Time
				t, err := scanTraffic(row, &at)
				at = at.UTC().Truncate(grain)
				if out[at] == nil {
					out[at] = &Traffic{}
				}
				out[at].add(t)
				return struct{}{}, err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// dropTraffic deletes the numbers of spans that no range shows any more.
func dropTraffic(ctx context.Context, tx execer, now time.Time) error {
	for grain, kept := range map[time.Duration]time.Duration{grainMinute: minutesKept, grainHalfHour: trafficKept} {
		if _, err := tx.Exec(ctx, "delete from traffic where grain = $1 and start < $2", int32(grain/time.Second), now.Add(-kept)); err != nil {
			return err
		}
	}
	return nil
}
