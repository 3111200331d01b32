package api

import (
	"context"

	"github.com/waybill-dev/waybill/models"
)

// AuditFailure adds an entry to the audit log about what was refused.
func (a *API) AuditFailure(ctx context.Context, c *Call, scope models.Scope, action, object string, why error) {
	a.audit(ctx, c, models.AuditEntry{Scope: scope, Action: action, Object: object, Outcome: models.AsError(why).Message})
}

// audit adds an entry about what has no transaction of the store that could write it (models.Tx.Audit). That it could not be
// written is logged: what it is about has happened.
func (a *API) audit(ctx context.Context, c *Call, e models.AuditEntry) {
	if err := a.Store.Audit(models.WithAsker(ctx, c.Asker()), e); err != nil {
		a.Log.Error("audit log", "action", e.Action, "object", e.Object, "error", err)
	}
}
