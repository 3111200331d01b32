package models

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// maxKeyAddresses is how many addresses a key may be bound to.
const maxKeyAddresses = 100

// KeyExpiresSoon is how long before a key expires somebody is told.
const KeyExpiresSoon = 7 * 24 * time.Hour

// useEvery is how often it is written down at most that a key is used.
const useEvery = time.Minute

// KeyRules are what binds a key beside its permissions.
type KeyRules struct {
	ID        uuid.UUID
	Addresses []netip.Prefix // from which it may be used; empty for anywhere
	Intake    Intake
}

// rules are those of the key; nil for none.
func (k *APIKey) rules() *KeyRules {
	r := &KeyRules{k.ID, k.Addresses, k.Limits.Over(Intake{})}
	if len(r.Addresses) == 0 && r.Intake.None() {
		return nil
	}
	return r
}

// CheckAddress refuses an address from which the actor's key may not be used.
func (a *Actor) CheckAddress(client netip.Addr) error {
	if a.Key == nil || len(a.Key.Addresses) == 0 {
		return nil
	}
	client = client.Unmap().WithZone("")
	if slices.ContainsFunc(a.Key.Addresses, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return nil
	}
	return &Error{Kind: KindForbidden, Message: fmt.Sprintf("%s may not be used from %s, which is not among its addresses.", a.Name, client)}
}

// AddressTexts are the addresses from which the key may be used, those of one host without "/32".
func (k *APIKey) AddressTexts() []string {
	out := make([]string, len(k.Addresses))
	for i, p := range k.Addresses {
		if out[i] = p.String(); p.IsSingleIP() {
			out[i] = p.Addr().String()
		}
	}
	return out
}

// ExpiresSoon reports whether a key that is in force expires within KeyExpiresSoon.
func (k *APIKey) ExpiresSoon(now time.Time) bool {
	return k.State(now) == "active" && k.ExpiresAt != nil && k.ExpiresAt.Sub(now) < KeyExpiresSoon
}

// tooOld is the error of a key that has expired.
func (k *APIKey) tooOld() error {
	return &Error{Kind: KindUnauthorized, Message: fmt.Sprintf(
		"This API key expired on %s UTC. Use another one, or have its date changed (PATCH /api-keys/%s).",
		k.ExpiresAt.UTC().Format("2 January 2006 at 15:04"), k.ID)}
}

// keyAddresses reads addresses and CIDRs. A CIDR whose host part is not zero is a mistake more often than not.
func keyAddresses(given []string, bad problems) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(given))
	if len(given) > maxKeyAddresses {
		bad.add("addresses", fmt.Sprintf("must be at most %d", maxKeyAddresses))
		return out
	}
	for i, s := range given {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			a = a.Unmap()
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
			if a.Zone() != "" {
				err = aerr
				bad.add(fmt.Sprintf("addresses[%d]", i), "must have no zone")
			}
		}
		switch {
		case err != nil || !p.IsValid():
			bad.add(fmt.Sprintf("addresses[%d]", i), "must be an address or a CIDR, like 192.0.2.7 or 192.0.2.0/24")
		case p != p.Masked():
			bad.add(fmt.Sprintf("addresses[%d]", i), fmt.Sprintf("has bits behind its length: write %s for the network, or %s for the one address",
				p.Masked(), p.Addr()))
		case p.Addr().Is4In6():
			bad.add(fmt.Sprintf("addresses[%d]", i), "must be written as IPv4")
		case !slices.Contains(out, p):
			out = append(out, p)
		}
	}
	return out
}

// checkExpiry reports a date that is no use.
func checkExpiry(k *APIKey, bad problems) {
	if k.ExpiresAt == nil {
		return
	}
	switch at := k.ExpiresAt.UTC(); {
	case !at.After(time.Now()):
		bad.add("expires_at", "must be in the future; to end a key, revoke it")
	case at.Year() > 9999:
		bad.add("expires_at", "must be before the year 10000; null for never")
	}
}

func (in *APIKeyInput) limits() IntakeLimits {
	return IntakeLimits{in.RequestsPerSecond, in.EventsPerSecond, in.BytesPerSecond, in.LimitBurst}
}

// APIKeyPatch changes a key as a merge patch (RFC 7396): what is nil stays as it is.
type APIKeyPatch struct {
	Name      *string       `json:"name" doc:"For people."`
	Scopes    *[]Permission `json:"scopes" doc:"What it may do; 'admin' includes everything."`
	ExpiresAt *time.Time    `json:"expires_at" doc:"Until when it is valid; null for ever. A key that has expired works again with a later date."`
	Addresses *[]string     `json:"addresses" doc:"Addresses and CIDRs from which it may be used; null or empty for anywhere."`

	RequestsPerSecond *int      `json:"requests_per_second" doc:"Requests with it in a second; null or 0 for no limit."`
	EventsPerSecond   *int      `json:"events_per_second" doc:"Events that are published with it in a second; null or 0 for no limit."`
	BytesPerSecond    *int      `json:"bytes_per_second" doc:"Bytes of such events in a second; null or 0 for no limit."`
	LimitBurst        *Duration `json:"limit_burst" doc:"How many seconds' worth of these three may come at once; null for '10s'."`

	removed []string // fields that were given as null
}

// Remove notes that a field was given as null.
func (p *APIKeyPatch) Remove(field string) { p.removed = append(p.removed, field) }

