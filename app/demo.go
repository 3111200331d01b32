package app

import (
	"context"

	"github.com/waybill-dev/waybill/models"
)

// makeDemo gives a fresh server a tenant with a destination of type echo, once: whoever deletes them is rid of them.
func (a *App) makeDemo(ctx context.Context) error {
	var made bool
	if has, err := a.store.Setting(ctx, "demo", &made); has || err != nil {
		return err
	}
	_, count, err := a.store.Tenants(ctx, models.AllTenants(), models.TenantQuery{})
	if err != nil || count > 0 {
		return err
	}
	if _, _, err := a.store.PutTenant(ctx, demoTenant, nil); err != nil {
		return err
	}
	id, typ, name, topics := "echo", "echo", "Echo inbox", models.Topics{models.AllTopics}
	in := models.DestinationInput{ID: &id, Type: &typ, Name: &name, Topics: &topics}
	if _, err := a.store.CreateDestination(ctx, models.AllTenants(), demoTenant, in); err != nil {
		return err
	}
	return a.store.SetSetting(ctx, "demo", true)
}
