package jobs_test

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

// findings are the doctor's about the queue that have a name.
func (e *engine) findings(name string) (out []models.Finding) {
	e.Helper()
	all, err := e.store.DiagnoseQueue(e.Context(), false)
	if err != nil {
		e.Fatal(err)
	}
	for _, f := range all {
		if f.Check == name {
			out = append(out, f)
		}
	}
	return out
}

// TestLostEvent takes an event away whose day is kept, which nothing may do. Its job is not over then: what else it carries is sent, the
// event is looked for again, the metrics and the doctor tell of it, and when it is back it is sent. One that is cancelled is over.
func TestLostEvent(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.store.Metrics = metrics.New("test")
	hook := e.destination("hook", nil, nil)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := e.db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	lost, other, cancelled := e.publish(models.PublishInput{}), e.publish(models.PublishInput{}), e.publish(models.PublishInput{})
	// One job for all of them, as a burst makes it.
	exec(`update river.river_job set args = jsonb_set(args, '{i}', to_jsonb((select encode(string_agg(decode(args->>'i', 'base64'), '' order by id), 'base64')
		from river.river_job where kind = 'deliver'))) where id = (select min(id) from river.river_job where kind = 'deliver')`)
	exec("delete from river.river_job where kind = 'deliver' and id <> (select min(id) from river.river_job where kind = 'deliver')")
	exec("create table away as select * from events where 'evt_' || replace(id::text, '-', '') = any($1)", []string{lost.ID, cancelled.ID})
	exec("delete from events where id in (select id from away)")
	e.startWorker()
	e.delivery(other.ID, "hook", is(models.StatusDelivered))
	e.count(1, "select count(*) from river.river_job where kind = 'deliver' and attempt = 2")
	f := e.findings("events")
	if len(f) != 1 || f[0].Level != models.LevelFail || !strings.HasPrefix(f[0].Message, "2 deliveries wait for events") || len(f[0].Examples) != 2 {
		t.Errorf("the doctor says: %+v", f)
	}
	if f := e.findings("deliveries"); len(f) != 1 || f[0].Level != models.LevelOK {
		t.Errorf("the doctor says of deliveries: %+v", f)
	}
	w := httptest.NewRecorder()
	e.store.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !regexp.MustCompile(`(?m)^waybill_events_not_found_total [2-9]`).MatchString(w.Body.String()) {
		t.Error("the metrics do not tell of it")
	}
	// As docs/monitoring.md says.
	exec("update deliveries set status = 'cancelled', turn = turn + 1, reason = 'Its event is lost.' where event_id = $1 and destination_key = $2",
		strings.TrimPrefix(cancelled.ID, "evt_"), hook.Key)
	exec("insert into events select * from away where 'evt_' || replace(id::text, '-', '') = $1", lost.ID)
	exec("update river.river_job set scheduled_at = now() where state = 'available'")
	e.delivery(lost.ID, "hook", is(models.StatusDelivered))
	e.none("select count(*) from river.river_job where kind = 'deliver'")
	if f := e.findings("events"); len(f) != 1 || f[0].Level != models.LevelOK {
		t.Errorf("the doctor says: %+v", f)
	}
}

// TestLostDelivery has both rows gone, of the event and of its delivery: that is no less a loss.
func TestLostDelivery(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("hook", nil, nil)
	e.publish(models.PublishInput{})
	if _, err := e.db.Exec(t.Context(), "delete from deliveries; "+"delete from events"); err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	e.count(1, "select count(*) from river.river_job where kind = 'deliver' and attempt = 3")
	if f := e.findings("events"); len(f) != 1 || f[0].Level != models.LevelFail {
		t.Errorf("the doctor says: %+v", f)
	}
}

// TestDroppedDay: what retention has taken ends its job without a word.
func TestDroppedDay(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.store.Metrics = metrics.New("test")
	e.destination("hook", nil, nil)
	e.publish(models.PublishInput{})
	if _, err := e.db.Exec(t.Context(), "drop table "+migrations.PartitionName("events", time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := e.store.KnowPartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := e.findings("events"); len(f) != 1 || f[0].Level != models.LevelOK {
		t.Errorf("the doctor says: %+v", f)
	}
	e.startWorker()
	e.none("select count(*) from river.river_job where kind = 'deliver'")
	w := httptest.NewRecorder()
	e.store.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(w.Body.String(), "\nwaybill_events_not_found_total 0\n") {
		t.Error("the metrics tell of an event that retention has taken")
	}
}

// none waits until a query counts nothing.
func (e *engine) none(query string) {
	e.Helper()
	n := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if err := e.db.QueryRow(e.Context(), query).Scan(&n); err != nil {
			e.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
	e.Fatalf("%s: %d after 30 s", query, n)
}
