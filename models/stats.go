package models

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// MeasureQuery asks for numbers of events or attempts over a span of time.
type MeasureQuery struct {
	Start, End  time.Time // events received, or attempts started, from Start until before End; both required
	Granularity string    // see ParseGranularity; empty for one number over the span
	Measures    []string  // EventMeasures or AttemptMeasures; at least one
	Dimensions  []string  // by which the numbers are split
	Filters     map[string][]string
}

// Measured is the answer.
type Measured struct {
	Points    []MeasuredPoint // by dimensions, then by time; every bucket is there, also with nothing in it
	Took      time.Duration   // of the database
	Truncated bool            // there were more than MaxMeasured points
}

// MeasuredPoint is one row of numbers.
type MeasuredPoint struct {
	Bucket     time.Time         // its start; zero without granularity
	Dimensions map[string]string // by the names that were asked for
	Values     map[string]any    // by measure: whole numbers, and fractions for rates and averages
}

// MaxMeasured is how many points one answer holds at most.
const MaxMeasured = 10_000

// measureTimeout bounds what the database may spend on an answer.
const measureTimeout = 10 * time.Second

// What can be asked for. The names are those of Outpost's v1 API.
var (
	EventMeasures   = []string{"count", "rate"}
	EventDimensions = []string{"tenant_id", "topic", "destination_id"}
	AttemptMeasures = []string{"count", "successful_count", "failed_count", "error_rate", "first_attempt_count", "retry_count",
		"manual_retry_count", "avg_attempt_number", "rate", "successful_rate", "failed_rate",
		"avg_latency", "p50_latency", "p95_latency", "p99_latency"}
	AttemptDimensions = []string{"tenant_id", "destination_id", "destination_type", "topic", "status", "code", "manual", "attempt_number"}
)

// dimension says where the values of a dimension come from.
type dimension struct {
	key   string // in the rows that are counted: what they are grouped by
	value string // of the groups g: what callers see
	from  string // the table that value needs besides
}

var (
	eventDimensions = map[string]dimension{
		"tenant_id":      {"e.tenant_key", "t.id", " join tenants t on t.key = g.tenant_id"},
		"topic":          {"e.topic", "g.topic", ""},
		"destination_id": {"d.destination_key", "n.id", " join destinations n on n.key = g.destination_id"},
	}
	attemptDimensions = map[string]dimension{
		"tenant_id":        {"a.tenant_key", "t.id", " join tenants t on t.key = g.tenant_id"},
		"topic":            {"e.topic", "g.topic", ""},
		"destination_id":   {"a.destination_key", "n.id", " join destinations n on n.key = g.destination_id"},
		"destination_type": {"a.destination_key", "y.type", " join destinations y on y.key = g.destination_type"},
		"status":           {"a.ok", "case when g.status then 'success' else 'failed' end", ""},
		"code":             {attemptCode, "g.code", ""},
		"manual":           {attemptByHand, "g.manual::text", ""},
		"attempt_number":   {"a.number", "g.attempt_number::text", ""},
	}
)

const (
	// attemptCode is an attempt's code as the API shows it: the status, or the kind of error where there was no answer.
	attemptCode   = "case when a.code <> 0 then a.code::text else coalesce(a.error_class, '') end"
	attemptByHand = "(a.trigger in ('manual', 'bulk'))"
	// attemptLatency is how long the other side took, in microseconds; null where nothing was sent.
	attemptLatency = "case when a.not_sent then null when a.ok or a.code <> 0 or a.method <> '' or a.url <> '' then a.duration_us end"
)

