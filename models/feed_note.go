package models

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// noted is a change on its way into the feed.
type noted struct {
	tenant       int64 // 0 for what belongs to the whole server
	what, action string
	object       string
	version      int64 // 0 for none
	changes      []Change
	state        any // nil when it was deleted
}

// write notes a change in the transaction that makes it. The row that it is about must be locked by then: that is what
// keeps the changes of one thing in order.
func (n noted) write(ctx context.Context, tx pgx.Tx) error {
	var changes, state *string
	if len(n.changes) > 0 {
		b, err := feedJSON(n.changes)
		if err != nil {
			return err
		}
		changes = &b
	}
	if n.state != nil {
		b, err := feedJSON(n.state)
		if err != nil {
			return err
		}
		state = &b
	}
	_, err := tx.Exec(ctx,
		`insert into changes (tenant_key, type, action, object, version, changes, state) values (nullif($1, 0::bigint), $2, $3, $4, nullif($5, 0::bigint), $6::json, $7::json)`,
		n.tenant, n.what, n.action, n.object, n.version, changes, state)
	if err != nil {
		return fmt.Errorf("note the change of a %s: %w", n.what, err)
	}
	if n.what == FeedTopic {
		return raiseSetting(ctx, tx, topicsVersion)
	}
	return nil
}

// feedJSON prints what people wrote as they wrote it.
func feedJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("print a change: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func noteDeleted(ctx context.Context, tx pgx.Tx, tenantKey int64, what, object string) error {
	return noted{tenant: tenantKey, what: what, action: FeedDeleted, object: object}.write(ctx, tx)
}

func createdOrUpdated(created bool) string {
	if created {
		return FeedCreated
	}
	return FeedUpdated
}

// state is a tenant as the feed tells it.
func (t *Tenant) state() any {
	return struct {
		ID        string            `json:"id"`
		Metadata  map[string]string `json:"metadata"`
		CreatedAt time.Time         `json:"created_at"`
		UpdatedAt time.Time         `json:"updated_at"`
	}{t.ID, t.Metadata, t.CreatedAt.UTC(), t.UpdatedAt.UTC()}
}

func noteTenant(ctx context.Context, tx *Tx, t *Tenant, created bool) error {
	return noted{tenant: t.Key, what: FeedTenant, action: createdOrUpdated(created), object: t.ID, changes: t.Changes,
		state: t.state()}.write(ctx, tx.Pgx)
}

// noteTenantDeleted notes that a tenant is gone, after all that was its own and was deleted with it at this time.
func noteTenantDeleted(ctx context.Context, tx *Tx, t *Tenant, at time.Time) error {
	_, err := tx.Pgx.Exec(ctx, `insert into changes (tenant_key, type, action, object, version)
		(select d.tenant_key, $3, $5, d.id, d.version from destinations d where d.tenant_key = $1 and d.deleted_at = $2 order by d.key)
		union all (select r.owner_key, $4, $5, r.id, null from alert_rules r where r.owner_key = $1 and r.deleted_at is null order by r.key)`,
		t.Key, at, FeedDestination, FeedRule, FeedDeleted)
	if err != nil {
		return err
	}
	return noteDeleted(ctx, tx.Pgx, t.Key, FeedTenant, t.ID)
}

// state is a destination as the feed tells it: as the API does, but with secrets masked as a whole, since a change is kept,
// and goes out to queues and streams.
func (d *Destination) state() any {
	fields, known := d.DestinationFields, d.settings()
	fields.Config, fields.Credentials = withoutSecrets(known.config, d.Config), withoutSecrets(known.credentials, d.Credentials)
	return withFields{struct {
		ID       string `json:"id"`
		TenantID string `json:"tenant_id"`
		Type     string `json:"type"`
		DestinationFields
		Version        int64      `json:"version"`
		DisabledAt     *time.Time `json:"disabled_at"`
		DisabledReason string     `json:"disabled_reason"`
		DisabledCause  string     `json:"disabled_cause,omitempty"` // where the server did it by itself, just now
		CreatedAt      time.Time  `json:"created_at"`
		UpdatedAt      time.Time  `json:"updated_at"`
	}{d.ID, d.TenantID, d.Type, fields, d.Version, d.DisabledAt, d.DisabledReason, d.disabledCause, d.CreatedAt.UTC(), d.UpdatedAt.UTC()},
		d.besideJSON(false)}
}

// withFields prints a struct with more fields.
type withFields struct {
	of   any
	more map[string]any
}

func (w withFields) MarshalJSON() ([]byte, error) { return PrintWith(w.of, w.more) }

// noteDestination notes what became of a destination; before is nil for a new one. A change of what it subscribes to may
// change what is to be noted and published from now on.
func (s *Store) noteDestination(ctx context.Context, tx *Tx, before, d *Destination) error {
	n := noted{tenant: d.TenantKey, what: FeedDestination, action: FeedUpdated, object: d.ID, version: d.Version, changes: d.Changes}
	switch {
	case d.DeletedAt != nil:
		n.action = FeedDeleted
	case before == nil:
		n.action = FeedCreated
	case before.DisabledAt == nil && d.DisabledAt != nil:
		n.action = FeedDisabled
	case before.DisabledAt != nil && d.DisabledAt == nil:
		n.action = FeedEnabled
	}
	if n.action != FeedDeleted {
		n.state = d.state()
	}
	if before != nil && before.takesOwn() || d.takesOwn() {
		if err := resubscribe(ctx, tx.Pgx, d.TenantKey); err != nil {
			return err
		}
		if d.TenantID == OperatorTenant {
			if err := noteOperators(ctx, tx.Pgx, 0); err != nil {
				return err
			}
		}
	}
	if err := noteSubscription(ctx, tx.Pgx, before, d); err != nil {
		return err
	}
	return n.write(ctx, tx.Pgx)
}

// state is an alert rule as the feed tells it.
func (r *AlertRule) state() any {
	return struct {
		ID             string    `json:"id"`
		Name           string    `json:"name"`
		When           Condition `json:"when"`
		DestinationIDs []string  `json:"destination_ids"`
		Topics         []string  `json:"topics"`
		ChannelIDs     []string  `json:"channel_ids"`
		Every          Duration  `json:"every"`
		Resolve        bool      `json:"resolve"`
		Disabled       bool      `json:"disabled"`
		CreatedAt      time.Time `json:"created_at"`
		UpdatedAt      time.Time `json:"updated_at"`
	}{r.ID, r.Name, r.Condition, r.DestinationIDs, r.Topics, r.ChannelIDs, Duration(r.Every()), r.Resolve, r.Disabled, r.CreatedAt.UTC(),
		r.UpdatedAt.UTC()}
}

func noteRule(ctx context.Context, tx *Tx, r *AlertRule, created bool) error {
	if err := noteOperators(ctx, tx.Pgx, r.OwnerKey); err != nil {
		return err
	}
	return noted{tenant: r.OwnerKey, what: FeedRule, action: createdOrUpdated(created), object: r.ID, changes: r.Changes,
		state: r.state()}.write(ctx, tx.Pgx)
}

func noteTopic(ctx context.Context, tx pgx.Tx, t *Topic, created bool, changes []Change) error {
	return noted{what: FeedTopic, action: createdOrUpdated(created), object: t.Name, changes: changes, state: struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Example     json.RawMessage `json:"example"`
	}{t.Name, t.Description, t.Example}}.write(ctx, tx)
}
