package models

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/alertrule"
)

// loadOpen reads the open alerts: all of them, or those of the destinations about which something was recorded. The
// destinations of the alerts are added to keys, and with all those that fail.
func (p *pass) loadOpen(ctx context.Context, all bool, keys map[int64]bool) error {
	p.open = map[[2]int64]*Alert{}
	rows, err := p.tx.Query(ctx,
		`select id, owner_key, rule_key, tenant_key, destination_key, status, step, severity, summary, detail, opened_at, updated_at,
			muted_until
		from alerts where status <> 'resolved' and ($1 or destination_key = any($2))`, all, slices.Collect(maps.Keys(p.touched)))
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Alert, error) {
		a := &Alert{}
		err := row.Scan(&a.Key, &a.OwnerKey, &a.RuleKey, &a.TenantKey, &a.DestinationKey, &a.Status, &a.Step, &a.Severity, &a.Summary,
			&a.Detail,
			&a.OpenedAt, &a.UpdatedAt, &a.MutedUntil)
		return a, err
	})
	for _, a := range list {
		p.open[[2]int64{a.RuleKey, a.DestinationKey}] = a
		keys[a.DestinationKey] = true
	}
	if err != nil {
		return err
	}
	if err := p.loadQuiet(ctx, all, keys); err != nil || !all {
		return err
	}
	// A rule may be younger than the failures.
	return p.addKeys(ctx, keys, "select destination_key from destination_health where failures > 0 or filter_failed_at > $1",
		p.now.Add(-alertrule.FilterQuiet))
}

// addKeys adds the destinations that a query finds.
func (p *pass) addKeys(ctx context.Context, keys map[int64]bool, sql string, args ...any) error {
	rows, err := p.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var k int64
	_, err = pgx.ForEachRow(rows, []any{&k}, func() error {
		keys[k] = true
		return nil
	})
	return err
}

// loadQuiet reads the alerts that somebody ended while their condition was met, of the same destinations as loadOpen.
func (p *pass) loadQuiet(ctx context.Context, all bool, keys map[int64]bool) error {
	rows, err := p.tx.Query(ctx,
		"select id, rule_key, destination_key, step, severity, opened_at from alerts where quiet and ($1 or destination_key = any($2))",
		all, slices.Collect(maps.Keys(p.touched)))
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Alert, error) {
		a := &Alert{}
		return a, row.Scan(&a.Key, &a.RuleKey, &a.DestinationKey, &a.Step, &a.Severity, &a.OpenedAt)
	})
	p.quiet = make(map[[2]int64]*Alert, len(list))
	for _, a := range list {
		p.quiet[[2]int64{a.RuleKey, a.DestinationKey}] = a
		keys[a.DestinationKey] = true
	}
	return err
}

// loadRules reads all rules, or those that are about the destinations of which something was recorded.
func (p *pass) loadRules(ctx context.Context, all bool) error {
	owners := []int64{0}
	for _, h := range p.touched {
		owners = append(owners, h.TenantKey)
	}
	rows, err := p.tx.Query(ctx, "select "+ruleColumns+" from alert_rules where deleted_at is null and ($1 or owner_key = any($2))", all,
		owners)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanRule)
	p.rules, p.byOwner = make(map[int64]*AlertRule, len(list)), map[int64][]*AlertRule{}
	for _, r := range list {
		p.rules[r.Key] = r
		if !r.Disabled && (all || !r.slow()) {
			p.byOwner[r.OwnerKey] = append(p.byOwner[r.OwnerKey], r)
		}
	}
	return err
}