// check reports what is wrong with the query, and returns the starts of its buckets.
func (mq *MeasureQuery) check(measures, dimensions []string) (starts []time.Time, err error) {
	bad := problems{}
	switch {
	case mq.Start.IsZero() || mq.End.IsZero():
		for _, f := range []struct {
			name string
			t    time.Time
		}{{"time[start]", mq.Start}, {"time[end]", mq.End}} {
			if f.t.IsZero() {
				bad.add(f.name, "is required: a time like 2026-01-31T12:00:00Z")
			}
		}
	case !mq.Start.Before(mq.End):
		bad.add("time[end]", "must be after time[start]")
	}
	if len(mq.Measures) == 0 {
		bad.add("measures", "is required: some of "+strings.Join(measures, ", "))
	}
	for _, l := range []struct {
		field       string
		asked, have []string
	}{{"measures", mq.Measures, measures}, {"dimensions", mq.Dimensions, dimensions}} {
		for _, a := range l.asked {
			if !slices.Contains(l.have, a) {
				bad.add(l.field, fmt.Sprintf("cannot be %q: use %s", cut(a, 40), strings.Join(l.have, ", ")))
			}
		}
	}
	g, err := ParseGranularity(mq.Granularity)
	if err != nil {
		bad.add("granularity", err.Error())
	}
	mq.checkFilters(bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	if g == (Granularity{}) {
		return []time.Time{mq.Start}, nil
	}
	starts, ok := g.buckets(mq.Start, mq.End, MaxMeasured)
	if !ok {
		return nil, Invalid("granularity", fmt.Sprintf("cuts this span into more than %d buckets: choose a coarser one, or a shorter span",
			MaxMeasured))
	}
	return starts, nil
}

func (mq *MeasureQuery) checkFilters(bad problems) {
	for name, values := range mq.Filters {
		field := "filters[" + name + "]"
		for _, v := range values {
			switch name {
			case "status":
				if v != "success" && v != "failed" {
					bad.add(field, "must be success or failed")
				}
			case "manual":
				if v != "true" && v != "false" {
					bad.add(field, "must be true or false")
				}
			case "attempt_number":
				if n, err := strconv.ParseInt(v, 10, 32); err != nil || n < 1 {
					bad.add(field, "must be whole numbers from 1")
				}
			}
		}
	}
}

// MeasureEvents counts events by the time they were received. With the dimension or filter destination_id it counts
// each event once for every destination that it went to.
func (s *Store) MeasureEvents(ctx context.Context, scope Scope, mq MeasureQuery) (*Measured, error) {
	starts, err := mq.check(EventMeasures, EventDimensions)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	lo, hi := idRange(mq.Start, mq.End)
	q.and("e.id >= ?", lo)
	q.and("e.id < ?", hi)
	scope.where(q, "e.tenant_key")
	from := "events e"
	if slices.Contains(mq.Dimensions, "destination_id") || len(mq.Filters["destination_id"]) > 0 {
		from += " join deliveries d on d.event_id = e.id"
		q.and("d.event_id >= ?", lo) // again, for the planner to leave out the other days here as well
		q.and("d.event_id < ?", hi)
		q.and("d.status <> 'filtered_out'")
	}
	if err := s.measureFilters(ctx, q, scope, mq, "e.", "d."); err != nil {
		return nil, err
	}
	if len(mq.Filters["topic"]) > 0 {
		q.and("e.topic = any(?)", mq.Filters["topic"])
	}
	ids := make([]uuid.UUID, len(starts))
	for i, t := range starts {
		ids[i] = lowestUUID(t)
	}
	return s.measure(ctx, mq, q, starts, measuring{from: from, bucket: "width_bucket(e.id, ?::uuid[])", bounds: ids,
		dimensions: eventDimensions,
		sums:       "count(*) n, 0::bigint n_ok, 0::bigint n_first, 0::bigint n_manual, 0::bigint n_numbers"})
}

// MeasureAttempts counts attempts by the time they were started.
func (s *Store) MeasureAttempts(ctx context.Context, scope Scope, mq MeasureQuery) (*Measured, error) {
	starts, err := mq.check(AttemptMeasures, AttemptDimensions)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	q.and("a.started_at >= ?", mq.Start)
	q.and("a.started_at < ?", mq.End)
	// No attempt is made before its event is there: the days after the span have none.
	q.and("a.event_id < ?", lowestUUID(mq.End.Add(time.Hour)))
	scope.where(q, "a.tenant_key")
	if err := s.measureFilters(ctx, q, scope, mq, "a.", "a."); err != nil {
		return nil, err
	}
	f := mq.Filters
	from := "attempts a"
	if slices.Contains(mq.Dimensions, "topic") || len(f["topic"]) > 0 {
		from += " join events e on e.id = a.event_id"
		q.and("e.id < ?", lowestUUID(mq.End.Add(time.Hour)))
	}
	if len(f["topic"]) > 0 {
		q.and("e.topic = any(?)", f["topic"])
	}
	if len(f["destination_type"]) > 0 {
		q.and("a.destination_key in (select key from destinations where type = any(?))", f["destination_type"])
	}
	if len(f["status"]) > 0 {
		q.and("case when a.ok then 'success' else 'failed' end = any(?)", f["status"])
	}
	if len(f["code"]) > 0 {
		q.and(attemptCode+" = any(?)", f["code"])
	}
	if len(f["manual"]) > 0 {
		q.and(attemptByHand+"::text = any(?)", f["manual"])
	}
	if len(f["attempt_number"]) > 0 {
		q.and("a.number::text = any(?)", f["attempt_number"])
	}
	return s.measure(ctx, mq, q, starts, measuring{from: from, bucket: "width_bucket(a.started_at, ?::timestamptz[])", bounds: starts,
		dimensions: attemptDimensions,
		sums: "count(*) n, count(*) filter (where a.ok) n_ok, count(*) filter (where a.number = 1) n_first, count(*) filter (where " +
			attemptByHand +
			") n_manual, sum(a.number)::bigint n_numbers",
		rows: "1 n, a.ok::int n_ok, (a.number = 1)::int n_first, " + attemptByHand + "::int n_manual, a.number n_numbers, " +
			attemptLatency + " us"})
}

// measureFilters adds the filters on tenants and destinations. They also match what was deleted since.
func (s *Store) measureFilters(ctx context.Context, q *query, scope Scope, mq MeasureQuery, tenants, destinations string) error {
	if ids := mq.Filters["tenant_id"]; len(ids) > 0 {
		q.and(tenants+"tenant_key in (select key from tenants where id = any(?))", ids)
	}
	keys, err := s.destinationKeys(ctx, scope, mq.Filters["destination_id"])
	if err == nil && len(keys) > 0 {
		q.and(destinations+"destination_key = any(?)", keys)
	}
	return err
}

// measuring is how something is counted.
type measuring struct {
	from       string
	bucket     string // the number of a row's bucket, from 1, among the bounds that it takes as its argument
	bounds     any
	dimensions map[string]dimension
	sums       string
	rows       string // the same of one row, and its latency us; empty where there is none
}

// sql groups rows by what they hold, and puts names to the groups afterwards, when there are few.
func (m measuring) sql(mq MeasureQuery, q *query) string {
	inner, outer, from := []string{q.bind(m.bucket, m.bounds) + " b"}, []string{"g.b"}, ""
	for _, d := range mq.Dimensions {
		inner = append(inner, m.dimensions[d].key+" "+d)
		outer = append(outer, m.dimensions[d].value)
		from += m.dimensions[d].from
	}
	numbers := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, strconv.Itoa(i+1))
		}
		return strings.Join(list, ", ")
	}
	percentiles := ", null::float8, null::float8[]"
	groups := "select " + strings.Join(inner, ", ") + ", " + m.sums + " from " + m.from + q.sql() + " group by " + numbers(len(inner))
	if mq.latencies() {
		groups = "select " + strings.Join(inner, ", ") + ", " + m.rows + " from " + m.from + q.sql()
		percentiles = ", avg(us)::float8, percentile_cont(array[0.5, 0.95, 0.99]) within group (order by us)"
	}
	return "with g as (" + groups + ") select " + strings.Join(outer, ", ") +
		", sum(n)::bigint, sum(n_ok)::bigint, sum(n_first)::bigint, sum(n_manual)::bigint, sum(n_numbers)::bigint" + percentiles +
		" from g" + from +
		" group by " + numbers(len(outer)) + " order by " + numbers(len(outer)) + q.limit(MaxMeasured+1)
}

