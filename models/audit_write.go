package models

import (
	"cmp"
	"context"
)

// Asker is who asks for something, as the audit log names them.
type Asker struct {
	Actor     string `json:"actor"`
	ActorKind string `json:"actor_type,omitempty"` // one of ActorKinds
	IP        string `json:"ip,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Browser   string `json:"-"` // User-Agent; empty for programs. The list of sessions has it, the audit log does not.
}

type askerKey struct{}

// WithAsker makes the audit log name by as the actor of everything that is done under the returned context.
func WithAsker(ctx context.Context, by Asker) context.Context {
	return context.WithValue(ctx, askerKey{}, by)
}

// unaudited is who asks for what the audit log does not tell.
var unaudited = Asker{Actor: "nobody"}

// WithoutAudit keeps what is done under the returned context out of the audit log, unless the entry itself says who did it. It
// is for what a fresh server brings along, and for what the log tells when it is used.
func WithoutAudit(ctx context.Context) context.Context { return WithAsker(ctx, unaudited) }

// entry begins a line of the audit log about what they asked for earlier.
func (a Asker) entry(scope Scope, action, object string) AuditEntry {
	return AuditEntry{Scope: scope, Actor: a.Actor, ActorKind: a.ActorKind, IP: a.IP, RequestID: a.RequestID, Action: action,
		Object: object}
}

// Audit adds an entry to the audit log about what the transaction does. Who did it and from where is what the context says
// (WithAsker) unless the entry does; without both it is the server itself.
func (tx *Tx) Audit(ctx context.Context, e AuditEntry) error { return e.write(ctx, tx) }

// Audit adds an entry about what is no change of the store: what was refused, or was done elsewhere. It does not count as
// done for an Idempotency-Key, so that a request that failed for a moment can be sent again.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error { return e.write(ctx, s.pool) }

// askedBy fills in who did it, and from where. It is false for what is not to be in the log.
func (e *AuditEntry) askedBy(ctx context.Context) bool {
	by, _ := ctx.Value(askerKey{}).(Asker)
	if by == unaudited {
		return e.Actor != ""
	}
	if e.Actor == "" {
		e.Actor, e.ActorKind = cmp.Or(by.Actor, disabler), cmp.Or(e.ActorKind, by.ActorKind)
	}
	if e.ActorKind == "" && e.Actor == disabler {
		e.ActorKind = ActorServer
	}
	e.IP, e.RequestID = cmp.Or(e.IP, by.IP), cmp.Or(e.RequestID, by.RequestID)
	return true
}

// ownerScope is the scope of an owner of channels and alert rules: a tenant, or the operators for 0.
func ownerScope(owner int64) Scope {
	if owner == 0 {
		return AllTenants()
	}
	return Scope{key: owner}
}

// audit says what the audit log will say of the change of a destination that is under way.
func (d *Destination) audit(action string, detail map[string]any) {
	d.entry = &AuditEntry{Scope: d.TenantScope(), Action: action, Object: d.ID, Detail: detail}
}

// auditDestination adds the entry about a change of a destination, now that it is known what has changed.
func (tx *Tx) auditDestination(ctx context.Context, d *Destination) error {
	if d.entry == nil {
		return nil
	}
	d.entry.Changes = d.Changes
	return tx.Audit(ctx, *d.entry)
}
