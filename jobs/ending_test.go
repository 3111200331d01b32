package jobs_test

import (
	"context"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// whileSending publishes an event, has change done to the database while its first attempt is under way, and returns when
// the worker is through with it and has written all that it ever will.
func whileSending(t *testing.T, change string) (e *engine, event string) {
	e = newEngine(t, nil)
	begun, release := make(chan bool, 2), make(chan bool)
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		begun <- true
		<-release
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	e.startWorker()
	event = e.publish(models.PublishInput{}).ID
	<-begun
	e.exec(change)
	close(release)
	e.stopWorker()
	return e, event
}

func (e *engine) exec(sql string) {
	e.Helper()
	if _, err := e.store.Pool.Exec(context.Background(), sql); err != nil {
		e.Fatal(err)
	}
}

// jobs counts those that deliver, by state.
func (e *engine) jobs(state string) (n int) {
	e.Helper()
	if err := e.store.Pool.QueryRow(context.Background(), "select count(*) from river.river_job where kind = 'deliver' and state::text = $1", state).Scan(&n); err != nil {
		e.Fatal(err)
	}
	return n
}

// TestUndoneFetch has PostgreSQL forget, as after a crash, that a worker took a job. What the worker finds counts all the
// same, and the job is not done once more.
func TestUndoneFetch(t *testing.T) {
	t.Parallel()
	e, event := whileSending(t, `update river.river_job set state = 'available', attempt = 0, attempted_by = null, scheduled_at = now() + interval '1 hour'
		where kind = 'deliver'`)
	d := e.delivery(event, "d", is(models.StatusDelivered))
	if n := len(e.attempts(d)); n != 1 {
		t.Errorf("%d attempts are recorded", n)
	}
	if n := e.jobs("available"); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}

// TestTakenOverJob takes a job away from a worker that works on it. The worker's end of the job is not that of the other
// one's, which is not through with it.
func TestTakenOverJob(t *testing.T) {
	t.Parallel()
	e, event := whileSending(t, `with p as (insert into processes (id, role, host, pid) values ('other', 'work', '', 1) returning id)
		update river.river_job set attempted_by = array_append(attempted_by, 'other') where kind = 'deliver' and exists (select from p)`)
	if n := e.jobs("running"); n != 1 {
		t.Fatalf("%d jobs are running, 1 is the other worker's", n)
	}
	e.exec("delete from processes where id = 'other'") // it dies
	e.startWorker()
	d := e.delivery(event, "d", is(models.StatusDelivered))
	if n := len(e.attempts(d)); n != 1 {
		t.Errorf("%d attempts are recorded", n)
	}
}