func (s *Store) measure(ctx context.Context, mq MeasureQuery, q *query, starts []time.Time, m measuring) (*Measured, error) {
	slices.Sort(mq.Dimensions)
	mq.Dimensions = slices.Compact(mq.Dimensions)
	began := time.Now()
	type group struct {
		bucket int
		values []string
		counted
	}
	var groups []group
	err := s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, m.sql(mq, q), q.args...)
		if err != nil {
			return err
		}
		groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g group, err error) {
			g.values = make([]string, len(mq.Dimensions))
			to := []any{&g.bucket}
			for i := range g.values {
				to = append(to, &g.values[i])
			}
			return g, row.Scan(append(to, &g.n, &g.ok, &g.first, &g.manual, &g.numbers, &g.avg, &g.percentiles)...)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &Measured{Took: time.Since(began)}
	found := map[string]map[int]counted{}
	var combinations [][]string
	if len(mq.Dimensions) == 0 {
		combinations, found[""] = [][]string{nil}, map[int]counted{}
	}
	for _, g := range groups {
		key := strings.Join(g.values, "\x00")
		if found[key] == nil {
			found[key] = map[int]counted{}
			combinations = append(combinations, g.values)
		}
		found[key][g.bucket] = g.counted
	}
	slices.SortFunc(combinations, slices.Compare)
	for _, values := range combinations {
		for i, start := range starts {
			if len(out.Points) == MaxMeasured {
				out.Truncated = true
				return out, nil
			}
			out.Points = append(out.Points, mq.point(starts, i, start, values, found[strings.Join(values, "\x00")][i+1]))
		}
	}
	out.Truncated = len(groups) > MaxMeasured
	return out, nil
}

