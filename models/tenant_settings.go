package models

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// TenantSettings are a tenant's own limits and defaults. What is nil is the server's. The names are those of the API and of
// what is stored.
type TenantSettings struct {
	SharedSettings
	Name         *string `json:"name,omitempty" doc:"What people see in place of the id."`
	Signature    *string `json:"signature,omitempty" api:"schema=Signature" doc:"Of webhooks that are created without one."`
	HeaderPrefix *string `json:"header_prefix,omitempty" doc:"Of webhooks that are created without a 'signature', like 'x-acme-'."`

	RetentionDays  *int              `json:"retention_days,omitempty" doc:"After so many days the data of its events is erased; at most the server's retention."`
	TopicRetention *[]TopicRetention `json:"topic_retention,omitempty" doc:"For how long the data of events of some topics is kept. Of all rules that hold for an event, those of the tenant and of the server, the shortest counts."`
	EraseDelivered *bool             `json:"erase_delivered,omitempty" doc:"Erase the data of an event within minutes after it is delivered everywhere."`

	RedactFields  *[]string `json:"redact_fields,omitempty" doc:"Fields of JSON answers that attempts do not keep, as paths: 'customer.email', 'items[*].name', '*.email'."`
	RedactHeaders *[]string `json:"redact_headers,omitempty" doc:"Headers of requests and answers whose values attempts do not keep."`
	RedactQuery   *[]string `json:"redact_query,omitempty" doc:"Query parameters of the URL whose values attempts do not keep."`

	RequestsPerSecond *int      `json:"requests_per_second,omitempty" doc:"Requests to the API in a second, of all its keys and tokens together; 0 for no limit."`
	EventsPerSecond   *int      `json:"events_per_second,omitempty" doc:"Events that are published for it in a second; 0 for no limit."`
	BytesPerSecond    *int      `json:"bytes_per_second,omitempty" doc:"Bytes of such events in a second; 0 for no limit."`
	LimitBurst        *Duration `json:"limit_burst,omitempty" doc:"How many seconds' worth of these three may come at once."`

	removed []string // fields that were given as null
}

// Remove notes that a field was given as null: the server's default is in force again.
func (x *TenantSettings) Remove(field string) { x.removed = append(x.removed, field) }

// WebhookDefaults are the settings of webhooks whose creator says nothing about signatures.
type WebhookDefaults struct {
	Signature string
	Config    map[string]string // fields of the type; nil for none
}

// The destination type that has these defaults, and its field beside config that they are for.
const (
	webhookType    = "webhook"
	signatureField = "signature"
)

// Problems lists what is wrong with the defaults. Keys are "signature" and "config.…".
func (w WebhookDefaults) Problems() []adapters.FieldError {
	r := adapters.Lookup(webhookType)
	if r == nil {
		return nil
	}
	for _, f := range adapters.Beside() {
		if f.Key == signatureField && f.Problem(w.Signature) != "" {
			return []adapters.FieldError{{Key: signatureField, Message: "must be one of " + strings.Join(f.Values(), ", ")}}
		}
	}
	s := adapters.Settings{Beside: map[string]string{signatureField: w.Signature}, Config: map[string]string{}}
	maps.Copy(s.Config, w.Config)
	s.Config["url"] = "https://example.com/"
	return r.Check(&s)
}

