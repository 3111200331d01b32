package models

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Overview says how a tenant, or the whole server, does: what happened in a range that ends now, the same of the range before, and
// what is so at the moment. docs/monitoring.md defines each number.
type Overview struct {
	Range        string
	Since, Until time.Time // Until is now
	Bucket       time.Duration
	Buckets      []TrafficBucket // all of the range, in order; the last is not over
	Point        time.Duration
	Points       []TrafficBucket // the same, fewer and longer: two or three buckets each
	CountedSince time.Time       // from when on these numbers are counted: that of an upgrade, at most
	Sum          Traffic         // of the buckets
	Before       *Traffic        // of the range before; nil when that was not counted as a whole

	Retrying, Held *int      // deliveries, now; nil when there are too many to be counted in time
	WaitingAt      time.Time // when these two were counted: a moment ago where there are many
	Failing        int       // destinations, now; see failingHealth
	Disabled       int       // destinations, now
}

// TrafficBucket are the numbers of a part of a range.
type TrafficBucket struct {
	Start time.Time
	Traffic
}

// overviewRange is how a range is divided.
type overviewRange struct {
	bucket time.Duration
	count  int
	grain  time.Duration // of the spans that are read
	join   int           // buckets in a point
}

var overviewRanges = map[string]overviewRange{
	"1h":  {time.Minute, 60, grainMinute, 3},
	"24h": {30 * time.Minute, 48, grainHalfHour, 2},
	"7d":  {3 * time.Hour, 56, grainHalfHour, 2},
	"30d": {12 * time.Hour, 60, grainHalfHour, 3},
}

// OverviewRanges are the names of the ranges, the shortest first.
var OverviewRanges = []string{"1h", "24h", "7d", "30d"}

// span is the beginning of the range that ends with the bucket of now.
func (r overviewRange) span(now time.Time) time.Time {
	return now.UTC().Truncate(r.bucket).Add(-time.Duration(r.count-1) * r.bucket)
}

// rangeOf finds a range by its name; 24h without one.
func rangeOf(name string) (string, overviewRange, error) {
	if name == "" {
		name = "24h"
	}
	return name, overviewRanges[name], oneOf("range", []string{name}, OverviewRanges)
}

// trafficSince is the setting that says from when on numbers are counted.
const trafficSince = "traffic_since"

// Overview reads the numbers of a range of OverviewRanges, 24h when it is empty.
func (s *Store) Overview(ctx context.Context, scope Scope, name string, now time.Time) (*Overview, error) {
	name, r, err := rangeOf(name)
	if err != nil {
		return nil, err
	}
	o := &Overview{Range: name, Since: r.span(now), Until: now.UTC(), Bucket: r.bucket, Point: time.Duration(r.join) * r.bucket}
	if _, err := s.Setting(ctx, trafficSince, &o.CountedSince); err != nil {
		return nil, err
	}
	length := time.Duration(r.count) * r.bucket
	spans, err := s.readTraffic(ctx, scope, r.grain, o.Since.Add(-length))
	if err != nil {
		return nil, err
	}
	o.fill(r, spans, now)
	if o.CountedSince.After(o.Since.Add(-length)) {
		o.Before = nil
	}
	if err := s.overviewNow(ctx, scope, o); err != nil {
		return nil, err
	}
	return o, nil
}

// fill adds up what was read. Of the range before, what is counted ends as long before now as the range is, to the grain.
func (o *Overview) fill(r overviewRange, spans map[time.Time]*Traffic, now time.Time) {
	length := time.Duration(r.count) * r.bucket
	for i := range r.count {
		o.Buckets = append(o.Buckets, TrafficBucket{Start: o.Since.Add(time.Duration(i) * r.bucket)})
		if i%r.join == 0 {
			o.Points = append(o.Points, TrafficBucket{Start: o.Buckets[i].Start})
		}
	}
	o.Before = &Traffic{}
	for _, at := range slices.SortedFunc(maps.Keys(spans), time.Time.Compare) {
		t := spans[at]
		switch i := int(at.Sub(o.Since) / r.bucket); {
		case at.Before(o.Since):
			if !at.After(now.Add(-length)) {
				o.Before.add(t)
			}
		case i < r.count:
			o.Buckets[i].add(t)
			o.Points[i/r.join].add(t)
			o.Sum.add(t)
		}
	}
}

// overviewNow reads what is so at the moment.
func (s *Store) overviewNow(ctx context.Context, scope Scope, o *Overview) (err error) {
	w, at, err := s.waiting(ctx, scope)
	switch {
	case err == nil:
		o.Retrying, o.Held, o.WaitingAt = &w.Retrying, &w.Held, at
	case isCanceled(err) && ctx.Err() == nil: // too many
		o.WaitingAt = o.Until
	default:
		return err
	}
	o.Failing, o.Disabled, err = s.troubled(ctx, scope)
	return err
}

// failingHealth says of the health h of a destination that it fails: three or more deliveries in a row have failed, or one was
// given up, and none succeeded since. It counts as failing while it is not disabled.
const failingHealth = "h.failures > 0 and (h.failures >= 3 or h.given_up > 0)"

// troubled counts the destinations that fail, and those that are disabled.
func (s *Store) troubled(ctx context.Context, scope Scope) (failing, disabled int, err error) {
	of := newQuery()
	of.and("d.deleted_at is null")
	scope.where(of, "d.tenant_key")
	err = s.pool.QueryRow(ctx, "select (select count(*) from destination_health h join destinations d on d.key = h.destination_key"+of.sql()+
		" and d.disabled_at is null and "+failingHealth+"), (select count(*) from destinations d"+of.sql()+" and d.disabled_at is not null)",
		of.args...).Scan(&failing, &disabled)
	return failing, disabled, err
}

// OverviewSince is the beginning of a range of OverviewRanges that ends now; of 24h when name is empty.
func OverviewSince(name string, now time.Time) (time.Time, error) {
	_, r, err := rangeOf(name)
	if err != nil {
		return time.Time{}, err
	}
	return r.span(now), nil
}
