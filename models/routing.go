package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
)

// route is a destination as routing sees it.
type route struct {
	key       int64
	id        string
	topics    []string
	filter    *filter.Filter // nil for none
	filterKey int64
	ordered   bool   // keeps the order of events with one ordering key
	held      string // why its events are held; empty when it is active
}

// routes are a tenant's destinations, compiled for one version of the tenant.
type routes struct {
	version  int64
	all      []*route            // in the order in which they were created
	patterns []*route            // subscribe to patterns of topics, and maybe to topics besides
	byTopic  map[string][]*route // those that subscribe to a topic by name
	every    []*route            // those that take every topic
	byID     map[string]*route
}

// routeCache keeps compiled destinations by tenant. An entry is only used when its version is the one that the
// accepting transaction read, so that it needs no invalidation.
type routeCache struct {
	mu sync.RWMutex
	m  map[int64]*routes
}

// maxCachedTenants bounds the cache; past it, some tenant is compiled anew for its next event.
const maxCachedTenants = 20_000

func (c *routeCache) get(tenantKey, version int64) *routes {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if r := c.m[tenantKey]; r != nil && r.version == version {
		return r
	}
	return nil
}

func (c *routeCache) put(tenantKey int64, r *routes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[int64]*routes{}
	}
	if len(c.m) >= maxCachedTenants {
		for k := range c.m {
			delete(c.m, k)
			break
		}
	}
	c.m[tenantKey] = r
}

// loadRoutes compiles a tenant's destinations as the transaction sees them.
func loadRoutes(ctx context.Context, tx *pgx.Conn, tenantKey, version int64) (*routes, error) {
	rows, err := tx.Query(ctx, `select key, id, topics, filter, coalesce(filter_key, 0), disabled_at, disabled_reason, disabled_by, ordered
		from destinations where tenant_key = $1 and deleted_at is null order by key`, tenantKey)
	if err != nil {
		return nil, err
	}
	r := &routes{version: version, byTopic: map[string][]*route{}, byID: map[string]*route{}}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		d, err := scanRoute(row)
		if err != nil {
			return struct{}{}, err
		}
		r.add(d)
		return struct{}{}, nil
	})
	return r, err
}

func scanRoute(row pgx.CollectableRow) (*route, error) {
	d := &route{}
	var raw json.RawMessage
	var disabledAt *time.Time
	var reason, by string
	if err := row.Scan(&d.key, &d.id, &d.topics, &raw, &d.filterKey, &disabledAt, &reason, &by, &d.ordered); err != nil {
		return nil, err
	}
	if disabledAt != nil {
		d.held = heldReason(*disabledAt, reason, by)
	}
	if len(raw) > 0 {
		f, err := filter.Parse(raw)
		if err != nil {
			// Filters are checked when they are saved. One that this build cannot read must not let events through:
			// they are held, and say why.
			d.held = "The filter cannot be read by this version of the server: " + err.Error()
		}
		if !f.IsEmpty() {
			d.filter = f
		}
	}
	return d, nil
}

func (r *routes) add(d *route) {
	r.all = append(r.all, d)
	r.byID[d.id] = d
	switch {
	case slices.Contains(d.topics, AllTopics):
		r.every = append(r.every, d)
		return
	case slices.ContainsFunc(d.topics, isPattern):
		r.patterns = append(r.patterns, d)
		return
	}
	for _, t := range d.topics {
		r.byTopic[t] = append(r.byTopic[t], d)
	}
}

// heldReason says why a disabled destination's events are held.
func heldReason(at time.Time, reason, by string) string {
	s := "The destination has been disabled since " + at.UTC().Format("2006-01-02 15:04 UTC")
	if by != "" {
		s += " by " + by
	}
	if reason != "" {
		s += ": " + reason
	}
	return s
}

// verdict is what routing decided for one destination.
type verdict struct {
	to     *route
	failed string // the filter failed at run time: why; the delivery fails with it and nothing is sent
}

// match decides where an event goes. The destinations that a filter held back are returned as the keys of those
// filters. A test goes to its destination whatever that subscribes to. count, which may be nil, is told of each
// destination whose filter does not let the event through, with the rule that decided, or 0 when the filter failed.
func (r *routes) match(in *PublishInput, doc func() *filter.Doc, count func(d *route, rule int)) (to []verdict, filteredBy []int64) {
	consider := func(d *route) {
		if d.filter == nil || in.Trigger == TriggerTest {
			to = append(to, verdict{to: d})
			return
		}
		res := d.filter.Match(doc())
		switch {
		case res.Failed != nil:
			to = append(to, verdict{d, "The filter failed: " + res.Failed.Error()})
			res.Rule = 0
		case res.Match:
			to = append(to, verdict{to: d})
		default:
			filteredBy = append(filteredBy, d.filterKey)
		}
		if !res.Match && count != nil {
			count(d, res.Rule)
		}
	}
	if in.DestinationID != "" {
		d := r.byID[in.DestinationID]
		if in.Trigger == TriggerTest || Subscribes(d.topics, in.Topic) {
			consider(d)
		}
		return to, filteredBy
	}
	for _, d := range r.every {
		consider(d)
	}
	if in.Topic != "" {
		for _, d := range r.byTopic[in.Topic] {
			consider(d)
		}
		for _, d := range r.patterns {
			if Subscribes(d.topics, in.Topic) {
				consider(d)
			}
		}
	}
	return to, filteredBy
}

// checkFilter checks a filter that somebody wrote and returns it as it is stored; nil for none. at is where the mistake
// is, if it has a place.
func checkFilter(raw json.RawMessage, bad problems) (checked json.RawMessage, at *Position) {
	f, err := filter.ParseNew(raw)
	if err != nil {
		bad.add("filter", filterMessage(err))
		return nil, filterPosition(err)
	}
	if f.IsEmpty() {
		return nil, nil
	}
	return raw, nil
}

// filterMessage is what is wrong with a filter, with its place.
func filterMessage(err error) string {
	var fe *filter.Error
	if !errors.As(err, &fe) {
		return err.Error()
	}
	switch {
	case fe.Line > 0:
		return fmt.Sprintf("cannot be understood: %s (line %d, column %d)", fe.Message, fe.Line, fe.Column)
	case fe.Path != "":
		return fmt.Sprintf("cannot be understood: %s (at %s)", fe.Message, fe.Path)
	}
	return "cannot be understood: " + fe.Message
}
