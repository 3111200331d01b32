package jobs_test

import (
	"testing"
	"time"
)

// TestUpkeepAddsUpHours: a worker that starts adds up the minutes that are there.
func TestUpkeepAddsUpHours(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	if _, err := e.db.Exec(t.Context(), `insert into health_minutes (destination_key, minute, tenant_key, deliveries, failed_deliveries,
			attempts, failed_attempts, given_up, peak, at_end, filter_failures, lag_ms)
		select 1, date_trunc('minute', now()) - n * interval '7 minutes', 1, 1, 0, 1, 0, 0, 0, 0, 0, 0
		from generate_series(1, 500) n`); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	oldest := time.Now().UTC().Add(-e.store.Rules().Retention).Truncate(24 * time.Hour)
	eventually(t, "all is added up", func() bool {
		var filled bool
		if err := e.db.QueryRow(t.Context(), "select covered_from <= $1 from health_hours_span", oldest).Scan(&filled); err != nil {
			t.Fatal(err)
		}
		return filled
	})
	var hours, without int
	if err := e.db.QueryRow(t.Context(), `select count(*), (select count(*) from health_minutes m, health_hours_span s
			where m.minute < s.covered_to and
			not exists (select 1 from health_hours h where h.hour = date_bin('1 hour', m.minute, '2000-01-01 00:00:00+00')))
		from health_hours`).Scan(&hours, &without); err != nil {
		t.Fatal(err)
	}
	if hours < 55 || without > 0 {
		t.Errorf("%d hours, and %d minutes without one", hours, without)
	}
}
