package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

func (e *engine) erase(in models.ErasureInput) *models.Erasure {
	e.Helper()
	in.Actor = "Ann"
	x, err := e.store.StartErasure(e.Context(), e.acme(), in)
	if err != nil {
		e.Fatal(err)
	}
	return x
}

// erasure reads how an erasure goes on.
func (e *engine) erasure(id string) *models.Erasure {
	e.Helper()
	x, err := e.store.Erasure(e.Context(), models.AllTenants(), id)
	if err != nil {
		e.Fatal(err)
	}
	return x
}

// erasedAll waits for the end of an erasure.
func (e *engine) erasedAll(id string) *models.Erasure {
	e.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		x := e.erasure(id)
		if x.FinishedAt != nil {
			return x
		}
		if time.Now().After(deadline) {
			e.Fatalf("the erasure did not end: %+v", x)
		}
	}
}

func (e *engine) number(sql string) (n int) {
	e.Helper()
	if err := e.db.QueryRow(e.Context(), sql).Scan(&n); err != nil {
		e.Fatal(err)
	}
	return n
}

// TestErasureOfWhatIsUnderWay erases an event while a receiver is just being asked, and another one that waits for its retry: both
// are called off, and what the receiver answers later is erased, too.
func TestErasureOfWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry.Schedule = []models.Duration{models.Duration(time.Hour)} })
	asked, answer := make(chan struct{}), make(chan struct{})
	e.destination("slow", func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		close(asked)
		<-answer
		return adapters.Receipt{Code: 200, Body: []byte("canary of the answer"), ReqHeader: "x: canary"}, nil
	}, nil)
	e.destination("broken", server500, nil)
	e.startWorker()
	event := e.publish(models.PublishInput{Data: json.RawMessage(`{"mail": "canary"}`)}).ID
	<-asked
	e.delivery(event, "broken", is(models.StatusRetrying))

	x := e.erase(models.ErasureInput{EventID: event})
	e.delivery(event, "broken", is(models.StatusCancelled))
	if d := e.delivery(event, "slow", is(models.StatusCancelled)); d.Reason != "Erased by Ann." {
		t.Errorf("called off because: %s", d.Reason)
	}
	for deadline := time.Now().Add(time.Minute); !e.erasure(x.ID()).Waits(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not wait for the attempt under way: %+v", e.erasure(x.ID()))
		}
	}
	close(answer)
	if x = e.erasedAll(x.ID()); x.Erased != 1 || x.Cancelled != 2 || x.Attempts != 2 {
		t.Errorf("%+v", x)
	}
	d := e.delivery(event, "slow", is(models.StatusDelivered))
	if n := e.number("select count(*) from attempts a where a::text like '%canary%' or a.response_body is not null"); n != 0 ||
		len(e.attempts(d)) != 1 || e.attempts(d)[0].Code != 200 {
		t.Errorf("%d attempts keep something; %+v", n, e.attempts(d))
	}
}

// TestErasureGoesOn ends an erasure in the middle, with its job: another one goes on where it was, and erases each event once.
func TestErasureGoesOn(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	const all = 450
	for i := range all {
		e.publish(models.PublishInput{ID: fmt.Sprintf("e-%d", i)})
	}
	x := e.erase(models.ErasureInput{All: true})
	for range 2 { // counts, and erases a window
		if _, err := e.store.AdvanceErasure(t.Context(), x.Key); err != nil {
			t.Fatal(err)
		}
	}
	e.exec("update erasures set after_event = (select id from events where erased_at is not null order by id offset 199 limit 1), looked = 0, erased = 200")
	e.exec(`update events set data = '{"n": 1}', erased_at = null, erased_why = null, erasure_id = null
		where id > (select after_event from erasures)`) // as it is after a power cut behind the first portion
	e.exec("delete from river.river_job where kind = 'erasure'")
	if n, err := e.store.ResumeErasures(t.Context()); n != 1 || err != nil {
		t.Errorf("%d erasures have no job: %v", n, err)
	}
	e.startWorker()
	if x = e.erasedAll(x.ID()); x.Erased != all || x.Looked != all || *x.Total != all {
		t.Errorf("%+v", x)
	}
	if n := e.number("select count(*) from events where erased_at is null or data <> 'null'"); n != 0 {
		t.Errorf("%d events are left", n)
	}
	if n, err := e.store.ResumeErasures(t.Context()); n != 0 || err != nil {
		t.Errorf("%d erasures have no job: %v", n, err)
	}
}

// TestErasureKeepsOrder erases an event that blocks those behind it: they go on.
func TestErasureKeepsOrder(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry.Schedule = []models.Duration{models.Duration(time.Hour)} })
	e.destination("d", func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		if strings.Contains(string(m.Data), "first") {
			return server500(context.Background(), m)
		}
		return adapters.Receipt{Code: 200}, nil
	}, func(in models.DestinationPatch) { in["ordered"] = true })
	e.startWorker()
	first := e.publish(models.PublishInput{OrderingKey: "k", Data: json.RawMessage(`{"n": "first"}`)}).ID
	e.delivery(first, "d", is(models.StatusRetrying))
	second := e.publish(models.PublishInput{OrderingKey: "k"}).ID
	e.erasedAll(e.erase(models.ErasureInput{EventID: first}).ID())
	e.delivery(second, "d", is(models.StatusDelivered))
}
