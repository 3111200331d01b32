package jobs_test

import (
	"context"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

// TestOwnJobs: the first attempt of an event that is accepted beside a worker is that worker's from the start, and the attempt is
// no different for it. Once the worker has stopped events wait for others.
func TestOwnJobs(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	sent, answer := make(chan struct{}), make(chan struct{})
	e.destination("hook", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		sent <- struct{}{}
		<-answer
		return adapters.Receipt{Code: 500}, &adapters.Error{Class: adapters.ClassServer, Message: "The receiver answered 500."}
	}, nil)
	e.startWorker()
	workers, err := e.store.Workers(t.Context())
	if err != nil || len(workers) != 1 {
		t.Fatal(workers, err)
	}
	event := e.publish(models.PublishInput{})
	<-sent
	var id int64
	var state, by string
	var attempt int
	if err := e.db.QueryRow(t.Context(), "select id, state::text, attempt, attempted_by[1] from river.river_job where kind = 'deliver'").
		Scan(&id, &state, &attempt, &by); err != nil {
		t.Fatal(err)
	}
	if state != "running" || attempt != 1 || by != workers[0] || id < 1<<50 {
		t.Errorf("job %d is %s of %s, attempt %d; it was to be %s's before anybody looked for it", id, state, by, attempt, workers[0])
	}
	answer <- struct{}{}
	<-sent // the second attempt
	close(answer)
	d := e.delivery(event.ID, "hook", func(d *models.Delivery) bool { return d.Attempts == 2 })
	if list := e.attempts(d); len(list) != 2 || list[0].Code != 500 {
		t.Errorf("the attempts are %+v", list)
	}
	e.stopWorker()
	e.publish(models.PublishInput{})
	e.count(1, "select count(*) from river.river_job where kind = 'deliver' and state = 'available' and queue = 'deliver'")
}

// TestOwnJobsUntold: jobs that are a worker's, of which it was not told that they are committed, are found by it; those of one that
// is gone are found by another one.
func TestOwnJobsUntold(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.destination("hook", nil, nil)
	untold := func(worker string) *queue.Owner {
		return &queue.Owner{Worker: worker, Room: func(int64) int { return 1 }, Take: func([]queue.Taken) {}}
	}
	release := e.store.Queue.Own(untold("gone"))
	ofGone := e.publish(models.PublishInput{})
	release()
	e.startWorker()
	workers, err := e.store.Workers(t.Context())
	if err != nil || len(workers) != 1 {
		t.Fatal(workers, err)
	}
	e.store.Queue.Own(untold(workers[0]))
	ofLiving := e.publish(models.PublishInput{})
	e.count(1, "select count(*) from river.river_job where kind = 'deliver' and state = 'running' and attempted_by[1] = '"+workers[0]+"'")
	for _, event := range []*models.PublishResult{ofGone, ofLiving} {
		e.delivery(event.ID, "hook", is(models.StatusDelivered))
	}
}
