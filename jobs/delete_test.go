package jobs_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// TestDeletedIsCancelled deletes a destination, and a tenant, for which deliveries wait: one held, and one that is due in an
// hour. Nothing of it waits afterwards, and the doctor is content.
func TestDeletedIsCancelled(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]func(*engine) error{
		models.ReasonDestinationDeleted: func(e *engine) error {
			for _, id := range []string{"held", "failing"} {
				if _, err := e.store.DeleteDestination(context.Background(), models.AllTenants(), "acme", id, 0); err != nil {
					return err
				}
			}
			return nil
		},
		models.ReasonTenantDeleted: func(e *engine) error {
			return e.store.DeleteTenant(context.Background(), models.AllTenants(), "acme")
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, func(r *models.Rules) {
				r.Retry = models.RetryPolicy{Schedule: []models.Duration{models.Duration(time.Hour)}, MaxInterval: models.Duration(time.Hour)}
			})
			e.destination("held", nil, nil)
			if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", "held", "admin", ""); err != nil {
				t.Fatal(err)
			}
			e.destination("failing", server500, nil)
			e.startWorker()
			event := e.publish(models.PublishInput{}).ID
			e.delivery(event, "held", is(models.StatusHeld))
			e.delivery(event, "failing", is(models.StatusRetrying))
			if err := remove(e); err != nil {
				t.Fatal(err)
			}
			e.count(2, "select count(*) from deliveries where status = 'cancelled' and reason = '"+what+"'")
			findings, err := e.store.DiagnoseQueue(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(findings, func(f models.Finding) bool { return f.Level == models.LevelFail }); i >= 0 {
				t.Errorf("the doctor finds: %+v", findings[i])
			}
		})
	}
}