// WebhookDefaults are those of a tenant. The server's other settings belong to the server's signature.
func (s *Store) WebhookDefaults(t *Tenant) WebhookDefaults {
	w := WebhookDefaults{Signature: s.Rules().Webhook.Signature, Config: maps.Clone(s.Rules().Webhook.Config)}
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

// TypeDefaults are what a new destination of a type starts with, of config and beside it; empty for most types.
func (s *Store) TypeDefaults(t *Tenant, typ string) (config, beside map[string]string) {
	if typ != webhookType {
		return nil, nil
	}
	w := s.WebhookDefaults(t)
	return w.Config, map[string]string{signatureField: w.Signature}
}

// withDefaults completes what is said of a new destination. The defaults are kept with it, so that no receiver breaks when
// they change. A field beside config that was chosen takes all of them away.
func (s *Store) withDefaults(t *Tenant, d *Destination, p DestinationPatch) DestinationPatch {
	config, beside := s.TypeDefaults(t, d.Type)
	for key := range beside {
		if raw, given := p.raw(key); given && string(raw) != "null" && string(raw) != `""` {
			return p
		}
	}
	p = maps.Clone(p)
	for key, value := range beside {
		if value != "" {
			p[key] = value
		}
	}
	var given Values
	p.read("config", &given, problems{})
	for key, value := range config {
		if _, has := given[key]; has || value == "" {
			continue
		}
		if given == nil {
			given = Values{}
		}
		given[key] = &value
		p["config"] = given
	}
	return p
}

// policyOf is when deliveries to a destination are tried again, by the rules for its tenant.
func policyOf(rules *Rules, d *Destination) RetryPolicy {
	if d.Retry != nil {
		return d.Retry.Or(rules.Retry)
	}
	return rules.Retry
}

// EnableAction is what enabling a tenant's destination does with the events held, when nobody says so.
func (s *Store) EnableAction(t *Tenant) string {
	return cmp.Or(s.RulesOf(t).EnableBacklog, BacklogDeliver)
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
	if x.Name != nil {
		checkText("name", *x.Name, maxNameLength, bad)
	}
	x.SharedSettings.check(bad)
	if most := int(s.Rules().Retention.Hours() / 24); x.RetentionDays != nil && (*x.RetentionDays < 1 || *x.RetentionDays > most) {
		bad.add("retention_days", fmt.Sprintf("must be a whole number between 1 and %d, the server's retention", most))
	}
	if x.TopicRetention != nil {
		checkTopicRetention("topic_retention", *x.TopicRetention, s.RetentionDays(), bad)
	}
	x.checkRedactions(bad)
	x.IntakeLimits().check(bad)
	if x.Signature != nil || x.HeaderPrefix != nil {
		for _, e := range s.WebhookDefaults(&Tenant{Settings: *x}).Problems() {
			bad.add(strings.TrimPrefix(e.Key, "config."), e.Message)
		}
	}
	return bad.err()
}

// TenantSettings returns a tenant's own settings.
func (s *Store) TenantSettings(ctx context.Context, scope Scope, tenantID string) (*TenantSettings, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	return &t.Settings, nil
}

// UpdateTenantSettings changes a tenant's settings as a merge patch (RFC 7396), and returns them.
// They are in force for the next attempt, and for destinations that are created from now on.
func (s *Store) UpdateTenantSettings(ctx context.Context, scope Scope, tenantID string, patch TenantSettings) (*TenantSettings, error) {
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	bad := problems{}
	if patch.SharedSettings.check(bad); bad.err() != nil { // before the database is asked to keep what it cannot
		return nil, bad.err()
	}
	given, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	var before, after TenantSettings
	err = s.changeDestinations(ctx, t, func(ctx context.Context, tx *Tx) error {
		if err := tx.Pgx.QueryRow(ctx, "select settings from tenants where key = $1", t.Key).Scan(&before); err != nil {
			return err
		}
		err := tx.Pgx.QueryRow(ctx, "update tenants set settings = (settings - $2::text[]) || $3::jsonb where key = $1 returning settings",
			t.Key, append([]string{}, patch.removed...), string(given)).Scan(&after)
		if err != nil {
			return err
		}
		if err := after.check(s); err != nil {
			return err
		}
		// Workers read a destination's policy with its version.
		_, err = tx.Pgx.Exec(ctx, "update destinations set version = version + 1 where tenant_key = $1 and deleted_at is null", t.Key)
		if changes := before.snapshot().changes(after.snapshot()); err == nil && len(changes) > 0 {
			err = tx.Audit(ctx, AuditEntry{Scope: t.Scope(), Action: "tenant.settings", Object: t.ID, Changes: changes})
		}
		if err == nil && !reflect.DeepEqual(before.IntakeLimits(), after.IntakeLimits()) {
			err = noteIntake(ctx, tx)
		}
		return err
	})
	if err == nil && s.home != nil {
		s.mirror(ctx, t.Key)
	}
	if err == nil {
		err = s.KnowIntakes(ctx) // others know within settingsEvery
	}
	return &after, err
}

// snapshot is what the audit log compares of a tenant's settings.
func (x *TenantSettings) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", x.Name)
	x.SharedSettings.set(s)
	s.set("signature", x.Signature)
	s.set("header_prefix", x.HeaderPrefix)
	s.set("redact_fields", x.RedactFields)
	s.set("redact_headers", x.RedactHeaders)
	s.set("redact_query", x.RedactQuery)
	s.set("retention_days", x.RetentionDays)
	s.set("topic_retention", ruleTexts(x.TopicRetention))
	s.set("erase_delivered", x.EraseDelivered)
	x.IntakeLimits().set(s)
	return s
}
