package models

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// PreviewPeriod is how far a rule's preview looks back.
const PreviewPeriod = 7 * 24 * time.Hour

// Preview says when a rule would have fired.
type Preview struct {
	Since, Until time.Time
	Count        int           // how often
	Times        []PreviewTime // the last of these times, newest first
	Note         string        // what the past cannot tell; empty for nothing
}

// PreviewTime is one time at which a rule would have fired.
type PreviewTime struct {
	At                      time.Time
	TenantID, DestinationID string
	Name                    string // of the destination
}

// previewTimes is how many times a preview tells.
const previewTimes = 20

// pastMinute is a minute of a destination's past.
type pastMinute struct {
	at                                                                          time.Time
	deliveries, failed, attempts, failedAttempts, givenUp, peak, end, filterErr int
	lag                                                                         time.Duration
}

// PreviewRule says when a rule would have fired within the last days, by what is kept of the past: to the minute.
func (s *Store) PreviewRule(ctx context.Context, scope Scope, tenantID string, in AlertRuleInput) (*Preview, error) {
	r, err := s.NewAlertRule(ctx, scope, tenantID, in)
	if err != nil {
		return nil, err
	}
	until := time.Now()
	p := &Preview{Since: until.Add(-PreviewPeriod), Until: until}
	subjects, names, err := s.subjectsOf(ctx, r)
	if err != nil {
		return nil, err
	}
	var fired []PreviewTime
	add := func(d *subject, at time.Time) {
		fired = append(fired, PreviewTime{at, d.tenantID, d.id, names[d.key]})
	}
	switch r.Kind {
	case RuleDisabled:
		err = s.pastDisables(ctx, p.Since, subjects, add)
	case RuleCertificate:
		err = s.pastCertificates(ctx, r.Condition, p, subjects, add)
	default:
		err = s.pastMinutes(ctx, r, p.Since, subjects, func(d *subject, minutes []pastMinute) {
			for _, at := range r.Condition.replay(d, minutes) {
				add(d, at)
			}
		})
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(fired, func(a, b PreviewTime) int { return b.At.Compare(a.At) })
	p.Count, p.Times = len(fired), fired[:min(len(fired), previewTimes)]
	var notes []string
	if r.Topics != nil {
		notes = append(notes, fmt.Sprintf("%s these topics. All that goes there counts, whatever its topic.", countOf(len(subjects), "destination takes one of", "destinations take one of")))
	}
	switch {
	case r.Kind == RuleCertificate:
		notes = append(notes, "Only the certificates that were seen last are known, and not those that were renewed meanwhile. What began to be met earlier counts as of the first of the 7 days.")
	case r.Kind == RuleBacklog:
		notes = append(notes, "Of the past, only waits for first attempts are known; events that were held or retried are not among them.")
	case r.Kind == RuleFailures && r.Condition.counted() == CountAttempts:
		notes = append(notes, "Of the past, deliveries in a row are known and attempts are not, so that this counts deliveries.")
	}
	p.Note = strings.Join(notes, " ")
	return p, nil
}

// subjectsOf are the destinations that a rule is about, with their names.
func (s *Store) subjectsOf(ctx context.Context, r *AlertRule) (map[int64]*subject, map[int64]string, error) {
	rows, err := s.Pool.Query(ctx, `select d.key, d.tenant_key, d.id, t.id, d.topics, coalesce(d.disable_after, $1), d.name
		from destinations d join tenants t on t.key = d.tenant_key
		where d.deleted_at is null and t.deleted_at is null and ($2 = 0 or d.tenant_key = $2)`, s.DisableAfter, r.OwnerKey)
	if err != nil {
		return nil, nil, err
	}
	subjects, names := map[int64]*subject{}, map[int64]string{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		d := &subject{}
		var name string
		err := row.Scan(&d.key, &d.tenant, &d.id, &d.tenantID, &d.topics, &d.limit, &name)
		if err == nil && r.concerns(d) {
			subjects[d.key], names[d.key] = d, name
		}
		return struct{}{}, err
	})
	return subjects, names, err
}

