package models

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// How many notices a channel gets. When more are due, they wait for a digest: one notice that stands for all of them.
const (
	noticeShare  = 5           // notices of their own within a noticeMinute
	noticeMinute = time.Minute // also between two digests
)

// tell turns the changes of alerts into notifications: for each change and channel one, which is sent, waits for a
// digest, or is suppressed and says why. Then digests are made that are due.
func (p *pass) tell(ctx context.Context, all bool) error {
	if all {
		if err := p.remind(ctx); err != nil {
			return err
		}
		if err := p.calm(ctx); err != nil {
			return err
		}
	}
	channels, err := p.loadChannels(ctx)
	if err != nil {
		return err
	}
	var out []*Notification
	if len(p.changes) > 0 && len(channels) > 0 {
		if out, err = p.plan(ctx, channels); err != nil {
			return err
		}
	}
	digests, err := p.digests(ctx, out, channels)
	if err != nil {
		return err
	}
	out = append(out, digests...)
	if len(out) == 0 {
		return nil
	}
	return p.s.insertNotifications(ctx, p.tx, out)
}

// insertNotifications writes notifications and enqueues those that are to be sent.
func (s *Store) insertNotifications(ctx context.Context, tx *Tx, list []*Notification) error {
	b := &pgx.Batch{}
	var send []uuid.UUID
	for _, n := range list {
		b.Queue(`insert into notifications (id, owner_key, channel_key, alert_id, rule_key, destination_key, kind, status, reason,
			digest_id, notice, actor, created_at, due_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			n.Key, n.OwnerKey, n.ChannelKey, n.AlertKey, n.RuleKey, n.DestinationKey, n.Kind, n.Status, n.Reason, n.DigestKey, n.Notice,
			n.Actor, n.CreatedAt, n.DueAt)
		if n.Status == NotificationQueued {
			send = append(send, n.Key)
		}
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("write notifications: %w", err)
	}
	if len(send) == 0 {
		return nil
	}
	return s.Queue.EnqueueNotices(ctx, tx, send)
}

// remind adds the open alerts that nobody has taken care of and that were not told about for their rule's time.
func (p *pass) remind(ctx context.Context) error {
	rows, err := p.tx.Query(ctx, `select a.id from alerts a join alert_rules r on r.key = a.rule_key
		where a.status = 'open' and r.every_seconds > 0 and not r.disabled and (a.muted_until is null or a.muted_until < $1)
			and a.opened_at < $1 - make_interval(secs => r.every_seconds)
			and exists (select 1 from notifications n where n.alert_id = a.id)
			and not exists (select 1 from notifications n where n.alert_id = a.id
				and n.created_at > $1 - make_interval(secs => r.every_seconds))`, p.now)
	if err != nil {
		return err
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(due) == 0 {
		return err
	}
	for _, a := range p.open {
		if r := p.rules[a.RuleKey]; r != nil && a.Status != AlertResolved && slices.Contains(due, a.Key) {
			p.changes = append(p.changes, transition{rule: r, alert: a, kind: notify.Repeated})
		}
	}
	return nil
}

// loadChannels reads the channels that may be told something: those of the owners of what has changed, and those for
// which something waits.
func (p *pass) loadChannels(ctx context.Context) ([]*Channel, error) {
	owners := make([]int64, 0, len(p.changes))
	for _, c := range p.changes {
		owners = append(owners, c.alert.OwnerKey)
	}
	rows, err := p.tx.Query(ctx, `select key, owner_key, id, digest_at from channels where deleted_at is null
		and (owner_key = any($1) or key in (select channel_key from notifications where status = 'waiting')) order by key`, owners)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Channel, error) {
		c := &Channel{}
		return c, row.Scan(&c.Key, &c.OwnerKey, &c.ID, &c.DigestAt)
	})
}

// toldAlert is what a channel was told about an alert.
type toldAlert struct {
	alone   bool            // in a notice of its own
	waiting []*Notification // not told yet; of those that are stored only Key is known
	digests []uuid.UUID     // together with others
}

type toldKey struct {
	channel int64
	alert   uuid.UUID
}

// subjectKey is what a rule's throttle is about.
type subjectKey struct{ channel, rule, destination int64 }

// plan decides what becomes of each change on each channel.
func (p *pass) plan(ctx context.Context, channels []*Channel) ([]*Notification, error) {
	told, err := p.told(ctx)
	if err != nil {
		return nil, err
	}
	last, err := p.lastTold(ctx)
	if err != nil {
		return nil, err
	}
	share, err := p.share(ctx, channels)
	if err != nil {
		return nil, err
	}
	notices, err := p.notices(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.changes, func(a, b transition) int {
		return cmp.Or(severityRank[a.alert.Severity]-severityRank[b.alert.Severity],
			cmp.Compare(a.alert.DestinationKey, b.alert.DestinationKey))
	})
	var out []*Notification
	closed := map[uuid.UUID]bool{} // digests that were looked at in this pass, and whether the last alert of them is over
	for i := range p.changes {
		t := &p.changes[i]
		if t.rule.Key == 0 {
			continue // the rule is gone
		}
		for _, c := range channels {
			// Who was told that it began is told that it is over, although the rule may name other channels by now.
			if c.OwnerKey != t.alert.OwnerKey || t.kind != notify.Resolved && t.rule.ChannelIDs != nil &&
				!slices.Contains(t.rule.ChannelIDs, c.ID) {
				continue
			}
			n := p.notification(c, t, notices[noticeKey{t.alert.Key, t.kind}])
			of, before := told[toldKey{c.Key, t.alert.Key}], last[subjectKey{c.Key, t.rule.Key, t.alert.DestinationKey}]
			if t.kind == notify.Resolved {
				if of == nil {
					continue // nobody was told that it began
				}
				over, err := p.resolved(ctx, t, n, of, before, closed)
				if err != nil {
					return nil, err
				}
				out = append(out, over...)
				continue
			}
			p.begun(t, n, before)
			if of == nil {
				of = &toldAlert{}
				told[toldKey{c.Key, t.alert.Key}] = of
			}
			switch {
			case n.Status != NotificationQueued:
			case share[c.Key] >= noticeShare:
				n.Status, n.Reason = NotificationWaiting, "Queued for the next digest: the channel has reached its limit for this minute."
				of.waiting = append(of.waiting, n)
			default:
				share[c.Key]++
				n.DueAt, of.alone = &p.now, true
			}
			out = append(out, n)
		}
	}
	return out, nil
}

func (p *pass) notification(c *Channel, t *transition, notice notify.Notice) *Notification {
	n := &Notification{Key: uuid.Must(uuid.NewV7()), OwnerKey: c.OwnerKey, ChannelKey: c.Key, AlertKey: &t.alert.Key, RuleKey: &t.rule.Key,
		DestinationKey: &t.alert.DestinationKey, Kind: t.kind, CreatedAt: p.now, Notice: notice}
	n.Notice.Kind, n.Notice.ID = t.kind, n.ID()
	return n
}

var severityRank = map[string]int{SeverityCritical: 0, SeverityError: 1, SeverityWarning: 2, SeverityInfo: 3}

// begun decides about a notice that an alert has begun, is worse, or is still open. last is what the channel was told by
// the rule about the destination.
func (p *pass) begun(t *transition, n *Notification, last toldBefore) {
	n.Status = NotificationQueued
	switch {
	case t.alert.Muted(p.now):
		n.Status, n.Reason = NotificationSuppressed, mutedReason(t.alert)
	case t.step:
		// That it has become worse is said however short the time.
	case t.kind == notify.Opened && (last.over || t.rule.Condition.Decided()):
		// Whoever heard last that all is well must hear that it is not. That events are held is said each time.
	case !last.began.IsZero() && p.now.Sub(last.began) < t.rule.Every():
		n.Status = NotificationSuppressed
		n.Reason = fmt.Sprintf("The rule tells at most once every %s, and told about this destination on %s.", Duration(t.rule.Every()),
			last.began.UTC().Format("2006-01-02 at 15:04:05 UTC"))
	}
}

const (
	// flapsAfter is how often an alert may begin within its rule's time before its end is told later: what goes on and off
	// is told as open until it is calm.
	flapsAfter = 3
	// flapsCalm is for how long the condition must be over then.
	flapsCalm = 10 * time.Minute
)

// flaps reports whether the end of an alert is told only once it is calm. Ends that somebody brought about are told at once,
// and so are those of disabled destinations, which nothing but a decision enables.
func (p *pass) flaps(t *transition, last toldBefore) bool {
	return !p.byHand && !t.rule.Condition.Decided() && last.times >= flapsAfter
}

// calm tells the ends that waited until it was calm, by how the last alert of the rule about the destination ended.
func (p *pass) calm(ctx context.Context) error {
	rows, err := p.tx.Query(ctx,
		`update notifications n set status = 'queued', due_at = $1, notice = jsonb_set(n.notice, '{summary}', to_jsonb(last.resolution))
		from (select w.id, a.resolution from notifications w cross join lateral (
				select status, resolved_at, resolution from alerts where rule_key = w.rule_key and destination_key = w.destination_key
					order by id desc limit 1) a
			where w.status = 'waiting' and w.kind = 'resolved' and a.status = 'resolved' and a.resolved_at <= $2) last
		where n.id = last.id returning n.id`, p.now, p.now.Add(-flapsCalm))
	if err != nil {
		return err
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(due) == 0 {
		return err
	}
	return p.s.Queue.EnqueueNotices(ctx, p.tx, due)
}

func mutedReason(a *Alert) string {
	return "The alert is muted until " + a.MutedUntil.UTC().Format("2006-01-02 15:04 UTC") + "."
}

// resolved decides about a notice that an alert is over: what was told alone is over, and so is each digest whose last
// alert this was. These notices never wait for a digest; there are no more of them than of those that told the beginning.
func (p *pass) resolved(ctx context.Context, t *transition, n *Notification, of *toldAlert, last toldBefore,
	closed map[uuid.UUID]bool) (out []*Notification, err error) {
	suppressed := func(why string) []*Notification {
		n.Status, n.Reason = NotificationSuppressed, why
		return []*Notification{n}
	}
	for _, w := range of.waiting {
		const why = "It was over before the channel was told that it began."
		w.Status, w.Reason = NotificationSuppressed, why
		if _, err := p.tx.Exec(ctx, "update notifications set status = $2, reason = $3 where id = $1", w.Key, w.Status,
			w.Reason); err != nil {
			return nil, err
		}
		if !of.alone && len(of.digests) == 0 {
			return suppressed(why), nil
		}
	}
	switch {
	case !of.alone && len(of.digests) == 0:
		return suppressed("The channel was not told that it began."), nil
	case !t.rule.Resolve:
		return suppressed("The rule does not tell when it is over."), nil
	case t.alert.Muted(p.now):
		return suppressed(mutedReason(t.alert)), nil
	}
	switch {
	case of.alone && p.flaps(t, last):
		n.Status = NotificationWaiting
		n.Reason = fmt.Sprintf("It began %d times within %s. That it is over is told once it has stayed so for %s.", last.times,
			Duration(t.rule.Every()), Duration(flapsCalm))
		out = append(out, n)
	case of.alone:
		n.Status, n.DueAt = NotificationQueued, &p.now
		out = append(out, n)
	}
	for _, d := range of.digests {
		if _, looked := closed[d]; looked {
			continue // it is open still, or its end is told by the first of its alerts
		}
		var open bool
		err := p.tx.QueryRow(ctx, `select exists (select 1 from notifications n join alerts a on a.id = n.alert_id
			where n.digest_id = $1 and a.status <> 'resolved')`, d).Scan(&open)
		if err != nil {
			return nil, err
		}
		if closed[d] = !open; open {
			continue
		}
		whole := *n
		whole.Key, whole.Status, whole.DueAt = uuid.Must(uuid.NewV7()), NotificationQueued, &p.now
		whole.Notice.ID, whole.Notice.AlertID = whole.ID(), (&Notification{Key: d}).ID()
		whole.Notice.Summary = "All alerts of the digest are over. The last one: " + n.Notice.Summary
		out = append(out, &whole)
	}
	if len(out) == 0 {
		return suppressed("It was sent in a digest, which is resolved once the last of its alerts is."), nil
	}
	return out, nil
}
