// Package bench measures this machine: what is accepted and delivered, and how fast.
package bench

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// benchCase is one measurement.
type benchCase struct {
	name       string
	about      string
	publishers int
	events     int
	rate       int                                                             // events per second; 0 for as fast as they go
	fanOut     int                                                             // destinations of the tenant that each event goes to
	filtered   int                                                             // further destinations, whose filters hold the event back
	batch      int                                                             // events in one request; 0 for single ones
	run        func(context.Context, *bencher, benchCase) (benchResult, error) // nil for measure
	broker     bool                                                            // needs a destination that the caller describes
	to         string                                                          // that destination, as the API takes it
	topic      func(k int64) string                                            // of the event k; nil for order.created
	published  func(k int64, ms float64, accepted bool)                        // is told of each request; nil for publish to collect them
}

var benchCases = []benchCase{
	{name: "one", about: "64 publishers, one destination", publishers: 64, events: 40_000, fanOut: 1},
	{name: "fanout", about: "64 publishers, ten destinations", publishers: 64, events: 8_000, fanOut: 10},
	{name: "steady", about: "200 events a second", publishers: 64, events: 4_000, rate: 200, fanOut: 1},
	{name: "few", about: "16 publishers", publishers: 16, events: 20_000, fanOut: 1},
	{name: "many", about: "256 publishers", publishers: 256, events: 60_000, fanOut: 1},
	{name: "filters", about: "200 destinations with a filter of five rules each, of which ten match", publishers: 64, events: 4_000,
		fanOut: 10, filtered: 190},
	{name: "batch", about: "100 events in a request", publishers: 16, events: 60_000, fanOut: 1, batch: 100},
	{name: "retry", about: "how late the second attempt starts, 20 events a second", publishers: 1, events: 400, rate: 20,
		run: measureRetries},
	{name: "fair", about: "50 events a second, while one tenant's endpoint hangs with 2,000 queued and another's fails with 100,000",
		publishers: 16, events: 1_500, rate: 50, fanOut: 1, run: measureFairness},
	{name: "abuse", about: "50 events a second, while another tenant sends 100 events at once to each of its 10,000 destinations",
		publishers: 16, events: 1_500, rate: 50, fanOut: 1, run: measureAbuse},
	{name: "backlog", about: "as one, with 1,000,000 deliveries held or waiting for a retry", publishers: 64, events: 40_000, fanOut: 1,
		run: measureWithBacklog},
	{name: "spread", about: "10,000 destinations of 1,000 tenants", publishers: 64, events: 40_000, fanOut: 1, run: measureSpread},
	{name: "idle", about: "64 destinations of 64 tenants, after a rest in which PostgreSQL has vacuumed and analyzed all tables",
		publishers: 64, events: 40_000, fanOut: 1, run: measureAfterRest},
	{name: "tenants", about: "1,000 tenants with a destination each, some of which publish much more than others", publishers: 64,
		events: 40_000, fanOut: 1, run: measureTenants},
	{name: "xmin", about: "as one, after twice as many events, while a transaction older than all of them stays open", publishers: 64,
		events: 40_000, fanOut: 1, run: measureOldSnapshot},
	{name: "tls", about: "as one, to a receiver behind TLS", publishers: 64, events: 40_000, fanOut: 1, run: measureTLS("/hook")},
	{name: "handshake", about: "as one, to a receiver behind TLS that ends the connection after each request", publishers: 64,
		events: 10_000, fanOut: 1, run: measureTLS("/close")},
	{name: "apart", about: "as one, to two processes that accept, beside two that deliver", publishers: 64, events: 40_000, fanOut: 1,
		run: measureApart},
	{name: "pooled", about: "as apart, with PgBouncer in transaction mode before those that accept", publishers: 64, events: 40_000,
		fanOut: 1, run: measurePooled},
	{name: "rest", about: "nothing for 30 seconds; the processor time is that of a second", run: measureRest},
	{name: "tail", about: "as steady, while 50 viewers read the live tail", publishers: 64, events: 4_000, rate: 200, fanOut: 1,
		run: measureTailed},
	{name: "tailed", about: "as one, while 50 viewers read the live tail", publishers: 64, events: 40_000, fanOut: 1, run: measureTailed},
	{name: "slowbodies", about: "200 events a second, while 2,000 connections without a key announce 8 MiB each and send 5 bytes",
		publishers: 64, events: 4_000, rate: 200, fanOut: 1, run: measureSlowBodies},
	{name: "rabbitmq", about: "64 publishers, one RabbitMQ exchange", publishers: 64, events: 40_000, fanOut: 1, run: measureBroker,
		broker: true},
	{name: "kafka", about: "64 publishers, one Kafka topic", publishers: 64, events: 40_000, fanOut: 1, run: measureBroker, broker: true},
}

