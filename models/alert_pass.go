package models

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models/alertrule"
)

// Watcher turns what workers record into the destinations' health, and that into alerts and notices. Each worker process
// has one; an advisory lock sees to it that one of them works at a time. Everything a pass does is one transaction: a
// crash undoes it as a whole, and the next pass does it again.
type Watcher struct {
	s    *Store
	log  *slog.Logger
	slow time.Time // when everything is looked at next, and not only what has changed
}

// NewWatcher makes a watcher.
func NewWatcher(s *Store, log *slog.Logger) *Watcher { return &Watcher{s: s, log: log} }

const (
	// watchAll is how often all open alerts are looked at, and the conditions that time alone may meet.
	watchAll = 5 * time.Second
	// alertRefresh is how often the figures of an open alert are written anew while its destination goes on failing.
	alertRefresh = 10 * time.Second
)

// transition is a change of an alert that somebody may be told about.
type transition struct {
	rule  *AlertRule
	alert *Alert
	kind  string // notify.Opened, notify.Repeated or notify.Resolved
	step  bool   // the alert has become worse
}

// Pass makes one pass and reports how many transactions of workers it took up. Nothing happens when another process is
// at it.
func (w *Watcher) Pass(ctx context.Context, now time.Time) (n int, err error) {
	all := !now.Before(w.slow)
	if !all {
		if some, err := w.s.watchable(ctx, now); err != nil || !some {
			return 0, err
		}
	}
	mine := false
	err = w.s.InTx(ctx, func(tx *Tx) error {
		if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1, 0)", int32(lockWatch)).Scan(&mine); err != nil || !mine {
			return err
		}
		deltas, err := takeDeltas(ctx, tx)
		if err != nil {
			return fmt.Errorf("take what was recorded: %w", err)
		}
		n = len(deltas)
		if err := foldTraffic(ctx, tx); err != nil {
			return fmt.Errorf("fold traffic: %w", err)
		}
		var touched map[int64]*Health
		if n > 0 {
			if touched, err = foldHealth(ctx, tx, deltas); err != nil {
				return fmt.Errorf("fold health: %w", err)
			}
		}
		if err := w.s.noteFailures(ctx, tx, touched); err != nil {
			return err
		}
		p := &pass{s: w.s, tx: tx, now: now, touched: touched}
		if err := p.look(ctx, all); err != nil {
			return err
		}
		return p.tell(ctx, all)
	})
	if err != nil {
		return 0, err
	}
	if mine && all {
		w.slow = now.Add(watchAll)
	}
	if mine && (all || n > 0) {
		disabled, err := w.s.DisableFailing(ctx)
		if err != nil {
			return n, err
		}
		if disabled > 0 {
			w.log.Warn("disabled destinations that kept failing", "destinations", disabled)
			w.slow = time.Time{} // tell at once
		}
	}
	if mine {
		return n, w.s.SettleProbes(ctx, now)
	}
	return n, nil
}

// watchable reports whether there is something for a pass that looks only at what has changed: what workers have recorded, and probes
// that are under way or due.
func (s *Store) watchable(ctx context.Context, now time.Time) (some bool, err error) {
	err = s.pool.QueryRow(ctx, `select exists (select 1 from health_deltas) or exists (select 1 from traffic_deltas)
		or exists (select 1 from destination_health where probe is not null)
		or exists (select 1 from destination_health where probe_at <= $1)`, now).Scan(&some)
	return some, err
}

// pass is one pass of a watcher.
type pass struct {
	s        *Store
	tx       *Tx
	now      time.Time
	touched  map[int64]*Health // of destinations about which something was recorded
	subjects map[int64]*subject
	rules    map[int64]*AlertRule
	byOwner  map[int64][]*AlertRule // those that can be met in this pass
	open     map[[2]int64]*Alert    // by rule and destination
	quiet    map[[2]int64]*Alert    // those that somebody ended while their condition was met
	changes  []transition
	byHand   bool // somebody ends alerts
	writes   pgx.Batch
}

// look finds out which alerts begin, become worse and end.
func (p *pass) look(ctx context.Context, all bool) error {
	keys := map[int64]bool{}
	for k, h := range p.touched {
		if h.Failures > 0 || h.Peak > 0 || h.FilterFailedAt != nil {
			keys[k] = true
		}
	}
	if err := p.loadOpen(ctx, all, keys); err != nil || len(keys) == 0 && !all {
		return err
	}
	if err := p.loadRules(ctx, all); err != nil {
		return err
	}
	var rates map[time.Duration]map[int64]alertrule.TriedSince
	var backlog map[int64]time.Duration
	var err error
	if all {
		if rates, err = p.rates(ctx, keys); err != nil {
			return err
		}
		if backlog, err = p.backlog(ctx, keys); err != nil {
			return err
		}
		if err := p.certificates(ctx, keys); err != nil {
			return err
		}
	}
	if err := p.loadSubjects(ctx, keys, all); err != nil {
		return err
	}
	for k, d := range p.subjects {
		d.facts(p.now)
		d.Waited = backlog[k]
		d.Tried = map[time.Duration]alertrule.TriedSince{}
		for w, byKey := range rates {
			d.Tried[w] = byKey[k]
		}
	}
	p.judge(all)
	if p.writes.Len() == 0 {
		return nil
	}
	return p.tx.SendBatch(ctx, &p.writes).Close()
}

