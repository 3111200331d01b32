package models

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// newDeliveries adds pending deliveries of new events to one destination, and returns them with their partition.
func newDeliveries(t *testing.T, s *Store, n int) *deliveredRows {
	t.Helper()
	if err := s.KnowPartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &deliveredRows{}
	for range n {
		o := &Outcome{DeliveryKey: DeliveryKey{EventKey: uuid.Must(uuid.NewV7()), Destination: 7},
			Attempt: &Attempt{Number: 1, StartedAt: time.Now(), Code: 200}}
		if _, err := s.pool.Exec(t.Context(),
			"insert into deliveries (event_id, destination_key, tenant_key, status) values ($1, 7, 1, 'pending')", o.EventKey); err != nil {
			t.Fatal(err)
		}
		d.add(o)
	}
	d.table = s.partitions.of("deliveries", d.ids...)
	if d.table == "deliveries" {
		t.Fatal("the day's partition is not known")
	}
	return d
}

func run(ctx context.Context, s *Store, queue func(b *pgx.Batch)) error {
	b := &pgx.Batch{}
	queue(b)
	return s.Hot.SendBatch(ctx, b).Close()
}

func delivered(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(),
		"select count(*) from deliveries where status = 'delivered' and attempts = 1 and last_code = 200").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpdateDeliveredPlan holds the planner to the one way of writing many rows, whatever it believes of the table: plans
// are made once, and a table that was empty when it was made has hundreds of thousands of rows an hour later.
func TestUpdateDeliveredPlan(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	table := migrations.PartitionName("deliveries", time.Now())
	for _, believed := range []string{"", "vacuum analyze " + table,
		"insert into deliveries (event_id, destination_key, tenant_key, status) select ('" +
			uuid.Must(uuid.NewV7()).String()[:24] +
			"' || to_char(i, 'FM000000000000'))::uuid, 7, 1, 'pending' from generate_series(1, 20000) i", "analyze " + table} {
		plan := explainHot(t, s, believed, updateDelivered(table))
		for _, want := range []string{"Nested Loop", "ProjectSet", "Tid Scan on " + table + " d", "Index Scan using",
			"(event_id = u.event_id) AND (destination_key = u.destination_key)"} {
			if !strings.Contains(strings.ReplaceAll(plan, "(destination_key = u.destination_key) AND (event_id = u.event_id)",
				"(event_id = u.event_id) AND (destination_key = u.destination_key)"), want) {
				t.Errorf("after %q the plan has no %q:\n%s", believed, want, plan)
			}
		}
		if strings.Contains(plan, "Seq Scan") {
			t.Errorf("after %q the plan reads all:\n%s", believed, plan)
		}
	}
}

// explainHot returns the plan that a connection of the hot path makes for a statement.
func explainHot(t *testing.T, s *Store, before, sql string) string {
	t.Helper()
	conn, err := s.Hot.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{before, "deallocate all", "prepare p as " + sql} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(sql, err)
		}
	}
	rows, err := conn.Query(t.Context(), "explain execute p('{}', '{}', '{}', '{}', '{}')", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// TestUpdateDelivered writes many at once, also when somebody changes one of them at the same time.
func TestUpdateDelivered(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	d := newDeliveries(t, s, 5)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Not a HOT update: the row moves, and so do its index entries.
	if _, err := tx.Exec(t.Context(), "update deliveries set status = 'failed', turn = 1 where event_id = $1", d.ids[2]); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), s, d.queue) }()
	for waits := false; !waits; {
		if err := s.pool.QueryRow(t.Context(),
			"select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), s, func(b *pgx.Batch) { d.queueMissed(b) })
	if err != nil {
		t.Fatal(err)
	}
	if n := delivered(t, s); n != 5 {
		t.Errorf("%d of 5 are delivered; the statement for all says it found %d", n, d.found)
	}
}

// TestUpdateDeliveredMissed writes those one by one that the statement for all did not find.
func TestUpdateDeliveredMissed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	d := newDeliveries(t, s, 3)
	d.found = 2
	if err := run(t.Context(), s, func(b *pgx.Batch) {
		if !d.queueMissed(b) {
			t.Error("nothing is missed")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n := delivered(t, s); n != 3 {
		t.Errorf("%d of 3 are delivered", n)
	}
}
