package models

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
)

const notificationSelect = `select n.id, n.owner_key, n.channel_key, n.alert_id, n.rule_key, n.destination_key, n.kind, n.status, n.reason,
	n.digest_id, n.notice, n.tries,
	n.code, n.answer, n.error, n.advice, n.actor, n.created_at, n.due_at, n.sent_at, c.id, c.name, c.type, coalesce(r.id, '')
	from notifications n join channels c on c.key = n.channel_key left join alert_rules r on r.key = n.rule_key`

func scanNotification(row pgx.CollectableRow) (*Notification, error) {
	n := &Notification{}
	err := row.Scan(&n.Key, &n.OwnerKey, &n.ChannelKey, &n.AlertKey, &n.RuleKey, &n.DestinationKey, &n.Kind, &n.Status, &n.Reason,
		&n.DigestKey, &n.Notice, &n.Tries,
		&n.Code, &n.Answer, &n.Error, &n.Advice, &n.Actor, &n.CreatedAt, &n.DueAt, &n.SentAt, &n.ChannelID, &n.ChannelName, &n.ChannelType,
		&n.RuleID)
	return n, err
}

func (s *Store) notification(ctx context.Context, where string, args ...any) (*Notification, error) {
	rows, err := s.pool.Query(ctx, notificationSelect+" where "+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanNotification)
}

// ClaimNotification lets a process send a notification. free is false while a living process holds the claim.
//
// The claim is committed to disk before the notice is sent: whose job it is can be forgotten in a crash of PostgreSQL, and
// another worker would send it too. A claim ends with its process's row in processes.
func (s *Store) ClaimNotification(ctx context.Context, id uuid.UUID, process string) (free bool, err error) {
	// Whoever waits for the other's claim looks again at what it has become.
	tag, err := s.pool.Exec(ctx, `update notifications n set claimed_by = $2 where id = $1 and status = 'queued'
		and (claimed_by = $2 or not exists (select 1 from processes p where p.id = n.claimed_by))`, id, process)
	if err != nil || tag.RowsAffected() > 0 {
		return true, err
	}
	var queued bool
	err = s.pool.QueryRow(ctx, "select exists (select 1 from notifications where id = $1 and status = 'queued')", id).Scan(&queued)
	return !queued, err
}

