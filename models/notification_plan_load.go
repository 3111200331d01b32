package models

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// told reads what channels were told before about the alerts that have changed.
func (p *pass) told(ctx context.Context) (map[toldKey]*toldAlert, error) {
	alerts := make([]uuid.UUID, len(p.changes))
	for i, t := range p.changes {
		alerts[i] = t.alert.Key
	}
	rows, err := p.tx.Query(ctx,
		`select channel_key, alert_id, id, status, digest_id from notifications where alert_id = any($1) and kind in ('opened', 'repeated') order by id`, alerts)
	if err != nil {
		return nil, err
	}
	out := map[toldKey]*toldAlert{}
	var k toldKey
	var id uuid.UUID
	var status string
	var digest *uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&k.channel, &k.alert, &id, &status, &digest}, func() error {
		of := out[k]
		if of == nil {
			of = &toldAlert{}
			out[k] = of
		}
		switch {
		case digest != nil:
			of.digests = append(of.digests, *digest)
		case status == NotificationWaiting:
			of.waiting = append(of.waiting, &Notification{Key: id})
		case status != NotificationSuppressed:
			of.alone = true
		}
		return nil
	})
	return out, err
}

// toldBefore is what a channel was told last by a rule about a destination.
type toldBefore struct {
	began time.Time // when it was told that an alert began, or is open; zero for never
	over  bool      // it was told since then that the alert is over
	times int       // how often it was told within the rule's time that an alert began
}

// lastTold is what channels were told by the rules, about the destinations, that are concerned.
func (p *pass) lastTold(ctx context.Context) (map[subjectKey]toldBefore, error) {
	rules, destinations := make([]int64, len(p.changes)), make([]int64, len(p.changes))
	for i, t := range p.changes {
		rules[i], destinations[i] = t.rule.Key, t.alert.DestinationKey
	}
	rows, err := p.tx.Query(ctx,
		`select n.channel_key, n.rule_key, n.destination_key, max(n.created_at) filter (where n.kind <> 'resolved'),
			(array_agg(n.kind order by n.created_at desc, n.id desc))[1] = 'resolved',
			count(*) filter (where n.kind = 'opened' and n.created_at > $4::timestamptz - make_interval(secs => r.every_seconds))
		from notifications n join alert_rules r on r.key = n.rule_key
		where n.destination_key = any($1) and n.rule_key = any($2) and n.created_at > $3 and n.kind in ('opened', 'repeated', 'resolved')
			and (n.status <> 'suppressed' or n.digest_id is not null) and not (n.kind = 'resolved' and n.status = 'waiting')
		group by n.channel_key, n.rule_key, n.destination_key`, destinations, rules, p.now.Add(-maxEvery), p.now)
	if err != nil {
		return nil, err
	}
	out := map[subjectKey]toldBefore{}
	var k subjectKey
	var x toldBefore
	var began *time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.channel, &k.rule, &k.destination, &began, &x.over, &x.times}, func() error {
		if x.began = (time.Time{}); began != nil {
			x.began = *began
		}
		out[k] = x
		return nil
	})
	return out, err
}

// share counts the notices of the last minute by channel: those that stand for themselves, whatever has become of them.
func (p *pass) share(ctx context.Context, channels []*Channel) (map[int64]int, error) {
	keys := make([]int64, len(channels))
	for i, c := range channels {
		keys[i] = c.Key
	}
	rows, err := p.tx.Query(ctx, `select channel_key, count(*) from notifications where channel_key = any($2) and created_at > $1
			and status in ('queued', 'sent', 'failed') and alert_id is not null group by channel_key`, p.now.Add(-noticeMinute), keys)
	if err != nil {
		return nil, err
	}
	out := map[int64]int{}
	var k int64
	var n int
	_, err = pgx.ForEachRow(rows, []any{&k, &n}, func() error {
		out[k] = n
		return nil
	})
	return out, err
}