// slow reports whether the rule is looked at with all destinations only, since time alone may meet or end its condition.
func (r *AlertRule) slow() bool {
	data, _ := r.Condition.Data()
	return data.Slow()
}

func (p *pass) judge(all bool) {
	for _, d := range p.subjects {
		for _, r := range slices.Concat(p.byOwner[0], p.byOwner[d.tenant]) {
			if !d.gone && r.concerns(d) {
				p.apply(r, d)
			}
		}
	}
	for _, a := range p.open {
		r, d := p.rules[a.RuleKey], p.subjects[a.DestinationKey]
		switch {
		case r == nil:
			p.resolve(&AlertRule{}, a, "The rule was deleted.")
		case d == nil || r.slow() && !all:
		case r.Disabled:
			p.resolve(r, a, "The rule was switched off.")
		case !d.gone && !r.concerns(d):
			p.resolve(r, a, "The rule is not about this destination any more.")
		default:
			if why, over := r.over(d, a.OpenedAt); over {
				p.resolve(r, a, why)
			}
		}
	}
	for key, a := range p.quiet {
		r, d := p.rules[a.RuleKey], p.subjects[a.DestinationKey]
		if d == nil || r != nil && r.slow() && !all {
			continue
		}
		over := r == nil || r.Disabled || !r.concerns(d)
		if !over {
			_, over = r.over(d, a.OpenedAt)
		}
		if over {
			p.loud(key)
		}
	}
}

// loud lets alerts begin again where somebody had ended one.
func (p *pass) loud(key [2]int64) {
	p.writes.Queue("update alerts set quiet = false where id = $1", p.quiet[key].Key)
	delete(p.quiet, key)
}

// apply opens an alert of the rule, makes the open one worse, or brings its figures up to date.
func (p *pass) apply(r *AlertRule, d *subject) {
	f, met := r.Condition.Met(&d.Subject)
	if !met {
		return
	}
	key := [2]int64{r.Key, d.key}
	a := p.open[key]
	if q := p.quiet[key]; q != nil {
		if f.Step <= q.Step && severityRank[f.Severity] >= severityRank[q.Severity] {
			return
		}
		p.loud(key)
	}
	switch {
	case a == nil:
		a = &Alert{Key: uuid.Must(uuid.NewV7()), OwnerKey: r.OwnerKey, RuleKey: r.Key, TenantKey: d.tenant, DestinationKey: d.key,
			Status: AlertOpen, OpenedAt: p.now}
		p.figures(a, r, d, f)
		p.open[key] = a
		p.writes.Queue(`insert into alerts (id, owner_key, rule_key, tenant_key, destination_key, status, step, severity, summary, detail,
			opened_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)`,
			a.Key, a.OwnerKey, a.RuleKey, a.TenantKey, a.DestinationKey, a.Status, a.Step, a.Severity, a.Summary, a.Detail, a.OpenedAt)
		p.changes = append(p.changes, transition{rule: r, alert: a, kind: notify.Opened})
	case f.Step > a.Step || p.now.Sub(a.UpdatedAt) >= alertRefresh && p.touched[d.key] != nil || r.Condition.Countdown() &&
		f.Summary != a.Summary:
		worse := f.Step > a.Step || r.Condition.Countdown() && severityRank[f.Severity] < severityRank[a.Severity]
		f.Step = max(f.Step, a.Step)
		p.figures(a, r, d, f)
		p.writes.Queue("update alerts set step = $2, severity = $3, summary = $4, detail = $5, updated_at = $6 where id = $1",
			a.Key, a.Step, a.Severity, a.Summary, a.Detail, p.now)
		if worse {
			p.changes = append(p.changes, transition{rule: r, alert: a, kind: notify.Repeated, step: true})
		}
	}
}

func (p *pass) figures(a *Alert, r *AlertRule, d *subject, f alertrule.Finding) {
	a.Step, a.Severity, a.Summary, a.Detail, a.UpdatedAt = f.Step, f.Severity, text(f.Summary), detailOf(r.Condition, d), p.now
	a.Detail.Error, a.Detail.Advice = text(a.Detail.Error), text(a.Detail.Advice)
}

func (p *pass) resolve(r *AlertRule, a *Alert, why string) {
	at := p.now
	a.Status, a.ResolvedAt, a.Resolution = AlertResolved, &at, why
	p.writes.Queue("update alerts set status = 'resolved', resolved_at = $2, resolution = $3, updated_at = $2 where id = $1", a.Key, at,
		why)
	p.changes = append(p.changes, transition{rule: r, alert: a, kind: notify.Resolved})
}
