package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// soakRow is what ten seconds of a soak measured.
type soakRow struct {
	seconds                      float64 // since the start
	accepted, delivered          float64 // a second; delivered is what the destinations that work received
	refused                      float64 // requests that were not accepted
	behind                       float64 // seconds that the publishers are behind the rate, because the machine is too slow for it
	p50, p99, longest            float64 // end to end, in milliseconds
	publish                      float64 // 99th percentile of the requests, in milliseconds
	server, postgres             float64 // memory (PSS) in MiB
	cpu                          float64 // milliseconds of server and PostgreSQL for an event
	jobs, dead, jobBytes         float64 // river_job: living and dead rows as PostgreSQL's statistics have them, size with indexes
	events, deliveries, attempts float64 // bytes, with indexes
	unfinished                   float64 // deliveries that wait or are under way
}

// soakColumn is a column of the file and, when it has a title, of what is printed.
type soakColumn struct {
	name   string // in the file
	digits int    // after the point
	get    func(*soakRow) *float64
	title  string
	unit   float64                 // that the printed figure is in
	how    func([]float64) float64 // makes one figure of several; nil for their median
}

var soakColumns = []soakColumn{
	{name: "seconds", get: func(r *soakRow) *float64 { return &r.seconds }, title: "seconds", how: slices.Max[[]float64]},
	{name: "accepted_per_s", get: func(r *soakRow) *float64 { return &r.accepted }, title: "accepted/s"},
	{name: "refused", get: func(r *soakRow) *float64 { return &r.refused }, title: "refused", how: sum},
	{name: "behind_s", digits: 1, get: func(r *soakRow) *float64 { return &r.behind }, title: "behind s", how: slices.Max[[]float64]},
	{name: "delivered_per_s", get: func(r *soakRow) *float64 { return &r.delivered }, title: "delivered/s"},
	{name: "e2e_p50_ms", digits: 1, get: func(r *soakRow) *float64 { return &r.p50 }, title: "p50 ms"},
	{name: "e2e_p99_ms", digits: 1, get: func(r *soakRow) *float64 { return &r.p99 }, title: "p99 ms"},
	{name: "e2e_max_ms", digits: 1, get: func(r *soakRow) *float64 { return &r.longest }, title: "max ms", how: slices.Max[[]float64]},
	{name: "publish_p99_ms", digits: 1, get: func(r *soakRow) *float64 { return &r.publish }, title: "publish p99"},
	{name: "server_mib", get: func(r *soakRow) *float64 { return &r.server }, title: "server MiB"},
	{name: "postgres_mib", get: func(r *soakRow) *float64 { return &r.postgres }, title: "PostgreSQL MiB"},
	{name: "cpu_ms_per_event", digits: 3, get: func(r *soakRow) *float64 { return &r.cpu }, title: "CPU ms"},
	{name: "job_rows", get: func(r *soakRow) *float64 { return &r.jobs }, title: "jobs"},
	{name: "job_dead_rows", get: func(r *soakRow) *float64 { return &r.dead }, title: "dead"},
	{name: "job_bytes", get: func(r *soakRow) *float64 { return &r.jobBytes }, title: "jobs MiB", unit: 1 << 20},
	{name: "events_bytes", get: func(r *soakRow) *float64 { return &r.events }},
	{name: "deliveries_bytes", get: func(r *soakRow) *float64 { return &r.deliveries }},
	{name: "attempts_bytes", get: func(r *soakRow) *float64 { return &r.attempts }},
	{name: "unfinished", get: func(r *soakRow) *float64 { return &r.unfinished }, title: "unfinished"},
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// soakHeader is the first line of the file.
func soakHeader() string {
	var names []string
	for _, c := range soakColumns {
		names = append(names, c.name)
	}
	return strings.Join(names, ",")
}

// csv is the row as a line of the file.
func (r *soakRow) csv() string {
	var cells []string
	for _, c := range soakColumns {
		cells = append(cells, strconv.FormatFloat(*c.get(r), 'f', c.digits, 64))
	}
	return strings.Join(cells, ",")
}

// soakTitle stands above what line returns.
func soakTitle() string {
	var b strings.Builder
	for _, c := range soakColumns {
		if c.title != "" {
			fmt.Fprintf(&b, "%*s", len(c.title)+2, c.title)
		}
	}
	return b.String()
}

// line is the row as it is printed.
func (r *soakRow) line() string {
	var b strings.Builder
	for _, c := range soakColumns {
		if c.title == "" {
			continue
		}
		v := *c.get(r)
		if c.unit > 0 {
			v /= c.unit
		}
		fmt.Fprintf(&b, "%*.*f", len(c.title)+2, c.digits, v)
	}
	return b.String()
}

// soakSummary is one row for several.
func soakSummary(rows []soakRow) *soakRow {
	var out soakRow
	for _, c := range soakColumns {
		var v []float64
		for i := range rows {
			v = append(v, *c.get(&rows[i]))
		}
		switch {
		case len(v) == 0:
		case c.how != nil:
			*c.get(&out) = c.how(v)
		default:
			*c.get(&out) = percentile(v, .5)
		}
	}
	return &out
}

// soakEnds is how much of the beginning and of the end is compared, at most; of a shorter soak it is half.
const soakEnds = 5 * time.Minute

// soakVerdict compares the medians of the beginning with those of the end. What has grown by more than a quarter, and by
// more than a little, is not flat.
func soakVerdict(rows []soakRow) string {
	n := min(int(soakEnds/soakWindow), len(rows)/2)
	if n == 0 {
		return "verdict: too short to compare its beginning with its end"
	}
	first, last := soakSummary(rows[:n]), soakSummary(rows[len(rows)-n:])
	var told, grown []string
	for _, v := range []struct {
		name, unit string
		a, b       float64
		little     float64
	}{
		{"memory of the server", "MiB", first.server, last.server, 16},
		{"memory of PostgreSQL", "MiB", first.postgres, last.postgres, 16},
		{"p50", "ms", first.p50, last.p50, 2},
		{"p99", "ms", first.p99, last.p99, 10},
		{"river_job", "MiB", first.jobBytes / (1 << 20), last.jobBytes / (1 << 20), 8},
	} {
		told = append(told, fmt.Sprintf("%s %.1f → %.1f %s", v.name, v.a, v.b, v.unit))
		if v.b-v.a > max(v.a/4, v.little) {
			grown = append(grown, v.name)
		}
	}
	verdict := "all flat"
	if grown != nil {
		verdict = "grown: " + strings.Join(grown, ", ")
	}
	return fmt.Sprintf("verdict: medians of the first and the last %s: %s; %s", time.Duration(n)*soakWindow, strings.Join(told, ", "),
		verdict)
}
