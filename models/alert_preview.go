package models

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/alertrule"
)

// PreviewPeriod is how far a rule's preview looks back.
const PreviewPeriod = 7 * 24 * time.Hour

// Preview says when a rule would have fired.
type Preview struct {
	Since, Until time.Time
	Count        int           // how often
	Times        []PreviewTime // the last of these times, newest first
	Note         string        // what the past cannot tell; empty for nothing

	subjects int // destinations that the rule is about
}

// PreviewTime is one time at which a rule would have fired.
type PreviewTime struct {
	At                      time.Time
	TenantID, DestinationID string
	Name                    string // of the destination
}

// previewTimes is how many times a preview tells.
const previewTimes = 20

// PreviewRule says when a rule of NewAlertRule would have fired within the last days, by what is kept of the past: to the minute.
func (s *Store) PreviewRule(ctx context.Context, r *AlertRule) (*Preview, error) {
	until := time.Now()
	p := &Preview{Since: until.Add(-PreviewPeriod), Until: until}
	subjects, names, err := s.subjectsOf(ctx, r)
	if err != nil {
		return nil, err
	}
	var fired []PreviewTime
	replay := func(d *subject, past *alertrule.Past) {
		past.Since = p.Since
		d.Now = until
		for _, at := range r.Condition.Replay(&d.Subject, past) {
			fired = append(fired, PreviewTime{at, d.tenantID, d.id, names[d.key]})
		}
	}
	switch data, span := r.Condition.Data(); data {
	case alertrule.Disabling:
		err = s.pastDisables(ctx, p.Since, subjects, replay)
	case alertrule.Certificate:
		err = s.pastCertificates(ctx, until.Add(span), subjects, replay)
	default:
		err = s.pastMinutes(ctx, data, p.Since, subjects, replay)
	}
	if err != nil {
		return nil, err
	}
	p.Count, p.Times, p.subjects = len(fired), fired, len(subjects)
	p.finish(r)
	return p, nil
}

// finish keeps the latest of the times, and says what the past cannot tell.
func (p *Preview) finish(r *AlertRule) {
	slices.SortFunc(p.Times, func(a, b PreviewTime) int { return b.At.Compare(a.At) })
	p.Times = p.Times[:min(len(p.Times), previewTimes)]
	var notes []string
	if r.Topics != nil {
		notes = append(notes, fmt.Sprintf("%s these topics. All that goes there counts, whatever its topic.",
			countOf(p.subjects, "destination takes one of", "destinations take one of")))
	}
	if unknown := r.Condition.Unknown(); unknown != "" {
		notes = append(notes, unknown)
	}
	p.Note = strings.Join(notes, " ")
}

// MergePreviews makes one preview of those of several databases, of which there is at least one.
func (r *AlertRule) MergePreviews(list []*Preview) *Preview {
	out := *list[0]
	for _, p := range list[1:] {
		out.Count, out.subjects = out.Count+p.Count, out.subjects+p.subjects
		out.Times = append(out.Times, p.Times...)
	}
	out.finish(r)
	return &out
}

// subjectsOf are the destinations that a rule is about, with their names.
func (s *Store) subjectsOf(ctx context.Context, r *AlertRule) (map[int64]*subject, map[int64]string, error) {
	rows, err := s.pool.Query(ctx, "select d.key, d.tenant_key, d.id, t.id, d.topics, "+disableLimit+`, d.name
		from destinations d join tenants t on t.key = d.tenant_key
		where d.deleted_at is null and t.deleted_at is null and ($2 = 0 or d.tenant_key = $2)`, s.Rules().DisableAfter, r.OwnerKey)
	if err != nil {
		return nil, nil, err
	}
	subjects, names := map[int64]*subject{}, map[int64]string{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		d := &subject{}
		var name string
		err := row.Scan(&d.key, &d.tenant, &d.id, &d.tenantID, &d.topics, &d.Limit, &name)
		if err == nil && r.concerns(d) {
			subjects[d.key], names[d.key] = d, name
		}
		return struct{}{}, err
	})
	return subjects, names, err
}

