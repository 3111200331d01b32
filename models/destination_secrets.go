package models

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Masked returns the credentials as everybody may see them. With secrets, the ones that the owner shares with the
// receiver (a signing secret) are in full.
func (d *Destination) Masked(secrets bool) map[string]string {
	out := map[string]string{}
	r := d.Registration()
	for k, v := range d.Credentials {
		out[k] = mask(v)
		if r == nil {
			continue
		}
		for _, f := range r.Spec.Credentials {
			if f.Key == k && (!f.Sensitive || f.Shared && secrets) {
				out[k] = v
			}
		}
	}
	return out
}

// HasSharedSecret reports whether Masked shows a secret to those who may see secrets.
func (d *Destination) HasSharedSecret() bool {
	r := d.Registration()
	return r != nil && slices.ContainsFunc(r.Spec.Credentials, func(f adapters.Field) bool {
		return f.Sensitive && f.Shared &&
			d.Credentials[f.Key] != ""
	})
}

// MaskedConfig returns the config with its sensitive values masked, and what is secret in its URLs.
func (d *Destination) MaskedConfig() map[string]string {
	out := map[string]string{}
	for k, v := range d.Config {
		out[k] = outbound.MaskURL(v)
	}
	for _, f := range d.sensitiveConfig() {
		if d.Config[f.Key] != "" {
			out[f.Key] = maskField(f, d.Config[f.Key])
		}
	}
	return out
}

// unmaskURLs puts back what was masked in URLs that come back from somebody who saw them masked. What cannot be put back is
// refused: saved as it is, it would be sent as the secret.
func (v Values) unmaskURLs(current map[string]string, nameOf func(key string) string, bad problems) {
	for key, value := range v {
		if value == nil {
			continue
		}
		plain, left := outbound.UnmaskURL(current[nameOf(key)], *value)
		if left {
			bad.add("config."+key, maskedURLHelp)
		}
		v[key] = &plain
	}
}

func (d *Destination) sensitiveConfig() (fields []adapters.Field) {
	if r := d.Registration(); r != nil {
		for _, f := range r.Spec.Config {
			if f.Sensitive {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// maskField masks a field's value; of a map each value, so that its names stay readable.
func maskField(f adapters.Field, v string) string {
	var m map[string]string
	if f.Type != adapters.FieldMap || json.Unmarshal([]byte(v), &m) != nil {
		return mask(v)
	}
	for k, x := range m {
		m[k] = mask(x)
	}
	return toJSON(m)
}

// unmask puts back what was masked in a value that comes back from somebody who saw it masked.
func unmask(f adapters.Field, old, v string) string {
	if v == maskField(f, old) {
		return old
	}
	var was, is map[string]string
	if f.Type != adapters.FieldMap || json.Unmarshal([]byte(old), &was) != nil || json.Unmarshal([]byte(v), &is) != nil {
		return v
	}
	for k, x := range is {
		if was[k] != "" && x == mask(was[k]) {
			is[k] = was[k]
		}
	}
	return toJSON(is)
}

func toJSON(m map[string]string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(m) // a map of strings always prints
	return strings.TrimSpace(b.String())
}

// mask keeps enough of a secret to recognise it.
func mask(s string) string {
	if len(s) >= 16 {
		return s[:6] + maskText
	}
	if s == "" {
		return ""
	}
	return maskText
}

const (
	maskText   = "••••••"
	maskedHelp = "is masked; enter it in full"

	maskedURLHelp = "has a masked part (***); enter it in full, as it is put back for the same scheme, host and name only"
)

// isMasked reports whether a secret is what is shown in its place: here, or by Outpost, which leaves four characters of
// the longer ones. Saved as it is, it would be sent as the secret.
func isMasked(s string) bool {
	if strings.Contains(s, maskText) {
		return true
	}
	rest := strings.TrimRight(s, "*")
	return len(rest) < len(s) && (rest == "" || len(rest) == 4 && len(s) >= 10)
}

func (d *Destination) sealContext() string {
	return fmt.Sprintf("destination %d %s", d.TenantKey, d.ID)
}

// sealed is what a destination keeps encrypted: its credentials, and the config that is sensitive.
type sealed struct {
	Credentials map[string]string `json:"credentials,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// open fills in what the row alone does not hold.
func (s *Store) open(d *Destination, tenantID string) error {
	d.TenantID = tenantID
	d.Credentials, d.Config, d.Beside = TypeSettings{}, TypeSettings{}, BesideSettings{}
	if d.Signature != "" {
		d.Beside[besideColumn] = d.Signature
	}
	maps.Copy(d.Config, d.OpenConfig)
	if len(d.SealedCreds) == 0 {
		return nil
	}
	plain, err := s.Keys.Open(d.SealedCreds, d.sealContext())
	if err != nil {
		return fmt.Errorf("credentials of destination %s: %w", d.ID, err)
	}
	var in sealed
	if err := json.Unmarshal(plain, &in); err != nil {
		return fmt.Errorf("credentials of destination %s: %w", d.ID, err)
	}
	maps.Copy(d.Credentials, in.Credentials)
	maps.Copy(d.Config, in.Config)
	return nil
}

// seal makes the row of what was changed: what is sensitive is encrypted.
func (s *Store) seal(d *Destination) error {
	out := sealed{Credentials: d.Credentials, Config: map[string]string{}}
	d.OpenConfig = maps.Clone(d.Config)
	for _, f := range d.sensitiveConfig() {
		if v, has := d.Config[f.Key]; has {
			out.Config[f.Key] = v
			delete(d.OpenConfig, f.Key)
		}
	}
	if d.OpenConfig == nil {
		d.OpenConfig = map[string]string{}
	}
	d.SealedCreds, d.Signature = nil, d.Beside[besideColumn]
	if len(out.Credentials)+len(out.Config) == 0 {
		return nil
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return err
	}
	d.SealedCreds = s.Keys.Seal(plain, d.sealContext())
	return nil
}

// RevealSecret returns a destination whose secrets are to be shown; see Masked. They are not without an entry in the audit log.
func (s *Store) RevealSecret(ctx context.Context, scope Scope, tenantID, id string) (*Destination, error) {
	d, err := s.Destination(ctx, scope, tenantID, id)
	if err != nil {
		return nil, err
	}
	d.audit("destination.reveal_secret", nil)
	return d, s.InTx(ctx, func(tx *Tx) error { return tx.auditDestination(ctx, d) })
}
