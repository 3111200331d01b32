package models

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The kinds of actors.
const (
	ActorUser      = "user"    // a person who logged in
	ActorKey       = "api_key" // also API_KEY of the environment
	ActorToken     = "token"   // a tenant's token
	ActorPortal    = "portal"  // somebody who came by a portal link
	ActorRecipient = "recipient"
	ActorVisitor   = "visitor" // nobody has proved to be it: a login that failed
	ActorServer    = "server"  // Waybill itself
)

// ActorKinds lists the kinds of actors.
var ActorKinds = []string{ActorUser, ActorKey, ActorToken, ActorPortal, ActorRecipient, ActorVisitor, ActorServer}

const auditPrefix = "aud_"

// outcomeOK is the stored outcome of what was done; any other says why it was not.
const outcomeOK = "ok"

// AuditEntry is one line of the audit log: who did what to what, and what it changed.
type AuditEntry struct {
	Scope     Scope  // the tenant it concerns; AllTenants for the whole server. Only to write.
	Actor     string // a name, or what somebody gave for one
	ActorKind string // one of ActorKinds; empty in entries that are older than the kinds
	Action    string // what was done to what kind of thing: "destination.create", "delivery.retry" …
	Object    string // the id of what was acted upon
	Outcome   string // empty for what was done, otherwise why it was not
	Detail    map[string]any
	Changes   []Change // what an update altered, secrets masked; nil for actions that alter nothing
	IP        string
	RequestID string

	Key      uuid.UUID // of an entry that was read
	TenantID string    // of an entry that was read; empty for the whole server

	Attempt *AuditAttempt // that a manual retry asked for, as it stands now; of an entry that was read, nil for others

	TenantDeleted bool // since the entry was made; of an entry that was read
}

// ID is the entry's public id.
func (e *AuditEntry) ID() string { return auditPrefix + hex.EncodeToString(e.Key[:]) }

// At is when it happened, to the millisecond.
func (e *AuditEntry) At() time.Time { return timeInID(e.Key.String()) }