// pastDisables calls fn with the times at which each destination was disabled.
func (s *Store) pastDisables(ctx context.Context, since time.Time, subjects map[int64]*subject, fn func(*subject, *alertrule.Past)) error {
	type named struct {
		tenant int64
		id     string
	}
	byName := map[named]*subject{}
	for _, d := range subjects {
		byName[named{d.tenant, d.id}] = d
	}
	rows, err := s.pool.Query(ctx,
		"select id::text, tenant_key, object from audit where action = 'destination.disable' and id >= $1 and tenant_key is not null",
		lowestUUID(since))
	if err != nil {
		return err
	}
	var id string
	var n named
	times := map[*subject][]time.Time{}
	_, err = pgx.ForEachRow(rows, []any{&id, &n.tenant, &n.id}, func() error {
		if d := byName[n]; d != nil {
			times[d] = append(times[d], timeInID(id))
		}
		return nil
	})
	for d, at := range times {
		fn(d, &alertrule.Past{Disabled: at})
	}
	return err
}

// pastCertificates calls fn with the destinations whose certificate, as it was seen last, ends until then.
func (s *Store) pastCertificates(ctx context.Context, until time.Time, subjects map[int64]*subject,
	fn func(*subject, *alertrule.Past)) error {
	rows, err := s.pool.Query(ctx, "select destination_key, certificate_ends from destination_health where certificate_ends <= $1", until)
	if err != nil {
		return err
	}
	var k int64
	var ends time.Time
	_, err = pgx.ForEachRow(rows, []any{&k, &ends}, func() error {
		if d := subjects[k]; d != nil {
			at := ends
			d.Health.CertificateEnds = &at
			fn(d, &alertrule.Past{})
		}
		return nil
	})
	return err
}

// timeInID is the time in the text of a UUIDv7.
func timeInID(id string) time.Time {
	var ms int64
	_, _ = fmt.Sscanf(strings.ReplaceAll(id, "-", "")[:12], "%x", &ms) // it is a UUID
	return time.UnixMilli(ms).UTC()
}

// pastMinutes calls fn with the minutes of each destination in which something failed that the rule may be about.
func (s *Store) pastMinutes(ctx context.Context, data alertrule.Data, since time.Time, subjects map[int64]*subject,
	fn func(*subject, *alertrule.Past)) error {
	keys := make([]int64, 0, len(subjects))
	for k := range subjects {
		keys = append(keys, k)
	}
	which := "peak > 0 or filter_failures > 0 or given_up > 0"
	switch data {
	case alertrule.Rates:
		which = "destination_key in (select destination_key from health_minutes where destination_key = any($1) and minute >= $2 and failed_attempts > 0)"
	case alertrule.Waits:
		which = "true"
	}
	rows, err := s.pool.Query(ctx,
		`select destination_key, minute, deliveries, failed_deliveries, attempts, failed_attempts, given_up, peak, at_end, filter_failures,
			lag_ms
		from health_minutes where destination_key = any($1) and minute >= $2 and (`+which+`) order by destination_key, minute`, keys, since)
	if err != nil {
		return err
	}
	var current int64
	var list []alertrule.Minute
	var k, lag int64
	var m alertrule.Minute
	_, err = pgx.ForEachRow(rows, []any{&k, &m.At, &m.Deliveries, &m.Failed, &m.Attempts, &m.FailedAttempts, &m.GivenUp, &m.Peak, &m.End,
		&m.FilterFailures, &lag}, func() error {
		if k != current && len(list) > 0 {
			fn(subjects[current], &alertrule.Past{Minutes: list})
			list = list[:0]
		}
		current = k
		m.Wait = time.Duration(lag) * time.Millisecond
		list = append(list, m)
		return nil
	})
	if err == nil && len(list) > 0 {
		fn(subjects[current], &alertrule.Past{Minutes: list})
	}
	return err
}
