package jobs_test

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

func (e *engine) exec(sql string) {
	e.Helper()
	if _, err := e.db.Exec(context.Background(), sql); err != nil {
		e.Fatalf("%s: %v", sql, err)
	}
}

// TestNotOurs has a job taken over by another worker while an attempt is under way. The first one neither records the
// outcome nor ends the job.
func TestNotOurs(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	sent, answered := make(chan struct{}), make(chan struct{})
	e.destination("slow", func(ctx context.Context, _ *adapters.Message) (adapters.Receipt, error) {
		close(sent)
		<-answered
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	event := e.publish(models.PublishInput{})
	e.startWorker()
	<-sent
	e.exec(`insert into processes (id, role, host, pid, seen_at) values ('other', 'work', 'h', 1, now() + interval '1 hour')`)
	e.exec(`update river.river_job set attempted_by = '{other}', attempt = 2 where kind = 'deliver'`)
	close(answered)
	e.stopWorker() // everything that it has to write is written now
	var state, by string
	if err := e.db.QueryRow(context.Background(),
		"select state::text, attempted_by[1] from river.river_job where kind = 'deliver'").Scan(&state, &by); err != nil ||
		state != "running" || by != "other" {
		t.Errorf("the other's job is %q, of %q, %v", state, by, err)
	}
	c, err := e.store.EventDeliveries(context.Background(), models.AllTenants(), event.ID)
	if err != nil || len(c.Deliveries) != 1 || c.Deliveries[0].Status != models.StatusPending {
		t.Errorf("the delivery, whose outcome is the other's to record: %+v, %v", c, err)
	}
}

// TestStrays leaves a job with a process that is not there any more. It is taken over although nobody saw that one die.
func TestStrays(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("hook", nil, nil)
	event := e.publish(models.PublishInput{})
	e.exec(`update river.river_job set state = 'running', attempt = 1, attempted_by = '{gone}', attempted_at = now() - interval '1 minute' where kind = 'deliver'`)
	e.startWorker()
	e.delivery(event.ID, "hook", func(d *models.Delivery) bool { return d.Status == models.StatusDelivered })
}

// TestRecordsAgain has the database refuse the outcome of an attempt for want of room. It is recorded when there is room,
// and nothing is sent a second time.
func TestRecordsAgain(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	sent := make(chan struct{}, 10)
	e.destination("hook", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		sent <- struct{}{}
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	e.exec(`create sequence refused; create function refuse() returns trigger language plpgsql as $$ begin
		perform nextval('refused'); -- which no rollback undoes
		raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$`)
	e.exec(`create trigger refuse before insert on attempts for each row execute function refuse()`)
	event := e.publish(models.PublishInput{})
	e.startWorker()
	<-sent
	for refused := false; !refused; <-time.After(5 * time.Millisecond) {
		if err := e.db.QueryRow(t.Context(), "select is_called from refused").Scan(&refused); err != nil {
			t.Fatal(err)
		}
	}
	e.exec("drop trigger refuse on attempts")
	e.delivery(event.ID, "hook", func(d *models.Delivery) bool { return d.Status == models.StatusDelivered && d.Attempts == 1 })
	if n := len(sent); n > 0 {
		t.Errorf("it was sent %d times more", n)
	}
}

// TestUndoneFetch has PostgreSQL forget, as in a crash, that a worker took a job. What the worker finds counts all the
// same, and the job is not done once more.
func TestUndoneFetch(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	sent, answered := make(chan struct{}), make(chan struct{})
	e.destination("slow", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		close(sent)
		<-answered
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	event := e.publish(models.PublishInput{})
	e.startWorker()
	<-sent
	e.exec(`update river.river_job set state = 'available', attempt = 0, attempted_by = null, scheduled_at = now() + interval '1 minute' where kind = 'deliver'`)
	close(answered)
	e.delivery(event.ID, "slow", is(models.StatusDelivered))
	var left int
	if err := e.db.QueryRow(t.Context(), "select count(*) from river.river_job where kind = 'deliver'").Scan(&left); err != nil ||
		left != 0 {
		t.Errorf("%d jobs are left, %v", left, err)
	}
}

// TestClockJumps has the database's clock seem to be an hour ahead of the proofs that processes live. Those that go on
// giving them are not given up; one that has stopped is, although it holds its lock. One whose last proof lies in the
// future, because the clock was set back after it had died, is given up too.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	register := func() *models.Process {
		p, err := e.store.Register(ctx, "work", e.log)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	living, stopped := register(), register()
	e.exec(`create function jump() returns trigger language plpgsql as $$ begin
		new.seen_at := case when new.id = '` + stopped.ID + `' then timestamptz '2026-01-01' else clock_timestamp() - interval '1 hour' end;
		return new; end $$`)
	e.exec(`create trigger jump before update on processes for each row execute function jump()`)
	e.exec(`update processes set seen_at = now()`)
	e.exec(`insert into processes (id, role, host, pid, seen_at) values ('future', 'work', 'h', 1, now() + interval '1 hour')`)
	e.startWorker()
	select {
	case <-stopped.Lost():
	case <-time.After(time.Minute):
		t.Error("the process that has stopped is not given up")
	}
	select {
	case <-living.Lost():
		t.Error("a process that lives was given up")
	default:
	}
	var there []string
	if err := e.db.QueryRow(ctx, "select array_agg(id) from processes where id = any($1)",
		[]string{living.ID, "future"}).Scan(&there); err != nil || len(there) != 1 || there[0] != living.ID {
		t.Errorf("of the living and the one of the future these are there: %v, %v", there, err)
	}
}
