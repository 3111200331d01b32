package models

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// The operators' alert rules and channels, and what their destinations subscribe to, are home's, and are about tenants in all cells.
// Each cell has a copy of them, so that it watches, tells and publishes by itself: alerts and notifications are where the tenant is.
// A copy follows within about a second.

const (
	// operatorsVersion is home's setting that rises when any of it has changed.
	operatorsVersion = "operators_version"
	// operatorsCopied is a cell's setting that says which version it has, and what the operators' destinations subscribe to.
	operatorsCopied = "operators_copied"
)

// operatorsCopy is what a cell knows of the operators beside the rows of rules and channels.
type operatorsCopy struct {
	Version int64    `json:"version"`
	Topics  []string `json:"topics"`
}

// noteOperators tells cells that something of an owner's has changed, if that is the operators.
func noteOperators(ctx context.Context, tx pgx.Tx, owner int64) error {
	if owner != 0 {
		return nil
	}
	return raiseSetting(ctx, tx, operatorsVersion)
}

// FollowOperators keeps a cell's copy of what the operators have up to date until ctx ends.
func (s *Store) FollowOperators(ctx context.Context, log *slog.Logger) {
	s.followHome(ctx, log, &s.operators, &s.home.cells.operators,
		"the operators' alert rules and channels could not be copied to the cell; those known so far are used", s.CopyOperators)
}

// followHome copies something of home's to a cell until ctx ends, whenever the version that home has now is not the one that the cell has;
// has is one more than that. trouble is told once for each time that it does not work.
func (s *Store) followHome(ctx context.Context, log *slog.Logger, has, now *atomic.Int64, trouble string,
	copied func(context.Context) error) {
	follow(ctx, settingsEvery, log, trouble, func(ctx context.Context) error {
		if has.Load() == now.Load()+1 {
			return nil
		}
		return copied(ctx)
	})
}

// CopyOperators copies to this cell what its watchers and publishers need of the operators', unless it has that already.
func (s *Store) CopyOperators(ctx context.Context) error {
	now := operatorsCopy{}
	var rules, channels, unsubscribed json.RawMessage
	err := s.home.pool.QueryRow(OnPrimary(ctx), `select coalesce((select (value #>> '{}')::bigint from settings where key = $3), 0),
		coalesce((select jsonb_agg(to_jsonb(r)) from alert_rules r where owner_key = 0), '[]'),
		coalesce((select jsonb_agg(to_jsonb(c)) from channels c where owner_key = 0), '[]'),
		coalesce((select jsonb_agg(to_jsonb(u)) from channel_unsubscribes u join channels c on c.key = u.channel_key
			where c.owner_key = 0), '[]'),
		(`+operatorTopics+`)`, OperatorTenant, operatorsCopied, operatorsVersion).Scan(&now.Version, &rules, &channels, &unsubscribed, &now.Topics)
	if err != nil {
		return err
	}
	slices.Sort(now.Topics)
	err = s.InTx(WithoutAudit(withoutClaim(ctx)), func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1, 0)", int32(lockOperators)); err != nil {
			return err
		}
		var before operatorsCopy
		err := tx.QueryRow(ctx, "select value from settings where key = $1", operatorsCopied).Scan(&before)
		first := errors.Is(err, pgx.ErrNoRows)
		if err != nil && !first {
			return err
		}
		if !first && before.Version == now.Version {
			return nil
		}
		if first { // the rules that every database begins with
			for _, table := range []string{"alerts", "alert_rules", "channels"} {
				if _, err := tx.Exec(ctx, "delete from "+table+" where owner_key = 0"); err != nil {
					return err
				}
			}
		}
		if err := s.copyRules(ctx, tx, rules); err != nil {
			return err
		}
		if err := copyChannels(ctx, tx, channels, unsubscribed); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value`,
			operatorsCopied, now); err != nil {
			return err
		}
		if slices.Equal(before.Topics, now.Topics) {
			return nil
		}
		return resubscribe(ctx, tx.Pgx, 0)
	})
	if err == nil {
		s.operators.Store(now.Version + 1)
	}
	return err
}

// copyRules brings the operators' rules of home. What a change of one means for its open alerts is done here as there.
func (s *Store) copyRules(ctx context.Context, tx *Tx, rules json.RawMessage) error {
	list := func(sql string, args ...any) ([]*AlertRule, error) {
		rows, err := tx.Query(ctx, "select "+ruleColumns+" from "+sql, args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, scanRule)
	}
	had, err := list("alert_rules where owner_key = 0 and deleted_at is null")
	if err != nil {
		return err
	}
	has, err := list("jsonb_populate_recordset(null::alert_rules, $1) where deleted_at is null", rules)
	if err != nil {
		return err
	}
	for _, was := range had {
		var now *AlertRule
		if i := slices.IndexFunc(has, func(r *AlertRule) bool { return r.Key == was.Key }); i >= 0 {
			now = has[i]
		}
		if err := s.endOfChanged(ctx, tx, was, now); err != nil {
			return err
		}
	}
	const columns = ruleColumns + ", created_at, updated_at, deleted_at"
	_, err = tx.Exec(ctx, "with given as (select "+columns+` from jsonb_populate_recordset(null::alert_rules, $1)),
		gone as (update alert_rules r set deleted_at = now() where owner_key = 0 and deleted_at is null
			and not exists (select 1 from given g where g.key = r.key))
		insert into alert_rules (`+columns+") overriding system value select "+columns+` from given
		on conflict (key) do update set name = excluded.name, condition = excluded.condition, kind = excluded.kind,
			destination_ids = excluded.destination_ids, topics = excluded.topics, channel_ids = excluded.channel_ids,
			every_seconds = excluded.every_seconds, resolve = excluded.resolve, disabled = excluded.disabled,
			updated_at = excluded.updated_at, deleted_at = excluded.deleted_at`, rules)
	return err
}

// copyChannels brings the operators' channels of home, and who has unsubscribed. When the last digest went out is the cell's own.
func copyChannels(ctx context.Context, tx pgx.Tx, channels, unsubscribed json.RawMessage) error {
	b := &pgx.Batch{}
	const columns = "key, owner_key, id, name, type, config, secrets, version, created_at, updated_at, deleted_at"
	b.Queue("with given as (select "+columns+` from jsonb_populate_recordset(null::channels, $1)),
		gone as (update channels c set deleted_at = now() where owner_key = 0 and deleted_at is null
			and not exists (select 1 from given g where g.key = c.key))
		insert into channels (`+columns+") overriding system value select "+columns+` from given
		on conflict (key) do update set name = excluded.name, type = excluded.type, config = excluded.config, secrets = excluded.secrets,
			version = excluded.version, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at`, channels)
	b.Queue("delete from channel_unsubscribes where channel_key in (select key from channels where owner_key = 0)")
	b.Queue(`insert into channel_unsubscribes (channel_key, address, created_at)
		select channel_key, address, created_at from jsonb_populate_recordset(null::channel_unsubscribes, $1)`, unsubscribed)
	return tx.SendBatch(ctx, b).Close()
}
