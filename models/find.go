package models

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// What can be found.
const (
	FoundTenant       = "tenant"
	FoundDestination  = "destination"
	FoundTopic        = "topic"
	FoundEvent        = "event"
	FoundDelivery     = "delivery"
	FoundAttempt      = "attempt"
	FoundRetry        = "retry"
	FoundAlert        = "alert"
	FoundRule         = "alert_rule"
	FoundChannel      = "channel"
	FoundNotification = "notification"
	FoundEntry        = "audit_entry"
)

// FoundKinds lists what can be found.
var FoundKinds = []string{FoundTenant, FoundDestination, FoundTopic, FoundEvent, FoundDelivery, FoundAttempt, FoundRetry, FoundAlert,
	FoundRule, FoundChannel, FoundNotification, FoundEntry}

// Found is something that a text leads to.
type Found struct {
	Kind     string
	ID       string // of a topic its name
	TenantID string // empty for what belongs to the whole server
	Title    string // what people call it
	Detail   string // a few words beside it; may be empty
	EventID  string // of the event of a delivery; empty for others
}

// The groups of a FindResult.
const (
	FoundByID    = "ids"
	FoundTenants = "tenants"
	FoundDests   = "destinations"
	FoundTopics  = "topics"
)

// FoundGroups lists the groups of a FindResult, in their order.
var FoundGroups = []string{FoundByID, FoundTenants, FoundDests, FoundTopics}

// FoundGroup is what was found of one kind, the best first.
type FoundGroup struct {
	Group string // one of FoundGroups
	Items []Found
	More  bool // there are more
}

// FindResult is what a text leads to, by groups that are not empty.
type FindResult struct {
	Groups   []FoundGroup
	Complete bool // false when it took too long to look everywhere
}

// Limits of finding.
const (
	foundMost    = 5               // of a group
	foundTime    = 2 * time.Second // for everything
	foundLooked  = 200             // destinations that may match, which are looked at closely
	maxFoundText = 200
)

// Find looks for a text: the id of anything, part of the name or id of a tenant, destination or topic, a tenant's metadata, a
// destination's type or host. It sees what the scope sees. A text in capitals is the same as one in small letters.
func (s *Store) Find(ctx context.Context, scope Scope, text string) (*FindResult, error) {
	text = strings.TrimSpace(text)
	bad := problems{}
	checkText("q", text, maxFoundText, bad)
	if text == "" {
		bad.add("q", "is required: a name, part of it, or an id")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	out := &FindResult{Complete: true}
	bounded, cancel := context.WithTimeout(ctx, foundTime)
	defer cancel()
	for _, g := range []struct {
		name string
		find func(context.Context, Scope, string) ([]Found, error)
	}{{FoundByID, s.findIDs}, {FoundTenants, s.findTenants}, {FoundDests, s.findDestinations}, {FoundTopics, s.findTopics}} {
		list, err := g.find(bounded, scope, text)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			out.Complete = false
			break
		}
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			out.Groups = append(out.Groups, FoundGroup{g.name, list[:min(len(list), foundMost)], len(list) > foundMost})
		}
	}
	return out, nil
}

