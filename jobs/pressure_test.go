package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

// TestPressure holds the database up while large events come. What waits is bounded by its size, the others are refused
// at once, and all that waited is accepted in transactions of bounded size.
func TestPressure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e := newEngine(t, nil)
	tx, err := e.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "lock table topics in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	data := json.RawMessage(`{"x":"` + string(bytes.Repeat([]byte("x"), 250<<10)) + `"}`)
	const events = 400 // 100 MB
	var accepted, refused atomic.Int32
	var wg sync.WaitGroup
	all := make(chan struct{})
	for range events {
		wg.Go(func() {
			_, err := e.accept.Publish(ctx, &models.PublishInput{TenantID: "acme", Data: data})
			switch e := models.AsError(err); {
			case err == nil:
				accepted.Add(1)
			case e.Kind == models.KindUnavailable && e.RetryAfter > 0:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	go func() { wg.Wait(); close(all) }()
	for refused.Load() < events/4 { // while nothing at all is accepted
		select {
		case <-all:
			t.Fatalf("%d accepted, %d refused", accepted.Load(), refused.Load())
		case <-time.After(time.Millisecond):
		}
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	<-all
	if n := int(accepted.Load()) * len(data); n < 60<<20 || n > 64<<20 {
		t.Errorf("%d MiB waited and were accepted, %d events refused", n>>20, refused.Load())
	}
	var rows, most int
	if err := e.db.QueryRow(ctx, "select sum(n), max(n * $1) from (select count(*) n from events group by xmin::text) x",
		len(data)).Scan(&rows, &most); err != nil {
		t.Fatal(err)
	}
	if rows != int(accepted.Load()) || most > 9<<20 {
		t.Errorf("%d of %d accepted events are kept, up to %d bytes in a transaction", rows, accepted.Load(), most)
	}
	e.publish(models.PublishInput{Data: data}) // there is room again
}

// TestClockSetBack has sending times reserved by a clock that was ten minutes ahead, as the database's was before it was
// set back.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	if _, err := e.db.Exec(ctx,
		"insert into rate_limits (destination_key, free_at) values (1, now() + interval '10 minutes')"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		wait, err := e.store.LeaseRate(ctx, 1, 1, 5)
		if err != nil || wait > time.Duration(i)*5*time.Second {
			t.Errorf("lease %d has to wait for %v, %v", i+1, wait, err)
		}
	}
}

// TestClockAhead has upkeep done by a process whose clock is a year ahead: nothing is dropped that the database's clock
// knows to be young.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newEngine(t, nil)
	e.publish(models.PublishInput{})
	if dropped, err := e.store.Upkeep(ctx, time.Now().AddDate(1, 0, 0)); err != nil || len(dropped) > 0 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	var n int
	if err := e.db.QueryRow(ctx, "select count(*) from events where id > $1",
		uuid.MustParse(migrations.LowestID(time.Now().Add(-time.Hour)))).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d events are there, %v", n, err)
	}
}