// Run measures this machine: it starts a server of its own as a child process with a private PostgreSQL, a sink, and
// publishers over HTTP. Load and sink run in this process, on the same cores.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stdout)
	var about strings.Builder
	for _, c := range benchCases {
		fmt.Fprintf(&about, "\n  %-10s %s", c.name, c.about)
	}
	fmt.Fprintf(&about, "\n  %-10s %s", soakName, "a steady rate for long, recorded every ten seconds; alone, and not part of all")
	fmt.Fprintf(&about, "\n  %-10s %s", pagesName,
		"how long lists, details and numbers take with 3,000,000 events in the database; alone, and not part of all")
	fmt.Fprintf(&about, "\n  %-10s %s", upkeepName,
		"how long starts, the doctor, exports, backups, migrations and dropping a day take with a database of that size; alone, and not part of all")
	fmt.Fprintf(&about, "\n  %-10s %s", cellsName,
		"processor time and throughput of a server on one database and of one over three, each a PostgreSQL of its own, in turn; alone, and not part of all")
	names := fs.String("case", "one,fanout,steady", "cases to run, comma-separated, or all:"+about.String())
	runs := fs.Int("runs", 1, "runs of each case; medians are printed when there are several")
	size := fs.Int("size", defaultSize, "bytes of an event's data, 256 at least")
	scale := fs.Float64("scale", 1, "number of events, as a multiple of the usual")
	dir := fs.String("dir", "", "with "+pagesName+" and "+upkeepName+": keep the database in this `directory`, and use the one that an earlier run has filled there")
	steps := fs.String("steps", "", "of the case "+upkeepName+": those whose names match this `pattern`, of start, metrics, doctor, export, backup, migrations and retention")
	limits := fs.Bool("limits", false, "first measure what this machine can do: commits, jobs and posts that carry nothing")
	soak := soakFlags(fs)
	settings := map[string]string{}
	fs.Func("set", "a setting of the private PostgreSQL as `NAME=VALUE`, for example max_wal_size=4GB; may be given several times", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q must be a setting's name, =, and its value", text)
		}
		settings[name] = value
		return nil
	})
	brokers := map[string]string{}
	fs.Func("destination",
		"measure a destination of your own, of any type, as `NAME=JSON`: NAME is a case then, and JSON what POST …/destinations takes",
		func(text string) error {
			name, body, err := parseBenchDestination(text)
			brokers[name] = body
			return err
		})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if err := soak.check(fs, *names); err != nil {
		return err
	}
	if *names == soakName {
		return soak.run(ctx, settings, stdout)
	}
	if alone := *names == pagesName || *names == upkeepName; *dir != "" && !alone || *steps != "" && *names != upkeepName {
		return fmt.Errorf("-dir is for the cases %s and %s, and -steps for %[2]s", pagesName, upkeepName)
	}
	if *names == pagesName {
		return pagesRun(ctx, *scale, *dir, settings, stdout)
	}
	if *names == upkeepName {
		return upkeepRun(ctx, *scale, *dir, *steps, settings, stdout)
	}
	if *size < minSize {
		return fmt.Errorf("-size must be at least %d", minSize)
	}
	if *names == cellsName {
		return cellsRun(ctx, *runs, *scale, *size, settings, stdout)
	}
	cases, err := chosenCases(*names, brokers)
	if err != nil {
		return err
	}
	b, err := startBench(ctx, settings)
	if err != nil {
		return err
	}
	defer b.stop()
	b.pad = pad(*size - padless)
	fmt.Fprintf(stdout, "events with %d bytes of data, default durability, everything recorded; PostgreSQL %s, load and sink on the same %s cores\n", *size,
		b.pg.Binaries.Version, cpus())
	fmt.Fprintf(stdout, "memory at rest: %d MiB (server and PostgreSQL, PSS)\n", b.memory()>>20)
	if *limits {
		if err := b.limits(ctx, stdout); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\n%-10s %10s %11s %12s %27s %17s %9s %8s %8s %8s\n", "case", "publishers", "accepted/s", "delivered/s",
		"end to end p50/p95/p99/max", "publish p50/p99", "CPU/event", "memory", "stored", "WAL")
	for _, c := range cases {
		if c.broker && c.to == "" {
			fmt.Fprintf(stdout,
				"%-10s not measured, for it needs a broker: make bench starts one, or name yours with -destination '%s={\"type\": \"%s\", …}'\n", c.name, c.name, c.name)
			continue
		}
		c.events = max(1, int(float64(c.events)**scale))
		if c.run == nil {
			c.run = measure
		}
		var all []benchResult
		for range *runs {
			r, err := c.run(ctx, b, c)
			if errors.Is(err, errNoPgBouncer) {
				fmt.Fprintf(stdout, "%-10s %v\n", c.name, err)
				break
			}
			if err != nil {
				return fmt.Errorf("case %s: %w", c.name, err)
			}
			all = append(all, r)
			fmt.Fprintln(stdout, r.line(c.name, c.publishers))
		}
		if len(all) > 1 {
			fmt.Fprintln(stdout, medianResult(all).line("median", c.publishers))
		}
	}
	return nil
}

