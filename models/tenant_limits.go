package models

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// RetryLimits are a tenant's limits of manual retries, in its settings. Those that are nil are the server's; an operator may set
// them above or below these.
type RetryLimits struct {
	ManualRetryLimit     *int `json:"manual_retry_limit,omitempty"`      // manual retries of one delivery; 0 for no limit
	ManualRetriesPerHour *int `json:"manual_retries_per_hour,omitempty"` // of the tenant, single and in bulk; 0 for no limit
	BulkRetryLimit       *int `json:"bulk_retry_limit,omitempty"`        // deliveries of one bulk retry
}

// The names of the limits, in settings and as fields of destinations, and what the server's are called.
const (
	limitPerDelivery = "manual_retry_limit"
	limitPerHour     = "manual_retries_per_hour"
	limitPerBulk     = "bulk_retry_limit"

	limitDestinations = "destination_limit"
)

var serverLimits = map[string]string{limitPerDelivery: "MANUAL_RETRY_LIMIT", limitPerHour: "MANUAL_RETRIES_PER_HOUR",
	limitPerBulk: "BULK_RETRY_LIMIT"}

// Limit is how many there may be, and whose rule that is.
type Limit struct {
	Most  int    // 0 for no limit
	name  string // of the setting
	where string // what is to be changed for another limit, in words
}

// Rule names the setting, and says where it is changed.
func (l Limit) Rule() string { return l.where }

// atMost is the limit as a number to compare with.
func (l Limit) atMost() int {
	switch {
	case l.Most != 0:
		return l.Most
	case l.name == limitPerDelivery:
		return math.MaxInt16 // what the column holds
	}
	return math.MaxInt32
}

// AppliedLimits are the limits of manual retries that are in force for a tenant.
type AppliedLimits struct {
	PerDelivery, PerHour, PerBulk Limit
}

// Limits returns the limits of manual retries that are in force for a tenant.
func (s *Store) Limits(ctx context.Context, tenant int64) (AppliedLimits, error) {
	return s.limits(ctx, s.pool, tenant)
}

func (s *Store) limits(ctx context.Context, db querier, tenant int64) (l AppliedLimits, err error) {
	rows, err := db.Query(ctx, "select id, settings from tenants where key = $1", tenant)
	if err != nil {
		return l, err
	}
	var id string
	var own RetryLimits
	_, err = pgx.ForEachRow(rows, []any{&id, &own}, func() error { return nil })
	of := func(name string, server int, own *int) Limit {
		if own != nil {
			return Limit{*own, name,
				fmt.Sprintf("%s in the settings of tenant %s, which an operator changes with PATCH /tenants/%s/settings", name, id, id)}
		}
		return Limit{server, name,
			serverLimits[name] + " of the server, which an operator changes, for all tenants in its environment or for one in the tenant's settings"}
	}
	l = AppliedLimits{of(limitPerDelivery, s.Rules().ManualRetryLimit, own.ManualRetryLimit),
		of(limitPerHour, s.Rules().HourlyRetryLimit, own.ManualRetriesPerHour),
		of(limitPerBulk, s.Rules().BulkRetryLimit, own.BulkRetryLimit)}
	return l, err
}

// LimitsOf returns the limits of manual retries that are in force for a destination.
func (s *Store) LimitsOf(ctx context.Context, d *Destination) (AppliedLimits, error) {
	l, err := s.Limits(ctx, d.TenantKey)
	l.PerDelivery, l.PerHour = l.PerDelivery.Below(d.ManualRetryLimit, d.ID), l.PerHour.Below(d.ManualRetriesPerHour, d.ID)
	return l, err
}

// Below is the limit of a destination: its own, if that is the stricter one.
func (l Limit) Below(own *int, destination string) Limit {
	if own == nil || l.Most != 0 && *own >= l.Most {
		return l
	}
	return Limit{*own, l.name, l.name + " of destination " + destination + ", which is changed in its settings"}
}

// checkRetryLimits holds a destination's own limits against its tenant's. What was so already may be sent along.
func (s *Store) checkRetryLimits(ctx context.Context, d *Destination, before *DestinationFields, bad problems) error {
	raised := func(now, before *int) bool { return now != nil && (before == nil || *now != *before) }
	perDelivery, perHour := raised(d.ManualRetryLimit, before.ManualRetryLimit), raised(d.ManualRetriesPerHour, before.ManualRetriesPerHour)
	if !perDelivery && !perHour {
		return nil
	}
	limits, err := s.Limits(ctx, d.TenantKey)
	if err != nil {
		return err
	}
	if l := limits.PerDelivery; perDelivery && *d.ManualRetryLimit > l.atMost() {
		bad.add(l.name, fmt.Sprintf("must be at most %d (%s)", l.Most, l.Rule()))
	}
	if l := limits.PerHour; perHour && *d.ManualRetriesPerHour > l.atMost() {
		bad.add(l.name, fmt.Sprintf("must be at most %d (%s)", l.Most, l.Rule()))
	}
	return nil
}

// checkDestinationLimit refuses another destination of a tenant that has as many as it may have. Nobody else changes its
// destinations meanwhile; see changeDestinations.
func (s *Store) checkDestinationLimit(ctx context.Context, tx *Tx, t *Tenant) error {
	var own *int
	err := tx.Pgx.QueryRow(ctx, "select (settings->>'destination_limit')::int from tenants where key = $1", t.Key).Scan(&own)
	if err != nil {
		return err
	}
	most, where := s.Rules().DestinationLimit, "DESTINATION_LIMIT in the server's environment, or destination_limit in the tenant's settings"
	if own != nil {
		most, where = *own, "destination_limit in the tenant's settings"
	}
	if most == 0 {
		return nil
	}
	var n int
	err = tx.Pgx.QueryRow(ctx, "select count(*) from destinations where tenant_key = $1 and deleted_at is null", t.Key).Scan(&n)
	if err != nil || n < most {
		return err
	}
	return &Error{Kind: KindInvalid, Message: fmt.Sprintf(
		"Tenant %s has %s and may have %d. Delete one that is not needed, or ask the operator for more (%s).",
		t.ID, countOf(n, "destination", "destinations"), most, where),
		Fields: map[string]string{limitDestinations: fmt.Sprintf("is reached: %d", most)}}
}
