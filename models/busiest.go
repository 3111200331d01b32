package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Busy is a destination with its numbers of a range. They are those of its health, so that test events do not count.
type Busy struct {
	Destination *Destination // its key, id, name, type and tenant
	Rates
	Delivered int                 // attempts that succeeded
	P95       *time.Duration      // time to delivery of the newest busyLatencies deliveries of the range; nil for none
	Points    []DestinationBucket // of the range, in order
}

// DestinationBucket are a destination's numbers of a part of a range.
type DestinationBucket struct {
	Start     time.Time
	Delivered int
	Failed    int // first attempts that failed
}

const (
	busyRead      = 5_000 // newest deliveries among which the busiest destinations are looked for
	busyLatencies = 1_000

	// busyRemembered is the length of a point from which on the numbers of a moment ago are told: they are read from the minutes of
	// days.
	busyRemembered = 3 * time.Hour
)

// Busiest are the scope's destinations with the most of the newest deliveries within a range of OverviewRanges, with their numbers,
// the busiest first.
func (s *Store) Busiest(ctx context.Context, scope Scope, name string, now time.Time, most int) (list []*Busy, point time.Duration,
	err error) {
	_, r, err := rangeOf(name)
	if err != nil {
		return nil, 0, err
	}
	since, point := r.span(now), time.Duration(r.join)*r.bucket
	read := func(ctx context.Context) ([]*Busy, error) {
		return s.busiest(ctx, scope, since, point, r.count/r.join, most)
	}
	if point < busyRemembered {
		list, err = read(ctx)
	} else {
		list, _, err = s.busy.of(fmt.Sprint(scope.keys(), name, most)).get(ctx, read)
	}
	return list, point, err
}

// busiest reads the numbers of a range of so many points.
func (s *Store) busiest(ctx context.Context, scope Scope, since time.Time, point time.Duration, points, most int) (list []*Busy,
	err error) {
	err = s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		keys, err := busiestKeys(ctx, tx, scope, since, most)
		if err != nil {
			return err
		}
		named, err := s.namedDestinations(ctx, keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			b := &Busy{Destination: named[key]}
			if err := b.read(ctx, tx, key, since, point, points); err != nil {
				return err
			}
			list = append(list, b)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b *Busy) int { return b.Delivered - a.Delivered })
	return list, err
}

func busiestKeys(ctx context.Context, tx pgx.Tx, scope Scope, since time.Time, most int) ([]int64, error) {
	q := newQuery()
	var newest string
	if scope.all {
		q.and("event_id >= ?", lowestUUID(since))
		newest = "select destination_key from deliveries" + q.sql() + " order by event_id desc"
	} else {
		scope.where(q, "tenant_key")
		q.and("started_at >= ?", since)
		newest = "select destination_key from attempts" + q.sql() + " order by started_at desc"
	}
	rows, err := tx.Query(ctx, "select destination_key from ("+newest+q.limit(busyRead)+") x group by 1 order by count(*) desc, 1"+
		q.limit(most), q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// read reads the numbers of a range of so many points.
func (b *Busy) read(ctx context.Context, tx pgx.Tx, key int64, since time.Time, point time.Duration, points int) error {
	for i := range points {
		b.Points = append(b.Points, DestinationBucket{Start: since.Add(time.Duration(i) * point)})
	}
	q := newQuery()
	from, err := healthRows(ctx, tx, q, []int64{key}, since, healthBuckets{origin: since, length: point})
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "select "+q.bind("date_bin(?, at, ?)", point, since)+" as start, "+rateSums+" from "+from+" group by start",
		q.args...)
	if err != nil {
		return err
	}
	var at time.Time
	var r Rates
	if _, err := pgx.ForEachRow(rows, append([]any{&at}, r.fields()...), func() error {
		b.Delivered += r.Attempts - r.FailedAttempts
		b.Rates = b.plus(r)
		if i := int(at.Sub(since) / point); i < points {
			b.Points[i].Delivered, b.Points[i].Failed = r.Attempts-r.FailedAttempts, r.Failed
		}
		return nil
	}); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `select event_id, started_at, duration_us from attempts where destination_key = $1 and started_at >= $2 and ok
		and trigger = 'automatic' order by started_at desc limit $3`, key, since, busyLatencies)
	if err != nil {
		return err
	}
	var took []time.Duration
	var id uuid.UUID
	var us int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &at, &us}, func() error {
		took = append(took, at.Add(time.Duration(us)*time.Microsecond).Sub(eventTime(id)))
		return nil
	}); err != nil || len(took) == 0 {
		return err
	}
	slices.Sort(took)
	p := max(took[(len(took)*95+99)/100-1], 0)
	b.P95 = &p
	return nil
}

// plus is the sum of two rates.
func (r Rates) plus(o Rates) Rates {
	return Rates{r.Deliveries + o.Deliveries, r.Failed + o.Failed, r.Attempts + o.Attempts, r.FailedAttempts + o.FailedAttempts,
		r.GivenUp + o.GivenUp, r.FilterFailures + o.FilterFailures}
}