// execer is a pool, a connection or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (e AuditEntry) write(ctx context.Context, db execer) error {
	if e.Outcome == "" {
		e.Outcome = outcomeOK
	}
	if !e.askedBy(ctx) {
		return nil
	}
	var tenantKey *int64
	if e.Scope.key != 0 {
		tenantKey = &e.Scope.key
	}
	detail, err := e.stored()
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx,
		`insert into audit (id, tenant_key, actor, actor_type, action, object, outcome, detail, ip, request_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		uuid.Must(uuid.NewV7()), tenantKey, text(cut(e.Actor, 300)), e.ActorKind, e.Action, text(cut(e.Object, 300)),
		text(cut(e.Outcome, 500)), detail, e.IP, e.RequestID)
	return err
}

// changesKey is where the stored detail has the changes.
const changesKey = "changes"

// stored is the detail as it is kept; nil for none. PostgreSQL's JSON takes no NUL, and an entry must not be lost for one.
func (e AuditEntry) stored() ([]byte, error) {
	if e.Detail == nil && e.Changes == nil {
		return nil, nil
	}
	all := map[string]any{}
	for k, v := range e.Detail {
		all[k] = v
	}
	if e.Changes != nil {
		all[changesKey] = e.Changes
	}
	b, err := json.Marshal(all)
	if err != nil || !bytes.Contains(b, []byte(`\u0000`)) {
		return b, err
	}
	var clean any
	if err := json.Unmarshal(b, &clean); err != nil {
		return nil, err
	}
	return json.Marshal(withoutNUL(clean))
}

func withoutNUL(v any) any {
	switch v := v.(type) {
	case string:
		return text(v)
	case []any:
		for i := range v {
			v[i] = withoutNUL(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[text(k)] = withoutNUL(x)
		}
		return out
	}
	return v
}

const auditSelect = `select a.id, coalesce(t.id, ''), t.deleted_at is not null, a.actor, a.actor_type, a.action, a.object, a.outcome,
	a.detail, a.ip, a.request_id
	from audit a left join tenants t on t.key = a.tenant_key`

func scanAudit(row pgx.CollectableRow) (*AuditEntry, error) {
	e := &AuditEntry{}
	var detail []byte
	if err := row.Scan(&e.Key, &e.TenantID, &e.TenantDeleted, &e.Actor, &e.ActorKind, &e.Action, &e.Object, &e.Outcome, &detail, &e.IP,
		&e.RequestID); err != nil {
		return nil, err
	}
	if e.Outcome == outcomeOK {
		e.Outcome = ""
	}
	if detail == nil {
		return e, nil
	}
	var changes struct{ Changes []Change }
	if err := json.Unmarshal(detail, &changes); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(detail, &e.Detail); err != nil {
		return nil, err
	}
	e.Changes = changes.Changes
	delete(e.Detail, changesKey)
	return e, nil
}

// The outcomes that the audit log can be asked for.
const (
	AuditOK     = "ok"
	AuditFailed = "failed"
)

// AuditQuery selects entries of the audit log. Empty fields are no conditions.
//
// Names and ids may hold commas, so that only actions come as a list.
type AuditQuery struct {
	Text      string    `query:"q" label:"Search" doc:"A text in names and details."` // whatever its case
	Since     time.Time `query:"since" label:"From"`
	Until     time.Time `query:"until" label:"To"`
	Actions   []string  `query:"action" label:"Action" words:"audit action" doc:"Whole ('destination.update'), or a group ('destination.*')."`
	Actor     string    `query:"actor" label:"Actor" doc:"Only by this one."`
	ActorKind string    `query:"actor_type" label:"Kind of actor" words:"actor type" api:"schema=ActorType"`
	Object    string    `query:"object" label:"Object" doc:"Id of what it was done to."`
	Outcome   string    `query:"outcome" label:"Outcome" words:"audit outcome" api:"enum=ok|failed"` // AuditOK or AuditFailed
	IP        string    `query:"ip" label:"Source IP"`
	RequestID string    `query:"request_id" label:"Request ID"`
	Page      PageQuery
}

func (aq AuditQuery) conditions(q *query) error {
	for column, value := range map[string]string{"a.actor": aq.Actor, "a.actor_type": aq.ActorKind, "a.object": aq.Object, "a.ip": aq.IP,
		"a.request_id": aq.RequestID} {
		if value != "" {
			q.and(column+" = ?", value)
		}
	}
	if aq.ActorKind != "" {
		if err := oneOf("actor_type", []string{aq.ActorKind}, ActorKinds); err != nil {
			return err
		}
	}
	switch aq.Outcome {
	case "":
	case AuditOK:
		q.and("a.outcome = ?", outcomeOK)
	case AuditFailed:
		q.and("a.outcome <> ?", outcomeOK)
	default:
		return Invalid("outcome", "must be "+AuditOK+" or "+AuditFailed)
	}
	if len(aq.Actions) > 0 {
		var whole, parts []string
		for _, a := range aq.Actions {
			if group, ok := strings.CutSuffix(a, "*"); ok {
				parts = append(parts, group)
			} else {
				whole = append(whole, a)
			}
		}
		q.and("(a.action = any(?) or exists (select 1 from unnest(?::text[]) g where starts_with(a.action, g)))", whole, parts)
	}
	if aq.Text != "" {
		// A detail is stored as JSON, where some characters are written otherwise than people write them.
		quoted, _ := json.Marshal(aq.Text)
		q.and(`position(lower(?) in lower(concat_ws(E'\n', t.id, a.actor, a.action, a.object, a.outcome, a.ip, a.request_id))) + position(lower(?) in lower(coalesce(a.detail::text, ''))) > 0`,
			aq.Text, string(quoted[1:len(quoted)-1]))
	}
	return nil
}

// span adds the conditions on whose entries and when, which the indexes serve.
func (aq AuditQuery) span(q *query, scope Scope, k *keyset) {
	scope.where(q, "a.tenant_key")
	if !aq.Since.IsZero() {
		q.and("a.id >= ?", lowestUUID(aq.Since))
	}
	if !aq.Until.IsZero() {
		q.and("a.id < ?", lowestUUID(aq.Until))
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("a.id "+k.op()+" ?", after)
	}
}

// auditWindow is how many entries a search for a text looks at for one page, so that a page takes bounded time: a hundred
// thousand take about a second on a slow machine.
const auditWindow = 100_000

// auditWindowEnd is the last entry that a search for a text looks at; nil when it looks at all that there are.
func (s *Store) auditWindowEnd(ctx context.Context, scope Scope, aq AuditQuery, k *keyset) (*uuid.UUID, error) {
	if aq.Text == "" {
		return nil, nil
	}
	q := newQuery()
	aq.span(q, scope, k)
	var end uuid.UUID
	err := s.pool.QueryRow(ctx, "select a.id from audit a"+q.sql()+" order by a.id "+k.order()+q.bind(" offset ? limit 1", auditWindow-1),
		q.args...).Scan(&end)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &end, err
}

// AuditLog lists entries, newest first unless the page asks otherwise. With a text, a page may hold fewer than it could, or
// none, and have a next one all the same: that goes on where this one stopped to search.
func (s *Store) AuditLog(ctx context.Context, scope Scope, aq AuditQuery) (*Page[*AuditEntry], error) {
	aq.Text = strings.TrimSpace(aq.Text)
	k, err := aq.Page.keyset(scope.keys(), aq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	aq.span(q, scope, k)
	if err := aq.conditions(q); err != nil {
		return nil, err
	}
	end, err := s.auditWindowEnd(ctx, scope, aq, k)
	if err != nil {
		return nil, err
	}
	if end != nil {
		q.and("a.id "+map[bool]string{true: ">=", false: "<="}[k.descending()]+" ?", *end)
	}
	rows, err := s.pool.Query(ctx, auditSelect+q.sql()+" order by a.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanAudit)
	if err != nil {
		return nil, err
	}
	if err := s.addAttempts(ctx, list); err != nil {
		return nil, err
	}
	page := newPage(k, "time", list, func(e *AuditEntry) any { return e.Key })
	if end != nil && len(list) <= k.limit {
		if k.back {
			page.Prev = k.cursor(*end)
		} else {
			page.Next = k.cursor(*end)
		}
	}
	return page, nil
}

// AuditEntry returns one entry.
func (s *Store) AuditEntry(ctx context.Context, scope Scope, id string) (*AuditEntry, error) {
	key, _ := parsePrefixed(auditPrefix, id)
	q := newQuery()
	q.and("a.id = ?", key)
	scope.where(q, "a.tenant_key")
	rows, err := s.pool.Query(ctx, auditSelect+q.sql(), q.args...)
	if err != nil {
		return nil, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanAudit)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no entry %q in the audit log.", cut(id, 80))
	}
	if err != nil {
		return nil, err
	}
	return e, s.addAttempts(ctx, []*AuditEntry{e})
}

// AuditActors lists who is named by the last thousand entries, by name.
func (s *Store) AuditActors(ctx context.Context, scope Scope) ([]string, error) {
	q := newQuery()
	scope.where(q, "tenant_key")
	rows, err := s.pool.Query(ctx, "select distinct actor from (select actor from audit"+q.sql()+" order by id desc limit 1000) x",
		q.args...)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(names)
	return names, err
}
