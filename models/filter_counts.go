package models

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// filterCount is one counter: the events that a rule of a filter held back within an hour.
type filterCount struct {
	filter int64 // its key
	rule   int   // from 1; 0 for events on which the filter failed
	hour   int64 // unix seconds of its beginning
}

// filterCounts adds up in memory how many events filters hold back, and writes the sums every second. Counting within the
// accepting transaction would make all publishers of a tenant wait for each other. A process that is killed loses what it
// counted in its last second; the events themselves say by which filter each was held back, so that lists are exact.
type filterCounts struct {
	s    *Store
	log  *slog.Logger
	stop chan struct{}
	done chan struct{}

	mu  sync.Mutex
	sum map[filterCount]int64
}

const (
	countEvery  = time.Second
	countWithin = 5 * time.Second
)

func newFilterCounts(s *Store, log *slog.Logger) *filterCounts {
	c := &filterCounts{s: s, log: log, stop: make(chan struct{}), done: make(chan struct{}), sum: map[filterCount]int64{}}
	go c.run()
	return c
}

func (c *filterCounts) run() {
	defer close(c.done)
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.write()
		case <-c.stop:
			c.write()
			return
		}
	}
}

// close writes what was counted.
func (c *filterCounts) close() {
	close(c.stop)
	<-c.done
}

// add takes over what a transaction has counted, after it was committed.
func (c *filterCounts) add(counted map[filterCount]int64) {
	if len(counted) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, n := range counted {
		c.sum[k] += n
	}
}

func (c *filterCounts) write() {
	c.mu.Lock()
	sum := c.sum
	c.sum = map[filterCount]int64{}
	c.mu.Unlock()
	if len(sum) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), countWithin)
	defer cancel()
	var filters, counts []int64
	var rules []int32
	var hours []time.Time
	for k, n := range sum {
		filters, rules, hours, counts = append(filters, k.filter), append(rules, int32(k.rule)), append(hours, time.Unix(k.hour, 0)),
			append(counts, n)
	}
	// In one order, so that two processes never wait for each other in a circle.
	_, err := c.s.pool.Exec(ctx, `insert into filter_counts (filter_key, hour, rule, events)
		select f, h, r, n from unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::bigint[]) x(f, h, r, n) order by f, h, r
		on conflict (filter_key, hour, rule) do update set events = filter_counts.events + excluded.events`, filters, hours, rules, counts)
	if err != nil {
		c.log.Warn("what filters held back could not be counted; it is tried again", "error", err)
		c.add(sum)
	}
}

// FilterCounts are how many events a destination's filters held back.
type FilterCounts struct {
	Since  time.Time     // counted from here on, the full hour
	Total  int64         // by all of its filters
	Failed int64         // events on which a filter failed, which are failed deliveries and no filtered ones
	Rules  map[int]int64 // by the rules of the filter in force, from 1
}

// FilterCounts returns how many events the destination's filters held back since a time. The last second may be missing.
func (s *Store) FilterCounts(ctx context.Context, d *Destination, since time.Time) (*FilterCounts, error) {
	c := &FilterCounts{Since: since.UTC().Truncate(time.Hour), Rules: map[int]int64{}}
	rows, err := s.pool.Query(ctx,
		`select c.filter_key, c.rule, sum(c.events)::bigint from destination_filters f join filter_counts c on c.filter_key = f.key
		where f.destination_key = $1 and c.hour >= $2 group by 1, 2`, d.Key, c.Since)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key, n int64
		var rule int
		if err := rows.Scan(&key, &rule, &n); err != nil {
			return nil, err
		}
		if rule == 0 {
			c.Failed += n
			continue
		}
		c.Total += n
		if d.FilterKey != nil && key == *d.FilterKey {
			c.Rules[rule] += n
		}
	}
	return c, rows.Err()
}