// NotificationToSend returns a notification that is to be sent, with its channel; the channel is nil when it was deleted.
// A notification that was sent already, or is not to be sent any more, is nil.
func (s *Store) NotificationToSend(ctx context.Context, id uuid.UUID) (*Notification, *Channel, error) {
	n, err := s.notification(ctx, "n.id = $1 and n.status = 'queued'", id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	owner := ""
	if n.OwnerKey != 0 {
		t, err := s.tenantByKey(ctx, n.OwnerKey)
		if IsKind(err, KindNotFound) {
			return n, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		owner = t.ID
	}
	c, err := s.channel(s.DB.WithContext(ctx), n.OwnerKey, owner, n.ChannelID)
	if IsKind(err, KindNotFound) {
		return n, nil, nil
	}
	if err == nil && n.Notice.ResponseExcerpt == "" && n.DestinationKey != nil && n.Kind != notify.Resolved {
		n.Notice.ResponseExcerpt, err = s.responseExcerpt(ctx, *n.DestinationKey, n.Notice.LastFailure, false)
	}
	if err == nil {
		err = s.addFailures(ctx, n)
	}
	return n, c, err
}

// AlertResponse is the beginning of what the receiver answered to the last attempt that failed while an alert was open;
// empty when it answered nothing, or when the attempt is deleted by now.
func (s *Store) AlertResponse(ctx context.Context, a *Alert) (string, error) {
	if a.Detail.LastFailure == nil {
		return "", nil
	}
	return s.responseExcerpt(ctx, a.DestinationKey, *a.Detail.LastFailure, true)
}

// responseExcerpt is the beginning of what the receiver answered to the attempt that failed last. What is sealed is opened for those
// who look at it, and not for notices, which are kept and sent as they are.
func (s *Store) responseExcerpt(ctx context.Context, destination int64, at time.Time, open bool) (string, error) {
	const most = 1000
	var body, sealed []byte
	of := Attempt{DeliveryKey: DeliveryKey{Destination: destination}}
	err := s.pool.QueryRow(ctx,
		`select substr(response_body, 1, $3), sealed, event_id, number from attempts where destination_key = $1 and started_at = $2 and not ok limit 1`,
		destination, at, most).Scan(&body, &sealed, &of.EventKey, &of.Number)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err == nil && sealed != nil && open {
		err = s.unsealAttempt(ctx, &of, sealed)
		body = of.ResponseBody[:min(len(of.ResponseBody), most)]
	}
	return text(string(body)), err
}

// NotificationSent records that a notification was sent. It may be called again. note is a remark for readers of the log; empty for none.
func (s *Store) NotificationSent(ctx context.Context, id uuid.UUID, notice notify.Notice, code int, answer, note string) error {
	_, err := s.pool.Exec(ctx,
		`update notifications set status = 'sent', tries = tries + 1, code = $2, answer = $3, error = '', advice = '', due_at = null,
			sent_at = now(), notice = $4,
			reason = trim(reason || ' ' || $5)
		where id = $1 and status <> 'sent'`, id, code, text(answer), notice, note)
	return err
}

// NotificationFailed records a try that failed. again is when the next one is due; 0 for never. Recording the same try
// twice does no harm.
func (s *Store) NotificationFailed(ctx context.Context, id uuid.UUID, notice notify.Notice, code int, answer, message, advice string,
	again time.Duration) error {
	status := NotificationFailed
	var due *time.Time
	if again > 0 {
		at := time.Now().Add(again)
		status, due = NotificationQueued, &at
	}
	_, err := s.pool.Exec(ctx,
		`update notifications set status = $2, tries = tries + 1, code = $3, answer = $4, error = $5, advice = $6, due_at = $7, notice = $8,
			claimed_by = ''
		where id = $1 and status = 'queued' and tries < $9`, id, status, code, text(answer), text(message), text(advice), due, notice,
		notice.Try)
	return err
}

// NotificationReached records whom a try has reached that was cut off and does not count.
func (s *Store) NotificationReached(ctx context.Context, id uuid.UUID, notice notify.Notice) error {
	_, err := s.pool.Exec(ctx, "update notifications set notice = $2, claimed_by = '' where id = $1 and status = 'queued'", id, notice)
	return err
}

// NotificationDropped records that a notification is not to be sent any more.
func (s *Store) NotificationDropped(ctx context.Context, id uuid.UUID, why string) error {
	_, err := s.pool.Exec(ctx,
		"update notifications set status = 'suppressed', reason = $2, due_at = null where id = $1 and status = 'queued'", id, why)
	return err
}

// NotificationQuery selects notifications.
type NotificationQuery struct {
	Channels     []string  `query:"channel_id" label:"Channel" words:"channel" doc:"Only of these channels."`
	Statuses     []string  `query:"status" label:"Outcome" words:"notification status" api:"schema=NotificationStatus"`
	Kinds        []string  `query:"kind" label:"Kind" words:"notification kind" api:"schema=NotificationKind"`
	Rules        []string  `query:"rule_id" label:"Rule"`
	Destinations []string  `query:"destination_id" label:"Destination"`
	AlertID      string    `query:"alert_id" label:"Alert"`
	Since        time.Time `query:"since" label:"From"`
	Until        time.Time `query:"until" label:"To"`
	Page         PageQuery
}

// Notifications lists what a tenant's channels, or with an empty id the operators', were told, newest first.
func (s *Store) Notifications(ctx context.Context, scope Scope, tenantID string, nq NotificationQuery) (*Page[*Notification], error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	k, err := nq.Page.keyset(owner, nq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	q.and("n.owner_key = ?", owner)
	if err := oneOf("status", nq.Statuses, NotificationStatuses); err != nil {
		return nil, err
	}
	if err := oneOf("kind", nq.Kinds, notify.Kinds); err != nil {
		return nil, err
	}
	for column, list := range map[string][]string{"n.status": nq.Statuses, "n.kind": nq.Kinds, "c.id": nq.Channels, "r.id": nq.Rules,
		"n.notice->>'destination_id'": nq.Destinations} {
		if len(list) > 0 {
			q.and(column+" = any(?)", list)
		}
	}
	if nq.AlertID != "" {
		id, ok := parsePrefixed(alertPrefix, nq.AlertID)
		if !ok {
			return nil, notFound("There is no alert %q.", cut(nq.AlertID, 80))
		}
		q.and("n.alert_id = ?", id)
	}
	if !nq.Since.IsZero() {
		q.and("n.created_at >= ?", nq.Since)
	}
	if !nq.Until.IsZero() {
		q.and("n.created_at < ?", nq.Until)
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("n.id "+k.op()+" ?", after)
	}
	rows, err := s.pool.Query(ctx, notificationSelect+q.sql()+" order by n.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanNotification)
	if err != nil {
		return nil, err
	}
	return newPage(k, "created_at", list, func(n *Notification) any { return n.Key }), nil
}

// Notification returns one notification.
func (s *Store) Notification(ctx context.Context, scope Scope, tenantID, id string) (*Notification, error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	key, _ := parsePrefixed(notificationPrefix, id)
	n, err := s.notification(ctx, "n.id = $1 and n.owner_key = $2", key, owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no notification %q.", cut(id, 80))
	}
	return n, err
}

// Resend sends a notification once more, as a new one with an id of its own, whatever became of the first.
func (s *Store) Resend(ctx context.Context, scope Scope, tenantID, id, actor string) (*Notification, error) {
	old, err := s.Notification(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	if old.Status == NotificationQueued {
		return nil, conflict("It is being sent already.")
	}
	if _, err := s.Channel(ctx, scope, tenantID, old.ChannelID); err != nil {
		if IsKind(err, KindNotFound) {
			return nil, conflict("Its channel was deleted.")
		}
		return nil, err
	}
	now := time.Now()
	n := &Notification{Key: uuid.Must(uuid.NewV7()), OwnerKey: old.OwnerKey, ChannelKey: old.ChannelKey, AlertKey: old.AlertKey,
		RuleKey:        old.RuleKey,
		DestinationKey: old.DestinationKey, Kind: old.Kind, Status: NotificationQueued,
		Reason: "Sent again by " + actorName(actor) + ": " + old.ID() + ".",
		Notice: old.Notice, Actor: actor, CreatedAt: now, DueAt: &now}
	n.Notice.ID = n.ID()
	err = s.InTx(ctx, func(tx *Tx) error {
		if err := s.insertNotifications(ctx, tx, []*Notification{n}); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(old.OwnerKey), Action: "notification.resend", Object: old.ID(),
			Detail: map[string]any{"as": n.ID()}})
	})
	if err != nil {
		return nil, err
	}
	return s.Notification(ctx, scope, tenantID, n.ID())
}

// TestNotice is what the test button of a channel sends.
func (s *Store) TestNotice(c *Channel, actor string) *Notification {
	now := time.Now()
	n := &Notification{Key: uuid.Must(uuid.NewV7()), OwnerKey: c.OwnerKey, ChannelKey: c.Key, Kind: notify.Test, Actor: actor,
		CreatedAt: now}
	n.Notice = notify.Notice{ID: n.ID(), Kind: notify.Test, Severity: SeverityInfo, AlertID: n.ID(), RuleName: "Test", TenantID: c.OwnerID,
		Summary: "This is a test from Waybill, sent by " + actorName(actor) + ". Alerts will arrive here.", OpenedAt: now}
	return n
}

// LogTest records a test of a channel that was sent, or was not.
func (s *Store) LogTest(ctx context.Context, c *Channel, n *Notification) error {
	return s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx,
			`insert into notifications (id, owner_key, channel_key, kind, status, notice, tries, code, answer, error, advice, actor,
				created_at, sent_at, reason)
		values ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9, $10, $11, $12, $13, $14)`,
			n.Key, n.OwnerKey, n.ChannelKey, n.Kind, n.Status, n.Notice, n.Code, text(n.Answer), text(n.Error), text(n.Advice), n.Actor,
			n.CreatedAt, n.SentAt, n.Reason)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(c.OwnerKey), Action: "channel.test", Object: c.ID,
			Detail: map[string]any{"name": c.Name, "arrived": n.Status == NotificationSent, "notification": n.ID()}})
	})
}
