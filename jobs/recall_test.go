package jobs_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// count waits until a query that counts returns at least n.
func (e *engine) count(n int, query string) {
	e.Helper()
	got := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if err := e.db.QueryRow(context.Background(), query).Scan(&got); err != nil {
			e.Fatal(err)
		}
		if got >= n {
			return
		}
	}
	e.Fatalf("%s: %d after 30 s, not %d", query, got, n)
}

// TestPutOffIsCalledBack has a destination fail until its events are put off, which are so many that at its pace they would
// take a minute. When it works again, by itself or because its settings were mended, they all arrive within seconds.
func TestPutOffIsCalledBack(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(e *engine, works *atomic.Bool){
		"works again": func(_ *engine, works *atomic.Bool) { works.Store(true) },
		"changed": func(e *engine, _ *atomic.Bool) {
			other := e.Name() + "/elsewhere" // where everything is taken
			if _, err := e.store.UpdateDestination(e.Context(), models.AllTenants(), "acme", "hook", 0,
				models.DestinationInput{Patch: models.DestinationPatch{"config": models.Values{"name": &other}}}); err != nil {
				e.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, nil)
			var works atomic.Bool
			e.destination("hook", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
				if works.Load() {
					return adapters.Receipt{Code: 200}, nil
				}
				return server500(ctx, m)
			}, nil)
			e.startWorker()
			publish := func(n int) { // many at a time: one by one a slow machine would try many of them meanwhile
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for range n / 20 {
							if _, err := e.accept.Publish(e.Context(), &models.PublishInput{TenantID: "acme", Data: json.RawMessage(`{}`)}); err != nil {
								e.Error(err)
							}
						}
					})
				}
				all.Wait()
			}
			const failed, waiting = 60, 1200
			publish(failed)
			e.count(failed, "select count(*) from deliveries where status = 'failed'")
			publish(waiting)
			e.count(waiting*3/4, "select coalesce(sum(length(decode(args->>'i', 'base64')) / 20), 0) from river.river_job where kind = 'deliver' and state = 'available' and scheduled_at > now() + interval '1 second'")
			mend(e, &works)
			e.count(waiting*3/4, "select count(*) from deliveries where status = 'delivered'")
		})
	}
}