// loadSubjects reads the destinations that are to be looked at; when all are, the disabled ones too.
func (p *pass) loadSubjects(ctx context.Context, keys map[int64]bool, all bool) error {
	rules := p.s.Rules()
	rows, err := p.tx.Query(ctx,
		"select d.key, d.tenant_key, d.id, t.id, d.topics, "+disableLimit+`, d.disabled_at, d.disabled_by, d.disabled_reason,
			d.filter is not null, d.deleted_at is not null or t.deleted_at is not null, t.settings->>'disable_min_duration'
		from destinations d join tenants t on t.key = d.tenant_key
		where d.key = any($2) or $3 and d.disabled_at is not null and d.deleted_at is null and t.deleted_at is null`,
		rules.DisableAfter, slices.Collect(maps.Keys(keys)), all)
	if err != nil {
		return err
	}
	p.subjects = map[int64]*subject{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		d := &subject{}
		var least *string
		err := row.Scan(&d.key, &d.tenant, &d.id, &d.tenantID, &d.topics, &d.Limit, &d.DisabledAt, &d.disabledBy, &d.DisabledReason,
			&d.Filtered, &d.gone, &least)
		d.Least = rules.disableLeast(least)
		p.subjects[d.key] = d
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	var missing []int64
	for k, d := range p.subjects {
		if d.health = p.touched[k]; d.health == nil {
			missing = append(missing, k)
		}
	}
	rows, err = p.tx.Query(ctx, "select "+healthColumns+" from destination_health where destination_key = any($1)", missing)
	if err != nil {
		return err
	}
	found, err := collectHealth(rows)
	for _, k := range missing {
		if p.subjects[k].health = found[k]; found[k] == nil {
			p.subjects[k].health = &Health{Destination: k, TenantKey: p.subjects[k].tenant}
		}
	}
	return err
}

// spans says how far the rules reach that look at this data.
func (p *pass) spans(data alertrule.Data) (list []time.Duration) {
	for _, r := range p.rules {
		if of, span := r.Condition.Data(); of == data && !r.Disabled {
			list = append(list, span)
		}
	}
	return list
}

// rates reads what the rules about rates need, by window and destination. Destinations with failures are added to keys.
func (p *pass) rates(ctx context.Context, keys map[int64]bool) (map[time.Duration]map[int64]alertrule.TriedSince, error) {
	out := map[time.Duration]map[int64]alertrule.TriedSince{}
	for _, window := range p.spans(alertrule.Rates) {
		if out[window] != nil {
			continue
		}
		byKey := map[int64]alertrule.TriedSince{}
		out[window] = byKey
		q := newQuery()
		since := p.now.Add(-window).Truncate(time.Minute).Add(time.Minute) // the minutes that have begun within the window
		from, err := healthRows(ctx, p.tx, q, nil, since, healthBuckets{})
		if err != nil {
			return nil, err
		}
		rows, err := p.tx.Query(ctx, "select destination_key, sum(deliveries), sum(failed_deliveries), sum(attempts), sum(failed_attempts) from "+
			from+" group by destination_key having sum(failed_attempts) > 0", q.args...)
		if err != nil {
			return nil, err
		}
		var k int64
		var x alertrule.TriedSince
		_, err = pgx.ForEachRow(rows, []any{&k, &x.Deliveries, &x.Failed, &x.Attempts, &x.FailedAttempts}, func() error {
			byKey[k] = x
			keys[k] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// backlog finds out for how long the oldest event of destinations has waited, when there is a rule about it: of those
// that fail, that are disabled, and to which events come late. They are added to keys.
func (p *pass) backlog(ctx context.Context, keys map[int64]bool) (map[int64]time.Duration, error) {
	spans := p.spans(alertrule.Waits)
	if len(spans) == 0 {
		return nil, nil
	}
	least := slices.Min(spans)
	rows, err := p.tx.Query(ctx, `with candidates as (
			select destination_key as key from destination_health where failures > 0
			union select key from destinations where disabled_at is not null and deleted_at is null
			union select destination_key from destination_health where lag_at > $1 and lag_ms >= $2
			union select destination_key from alerts where status <> 'resolved')
		select c.key, coalesce((select min(x) from (
				(select event_id::text as x from deliveries where destination_key = c.key and attention = 'held' order by event_id limit 1)
				union all (select event_id::text from deliveries where destination_key = c.key and attention = 'retrying'
					order by event_id limit 1)) o), ''),
			coalesce((select lag_ms from destination_health where destination_key = c.key and lag_at > $1), 0)
		from candidates c`, p.now.Add(-2*time.Minute), least.Milliseconds())
	if err != nil {
		return nil, err
	}
	out := map[int64]time.Duration{}
	var k, lag int64
	var oldest string
	_, err = pgx.ForEachRow(rows, []any{&k, &oldest, &lag}, func() error {
		age := time.Duration(lag) * time.Millisecond
		if id, err := uuid.Parse(oldest); err == nil {
			age = max(age, p.now.Sub(eventTime(id)))
		}
		if age >= least {
			out[k] = age
			keys[k] = true
		}
		return nil
	})
	return out, err
}

// certificates adds the destinations to keys whose certificate ends so soon that a rule may be about it.
func (p *pass) certificates(ctx context.Context, keys map[int64]bool) error {
	spans := p.spans(alertrule.Certificate)
	if len(spans) == 0 {
		return nil
	}
	return p.addKeys(ctx, keys, `select h.destination_key from destination_health h join destinations d on d.key = h.destination_key
		where h.certificate_ends <= $1 and d.deleted_at is null`, p.now.Add(slices.Max(spans)))
}
