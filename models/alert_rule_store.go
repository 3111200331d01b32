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
	"gorm.io/gorm"
)

// AlertRules lists the rules of a tenant, or of the operators when the id is empty, oldest first.
func (s *Store) AlertRules(ctx context.Context, scope Scope, tenantID string) ([]*AlertRule, error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	list := []*AlertRule{}
	return list, s.DB.WithContext(ctx).Where("owner_key = ? and deleted_at is null", owner).Order("key").Find(&list).Error
}

// AlertRule returns one rule.
func (s *Store) AlertRule(ctx context.Context, scope Scope, tenantID, id string) (*AlertRule, error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	return alertRule(s.DB.WithContext(ctx), owner, id)
}

func alertRule(db *gorm.DB, owner int64, id string) (*AlertRule, error) {
	var r AlertRule
	err := db.Where("owner_key = ? and id = ? and deleted_at is null", owner, id).Take(&r).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, notFound("There is no alert rule %q.", cut(id, 80))
	}
	return &r, err
}

// NewAlertRule is a rule as it would be created from the input; nothing is stored.
func (s *Store) NewAlertRule(ctx context.Context, scope Scope, tenantID string, in AlertRuleInput) (*AlertRule, error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	r := &AlertRule{OwnerKey: owner, ID: randomID(rulePrefix), Resolve: true}
	if err := r.merge(&in, s.Rules()); err != nil {
		return nil, err
	}
	return r, s.checkRule(ctx, scope, tenantID, r)
}

// CreateAlertRule creates a rule of a tenant, or of the operators when the id is empty.
func (s *Store) CreateAlertRule(ctx context.Context, scope Scope, tenantID string, in AlertRuleInput) (*AlertRule, error) {
	r, err := s.NewAlertRule(ctx, scope, tenantID, in)
	if err != nil {
		return nil, err
	}
	var nothing *snapshot
	r.Changes = nothing.changes(r.snapshot())
	return r, s.InTx(ctx, func(tx *Tx) error {
		if err := tx.DB.Create(r).Error; err != nil {
			return err
		}
		if err := noteRule(ctx, tx, r, true); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(r.OwnerKey), Action: "alert_rule.create", Object: r.ID, Changes: r.Changes})
	})
}

// UpdateAlertRule changes a rule.
func (s *Store) UpdateAlertRule(ctx context.Context, scope Scope, tenantID, id string, in AlertRuleInput) (r *AlertRule, err error) {
	owner, _, err := s.ownerOf(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.Pgx.Exec(ctx, "select 1 from alert_rules where owner_key = $1 and id = $2 for update", owner, id); err != nil {
			return err
		}
		if r, err = alertRule(tx.DB, owner, id); err != nil {
			return err
		}
		was, before := *r, r.snapshot()
		if err := r.merge(&in, s.Rules()); err != nil {
			return err
		}
		r.Changes = before.changes(r.snapshot())
		if err := s.checkRule(ctx, scope, tenantID, r); err != nil {
			return err
		}
		if err := s.endOfChanged(ctx, tx, &was, r); err != nil {
			return err
		}
		if err := tx.DB.Save(r).Error; err != nil {
			return err
		}
		if err := noteRule(ctx, tx, r, false); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(owner), Action: "alert_rule.update", Object: r.ID, Changes: r.Changes,
			Detail: map[string]any{"name": r.Name}})
	})
	return r, err
}

// DeleteAlertRule deletes a rule and ends its alerts; channels that were told of them are told that.
func (s *Store) DeleteAlertRule(ctx context.Context, scope Scope, tenantID, id string) error {
	r, err := s.AlertRule(ctx, scope, tenantID, id)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		if err := s.endOfChanged(ctx, tx, r, nil); err != nil {
			return err
		}
		res := tx.DB.Model(&AlertRule{}).Where("key = ? and deleted_at is null", r.Key).Update("deleted_at", time.Now())
		if res.Error != nil || res.RowsAffected == 0 { // somebody else was faster
			return res.Error
		}
		if err := noteOperators(ctx, tx.Pgx, r.OwnerKey); err != nil {
			return err
		}
		if err := noteDeleted(ctx, tx.Pgx, r.OwnerKey, FeedRule, r.ID); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: ownerScope(r.OwnerKey), Action: "alert_rule.delete", Object: r.ID,
			Detail: map[string]any{"name": r.Name, "when": r.Condition.Sentence()}})
	})
}

