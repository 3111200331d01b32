package api

import (
	"context"

	"github.com/waybill-dev/waybill/models"
)

// Audit adds an entry to the audit log. That it could not be written is logged, and does not undo what was done.
func (a *API) Audit(ctx context.Context, c *Call, scope models.Scope, action, object string, detail map[string]any) {
	a.writeAudit(ctx, c, models.AuditEntry{Scope: scope, Action: action, Object: object, Detail: detail})
}

func (a *API) AuditFailure(ctx context.Context, c *Call, scope models.Scope, action, object string, why error) {
	a.writeAudit(ctx, c, models.AuditEntry{Scope: scope, Action: action, Object: object, Outcome: models.AsError(why).Message})
}

func (a *API) auditDestination(ctx context.Context, c *Call, d *models.Destination, action string, detail map[string]any) {
	a.auditChanges(ctx, c, d.TenantScope(), action, d.ID, d.Changes, detail)
}

// auditChanges is audit for what has altered something.
func (a *API) auditChanges(ctx context.Context, c *Call, scope models.Scope, action, object string, changes []models.Change, detail map[string]any) {
	a.writeAudit(ctx, c, models.AuditEntry{Scope: scope, Action: action, Object: object, Detail: detail, Changes: changes})
}

func (a *API) writeAudit(ctx context.Context, c *Call, e models.AuditEntry) {
	e.Actor, e.ActorKind, e.IP, e.RequestID = c.Actor.Name, c.Actor.Kind, c.IP, c.RequestID
	if err := a.Store.Audit(ctx, e); err != nil {
		a.Log.Error("audit log", "action", e.Action, "object", e.Object, "error", err)
	}
}
