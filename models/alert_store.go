package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models/alertrule"
)

const alertSelect = `select a.id, a.owner_key, a.rule_key, a.tenant_key, a.destination_key, a.status, a.step, a.severity, a.summary,
	a.detail, a.opened_at, a.updated_at,
	a.acknowledged_at, a.acknowledged_by, a.muted_until, a.muted_by, a.resolved_at, a.resolution, a.resolved_by, a.acknowledgement, r.id,
		r.name, r.kind, r.deleted_at is not null, t.id, d.id, d.type, d.name
	from alerts a join alert_rules r on r.key = a.rule_key join tenants t on t.key = a.tenant_key join destinations d
		on d.key = a.destination_key`

func scanAlert(row pgx.CollectableRow) (*Alert, error) {
	a := &Alert{}
	err := row.Scan(&a.Key, &a.OwnerKey, &a.RuleKey, &a.TenantKey, &a.DestinationKey, &a.Status, &a.Step, &a.Severity, &a.Summary,
		&a.Detail, &a.OpenedAt, &a.UpdatedAt,
		&a.AcknowledgedAt, &a.AcknowledgedBy, &a.MutedUntil, &a.MutedBy, &a.ResolvedAt, &a.Resolution, &a.ResolvedBy, &a.Acknowledged,
		&a.RuleID, &a.RuleName, &a.RuleKind, &a.RuleDeleted, &a.TenantID, &a.DestinationID,
		&a.DestinationType, &a.DestinationName)
	return a, err
}

// AlertQuery selects alerts.
type AlertQuery struct {
	Statuses     []string `query:"status" label:"Status" api:"schema=AlertStatus" doc:"Only in one of these states."`
	Destinations []string `query:"destination_id" label:"Destination" doc:"Only of these destinations."`
	Rules        []string `query:"rule_id" label:"Rule" doc:"Only of these rules."`
	Page         PageQuery
}

// AlertStatuses lists the states of an alert.
var AlertStatuses = []string{AlertOpen, AlertAcknowledged, AlertResolved}

// oneOf checks the values of a parameter.
func oneOf(field string, given, known []string) error {
	for _, v := range given {
		if !slices.Contains(known, v) {
			return Invalid(field, fmt.Sprintf("%q is none of %s", cut(v, 40), strings.Join(known, ", ")))
		}
	}
	return nil
}