// chosenCases are those of names. brokers are the destinations that the caller describes, by case.
func chosenCases(names string, brokers map[string]string) ([]benchCase, error) {
	known := slices.Clone(benchCases)
	for name, body := range brokers {
		i := slices.IndexFunc(known, func(c benchCase) bool { return c.name == name })
		switch {
		case i < 0:
			known = append(known, benchCase{name: name, publishers: 64, events: 40_000, fanOut: 1, run: measureBroker, broker: true,
				to: body})
		case known[i].broker:
			known[i].to = body
		default:
			return nil, fmt.Errorf("-destination: %q is a case already that needs none; give it another name", name)
		}
	}
	if names == "all" {
		return known, nil
	}
	var cases []benchCase
	for _, n := range strings.Split(names, ",") {
		i := slices.IndexFunc(known, func(c benchCase) bool { return c.name == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q", n)
		}
		cases = append(cases, known[i])
	}
	return cases, nil
}

func cpus() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "CPU"
	}
	return strconv.Itoa(bytes.Count(b, []byte("processor\t:")))
}

// benchResult is what one run measured; times in milliseconds.
type benchResult struct {
	accepted, delivered float64
	e2e                 [4]float64 // p50, p95, p99, max
	publish             [2]float64 // p50, p99
	cpu                 float64    // of server and PostgreSQL, for one event
	memory              float64    // MiB
	stored, wal         float64    // KiB of an event: what tables and indexes have grown by, and the write-ahead log
}

func (r benchResult) line(name string, publishers int) string {
	return fmt.Sprintf("%-10s %10d %11.0f %12.0f %27s %17s %6.3f ms %4.0f MiB%s", name, publishers, r.accepted, r.delivered,
		fmt.Sprintf("%.1f/%.1f/%.1f/%.1f ms", r.e2e[0], r.e2e[1], r.e2e[2], r.e2e[3]),
		fmt.Sprintf("%.1f/%.1f ms", r.publish[0], r.publish[1]), r.cpu, r.memory, r.space())
}

// space is the end of the line; empty for cases that do not measure it.
func (r benchResult) space() string {
	if r.wal == 0 {
		return ""
	}
	return fmt.Sprintf(" %4.1f KiB %4.1f KiB", r.stored, r.wal)
}

func medianResult(all []benchResult) (m benchResult) {
	med := func(get func(*benchResult) *float64) {
		var v []float64
		for i := range all {
			v = append(v, *get(&all[i]))
		}
		slices.Sort(v)
		*get(&m) = v[len(v)/2]
	}
	med(func(r *benchResult) *float64 { return &r.accepted })
	med(func(r *benchResult) *float64 { return &r.delivered })
	for i := range m.e2e {
		med(func(r *benchResult) *float64 { return &r.e2e[i] })
	}
	for i := range m.publish {
		med(func(r *benchResult) *float64 { return &r.publish[i] })
	}
	med(func(r *benchResult) *float64 { return &r.cpu })
	med(func(r *benchResult) *float64 { return &r.memory })
	med(func(r *benchResult) *float64 { return &r.stored })
	med(func(r *benchResult) *float64 { return &r.wal })
	return m
}