// endOfChanged ends the open alerts of a rule that becomes another one, where they end with that; now is nil when it is deleted.
func (s *Store) endOfChanged(ctx context.Context, tx *Tx, was, now *AlertRule) (err error) {
	switch {
	case now == nil:
		_, err = s.endAlerts(ctx, tx, was, nil, "The rule was deleted.")
	case was.Kind != now.Kind: // what is open was about another condition
		_, err = s.endAlerts(ctx, tx, was, nil, "The rule was changed.")
	case now.Disabled && !was.Disabled:
		_, err = s.endAlerts(ctx, tx, was, nil, "The rule was switched off.")
	}
	return err
}

// endAlerts ends the open alerts of a rule, or the one with this id, and returns how many those were. The channels that
// were told of them are told that: an incident in PagerDuty would otherwise stay open for ever. It keeps watchers away
// until the transaction ends, for they decide about the same alerts and the same digests.
func (s *Store) endAlerts(ctx context.Context, tx *Tx, r *AlertRule, only *uuid.UUID, why string) (n int, err error) {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1, 0)", int32(lockWatch)); err != nil {
		return 0, err
	}
	p := &pass{s: s, tx: tx, now: time.Now(), rules: map[int64]*AlertRule{r.Key: r}, byHand: true}
	if err := p.loadOpen(ctx, true, map[int64]bool{}); err != nil {
		return 0, err
	}
	keys := map[int64]bool{}
	for _, a := range p.open {
		if a.RuleKey == r.Key && (only == nil || a.Key == *only) {
			keys[a.DestinationKey] = true
			p.resolve(r, a, why)
		}
	}
	if len(p.changes) == 0 {
		return 0, nil
	}
	if err := p.loadSubjects(ctx, keys, false); err != nil {
		return 0, err
	}
	if err := tx.SendBatch(ctx, &p.writes).Close(); err != nil {
		return 0, err
	}
	return len(p.changes), p.tell(ctx, false)
}

// checkRule reports names in the rule of what does not exist.
func (s *Store) checkRule(ctx context.Context, scope Scope, tenantID string, r *AlertRule) error {
	bad := problems{}
	channels, err := s.Channels(ctx, scope, tenantID)
	if err != nil {
		return err
	}
	for i, id := range r.ChannelIDs {
		if !slices.ContainsFunc(channels, func(c *Channel) bool { return c.ID == id }) {
			bad.add(fmt.Sprintf("channel_ids[%d]", i), fmt.Sprintf("%q is not a channel", cut(id, 80)))
		}
	}
	for i, id := range r.DestinationIDs {
		tenant, destination := tenantID, id
		if tenantID == "" {
			var ok bool
			if tenant, destination, ok = strings.Cut(id, "/"); !ok {
				bad.add(fmt.Sprintf("destination_ids[%d]", i), `must be like "tenant/destination"`)
				continue
			}
		}
		in, err := s.storeOf(ctx, tenant)
		if err != nil {
			return err
		}
		if _, err := in.Destination(ctx, scope, tenant, destination); IsKind(err, KindNotFound) {
			bad.add(fmt.Sprintf("destination_ids[%d]", i), fmt.Sprintf("%q is not a destination", cut(id, 80)))
		} else if err != nil {
			return err
		}
	}
	for i, t := range r.Topics {
		checkTopic(fmt.Sprintf("topics[%d]", i), t, bad)
	}
	return bad.err()
}

// addDefaultRules gives a new tenant the rules that everybody has.
func addDefaultRules(ctx context.Context, tx *Tx, rules *Rules, owner int64) error {
	list := rules.defaultRules(owner)
	for _, r := range list {
		r.ID, r.Kind, r.EverySeconds, r.Resolve = randomID(rulePrefix), r.Condition.Kind(),
			int64(rules.every(r.Condition)/time.Second), true
	}
	if err := tx.DB.Create(list).Error; err != nil {
		return err
	}
	for _, r := range list {
		if err := noteRule(ctx, tx, r, true); err != nil {
			return err
		}
	}
	return nil
}

const ruleColumns = "key, owner_key, id, name, condition, kind, destination_ids, topics, channel_ids, every_seconds, resolve, disabled"

func scanRule(row pgx.CollectableRow) (*AlertRule, error) {
	r := &AlertRule{}
	err := row.Scan(&r.Key, &r.OwnerKey, &r.ID, &r.Name, &r.Condition, &r.Kind, &r.DestinationIDs, &r.Topics, &r.ChannelIDs,
		&r.EverySeconds, &r.Resolve, &r.Disabled)
	return r, err
}
