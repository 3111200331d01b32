package models

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/seal"
)

// TestWideEvents: events of a tenant with hundreds of destinations do not keep those of others waiting, however long they take, and
// all of them are accepted.
func TestWideEvents(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, Options{URL: modelstest.DB(t), Keys: keys, Rules: DefaultRules(), MaxConns: 4, HotConns: 6, JobConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.KnowPartitions(ctx); err != nil {
		t.Fatal(err)
	}
	exec := func(query string) {
		t.Helper()
		if _, err := s.pool.Exec(ctx, query); err != nil {
			t.Fatal(query, err)
		}
	}
	for tenant, n := range map[string]int{"wide": 300, "other": 1} {
		if _, _, err := s.PutTenant(ctx, tenant, nil); err != nil {
			t.Fatal(err)
		}
		exec(fmt.Sprintf(`insert into destinations (tenant_key, id, type, topics, config)
			select key, '%s-'||i, 'webhook', '["*"]', '{}' from tenants, generate_series(1, %d) i where id = '%s'`, tenant, n, tenant))
	}
	// The wide tenant's deliveries wait for a lock that the test has.
	exec(`create function hold() returns trigger language plpgsql as $$ begin
		if new.tenant_key = (select key from tenants where id = 'wide') then perform pg_advisory_xact_lock_shared(42); end if;
		return new; end $$`)
	exec(`create trigger hold before insert on deliveries for each row execute function hold()`)
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(42)"); err != nil {
		t.Fatal(err)
	}
	a := NewAccepter(s, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(a.Close)
	event := func(tenant string, n int) *PublishInput {
		return &PublishInput{TenantID: tenant, ID: fmt.Sprintf("%s-%d", tenant, n), Topic: "t", Data: []byte(`{}`)}
	}
	const events = 20
	type answer struct {
		res *PublishResult
		err error
	}
	answers := make(chan answer, events)
	for i := range events {
		go func() {
			res, err := a.Publish(ctx, event("wide", i))
			answers <- answer{res, err}
		}()
	}
	for held := false; !held; { // until one of them is held up
		const waits = "select exists (select 1 from pg_locks where locktype = 'advisory' and not granted)"
		if err := s.pool.QueryRow(ctx, waits).Scan(&held); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		soon, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := a.Publish(soon, event("other", i))
		if cancel(); err != nil {
			t.Error("another tenant's event waits for the wide one's: ", err)
			break
		}
	}
	if len(answers) > 0 {
		t.Error("an event was answered that is not written")
	}
	if _, err := conn.Exec(ctx, "select pg_advisory_unlock(42)"); err != nil {
		t.Fatal(err)
	}
	for range events {
		if got := <-answers; got.err != nil || len(got.res.DestinationIDs) != 300 {
			t.Errorf("a wide event: %d destinations, %v", len(got.res.DestinationIDs), got.err)
		}
	}
	var n int
	if err := s.pool.QueryRow(ctx, "select count(*) from deliveries").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != events*300+20 {
		t.Errorf("%d deliveries, want %d", n, events*300+20)
	}
}
