package models

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Incident is a destination that somebody should look at. Each has one at most.
type Incident struct {
	Destination *Destination // its key, id, name, type and tenant, and how it was disabled
	State       string       // see IncidentStates
	Cause       string       // the last error, or why it was disabled; a short sentence
	Code        int          // of the last failure; 0 when there was no answer
	ErrorClass  string       // of the last failure; empty for none
	Advice      string
	Since       time.Time // disabled since then, or failing
	Failures    int       // deliveries in a row that failed
	Attempts    int       // and attempts
	Limit       int       // of Failures, at which it is disabled by the server; 0 for never
	Least       time.Duration
	LastFailure *time.Time
	ProbeAt     *time.Time // when the server tries next whether it works again; nil for never
	Waiting
}

// The states of incidents, in the order in which they are listed.
const (
	IncidentDisabledByServer = "disabled_by_waybill" // because it kept failing
	IncidentFailing          = "failing"             // see failingHealth
	IncidentDisabled         = "disabled"            // by a person
)

// IncidentStates lists the states.
var IncidentStates = []string{IncidentDisabledByServer, IncidentFailing, IncidentDisabled}

// Incidents are those of a scope.
type Incidents struct {
	Items  []*Incident
	Total  int            // as many there are in all
	States map[string]int // by state; each is there
}

// IncidentQuery selects incidents.
type IncidentQuery struct {
	States []string `query:"state" label:"State" api:"enum=disabled_by_waybill|failing|disabled" doc:"Only in one of these states."`
	Limit  int      // 0 for DefaultLimit
}

// incidentsSorted is among how many incidents of a state the deliveries that wait are counted to sort them. Beyond, the longest
// streaks come first.
const incidentsSorted = 2_000

// Incidents lists the destinations that somebody should look at: first those that the server disabled, then those that fail, then
// those that a person disabled; each in the order of how many deliveries wait for them.
func (s *Store) Incidents(ctx context.Context, scope Scope, iq IncidentQuery) (*Incidents, error) {
	if iq.Limit == 0 {
		iq.Limit = DefaultLimit
	}
	if iq.Limit < 1 || iq.Limit > MaxLimit {
		return nil, Invalid("limit", "must be between 1 and 1000")
	}
	if err := oneOf("state", iq.States, IncidentStates); err != nil {
		return nil, err
	}
	all, err := s.incidents(ctx, scope)
	if err != nil {
		return nil, err
	}
	out := &Incidents{States: map[string]int{}}
	for _, state := range IncidentStates {
		out.States[state] = 0
	}
	var keys []int64
	for _, x := range all {
		out.States[x.State]++
		if len(iq.States) > 0 && !slices.Contains(iq.States, x.State) {
			continue
		}
		out.Items = append(out.Items, x)
	}
	out.Total = len(out.Items)
	slices.SortStableFunc(out.Items, byState)
	for _, x := range out.Items[:min(out.Total, incidentsSorted)] {
		keys = append(keys, x.Destination.Key)
	}
	waiting, err := s.waitingOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, x := range out.Items {
		x.Waiting = waiting[x.Destination.Key]
	}
	slices.SortStableFunc(out.Items, func(a, b *Incident) int {
		if a.State != b.State {
			return byState(a, b)
		}
		return cmp.Or(b.Held+b.Retrying-a.Held-a.Retrying, byState(a, b))
	})
	out.Items = out.Items[:min(out.Total, iq.Limit)]
	return out, nil
}

func byState(a, b *Incident) int {
	return cmp.Or(slices.Index(IncidentStates, a.State)-slices.Index(IncidentStates, b.State), b.Failures-a.Failures,
		a.Since.Compare(b.Since), cmp.Compare(a.Destination.Key, b.Destination.Key))
}

// incidents reads them all, by two small indexes: the disabled and the failing destinations.
func (s *Store) incidents(ctx context.Context, scope Scope) ([]*Incident, error) {
	q := newQuery()
	q.and("d.deleted_at is null")
	q.and("t.deleted_at is null")
	scope.where(q, "d.tenant_key")
	rules := s.Rules()
	const columns = `select d.key, d.tenant_key, d.id, d.name, d.type, t.id, d.disabled_at, d.disabled_by, d.disabled_reason, d.disable_after,
		(t.settings->>'disable_after_failures')::int, t.settings->>'disable_min_duration',
		coalesce(h.failures, 0), coalesce(h.attempts, 0), h.since, h.last_failure_at, coalesce(h.code, 0), coalesce(h.error_class, ''),
		coalesce(h.error, ''), coalesce(h.advice, ''), h.probe_at`
	rows, err := s.pool.Query(ctx, columns+" from destinations d join tenants t on t.key = d.tenant_key left join destination_health h on h.destination_key = d.key"+
		q.sql()+" and d.disabled_at is not null union all "+
		columns+" from destination_health h join destinations d on d.key = h.destination_key join tenants t on t.key = d.tenant_key"+
		q.sql()+" and d.disabled_at is null and "+failingHealth, q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Incident, error) {
		d := &Destination{}
		x := &Incident{Destination: d, State: IncidentFailing}
		var since *time.Time
		var message string
		var after *int
		var least *string
		err := row.Scan(&d.Key, &d.TenantKey, &d.ID, &d.Name, &d.Type, &d.TenantID, &d.DisabledAt, &d.DisabledBy, &d.DisabledReason,
			&d.DisableAfter, &after, &least, &x.Failures, &x.Attempts, &since, &x.LastFailure, &x.Code, &x.ErrorClass, &message,
			&x.Advice, &x.ProbeAt)
		x.Cause, x.Limit, x.Least = message, d.DisableLimit(rules.DisableAfter), rules.disableLeast(least)
		if after != nil {
			x.Limit = d.DisableLimit(*after)
		}
		switch {
		case d.DisabledAt == nil && since != nil:
			x.Since = *since
		case d.DisabledAt == nil: // it works again since the row was chosen
		case d.DisabledBy == disabler:
			x.State, x.Since = IncidentDisabledByServer, *d.DisabledAt
			if x.Cause == "" {
				x.Cause = d.DisabledReason
			}
		default:
			x.State, x.Since, x.Cause = IncidentDisabled, *d.DisabledAt, d.DisabledReason
			x.ErrorClass, x.Code, x.Advice = "", 0, ""
		}
		return x, err
	})
}