// FindID returns what has this id, or nil. Of events with the same id of several tenants it is the newest.
func (s *Store) FindID(ctx context.Context, scope Scope, id string) (*Found, error) {
	list, err := s.findIDs(ctx, scope, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// findIDs finds what has this id. What the id cannot be of is not asked for; a publisher's and a platform's own may be any.
func (s *Store) findIDs(ctx context.Context, scope Scope, id string) ([]Found, error) {
	if len(id) > maxIDLength || !idChars.match(id) {
		return nil, nil
	}
	var out []Found
	add := func(f Found, err error) error {
		if err == nil {
			out = append(out, f)
		}
		if IsKind(err, KindNotFound) || errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	}
	for _, look := range []func() error{
		func() error {
			e, err := s.event(ctx, scope, id)
			if err != nil {
				return add(Found{}, err)
			}
			return add(Found{Kind: FoundEvent, ID: e.ID, TenantID: e.TenantID, Title: cmp.Or(e.Topic, e.ID), Detail: e.ID}, nil)
		},
		func() error {
			d, err := s.findDestination(ctx, scope, id)
			return add(d, err)
		},
		func() error {
			if _, ok := parseDeliveryID(id); !ok {
				return nil
			}
			d, err := s.Delivery(ctx, scope, id)
			if err != nil {
				return add(Found{}, err)
			}
			return add(Found{Kind: FoundDelivery, ID: d.ID(), TenantID: d.TenantID, Title: cmp.Or(d.Topic, d.PublicEventID),
				Detail: d.DestinationID + ", " + d.Status, EventID: d.PublicEventID}, nil)
		},
		func() error {
			if _, _, ok := parseAttemptID(id); !ok {
				return nil
			}
			at, err := s.Attempt(ctx, scope, id)
			if err != nil {
				return add(Found{}, err)
			}
			return add(Found{Kind: FoundAttempt, ID: at.ID(), TenantID: at.TenantID, Title: at.DestinationID,
				Detail: at.PublicEventID + ", " + at.Status()}, nil)
		},
		func() error { return add(s.findNamed(ctx, scope, id)) },
	} {
		if err := look(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// findDestination finds a destination by its id; of several tenants' with the same id the newest.
func (s *Store) findDestination(ctx context.Context, scope Scope, id string) (Found, error) {
	q := newQuery()
	q.and("d.id = ?", id)
	q.and("d.deleted_at is null")
	scope.where(q, "d.tenant_key")
	f := Found{Kind: FoundDestination}
	var name string
	err := s.pool.QueryRow(ctx,
		"select d.id, t.id, d.name, d.type from destinations d join tenants t on t.key = d.tenant_key"+q.sql()+" order by d.key desc limit 1", q.args...).
		Scan(&f.ID, &f.TenantID, &name, &f.Detail)
	f.Title = cmp.Or(name, f.ID)
	return f, err
}

// foundTables are the tables in which an id with a prefix is looked up: SQL for who owns it, its title and a few words.
var foundTables = map[string]struct{ kind, table, owner, title, detail string }{
	retryPrefix:        {FoundRetry, "bulk_retries", "tenant_key", "actor", "status"},
	alertPrefix:        {FoundAlert, "alerts", "owner_key", "summary", "status"},
	notificationPrefix: {FoundNotification, "notifications", "owner_key", "kind", "status"},
	auditPrefix:        {FoundEntry, "audit", "coalesce(tenant_key, 0)", "action", "actor"},
	rulePrefix:         {FoundRule, "alert_rules", "owner_key", "name", "kind"},
	channelPrefix:      {FoundChannel, "channels", "owner_key", "name", "type"},
}

// findNamed finds what has an id with a prefix of its own.
func (s *Store) findNamed(ctx context.Context, scope Scope, id string) (f Found, err error) {
	prefix, _, _ := strings.Cut(id, "_")
	t, known := foundTables[prefix+"_"]
	if !known {
		return f, pgx.ErrNoRows
	}
	var key any = id // of rules and channels, which are texts
	if t.kind != FoundRule && t.kind != FoundChannel {
		u, ok := parsePrefixed(prefix+"_", id)
		if !ok {
			return f, pgx.ErrNoRows
		}
		key = u
	}
	q := newQuery()
	q.and("x.id = ?", key)
	scope.where(q, t.owner) // owners are tenants, or the operators, whom only they see
	f.Kind, f.ID = t.kind, id
	err = s.pool.QueryRow(ctx,
		"select coalesce((select id from tenants where key = "+t.owner+"), ''), x."+t.title+", x."+t.detail+" from "+t.table+" x"+q.sql(), q.args...).
		Scan(&f.TenantID, &f.Title, &f.Detail)
	return f, err
}