// apply changes the key, and reports what is wrong.
func (p *APIKeyPatch) apply(actor *Actor, k *APIKey) error {
	bad := problems{}
	for _, field := range p.removed {
		switch field {
		case "name", "scopes":
			bad.add(field, "is required")
		case "expires_at":
			k.ExpiresAt = nil
		case "addresses":
			k.Addresses = []netip.Prefix{}
		case "requests_per_second":
			k.Limits.RequestsPerSecond = nil
		case "events_per_second":
			k.Limits.EventsPerSecond = nil
		case "bytes_per_second":
			k.Limits.BytesPerSecond = nil
		case "limit_burst":
			k.Limits.LimitBurst = nil
		}
	}
	if p.Name != nil {
		k.Name = *p.Name
		checkKeyName(k.Name, bad)
	}
	if p.Scopes != nil {
		checkScopes(actor, *p.Scopes, k.Scopes, bad)
		k.Scopes = *p.Scopes
	}
	if p.ExpiresAt != nil {
		k.ExpiresAt = p.ExpiresAt
		checkExpiry(k, bad)
	}
	if p.Addresses != nil {
		k.Addresses = keyAddresses(*p.Addresses, bad)
	}
	for _, f := range []struct{ from, to **int }{{&p.RequestsPerSecond, &k.Limits.RequestsPerSecond},
		{&p.EventsPerSecond, &k.Limits.EventsPerSecond}, {&p.BytesPerSecond, &k.Limits.BytesPerSecond}} {
		if *f.from != nil {
			*f.to = *f.from
		}
	}
	if p.LimitBurst != nil {
		k.Limits.LimitBurst = p.LimitBurst
	}
	k.Limits.check(bad)
	return bad.err()
}

func checkKeyName(name string, bad problems) {
	if name == "" {
		bad.add("name", "is required")
	}
	checkText("name", name, maxNameLength, bad)
}

// checkScopes reports permissions that do not exist, and those that the actor cannot give away. What the key has already may stay.
func checkScopes(actor *Actor, scopes, before []Permission, bad problems) {
	if len(scopes) == 0 {
		bad.add("scopes", "must name at least one of publish, read, write, retry, admin")
	}
	for _, p := range scopes {
		if !slices.Contains(Permissions, p) {
			bad.add("scopes", "must be some of publish, read, write, retry, admin")
		} else if !actor.Can(p) && !slices.Contains(before, p) {
			bad.add("scopes", "cannot include "+string(p)+", which you do not have yourself")
		}
	}
}

// snapshot is what the audit log compares of a key.
func (k *APIKey) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", k.Name)
	s.set("scopes", k.Scopes)
	s.set("expires_at", k.ExpiresAt)
	s.set("addresses", k.AddressTexts())
	k.Limits.set(s)
	return s
}

// APIKey returns a key, also one that is over.
func (s *Store) APIKey(ctx context.Context, scope Scope, id string) (*APIKey, error) {
	s = s.root()
	return s.apiKey(ctx, s.pool, scope, id, "")
}

func (s *Store) apiKey(ctx context.Context, db querier, scope Scope, id, lock string) (*APIKey, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return nil, notFound("There is no API key %q.", cut(id, 80))
	}
	q := newQuery()
	q.and("k.id = ?", u)
	scope.where(q, "k.tenant_key")
	rows, err := db.Query(ctx, apiKeySelect+q.sql()+lock, q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanAPIKey)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFound("There is no API key %q.", cut(id, 80))
	}
	return list[0], nil
}

// UpdateAPIKey changes a key. Other processes notice within keyMemory.
func (s *Store) UpdateAPIKey(ctx context.Context, actor *Actor, id string, patch APIKeyPatch) (*APIKey, error) {
	s = s.root()
	var k *APIKey
	err := s.InTx(ctx, func(tx *Tx) (err error) {
		if k, err = s.apiKey(ctx, tx, actor.Scope, id, " for update of k"); err != nil {
			return err
		}
		if k.RevokedAt != nil {
			return conflict("This API key was revoked, which is for good. Create another one.")
		}
		before := k.snapshot()
		if err := patch.apply(actor, k); err != nil {
			return err
		}
		changes := before.changes(k.snapshot())
		if len(changes) == 0 {
			return nil
		}
		tx.AfterCommit(s.known.forget)
		if _, err := tx.Exec(ctx, "update api_keys set name = $2, scopes = $3, expires_at = $4, addresses = $5, limits = $6 where id = $1", k.ID,
			k.Name, k.Scopes, k.ExpiresAt, k.Addresses, k.Limits); err != nil {
			return err
		}
		entry := k.entry("api_key.update")
		entry.Changes = changes
		return tx.Audit(ctx, entry)
	})
	return k, err
}

// noteUse writes down that a key is used, while its caller goes on.
func (s *Store) noteUse(id uuid.UUID) {
	s.known.uses.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// What cannot be written now is written with a later use.
		_, _ = s.pool.Exec(ctx, "update api_keys set last_used_at = now() where id = $1 and (last_used_at is null or last_used_at < now() - $2::interval)",
			id, useEvery)
	})
}

// checkKeys looks for keys that expire soon.
func (s *Store) checkKeys(ctx context.Context, f *findings, _ time.Time) error {
	names, err := s.names(ctx, `select format('key %s (%s)%s, made by %s: %s UTC', k.name, k.hint, ' of tenant ' || t.id, k.created_by,
				to_char(k.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
			from api_keys k left join tenants t on t.key = k.tenant_key
			where k.revoked_at is null and k.expires_at between now() and now() + $1::interval and (t.key is null or t.deleted_at is null)
			order by k.expires_at`, KeyExpiresSoon)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		f.add("api_keys", LevelOK, "No API key expires within 7 days.", "")
		return nil
	}
	f.add("api_keys", LevelWarn, fmt.Sprintf("API keys that expire within 7 days: %d. Whoever uses them is refused then.", len(names)),
		"Give their users new keys, or these a later date: PATCH /api-keys/{id}, or the page of API keys.",
		names[:min(len(names), maxExamples)]...)
	return nil
}