// point makes a row of the answer.
func (mq *MeasureQuery) point(starts []time.Time, i int, start time.Time, values []string, c counted) MeasuredPoint {
	p := MeasuredPoint{Dimensions: make(map[string]string, len(values)), Values: make(map[string]any, len(mq.Measures))}
	if mq.Granularity != "" {
		p.Bucket = start
	}
	for k, d := range mq.Dimensions {
		p.Dimensions[d] = values[k]
	}
	// Rates are of the part of the bucket that lies within the span.
	end := mq.End
	if i+1 < len(starts) {
		end = starts[i+1]
	}
	if start.Before(mq.Start) {
		start = mq.Start
	}
	seconds := end.Sub(start).Seconds()
	per := func(n int64, of float64) float64 {
		if of <= 0 {
			return 0
		}
		return float64(n) / of
	}
	for _, m := range mq.Measures {
		p.Values[m] = map[string]func() any{
			"count":               func() any { return c.n },
			"successful_count":    func() any { return c.ok },
			"failed_count":        func() any { return c.n - c.ok },
			"error_rate":          func() any { return per(c.n-c.ok, float64(c.n)) },
			"first_attempt_count": func() any { return c.first },
			"retry_count":         func() any { return c.n - c.first },
			"manual_retry_count":  func() any { return c.manual },
			"avg_attempt_number":  func() any { return per(c.numbers, float64(c.n)) },
			"rate":                func() any { return per(c.n, seconds) },
			"successful_rate":     func() any { return per(c.ok, seconds) },
			"failed_rate":         func() any { return per(c.n-c.ok, seconds) },
			"avg_latency":         func() any { return c.latency(-1) },
			"p50_latency":         func() any { return c.latency(0) },
			"p95_latency":         func() any { return c.latency(1) },
			"p99_latency":         func() any { return c.latency(2) },
		}[m]()
	}
	return p
}
