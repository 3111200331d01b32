package models

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"gorm.io/gorm/clause"
)

// TenantSettings are a tenant's own limits and defaults. What is nil is the server's. The names are those of the API and of
// what is stored.
type TenantSettings struct {
	Name                 *string   `json:"name,omitempty" doc:"What people see in place of the id."`
	ManualRetryLimit     *int      `json:"manual_retry_limit,omitempty" doc:"Manual retries of one delivery; 0 for no limit."`
	ManualRetriesPerHour *int      `json:"manual_retries_per_hour,omitempty" doc:"Manual retries in an hour, single and in bulk; 0 for no limit."`
	BulkRetryLimit       *int      `json:"bulk_retry_limit,omitempty" doc:"Deliveries of one bulk retry."`
	Signature            *string   `json:"signature,omitempty" api:"schema=Signature" doc:"Of new webhook destinations that do not say."`
	HeaderPrefix         *string   `json:"header_prefix,omitempty" doc:"Of the headers of webhooks, like 'x-acme-'."`
	RetryOn              *[]string `json:"retry_on,omitempty" doc:"Error classes and codes that are retried, as in a destination's 'retry.retry_on'."`
	OnEnable             *string   `json:"on_enable,omitempty" api:"schema=BacklogAction" doc:"For events held, when a destination is enabled."`

	removed []string // fields that were given as null
}

// Remove notes that a field was given as null: the server's default is in force again.
func (t *TenantSettings) Remove(field string) { t.removed = append(t.removed, field) }

// check reports what is wrong with the settings.
func (t *TenantSettings) check() error {
	bad := problems{}
	if t.Name != nil {
		checkText("name", *t.Name, maxNameLength, bad)
	}
	for field, n := range map[string]struct {
		value    *int
		low, top int
	}{
		"manual_retry_limit":      {t.ManualRetryLimit, 0, 30_000},
		"manual_retries_per_hour": {t.ManualRetriesPerHour, 0, 100_000_000},
		"bulk_retry_limit":        {t.BulkRetryLimit, 1, 1_000_000},
	} {
		if n.value != nil && (*n.value < n.low || *n.value > n.top) {
			bad.add(field, fmt.Sprintf("must be a whole number between %d and %d", n.low, n.top))
		}
	}
	if t.Signature != nil && !slices.Contains(Signatures, *t.Signature) {
		bad.add("signature", "must be standard, v1a or outpost")
	}
	if t.HeaderPrefix != nil && !headerPrefix.MatchString(*t.HeaderPrefix) {
		bad.add("header_prefix", "must begin with a letter, have letters, digits and - only, and at most 40 of them, like x-acme-")
	}
	if t.RetryOn != nil {
		policy := problems{}
		RetryPolicy{RetryOn: *t.RetryOn}.check("retry", policy)
		for _, m := range policy {
			bad.add("retry_on", m)
		}
	}
	if t.OnEnable != nil && !slices.Contains([]string{BacklogDeliver, BacklogKeep, BacklogDrop}, *t.OnEnable) {
		bad.add("on_enable", "must be deliver, keep or drop")
	}
	return bad.err()
}

// TenantSettings returns a tenant's own settings.
func (s *Store) TenantSettings(ctx context.Context, scope Scope, tenantID string) (*TenantSettings, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	var out TenantSettings
	return &out, s.Pool.QueryRow(ctx, "select settings from tenants where key = $1", t.Key).Scan(&out)
}

// UpdateTenantSettings changes a tenant's settings as a merge patch (RFC 7396), and returns them with what is different now.
func (s *Store) UpdateTenantSettings(ctx context.Context, scope Scope, tenantID string, patch TenantSettings) (out *TenantSettings, changes []Change, err error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, nil, err
	}
	if err := patch.check(); err != nil {
		return nil, nil, err
	}
	given, err := json.Marshal(patch)
	if err != nil {
		return nil, nil, err
	}
	var before, after TenantSettings
	err = s.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.DB.Clauses(clause.Locking{Strength: "UPDATE"}).Take(&Tenant{}, "key = ?", t.Key).Error; err != nil {
			return err
		}
		if err := tx.Pgx.QueryRow(ctx, "select settings from tenants where key = $1", t.Key).Scan(&before); err != nil {
			return err
		}
		// The version rises, so that whatever is kept of the tenant for that version is read anew.
		return tx.Pgx.QueryRow(ctx, `update tenants set settings = (settings - $2::text[]) || $3::jsonb, version = version + 1, updated_at = now()
			where key = $1 returning settings`, t.Key, append([]string{}, patch.removed...), given).Scan(&after)
	})
	return &after, before.snapshot().changes(after.snapshot()), err
}

// snapshot is what the audit log compares of a tenant's settings.
func (t *TenantSettings) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", t.Name)
	s.set("manual_retry_limit", t.ManualRetryLimit)
	s.set("manual_retries_per_hour", t.ManualRetriesPerHour)
	s.set("bulk_retry_limit", t.BulkRetryLimit)
	s.set("signature", t.Signature)
	s.set("header_prefix", t.HeaderPrefix)
	s.set("retry_on", t.RetryOn)
	s.set("on_enable", t.OnEnable)
	return s
}

// headerPrefix is what the headers of a tenant's webhooks may begin with.
var headerPrefix = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,39}$`)
