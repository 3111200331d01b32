package app

import (
	"context"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
)

// makeDemo gives a fresh server a tenant with a destination of type echo, once: whoever deletes them is rid of them.
func (a *App) makeDemo(ctx context.Context) error {
	var made bool
	if has, err := a.Store.Setting(ctx, "demo", &made); has || err != nil {
		return err
	}
	_, count, err := a.Store.Tenants(ctx, models.AllTenants(), models.TenantQuery{})
	if err != nil || count > 0 {
		return err
	}
	if _, _, err := a.Store.PutTenant(ctx, api.DemoTenant, nil); err != nil {
		return err
	}
	in := models.DestinationInput{Patch: models.DestinationPatch{"id": "echo", "type": "echo", "name": "Echo inbox",
		"topics": models.AllTopics}}
	if _, err := a.Store.CreateDestination(ctx, models.AllTenants(), api.DemoTenant, in); err != nil {
		return err
	}
	return a.Store.SetSetting(ctx, "demo", true)
}
