package models

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// IntakeLimits are how much an API key, or all who call for a tenant, may send to the API in a second. Of a tenant's, those that
// are nil are the server's; of a key's, there is no limit.
type IntakeLimits struct {
	RequestsPerSecond *int      `json:"requests_per_second,omitempty"`
	EventsPerSecond   *int      `json:"events_per_second,omitempty"`
	BytesPerSecond    *int      `json:"bytes_per_second,omitempty"`
	LimitBurst        *Duration `json:"limit_burst,omitempty"` // so many seconds' worth may come at once
}

// Intake are limits as they are in force. Its zero value is no limit.
type Intake struct {
	Requests, Events, Bytes int           // a second; 0 for no limit
	Burst                   time.Duration // so many seconds' worth may come at once
}

// DefaultBurst is how many seconds' worth may come at once where nobody says.
const DefaultBurst = 10 * time.Second

// What the limits may be.
const (
	MaxRequestsPerSecond = 1_000_000
	MaxEventsPerSecond   = 10_000_000
	LeastBytesPerSecond  = 1024
	MaxBytesPerSecond    = 10_000_000_000
	LeastBurst           = time.Second
	MaxBurst             = time.Hour
)

// None reports whether there is no limit at all.
func (i Intake) None() bool { return i.Requests == 0 && i.Events == 0 && i.Bytes == 0 }

// Over are these limits where they say something, and those below elsewhere.
func (l IntakeLimits) Over(below Intake) Intake {
	for _, f := range []struct {
		own *int
		to  *int
	}{{l.RequestsPerSecond, &below.Requests}, {l.EventsPerSecond, &below.Events}, {l.BytesPerSecond, &below.Bytes}} {
		if f.own != nil {
			*f.to = *f.own
		}
	}
	if l.LimitBurst != nil {
		below.Burst = time.Duration(*l.LimitBurst)
	}
	if below.Burst == 0 {
		below.Burst = DefaultBurst
	}
	return below
}

// check reports what is wrong with the limits.
func (l IntakeLimits) check(bad problems) {
	for _, f := range []struct {
		name        string
		value       *int
		least, most int
	}{{"requests_per_second", l.RequestsPerSecond, 1, MaxRequestsPerSecond}, {"events_per_second", l.EventsPerSecond, 1, MaxEventsPerSecond},
		{"bytes_per_second", l.BytesPerSecond, LeastBytesPerSecond, MaxBytesPerSecond}} {
		if f.value != nil && *f.value != 0 && (*f.value < f.least || *f.value > f.most) {
			bad.add(f.name, fmt.Sprintf("must be a whole number between %d and %d, or 0 for no limit", f.least, f.most))
		}
	}
	if b := l.LimitBurst; b != nil && (time.Duration(*b) < LeastBurst || time.Duration(*b) > MaxBurst ||
		time.Duration(*b)%time.Second != 0) {
		bad.add("limit_burst", "must be whole seconds between 1s and 1h")
	}
}

// set tells a snapshot for the audit log.
func (l IntakeLimits) set(s *snapshot) {
	s.set("requests_per_second", l.RequestsPerSecond)
	s.set("events_per_second", l.EventsPerSecond)
	s.set("bytes_per_second", l.BytesPerSecond)
	s.set("limit_burst", l.LimitBurst)
}

// IntakeLimits are the limits among a tenant's settings.
func (x *TenantSettings) IntakeLimits() IntakeLimits {
	return IntakeLimits{x.RequestsPerSecond, x.EventsPerSecond, x.BytesPerSecond, x.LimitBurst}
}

// intakeVersion is the setting that rises with each change of a tenant's limits.
const intakeVersion = "tenant_intake_version"

// tenantIntakes are the limits of the tenants that have some of their own. While there are none, a request costs one look at a
// pointer.
type tenantIntakes struct {
	own   atomic.Pointer[map[string]Intake] // by the tenant's id
	share intakeShare                       // of these, and of keys' limits

	mu      sync.Mutex // of who reads them
	version int64      // of what was read last
}

// LimitsTenants reports whether there is a tenant whose intake is limited.
func (s *Store) LimitsTenants() bool {
	return !s.Rules().Intake.None() || s.root().intakes.own.Load() != nil
}

// TenantIntake are the limits that are in force for a tenant, those that it has itself or the server's.
func (s *Store) TenantIntake(tenantID string) Intake {
	if own := s.root().intakes.own.Load(); own != nil {
		if i, has := (*own)[tenantID]; has {
			return i
		}
	}
	return s.Rules().Intake
}

// KnowIntakes reads the limits of tenants, if they have changed since they were read last.
func (s *Store) KnowIntakes(ctx context.Context) error {
	s = s.root()
	s.intakes.mu.Lock()
	defer s.intakes.mu.Unlock()
	var version int64
	if _, err := s.Setting(ctx, intakeVersion, &version); err != nil || version == s.intakes.version {
		return err
	}
	rows, err := s.pool.Query(ctx, `select id, settings from tenants where deleted_at is null
		and settings ?| '{requests_per_second,events_per_second,bytes_per_second,limit_burst}'`)
	if err != nil {
		return err
	}
	own := map[string]Intake{}
	var id string
	var limits IntakeLimits
	if _, err := pgx.ForEachRow(rows, []any{&id, &limits}, func() error {
		own[id] = limits.Over(s.Rules().Intake)
		limits = IntakeLimits{}
		return nil
	}); err != nil {
		return err
	}
	if len(own) == 0 {
		s.intakes.own.Store(nil)
	} else {
		s.intakes.own.Store(&own)
	}
	s.intakes.version = version
	return nil
}

// knowIntakesAgain applies the limits of tenants over others of the server.
func (s *Store) knowIntakesAgain(ctx context.Context) error {
	s.intakes.mu.Lock()
	s.intakes.version = -1
	s.intakes.mu.Unlock()
	return s.KnowIntakes(ctx)
}

// knows reports whether the limits were read since they changed last.
func (k *tenantIntakes) knows(version int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version == version
}

// noteIntake tells all processes that a tenant's limits are others now.
func noteIntake(ctx context.Context, tx *Tx) error {
	return raiseSetting(ctx, tx, intakeVersion)
}