// Alerts lists the alerts of a tenant's rules, or with an empty id of the operators', newest first.
func (s *Store) Alerts(ctx context.Context, scope Scope, tenantID string, aq AlertQuery) (*Page[*Alert], error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	if err := oneOf("status", aq.Statuses, AlertStatuses); err != nil {
		return nil, err
	}
	k, err := aq.Page.keyset(owner, aq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	q.and("a.owner_key = ?", owner)
	for column, list := range map[string][]string{"a.status": aq.Statuses, "d.id": aq.Destinations, "r.id": aq.Rules} {
		if len(list) > 0 {
			q.and(column+" = any(?)", list)
		}
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("a.id "+k.op()+" ?", after)
	}
	rows, err := s.pool.Query(ctx, alertSelect+q.sql()+" order by a.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanAlert)
	if err != nil {
		return nil, err
	}
	return newPage(k, "opened_at", list, func(a *Alert) any { return a.Key }), nil
}

// Alert returns one alert.
func (s *Store) Alert(ctx context.Context, scope Scope, tenantID, id string) (*Alert, error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	key, _ := parsePrefixed(alertPrefix, id)
	a, err := alertByKey(ctx, s.pool, owner, key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no alert %q.", cut(id, 80))
	}
	return a, err
}

func alertByKey(ctx context.Context, db querier, owner int64, key uuid.UUID) (*Alert, error) {
	rows, err := db.Query(ctx, alertSelect+" where a.id = $1 and a.owner_key = $2", key, owner)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanAlert)
}

// OpenAlerts counts the open alerts, which nobody has acknowledged, up to limit.
func (s *Store) OpenAlerts(ctx context.Context, scope Scope, limit int) (n int, err error) {
	err = s.pool.QueryRow(ctx, "select count(*) from (select 1 from alerts where owner_key = $1 and status = 'open' limit $2) x",
		scope.owner(), limit).Scan(&n)
	return n, err
}

// AcknowledgeAlert says that somebody takes care of an alert: there are no reminders any more. The channels that were told
// about it alone are told that too, so that whoever is on call need not ask. message is for them, in up to 500 characters; it
// may be empty. Acknowledging once more with a message says that one instead.
func (s *Store) AcknowledgeAlert(ctx context.Context, scope Scope, tenantID, id, actor, message string) (*Alert, error) {
	message, err := alertMessage(message)
	if err != nil {
		return nil, err
	}
	before, err := s.Alert(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	entry := AuditEntry{Scope: ownerScope(before.OwnerKey), Action: "alert.acknowledge", Object: before.ID(),
		Detail: map[string]any{"message": message, "summary": before.Summary}}
	if before.Status == AlertAcknowledged && message == "" {
		return before, s.InTx(ctx, func(tx *Tx) error { return tx.Audit(ctx, entry) })
	}
	return s.changeAlert(ctx, before, entry, s.tellAcknowledged,
		"status = 'acknowledged', acknowledged_at = now(), acknowledged_by = $2, acknowledgement = $3, updated_at = now()", actor, message)
}

func (s *Store) tellAcknowledged(ctx context.Context, tx *Tx, a *Alert) error {
	if a.Muted(time.Now()) {
		return nil
	}
	rows, err := tx.Query(ctx,
		`select distinct on (n.channel_key) n.channel_key, n.notice from notifications n join channels c on c.key = n.channel_key
			where n.alert_id = $1 and n.kind in ('opened', 'repeated') and n.status in ('queued', 'sent') and c.deleted_at is null
				order by n.channel_key, n.id desc`, a.Key)
	if err != nil {
		return err
	}
	now := time.Now()
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Notification, error) {
		n := &Notification{Key: uuid.Must(uuid.NewV7()), OwnerKey: a.OwnerKey, AlertKey: &a.Key, RuleKey: &a.RuleKey,
			DestinationKey: &a.DestinationKey, Kind: notify.Acknowledged,
			Status: NotificationQueued, Actor: a.AcknowledgedBy, CreatedAt: now, DueAt: &now}
		err := row.Scan(&n.ChannelKey, &n.Notice)
		n.Notice.ID, n.Notice.Kind, n.Notice.Skip = n.ID(), n.Kind, nil
		note := ""
		if a.Acknowledged != "" {
			note = " (" + a.Acknowledged + ")"
		}
		n.Notice.Summary = actorName(a.AcknowledgedBy) + " takes care of it" + note + ": " + n.Notice.Summary
		return n, err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	return s.insertNotifications(ctx, tx, list)
}

// alertMessage checks what somebody says about an alert.
func alertMessage(s string) (string, error) {
	bad := problems{}
	s = strings.TrimSpace(s)
	checkText("message", s, 500, bad)
	return s, bad.err()
}

// ResolveAlert ends an alert by hand, and tells so. No other begins in its place before its condition was over once, unless
// it becomes worse. message says why, in up to 500 characters; it may be empty.
func (s *Store) ResolveAlert(ctx context.Context, scope Scope, tenantID, id, actor, message string) (*Alert, error) {
	message, err := alertMessage(message)
	if err != nil {
		return nil, err
	}
	a, err := s.Alert(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	r, err := alertRule(s.DB.WithContext(ctx), a.OwnerKey, a.RuleID)
	if IsKind(err, KindNotFound) {
		return nil, conflict("The alert is resolved already.") // with its rule
	}
	if err != nil {
		return nil, err
	}
	why := "Resolved by " + actorName(actor) + "."
	if message != "" {
		why = "Resolved by " + actorName(actor) + ": " + message + alertrule.Ended(message)
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		n, err := s.endAlerts(ctx, tx, r, &a.Key, why)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("The alert is resolved already.")
		}
		if _, err = tx.Exec(ctx, "update alerts set resolved_by = $2, quiet = true where id = $1", a.Key, actorName(actor)); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(a.OwnerKey), Action: "alert.resolve", Object: a.ID(),
			Detail: map[string]any{"message": message, "summary": a.Summary}})
	})
	if err != nil {
		return nil, err
	}
	return s.Alert(ctx, scope, tenantID, id)
}

// MaxMute is for how long an alert can be muted at most.
const MaxMute = 30 * 24 * time.Hour

// MuteAlert holds back all notices about an alert until a time; a time that is over lifts that.
func (s *Store) MuteAlert(ctx context.Context, scope Scope, tenantID, id, actor string, until time.Time) (*Alert, error) {
	if time.Until(until) > MaxMute {
		return nil, Invalid("until", "must be within 30 days")
	}
	a, err := s.Alert(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	return s.changeAlert(ctx, a, AuditEntry{Scope: ownerScope(a.OwnerKey), Action: "alert.mute", Object: a.ID(),
		Detail: map[string]any{"until": until}}, nil,
		"muted_until = $3, muted_by = $2, updated_at = now()", actor, until)
}

// changeAlert sets columns of an alert that is not resolved, does what follows from it in the same transaction (nil for
// nothing), and returns the alert as it is then.
func (s *Store) changeAlert(ctx context.Context, a *Alert, entry AuditEntry, then func(context.Context, *Tx, *Alert) error, set string,
	args ...any) (*Alert, error) {
	var after *Alert
	err := s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, "update alerts set "+set+" where id = $1 and status <> 'resolved'", append([]any{a.Key}, args...)...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return conflict("The alert is resolved already.")
		}
		if after, err = alertByKey(ctx, tx, a.OwnerKey, a.Key); err != nil {
			return err
		}
		if then != nil {
			if err := then(ctx, tx, after); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, entry)
	})
	return after, err
}
