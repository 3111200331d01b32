package models

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// TenantSettings are what holds for a tenant in place of the server's defaults. What is nil is the server's.
type TenantSettings struct {
	Signature     *string   `json:"signature,omitempty" api:"schema=Signature" doc:"Of webhooks that are created without one."`
	HeaderPrefix  *string   `json:"header_prefix,omitempty" doc:"Of webhooks that are created without a 'signature'."`
	RetryOn       *[]string `json:"retry_on,omitempty" doc:"Which errors are retried, of destinations that do not say so."`
	EnableBacklog *string   `json:"enable_backlog,omitempty" api:"schema=BacklogAction" doc:"What enabling does with the events held, when the caller does not say so."`
}

// WebhookDefaults are the settings of webhooks whose creator says nothing about signatures.
type WebhookDefaults struct {
	Signature string
	Config    map[string]string // fields of the type; nil for none
}

// webhookType is the destination type that has signatures.
const webhookType = "webhook"

// Problems lists what is wrong with the defaults. Keys are "signature" and "config.…".
func (w WebhookDefaults) Problems() []adapters.FieldError {
	r := adapters.Lookup(webhookType)
	if r == nil {
		return nil
	}
	if !slices.Contains(Signatures, w.Signature) {
		return []adapters.FieldError{{Key: "signature", Message: "must be one of " + strings.Join(Signatures[1:], ", ")}}
	}
	s := adapters.Settings{Signature: w.Signature, Config: map[string]string{}}
	maps.Copy(s.Config, w.Config)
	s.Config["url"] = "https://example.com/"
	return r.Check(&s)
}

// WebhookDefaults are those of a tenant. The server's other settings belong to the server's signature.
func (s *Store) WebhookDefaults(t *Tenant) WebhookDefaults {
	w := WebhookDefaults{Signature: s.Webhook.Signature, Config: maps.Clone(s.Webhook.Config)}
	if given := t.Settings.Signature; given != nil && *given != w.Signature {
		prefix, has := w.Config["header_prefix"]
		w = WebhookDefaults{Signature: *given}
		if has {
			w.Config = map[string]string{"header_prefix": prefix}
		}
	}
	if t.Settings.HeaderPrefix != nil {
		if w.Config == nil {
			w.Config = map[string]string{}
		}
		w.Config["header_prefix"] = *t.Settings.HeaderPrefix
	}
	return w
}

// addDefaults completes what is said of a new destination. The defaults are kept with it, so that no receiver breaks when
// they change. A signature that was chosen takes all of them away.
func (s *Store) addDefaults(t *Tenant, d *Destination, in *DestinationInput) {
	if d.Type != webhookType || in.Signature != nil && *in.Signature != "" {
		return
	}
	w := s.WebhookDefaults(t)
	if w.Signature != "" {
		in.Signature = &w.Signature
	}
	for key, value := range w.Config {
		if _, given := in.Config[key]; given || value == "" {
			continue
		}
		if in.Config == nil {
			in.Config = Values{}
		}
		in.Config[key] = &value
	}
}

// policy is when deliveries to a destination are tried again.
func (s *Store) policy(t *Tenant, d *Destination) RetryPolicy {
	dflt := s.Retry
	if t.Settings.RetryOn != nil {
		dflt.RetryOn = *t.Settings.RetryOn
	}
	if d.Retry != nil {
		return d.Retry.Or(dflt)
	}
	return dflt
}

// EnableAction is what enabling a tenant's destination does with the events held, when nobody says so.
func (s *Store) EnableAction(t *Tenant) string {
	action := s.EnableBacklog
	if t.Settings.EnableBacklog != nil {
		action = *t.Settings.EnableBacklog
	}
	if action == "" {
		return BacklogDeliver
	}
	return action
}

// probeAction is EnableAction for what the server enables by itself: nothing is dropped that nobody asked to drop.
func (s *Store) probeAction(t *Tenant) string {
	if s.EnableAction(t) == BacklogKeep {
		return BacklogKeep
	}
	return BacklogDeliver
}

// check reports what is wrong with the settings.
func (x *TenantSettings) check(s *Store) error {
	bad := problems{}
	if x.Signature != nil || x.HeaderPrefix != nil {
		for _, e := range s.WebhookDefaults(&Tenant{Settings: *x}).Problems() {
			bad.add(strings.TrimPrefix(e.Key, "config."), e.Message)
		}
	}
	if x.RetryOn != nil {
		RetryPolicy{RetryOn: *x.RetryOn}.check("settings", bad)
		for key, message := range maps.Clone(bad) {
			if short, ok := strings.CutPrefix(key, "settings."); ok {
				delete(bad, key)
				bad.add(short, message)
			}
		}
	}
	if x.EnableBacklog != nil && !slices.Contains([]string{BacklogDeliver, BacklogKeep, BacklogDrop}, *x.EnableBacklog) {
		bad.add("enable_backlog", "must be deliver, keep or drop")
	}
	return bad.err()
}

// TenantSettings returns a tenant's settings.
func (s *Store) TenantSettings(ctx context.Context, scope Scope, tenantID string) (TenantSettings, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return TenantSettings{}, err
	}
	return t.Settings, nil
}

// UpdateTenantSettings replaces a tenant's settings. They are in force for the next attempt, and for destinations that are
// created from now on. Keys of the stored settings that are none of these stay.
func (s *Store) UpdateTenantSettings(ctx context.Context, scope Scope, tenantID string, x TenantSettings) error {
	if err := x.check(s); err != nil {
		return err
	}
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return err
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Pgx.Exec(ctx, `update tenants set settings = settings - '{signature,header_prefix,retry_on,enable_backlog}'::text[] || $2::jsonb where key = $1`, t.Key, string(b))
		if err != nil {
			return err
		}
		// Workers read a destination's policy with its version.
		_, err = tx.Pgx.Exec(ctx, "update destinations set version = version + 1 where tenant_key = $1 and deleted_at is null", t.Key)
		return err
	})
}
