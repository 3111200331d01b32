package jobs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
	"github.com/waybill-dev/waybill/models/queue"
	"github.com/waybill-dev/waybill/models/seal"
)

// TestFetchSharesByTenant: one job of a tenant is fetched soon although five thousand of another one are in line before it, none of
// which is lost.
func TestFetchSharesByTenant(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keys, err := seal.New("a secret for tests that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	url := modelstest.DB(t)
	s, err := models.Open(ctx, models.Options{URL: url, Keys: keys, Rules: models.DefaultRules(),
		MaxConns: 2, HotConns: 1, JobConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	exec := func(query string) {
		t.Helper()
		if _, err := pool.Exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	const add = `insert into river.river_job (args, kind, max_attempts, queue, state, scheduled_at)
		select jsonb_build_object('d', i, 'n', %d, 'i', ''), 'deliver', 10, 'deliver', 'available', now() - interval '1 minute'
		from generate_series(1, %d) i`
	exec(fmt.Sprintf(add, 1, 5000))
	exec(fmt.Sprintf(add, 2, 1))
	ts := &tenants{places: 125}
	d := newDriver(s, ts)
	d.fetcher.patience = time.Minute // however slow the machine is
	river := d.GetExecutor()
	fetch := func() (of []int64) {
		t.Helper()
		res, err := river.JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{ClientID: "w", Queue: queue.Deliver, MaxToLock: maxJobs,
			MaxAttemptedBy: 100, Schema: queue.Schema})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range res.Jobs {
			f := queue.Fetched{Args: j.EncodedArgs}
			of = append(of, f.Tenant())
		}
		return of
	}
	first := fetch()
	if !slices.Contains(first, 2) || len(first) > maxJobs*3/4 {
		t.Errorf("the first fetch took %d jobs; of the other tenant: %v", len(first), slices.Contains(first, 2))
	}
	var running, waiting int
	const counts = `select count(*) filter (where state = 'running'), count(*) filter (where state = 'available') from river.river_job`
	if err := pool.QueryRow(ctx, counts).Scan(&running, &waiting); err != nil {
		t.Fatal(err)
	}
	if running != len(first) || running+waiting != 5001 {
		t.Errorf("%d jobs were taken; %d run and %d wait", len(first), running, waiting)
	}
	// The rest comes as there is room, and all of it in the end.
	total := len(first)
	for n := -1; n != 0; total += n {
		n = len(fetch())
	}
	if total != 5001 {
		t.Errorf("%d of 5001 jobs were fetched", total)
	}
}
