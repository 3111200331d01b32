package migrations_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/modelstest"
)

func TestMain(m *testing.M) { modelstest.Main(m) }

// TestApplyAtOnce starts several migrations of an empty database at once, as several processes of a deploy do.
func TestApplyAtOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := modelstest.Empty(t)
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() { errs <- migrations.Apply(ctx, url) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		t.Error(err)
	}
}

// TestPartitions makes and drops partitions, also where rows of a day came before its partition.
func TestPartitions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, modelstest.DB(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	count := func() (n int) {
		t.Helper()
		if err := conn.QueryRow(ctx, "select count(*) from pg_inherits where inhparent = 'events'::regclass").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	later := time.Now().AddDate(0, 0, 30)
	if _, err := conn.Exec(ctx, "insert into events (id, tenant_key, topic, retry, data) values ($1, 1, '', true, '{}')", migrations.LowestID(later.Add(time.Second))); err != nil {
		t.Fatal(err)
	}
	if err := migrations.EnsurePartitions(ctx, conn, later, 2); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != before+3 { // four days, one of which has its row in the default partition
		t.Errorf("%d partitions, want %d", n, before+3)
	}
	dropped, err := migrations.DropPartitions(ctx, conn, later.AddDate(0, 0, -10))
	if err != nil || len(dropped) == 0 || count() != 4 { // what is left: three days ahead, and the default one
		t.Errorf("dropped %v, %d left, %v", dropped, count(), err)
	}
}
