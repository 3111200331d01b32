package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// soakName is the case that loads the server steadily for a long time. It is none of benchCases, for it prints and writes
// what the others do not.
const soakName = "soak"

const (
	soakPublishers   = 64
	soakDestinations = 10               // that work; an event goes to one of them
	soakWindow       = 10 * time.Second // of one row
	// Each soakBurstEvery's worth of events has soakRefused in succession for a destination that refuses all. With
	// soakSchedule that makes 16 attempts a second, below the 20 that a worker makes at a destination that keeps failing:
	// what waits for it goes up and down with the bursts, and does not rise without end.
	soakRefused    = 40
	soakBurstEvery = 10 * time.Second
	soakDrain      = time.Minute            // for what was accepted to arrive when the time is over
	soakBackOff    = 100 * time.Millisecond // of a publisher whose event was not accepted
)

var soakSchedule = []string{"10s", "20s", "40s"}

// soakRun is what the flags say, and the soak under way.
type soakRun struct {
	time time.Duration
	rate int    // events a second
	out  string // file for the rows; empty for none

	mu       sync.Mutex
	took     []float64 // of the requests since the last row, in milliseconds
	accepted atomic.Int64
	healthy  atomic.Int64 // of them for destinations that work
	refused  atomic.Int64

	tenant string
	conn   *pgx.Conn
}

func soakFlags(fs *flag.FlagSet) *soakRun {
	s := &soakRun{}
	fs.DurationVar(&s.time, "for", 30*time.Minute, "of the case soak: how long, in whole steps of 10s")
	fs.IntVar(&s.rate, "rate", 4000, "of the case soak: events a second")
	fs.StringVar(&s.out, "out", "", "of the case soak: `FILE` for its rows (CSV)")
	return s
}

// check tells of flags that do not go with the cases or with each other.
func (s *soakRun) check(fs *flag.FlagSet, names string) (err error) {
	soak := names == soakName
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "for", "rate", "out":
			if !soak {
				err = fmt.Errorf("-%s is for -case %s only", f.Name, soakName)
			}
		case "runs", "scale", "limits", "destination":
			if soak {
				err = fmt.Errorf("-%s is not for -case %s; leave it out", f.Name, soakName)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case !soak && slices.Contains(strings.Split(names, ","), soakName):
		return fmt.Errorf("-case %s is measured alone; leave the other cases out", soakName)
	case s.time < soakWindow:
		return fmt.Errorf("-for must be at least %s", soakWindow)
	case s.rate < soakPublishers || s.rate > 1_000_000:
		return fmt.Errorf("-rate must be from %d to 1000000 events a second", soakPublishers)
	}
	return nil
}

// run makes the soak: a row is recorded every ten seconds and one printed each minute.
func (s *soakRun) run(ctx context.Context, settings map[string]string, stdout io.Writer) (err error) {
	file := io.Discard
	if s.out != "" {
		f, openErr := os.Create(s.out)
		if openErr != nil {
			return fmt.Errorf("-out: %w", openErr)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		file = f
	}
	b, err := startBench(ctx, settings)
	if err != nil {
		return err
	}
	defer b.stop()
	if s.conn, err = pgx.Connect(ctx, b.pg.URL); err != nil {
		return err
	}
	defer s.conn.Close(context.WithoutCancel(ctx))
	if err := s.prepare(b); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d events of 1 KiB a second for %s, default durability, everything recorded; load and sink on the same %s cores\n",
		s.rate, s.time, cpus())
	fmt.Fprintf(stdout, "%d destinations, one for each event, and one that refuses %d events every %s; memory at rest: %d MiB\n",
		soakDestinations, soakRefused, soakBurstEvery, b.memory()>>20)
	fmt.Fprintf(stdout, "\n%s\n", soakTitle())
	if _, err := fmt.Fprintln(file, soakHeader()); err != nil {
		return fmt.Errorf("write %s: %w", s.out, err)
	}
	b.reset()
	loading, cancel := context.WithTimeout(ctx, s.time)
	defer cancel()
	finished := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := b.publish(loading, benchCase{publishers: soakPublishers, events: math.MaxInt, rate: s.rate, topic: s.topic,
			published: func(k int64, ms float64, ok bool) { s.published(loading, k, ms, ok) }},
			func(int64) string { return s.tenant })
		finished <- err
	}()
	rows, err := s.record(ctx, b, start, file, stdout)
	cancel()
	if err := errors.Join(err, <-finished); err != nil {
		return err
	}
	for deadline := time.Now().Add(soakDrain); b.received.Load() < s.healthy.Load() && time.Now().Before(deadline) && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintf(stdout, "\naccepted %d events, not accepted %d; of %d for destinations that work, %d deliveries arrived\n",
		s.accepted.Load(), s.refused.Load(), s.healthy.Load(), b.received.Load())
	fmt.Fprintln(stdout, soakVerdict(rows))
	return ctx.Err()
}

// prepare makes the tenant and its destinations.
func (s *soakRun) prepare(b *bencher) (err error) {
	if s.tenant, err = b.tenant(); err != nil {
		return err
	}
	for i := range soakDestinations {
		if err := b.destination(s.tenant, "/hook", map[string]any{"topics": []string{soakTopic(i)}}); err != nil {
			return err
		}
	}
	return b.destination(s.tenant, "/fail", map[string]any{"id": "refuses", "topics": []string{"order.refused"}, "disable_after": 0,
		"retry": map[string]any{"schedule": soakSchedule}})
}

