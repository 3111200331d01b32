package jobs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// TestChangedWhileBusy changes a slow destination while a job with many of its deliveries is under way: what was changed
// is in force for the next attempt, not only for the next job.
func TestChangedWhileBusy(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	const n = 12
	taken := map[string]chan string{"old": make(chan string, n), "new": make(chan string, n)}
	slow := func(version string) answer {
		return func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
			taken[version] <- m.EventID
			<-time.After(120 * time.Millisecond) // longer than a run goes without a look
			return adapters.Receipt{Code: 200}, nil
		}
	}
	answers.Store(e.Name()+"/new", slow("new"))
	one := 1
	e.destination("d", slow("old"), func(in models.DestinationPatch) { in["max_in_flight"] = one })
	ins := make([]*models.PublishInput, n)
	for i := range ins {
		ins[i] = &models.PublishInput{TenantID: "acme", ID: fmt.Sprint("evt_", i), Data: []byte(`{}`)}
	}
	if _, errs := e.accept.PublishAll(context.Background(), ins); errs[0] != nil {
		t.Fatal(errs)
	}
	e.startWorker()
	receive := func(version string) {
		t.Helper()
		select {
		case <-taken[version]:
		case <-time.After(15 * time.Second):
			t.Fatalf("nothing goes to the %s address", version)
		}
	}
	receive("old")
	name := e.Name() + "/new"
	if _, err := e.store.UpdateDestination(context.Background(), models.AllTenants(), "acme", "d", 0,
		models.DestinationInput{Patch: models.DestinationPatch{"config": models.Values{"name": &name}}}); err != nil {
		t.Fatal(err)
	}
	before := len(taken["old"])
	receive("new")
	if more := len(taken["old"]) - before; more > 1 { // one was on its way
		t.Errorf("%d more events went to the old address after it was changed", more)
	}
	receive("new")
	if _, err := e.store.DisableDestination(context.Background(), models.AllTenants(), "acme", "d", "", ""); err != nil {
		t.Fatal(err)
	}
	before = len(taken["new"])
	for i := range n {
		e.delivery(fmt.Sprint("evt_", i), "d", func(d *models.Delivery) bool {
			return d.Status == models.StatusDelivered || d.Status == models.StatusHeld
		})
	}
	if more := len(taken["new"]) - before; more > 1 { // one was on its way
		t.Errorf("%d more events were sent after the destination was disabled", more)
	}
}