func (s *Store) pastDisables(ctx context.Context, since time.Time, subjects map[int64]*subject, add func(*subject, time.Time)) error {
	type named struct {
		tenant int64
		id     string
	}
	byName := map[named]*subject{}
	for _, d := range subjects {
		byName[named{d.tenant, d.id}] = d
	}
	rows, err := s.Pool.Query(ctx, "select id::text, tenant_key, object from audit where action = 'destination.disable' and id >= $1 and tenant_key is not null", lowestUUID(since))
	if err != nil {
		return err
	}
	var id string
	var n named
	_, err = pgx.ForEachRow(rows, []any{&id, &n.tenant, &n.id}, func() error {
		if d := byName[n]; d != nil {
			add(d, timeInID(id))
		}
		return nil
	})
	return err
}

// pastCertificates calls add for the destinations whose certificate, as it was seen last, meets the condition: when it began to.
func (s *Store) pastCertificates(ctx context.Context, c Condition, p *Preview, subjects map[int64]*subject, add func(*subject, time.Time)) error {
	rows, err := s.Pool.Query(ctx, "select destination_key, certificate_ends from destination_health where certificate_ends <= $1", p.Until.Add(time.Duration(c.CertificateExpires)))
	if err != nil {
		return err
	}
	var k int64
	var ends time.Time
	_, err = pgx.ForEachRow(rows, []any{&k, &ends}, func() error {
		if d := subjects[k]; d != nil {
			at := ends.Add(-time.Duration(c.CertificateExpires))
			if at.Before(p.Since) {
				at = p.Since
			}
			add(d, at)
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
func (s *Store) pastMinutes(ctx context.Context, r *AlertRule, since time.Time, subjects map[int64]*subject, fn func(*subject, []pastMinute)) error {
	keys := make([]int64, 0, len(subjects))
	for k := range subjects {
		keys = append(keys, k)
	}
	which := "peak > 0 or filter_failures > 0 or given_up > 0"
	switch r.Kind {
	case RuleRate:
		which = "destination_key in (select destination_key from health_minutes where destination_key = any($1) and minute >= $2 and failed_attempts > 0)"
	case RuleBacklog:
		which = "true"
	}
	rows, err := s.Pool.Query(ctx, `select destination_key, minute, deliveries, failed_deliveries, attempts, failed_attempts, given_up, peak, at_end, filter_failures, lag_ms
		from health_minutes where destination_key = any($1) and minute >= $2 and (`+which+`) order by destination_key, minute`, keys, since)
	if err != nil {
		return err
	}
	var current int64
	var list []pastMinute
	var k, lag int64
	var m pastMinute
	_, err = pgx.ForEachRow(rows, []any{&k, &m.at, &m.deliveries, &m.failed, &m.attempts, &m.failedAttempts, &m.givenUp, &m.peak, &m.end, &m.filterErr, &lag}, func() error {
		if k != current && len(list) > 0 {
			fn(subjects[current], list)
			list = list[:0]
		}
		current = k
		m.lag = time.Duration(lag) * time.Millisecond
		list = append(list, m)
		return nil
	})
	if err == nil && len(list) > 0 {
		fn(subjects[current], list)
	}
	return err
}

// replay says when the condition began to be met in a destination's past.
func (c Condition) replay(d *subject, minutes []pastMinute) (fired []time.Time) {
	open := false
	var last time.Time
	first := 0 // of the minutes within the window
	var sum Rates
	for i, m := range minutes {
		met, over := false, m.end == 0
		switch c.Kind() {
		case RuleSteps:
			limit := d.limit
			if limit == 0 {
				limit = stepsBase
			}
			met = m.peak*100 >= c.DisableSteps[0]*limit
		case RuleFailures:
			met = m.peak >= c.ConsecutiveFailures
		case RuleExhausted:
			met = m.givenUp > 0
		case RuleFilter:
			met, over = m.filterErr > 0, false
			open = open && m.at.Sub(last) < filterQuiet
		case RuleBacklog:
			met = m.lag >= time.Duration(c.BacklogAge)
			over = !met
		case RuleRate:
			sum.add(m, 1)
			for ; m.at.Sub(minutes[first].at) >= time.Duration(c.Window) && first < i; first++ {
				sum.add(minutes[first], -1)
			}
			_, met = c.rateMet(sum)
			over = !met
		}
		if met && !open {
			fired = append(fired, m.at)
			open = true
		}
		if met {
			last = m.at
		}
		if over {
			open = false
		}
	}
	return fired
}

func (r *Rates) add(m pastMinute, sign int) {
	r.Deliveries += sign * m.deliveries
	r.Failed += sign * m.failed
	r.Attempts += sign * m.attempts
	r.FailedAttempts += sign * m.failedAttempts
}
