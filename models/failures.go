package models

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// FailureGroup are deliveries that have failed, or failed and are tried again, at one destination with one kind of error.
type FailureGroup struct {
	Destination *Destination // its key, id, name, type and tenant
	ErrorClass  string
	Error       string // with … for what differs from one to the next, such as ports and ids
	Example     string // one of them as it was
	Failed      int    // given up
	Retrying    int
	Last        time.Time // when the last of them was tried
}

// Failures are the groups of a span, the largest first.
type Failures struct {
	Groups       []FailureGroup
	Total        int       // deliveries, of the groups that are not shown too
	Complete     bool      // all deliveries were looked at; otherwise only those of events received from CountedSince on
	CountedSince time.Time // the start of the span, where all were looked at
}

// failuresRead is how many deliveries of each state are read, and failureGroups how many groups are told.
const (
	failuresRead  = 5_000
	failureGroups = 50
)

// Failures groups the scope's deliveries of events received since a time that have failed or are retrying. It reads the newest
// failuresRead of each.
func (s *Store) Failures(ctx context.Context, scope Scope, since time.Time) (*Failures, error) {
	lo := lowestUUID(since)
	q := newQuery()
	states := ""
	for i, status := range []string{StatusFailed, StatusRetrying} {
		sub := &query{args: q.args}
		scope.where(sub, "d.tenant_key")
		sub.and("d.attention = ?::delivery_status", status)
		sub.and("d.event_id >= ?", lo)
		if i > 0 {
			states += " union all "
		}
		states += "(select d.event_id, d.destination_key, d.attention, d.error_class, coalesce(d.error, d.reason) error, d.last_attempt_at from deliveries d" + sub.sql() +
			" order by d.event_id desc" + sub.limit(failuresRead) + ")"
		q.args = sub.args
	}
	type group struct {
		destination            int64
		status, class, message string
		n                      int
		last                   *time.Time
		oldest                 string
	}
	var list []group
	err := s.within(ctx, measureTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select destination_key, attention::text, coalesce(error_class, ''), coalesce(error, ''), count(*), max(last_attempt_at), min(event_id::text) from ("+
			states+") f group by 1, 2, 3, 4", q.args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g group, err error) {
			return g, row.Scan(&g.destination, &g.status, &g.class, &g.message, &g.n, &g.last, &g.oldest)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	type kind struct {
		destination    int64
		class, message string
	}
	out := &Failures{Complete: true, CountedSince: since}
	found := map[kind]*FailureGroup{}
	var order []kind
	states2 := map[string]int{}
	oldest := map[string]string{}
	for _, g := range list {
		k := kind{g.destination, g.class, alike(g.message)}
		f := found[k]
		if f == nil {
			f = &FailureGroup{ErrorClass: g.class, Error: k.message, Example: g.message}
			found[k] = f
			order = append(order, k)
		}
		if g.status == StatusFailed {
			f.Failed += g.n
		} else {
			f.Retrying += g.n
		}
		if g.last != nil && g.last.After(f.Last) {
			f.Last, f.Example = *g.last, g.message
		}
		out.Total += g.n
		states2[g.status] += g.n
		if o := oldest[g.status]; o == "" || g.oldest < o {
			oldest[g.status] = g.oldest
		}
	}
	for status, n := range states2 {
		if n == failuresRead {
			out.Complete = false
			out.CountedSince = later(out.CountedSince, timeInID(oldest[status]))
		}
	}
	slices.SortFunc(order, func(a, b kind) int {
		x, y := found[a], found[b]
		return cmp.Or(y.Failed+y.Retrying-x.Failed-x.Retrying, y.Last.Compare(x.Last), cmp.Compare(a.destination, b.destination),
			cmp.Compare(a.message, b.message))
	})
	order = order[:min(len(order), failureGroups)]
	keys := make([]int64, len(order))
	for i, k := range order {
		keys[i] = k.destination
	}
	named, err := s.namedDestinations(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, k := range order {
		found[k].Destination = named[k.destination]
		out.Groups = append(out.Groups, *found[k])
	}
	return out, nil
}

// differs is what differs among messages that mean the same: ids, addresses with ports, times and long numbers. The status of an
// answer stays.
var differs = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b[0-9a-fA-F]{12,}\b|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?|` +
	`\b\d+(\.\d+)? ?(ms|µs|s|m|h)\b|\b\d{4,}\b|:\d{2,5}\b`)

// alike is a message without what differs.
func alike(message string) string { return differs.ReplaceAllString(message, "…") }

// namedDestinations reads what lists show of destinations, also of deleted ones, by their keys.
func (s *Store) namedDestinations(ctx context.Context, keys []int64) (map[int64]*Destination, error) {
	rows, err := s.pool.Query(ctx, `select d.key, d.tenant_key, d.id, d.name, d.type, t.id, d.disabled_at, d.disabled_by, d.disabled_reason, d.disable_after
		from destinations d join tenants t on t.key = d.tenant_key where d.key = any($1)`, keys)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Destination, error) {
		d := &Destination{}
		return d, row.Scan(&d.Key, &d.TenantKey, &d.ID, &d.Name, &d.Type, &d.TenantID, &d.DisabledAt, &d.DisabledBy, &d.DisabledReason,
			&d.DisableAfter)
	})
	out := make(map[int64]*Destination, len(list))
	for _, d := range list {
		out[d.Key] = d
	}
	return out, err
}