func soakTopic(destination int) string { return fmt.Sprintf("order.%d", destination) }

// refuses says whether the event k goes to the destination that refuses all.
func (s *soakRun) refuses(k int64) bool {
	return k%(int64(s.rate)*int64(soakBurstEvery/time.Second)) < soakRefused
}

func (s *soakRun) topic(k int64) string {
	if s.refuses(k) {
		return "order.refused"
	}
	return soakTopic(int(k % soakDestinations))
}

// published counts a request to publish the event k. Whoever was refused waits a moment, so that a server that is in
// trouble, or gone, is not asked in a tight loop.
func (s *soakRun) published(ctx context.Context, k int64, ms float64, accepted bool) {
	if !accepted {
		s.refused.Add(1)
		select {
		case <-time.After(soakBackOff):
		case <-ctx.Done():
		}
		return
	}
	s.accepted.Add(1)
	if !s.refuses(k) {
		s.healthy.Add(1)
	}
	s.mu.Lock()
	s.took = append(s.took, ms)
	s.mu.Unlock()
}

// record writes a row every ten seconds until the time is over, and prints one for each minute.
func (s *soakRun) record(ctx context.Context, b *bencher, start time.Time, file, stdout io.Writer) (rows []soakRow, err error) {
	ticker := time.NewTicker(soakWindow)
	defer ticker.Stop()
	before := soakCounts{at: start, cpu: b.cpu()}
	perMinute := int(time.Minute / soakWindow)
	silent := 0
	for len(rows) < int(s.time/soakWindow) {
		select {
		case <-ctx.Done():
			return rows, nil
		case <-ticker.C:
		}
		now := soakCounts{at: time.Now(), cpu: b.cpu(), accepted: s.accepted.Load(), refused: s.refused.Load(), received: b.received.Load()}
		row, err := s.row(ctx, b, start, before, now)
		if err != nil {
			return rows, err
		}
		if rows = append(rows, row); now.accepted > before.accepted {
			silent = 0
		} else if silent++; silent == perMinute {
			log, _ := os.ReadFile(filepath.Join(b.dir, "server.log"))
			return rows, fmt.Errorf("nothing was accepted for a minute; the server's log ends with: %s", log[max(0, len(log)-2000):])
		}
		before = now
		if _, err := fmt.Fprintln(file, row.csv()); err != nil {
			return rows, fmt.Errorf("write %s: %w", s.out, err)
		}
		if n := len(rows); n%perMinute == 0 || n == int(s.time/soakWindow) {
			fmt.Fprintln(stdout, soakSummary(rows[(n-1)/perMinute*perMinute:]).line())
		}
	}
	return rows, nil
}

// soakCounts are the counts so far, at a time.
type soakCounts struct {
	at                          time.Time
	cpu                         time.Duration
	accepted, refused, received int64
}

// row is what happened between two counts, and how things are now.
func (s *soakRun) row(ctx context.Context, b *bencher, start time.Time, before, now soakCounts) (r soakRow, err error) {
	s.mu.Lock()
	took := s.took
	s.took = make([]float64, 0, len(took))
	s.mu.Unlock()
	b.mu.Lock()
	latency := b.latency
	b.latency = make([]float64, 0, len(latency))
	b.mu.Unlock()
	seconds, events := now.at.Sub(before.at).Seconds(), now.accepted-before.accepted
	elapsed := now.at.Sub(start).Seconds()
	r = soakRow{
		seconds: elapsed, accepted: float64(events) / seconds, refused: float64(now.refused - before.refused),
		delivered: float64(now.received-before.received) / seconds,
		// The events under way are not late yet.
		behind: max(0, elapsed-float64(now.accepted+now.refused+soakPublishers)/float64(s.rate)),
		p50:    percentile(latency, .5), p99: percentile(latency, .99), longest: percentile(latency, 1), publish: percentile(took, .99),
		cpu:    float64((now.cpu - before.cpu).Microseconds()) / 1000 / float64(max(events, 1)),
		server: float64(memoryBelow(b.server.Process.Pid)) / (1 << 20), postgres: float64(memoryBelow(b.pg.Pid())) / (1 << 20),
	}
	// What waits for the destination that refuses is counted in the database, by an index. What is on its way to the
	// others is the difference to what has arrived, for counting it would read every delivery.
	var waiting int64
	err = s.conn.QueryRow(ctx,
		`select j.n_live_tup, j.n_dead_tup, pg_total_relation_size(j.relid), size.events, size.deliveries, size.attempts,
			(select count(*) from deliveries where destination_key = d.key and status in ('pending', 'delivering', 'retrying', 'held'))
		from pg_stat_all_tables j, destinations d join tenants t on t.key = d.tenant_key, (select
			sum(pg_total_relation_size(inhrelid)) filter (where inhparent = 'events'::regclass)::float8 as events,
			sum(pg_total_relation_size(inhrelid)) filter (where inhparent = 'deliveries'::regclass)::float8 as deliveries,
			sum(pg_total_relation_size(inhrelid)) filter (where inhparent = 'attempts'::regclass)::float8 as attempts
			from pg_inherits) size
		where j.relid = 'river.river_job'::regclass and d.id = 'refuses' and t.id = $1`, s.tenant).Scan(&r.jobs, &r.dead, &r.jobBytes,
		&r.events, &r.deliveries, &r.attempts, &waiting)
	r.unfinished = float64(waiting + max(0, s.healthy.Load()-b.received.Load()))
	return r, err
}