// digests makes a digest for each channel for which notices wait and whose last one is old enough.
// fresh are the notifications of this pass, which are not stored yet.
func (p *pass) digests(ctx context.Context, fresh []*Notification, channels []*Channel) (out []*Notification, err error) {
	for _, c := range channels {
		if c.DigestAt != nil && p.now.Sub(*c.DigestAt) < noticeMinute {
			continue
		}
		rows, err := p.tx.Query(ctx,
			`select id, kind, notice from notifications where channel_key = $1 and status = 'waiting' and kind <> 'resolved' order by id`,
			c.Key)
		if err != nil {
			return nil, err
		}
		waiting, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Notification, error) {
			n := &Notification{}
			return n, row.Scan(&n.Key, &n.Kind, &n.Notice)
		})
		if err != nil {
			return nil, err
		}
		for _, n := range fresh {
			if n.ChannelKey == c.Key && n.Status == NotificationWaiting && n.Kind != notify.Resolved {
				waiting = append(waiting, n)
			}
		}
		if len(waiting) == 0 {
			continue
		}
		d := p.digest(c, waiting)
		out = append(out, d)
		ids := make([]uuid.UUID, len(waiting))
		for i, n := range waiting {
			ids[i] = n.Key
			n.Status, n.Reason, n.DigestKey = NotificationSuppressed, digestReason, &d.Key
		}
		if _, err := p.tx.Exec(ctx, "update notifications set status = 'suppressed', reason = $2, digest_id = $3 where id = any($1)", ids,
			digestReason, d.Key); err != nil {
			return nil, err
		}
		if _, err := p.tx.Exec(ctx, "update channels set digest_at = $2 where key = $1", c.Key, p.now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

const digestReason = "Sent in a digest, together with others."

// digest is one notification that stands for several.
func (p *pass) digest(c *Channel, members []*Notification) *Notification {
	worst := slices.MinFunc(members, func(a, b *Notification) int {
		return severityRank[a.Notice.Severity] - severityRank[b.Notice.Severity]
	})
	d := &Notification{Key: uuid.Must(uuid.NewV7()), OwnerKey: c.OwnerKey, ChannelKey: c.Key, Kind: members[0].Kind,
		Status: NotificationQueued, CreatedAt: p.now,
		DueAt: &p.now, Notice: worst.Notice}
	// What an alert had to say several times is said once.
	alerts := map[string]bool{worst.Notice.AlertID: true}
	list := []*Notification{worst}
	for _, m := range members {
		if !alerts[m.Notice.AlertID] {
			alerts[m.Notice.AlertID] = true
			list = append(list, m)
		}
	}
	d.Notice.ID, d.Notice.Kind, d.Notice.Others, d.Notice.AlertID = d.ID(), d.Kind, len(list)-1, d.ID()
	if len(list) > 1 {
		d.Notice.Summary = digestSummary(list)
	}
	return d
}

// noticeKey is an alert and what has happened to it.
type noticeKey struct {
	alert uuid.UUID
	kind  string
}

// notices makes what channels say about the alerts that have changed.
func (p *pass) notices(ctx context.Context) (map[noticeKey]notify.Notice, error) {
	var keys []int64
	for _, t := range p.changes {
		keys = append(keys, t.alert.DestinationKey)
	}
	var list []*Destination
	if err := p.s.DB.WithContext(ctx).Where("key in ?", keys).Find(&list).Error; err != nil {
		return nil, err
	}
	destinations := map[int64]*Destination{}
	for _, d := range list {
		destinations[d.Key] = d
	}
	out := map[noticeKey]notify.Notice{}
	for _, t := range p.changes {
		a := t.alert
		n := notify.Notice{Severity: a.Severity, AlertID: a.ID(), RuleName: t.rule.Name, Condition: t.rule.Condition.Sentence(),
			Summary: a.Summary, Failures: a.Detail.Failures,
			Attempts: a.Detail.Attempts, OpenedAt: a.OpenedAt, ErrorClass: a.Detail.ErrorClass, Error: a.Detail.Error,
			Advice: a.Detail.Advice}
		if a.Detail.FirstFailure != nil {
			n.FirstFailure = *a.Detail.FirstFailure
		}
		if a.Detail.LastFailure != nil {
			n.LastFailure = *a.Detail.LastFailure
		}
		if a.Detail.CertificateEnds != nil {
			n.CertificateEnds = *a.Detail.CertificateEnds
		}
		if a.ResolvedAt != nil && t.kind == notify.Resolved {
			n.ResolvedAt, n.Summary = *a.ResolvedAt, a.Resolution
		}
		if d := destinations[a.DestinationKey]; d != nil {
			if s := p.subjects[d.Key]; s != nil {
				n.TenantID = s.tenantID
			}
			if err := p.s.open(d, n.TenantID); err == nil {
				n.Target, _ = d.Target()
			}
			n.DestinationID, n.DestinationName, n.DestinationType = d.ID, d.Title(), d.Type
		}
		out[noticeKey{a.Key, t.kind}] = n
	}
	return out, nil
}
