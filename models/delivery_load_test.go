package models

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/queue"
)

// newEcho makes the destination d of a tenant acme.
func newEcho(t *testing.T, s *Store) *Destination {
	t.Helper()
	if _, _, err := s.PutTenant(t.Context(), "acme", nil); err != nil {
		t.Fatal(err)
	}
	d, err := s.CreateDestination(t.Context(), AllTenants(), "acme", DestinationInput{Patch: DestinationPatch{"id": "d", "type": "echo", "topics": "*"}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRemembered: what a process remembers of a destination serves a job that it has just written itself, and nothing that was changed
// since, whatever changed it.
func TestRemembered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := newEcho(t, s)
	recent := NewRecent(1 << 20)
	l := NewLoader(ctx, s, recent)
	t.Cleanup(l.Close)
	event := uuid.Must(uuid.NewV7())
	recent.add(&Event{Key: event, Data: []byte(`{}`)})
	rememberedFor := func(event uuid.UUID, at time.Time) *Target {
		t.Helper()
		job := queue.Batch{Key: queue.Key{Destination: d.Key}, Items: queue.Items{{EventKey: event}}}
		must(s.pool.QueryRow(ctx, "select version from tenants where key = $1", d.TenantKey).Scan(&job.Routed))
		target, ready := l.Remembered(job, at)
		if target != nil && (len(ready) != 1 || ready[0].Event == nil) {
			t.Errorf("a job of one event has %+v", ready)
		}
		return target
	}
	remembered := func(at time.Time) *Target {
		t.Helper()
		return rememberedFor(event, at)
	}
	if remembered(time.Now()) != nil {
		t.Error("a destination is remembered that was never looked at")
	}
	load := func() {
		t.Helper()
		if _, _, _, err := l.Load(ctx, d.Key, nil, true); err != nil {
			t.Fatal(err)
		}
	}
	load()
	if got := remembered(time.Now()); got == nil || got.ID != "d" {
		t.Fatalf("after a look %v is remembered", got)
	}
	if remembered(time.Now().Add(-2*VersionHolds)) != nil {
		t.Error("a job that was written long ago is sent by what was so then")
	}
	if rememberedFor(uuid.Must(uuid.NewV7()), time.Now()) != nil {
		t.Error("a job whose event is not in memory begins without it")
	}

	change := func(patch DestinationPatch) func() error {
		return func() error {
			_, err := s.UpdateDestination(ctx, AllTenants(), "acme", "d", 0, DestinationInput{Patch: patch})
			return err
		}
	}
	pending := func() *Delivery {
		t.Helper()
		_, err := s.pool.Exec(ctx, `insert into events (id, tenant_key, topic, retry, data) values ($1, $2, '', true, '{}')`, event, d.TenantKey)
		must(err)
		_, err = s.pool.Exec(ctx, "insert into deliveries (event_id, destination_key, tenant_key, status) values ($1, $2, $3, 'pending')",
			event, d.Key, d.TenantKey)
		must(err)
		return &Delivery{DeliveryKey: DeliveryKey{event, d.Key}}
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"how many it takes at once", change(DestinationPatch{"max_in_flight": 3})},
		{"its tenant's settings", func() error {
			_, err := s.UpdateTenantSettings(ctx, AllTenants(), "acme", TenantSettings{})
			return err
		}},
		{"that it is disabled", func() error {
			_, err := s.DisableDestination(ctx, AllTenants(), "acme", "d", "", "")
			return err
		}},
		{"that it is enabled", func() error {
			_, err := s.EnableDestination(ctx, AllTenants(), "acme", "d", "", Backlog{})
			return err
		}},
		{"that a delivery is cancelled", func() error {
			_, err := s.CancelDelivery(ctx, AllTenants(), pending().ID(), "")
			return err
		}},
	} {
		load()
		was := remembered(time.Now())
		must(c.do())
		if got := remembered(time.Now()); got != nil {
			t.Errorf("after a change (%s) what was so before is remembered: version %d of %d", c.name, got.Version, was.Version)
		}
	}
	load()
	if remembered(time.Now()) != nil {
		t.Error("where deliveries are cancelled their rows are looked at first, and nothing is sent by what is remembered")
	}
}

// TestCareOfErased: erasing an event has workers look at its delivery's row, as cancelling does.
func TestCareOfErased(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	d := newEcho(t, s)
	event := uuid.Must(uuid.NewV7())
	if _, err := s.pool.Exec(ctx, "insert into deliveries (event_id, destination_key, tenant_key, status) values ($1, $2, $3, 'pending')",
		event, d.Key, d.TenantKey); err != nil {
		t.Fatal(err)
	}
	versions := func() (tenant, destination int64) {
		t.Helper()
		if err := s.pool.QueryRow(ctx, "select t.version, d.version from destinations d join tenants t on t.key = d.tenant_key").
			Scan(&tenant, &destination); err != nil {
			t.Fatal(err)
		}
		return tenant, destination
	}
	tenant, destination := versions()
	if err := s.cancelErased(ctx, []uuid.UUID{event}, "erased", func(context.Context, *Tx, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if t2, d2 := versions(); t2 != tenant+1 || d2 != destination+1 {
		t.Errorf("the tenant's version went from %d to %d, the destination's from %d to %d", tenant, t2, destination, d2)
	}
}
