package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
)

// TestAutoDisable lets several worker processes deliver to a destination that fails and to one that fails now and then.
func TestAutoDisable(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.DisableAfter, r.DisableLeast = 20, 0
		r.Retry = models.RetryPolicy{Schedule: []models.Duration{0, 0, models.Duration(time.Hour)}, MaxInterval: models.Duration(time.Hour)}
	})
	e.destination("dead", server500, nil)
	var mu sync.Mutex
	n := 0
	e.destination("shaky", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		mu.Lock()
		n++
		fail := n%3 != 0
		mu.Unlock()
		if fail {
			return server500(ctx, m)
		}
		return adapters.Receipt{Code: 200}, nil
	}, nil)
	e.destination("never", server500, func(in models.DestinationPatch) { in["disable_after"] = 0 })
	p := newPager(t)
	e.channel("acme", p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range cap(done) {
		go func() {
			done <- jobs.Run(ctx, e.store, jobs.Options{Role: "work", StopWait: 5 * time.Second, Notices: e.notices()}, e.log, func() {})
		}()
	}
	defer func() {
		cancel()
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()
	e.startWorker()
	var wg sync.WaitGroup
	for range 60 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e.publish(models.PublishInput{})
		}()
	}
	wg.Wait()
	eventually(t, "the destination is disabled", func() bool { return e.get("dead").DisabledAt != nil })
	d := e.get("dead")
	if d.DisabledBy != "Waybill" || !strings.Contains(d.DisabledReason, "deliveries in a row failed") ||
		!strings.Contains(d.DisabledReason, "The receiver answered 500.") {
		t.Errorf("disabled by %q: %s", d.DisabledBy, d.DisabledReason)
	}
	for _, id := range []string{"shaky", "never"} {
		if d := e.get(id); d.DisabledAt != nil {
			t.Errorf("%s was disabled too: %s", id, d.DisabledReason)
		}
	}
	var detail map[string]any
	err := e.db.QueryRow(ctx, "select detail from audit where action = 'destination.disable' and object = 'dead'").Scan(&detail)
	if list, _ := detail["attempts"].([]any); err != nil || len(list) != 10 {
		t.Errorf("the attempts that led to it: %v %v", detail, err)
	} else if a, err := e.store.Attempt(ctx, models.AllTenants(), list[0].(string)); err != nil || a.OK {
		t.Errorf("%v %v", a, err)
	}
	eventually(t, "the notice about it", func() bool {
		return slices.ContainsFunc(p.all(), func(h heard) bool {
			return h.Data.Rule.Name == "Destination disabled" && h.Data.Severity == "critical" && h.Data.Destination.ID == "dead"
		})
	})

	// Its events are held now; enabling starts anew.
	held := e.publish(models.PublishInput{})
	e.delivery(held.ID, "dead", is(models.StatusHeld))
	answers.Delete(t.Name() + "/dead")
	if _, err := e.store.EnableDestination(ctx, models.AllTenants(), "acme", "dead", "ann", models.Backlog{}); err != nil {
		t.Fatal(err)
	}
	e.delivery(held.ID, "dead", is(models.StatusDelivered))
	eventually(t, "its alerts are resolved", func() bool {
		return !slices.ContainsFunc(e.alerts("acme", models.AlertOpen), func(a *models.Alert) bool { return a.DestinationID == "dead" })
	})
	h, err := e.store.HealthOf(ctx, d.Key)
	if err != nil || h[d.Key].Failures != 0 || h[d.Key].ResetAt == nil {
		t.Errorf("%+v %v", h[d.Key], err)
	}
}

// TestHealthCountsEverythingOnce lets several processes record and watch at the same time.
func TestHealthCountsEverythingOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.DisableAfter = 0
		r.Retry = models.RetryPolicy{Schedule: []models.Duration{0, 0}, MaxInterval: models.Duration(time.Hour)}
	})
	// One destination takes each event at the third attempt, one takes none, one all.
	slow := e.destination("slow", func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		if m.Attempt < 3 {
			return server500(ctx, m)
		}
		return adapters.Receipt{Code: 200}, nil
	}, func(in models.DestinationPatch) { in["topics"] = "many" })
	dead := e.destination("dead", server500, func(in models.DestinationPatch) { in["topics"] = "few" })
	ok := e.destination("ok", nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	for range 3 {
		watchers.Add(1)
		go func() {
			defer watchers.Done()
			w := models.NewWatcher(e.store, e.log)
			for ctx.Err() == nil {
				if _, err := w.Pass(context.Background(), time.Now()); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	defer func() {
		cancel()
		watchers.Wait()
	}()
	e.startWorker()
	const many, few = 100, 10
	var wg sync.WaitGroup
	for i := range many + few {
		wg.Add(1)
		go func() {
			defer wg.Done()
			topic := "many"
			if i < few {
				topic = "few"
			}
			e.publish(models.PublishInput{Topic: topic})
		}()
	}
	wg.Wait()
	for _, c := range []struct {
		d    *models.Destination
		want models.Rates
	}{
		{slow, models.Rates{Deliveries: many, Failed: many, Attempts: 3 * many, FailedAttempts: 2 * many}},
		{dead, models.Rates{Deliveries: few, Failed: few, Attempts: 3 * few, FailedAttempts: 3 * few, GivenUp: few}},
		{ok, models.Rates{Deliveries: many + few, Attempts: many + few}},
	} {
		var r models.Rates
		eventually(t, "all attempts of "+c.d.ID+" are counted", func() bool {
			var err error
			if r, err = e.store.RatesOf(ctx, c.d.Key, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
			return r.Attempts >= c.want.Attempts
		})
		if r != c.want {
			t.Errorf("%s: %+v, want %+v", c.d.ID, r, c.want)
		}
	}
	h, err := e.store.HealthOf(ctx, slow.Key, dead.Key)
	if err != nil || h[dead.Key].Failures != few || h[dead.Key].Attempts != 3*few || h[dead.Key].GivenUp != few ||
		h[dead.Key].Error != "The receiver answered 500." {
		t.Errorf("%+v %v", h[dead.Key], err)
	}
	if h[slow.Key].Failures != 0 || h[slow.Key].LastSuccess == nil {
		t.Errorf("%+v", h[slow.Key])
	}
}

// TestStorm lets 1,000 destinations fail at once.
func TestStorm(t *testing.T) {
	t.Parallel()
	const destinations = 1000
	e := newEngine(t, func(r *models.Rules) { r.DisableLeast = time.Hour })
	p := newPager(t)
	e.channel("acme", p)
	e.channel("", p)
	list := make([]*models.Destination, destinations)
	for i := range list {
		list[i] = e.destination(fmt.Sprintf("d%d", i), nil, nil)
	}
	now := time.Now().Add(-10 * time.Minute)
	for i := range 5 { // not all within the same second
		e.recorded(now, 60, false, list[i*200:(i+1)*200]...)
		e.pass(now)
		now = now.Add(time.Second)
	}
	now = now.Add(2 * time.Minute)
	e.pass(now)
	for _, tenant := range []string{"acme", ""} {
		open := e.alerts(tenant, models.AlertOpen)
		if len(open) != destinations {
			t.Errorf("%q: %d alerts", tenant, len(open))
		}
		for _, a := range open {
			log, err := e.store.Notifications(t.Context(), models.AllTenants(), tenant, models.NotificationQuery{AlertID: a.ID()})
			if err != nil || len(log.Items) != 1 {
				t.Fatalf("alert %s has %d notifications: %v", a.ID(), len(log.Items), err)
			}
			if n := log.Items[0]; n.Status != models.NotificationQueued && n.DigestKey == nil {
				t.Errorf("nobody was told about %s: %s, %s", a.ID(), n.Status, n.Reason)
			}
		}
	}
	e.startWorker()
	queued := func() int {
		n := 0
		for _, tenant := range []string{"acme", ""} {
			for _, status := range []string{models.NotificationQueued, models.NotificationWaiting} {
				list, err := e.store.Notifications(t.Context(), models.AllTenants(), tenant,
					models.NotificationQuery{Statuses: []string{status}})
				if err != nil {
					t.Fatal(err)
				}
				n += len(list.Items)
			}
		}
		return n
	}
	eventually(t, "all notices are sent", func() bool { return queued() == 0 })
	began := p.all()
	told := 0
	for _, h := range began {
		told += 1 + h.Data.Others
	}
	if told != 2*destinations || len(began) > 20 {
		t.Errorf("%d notices tell of %d alerts", len(began), told)
	}
	// All recover: what was told in a digest is over with the digest.
	e.recorded(time.Now(), 1, true, list...)
	eventually(t, "all alerts are resolved", func() bool {
		return len(e.alerts("acme", models.AlertOpen))+len(e.alerts("",
			models.AlertOpen)) == 0
	})
	eventually(t, "all notices are sent", func() bool { return queued() == 0 })
	over := p.all()[len(began):]
	began2, over2 := map[string]bool{}, map[string]bool{}
	for _, h := range began {
		began2[h.Data.AlertID] = true
	}
	for _, h := range over {
		over2[h.Data.AlertID] = true
		if h.Type != "alert.resolved" {
			t.Errorf("%+v", h)
		}
	}
	if len(over) != len(began) || len(began2) != len(over2) {
		t.Errorf("%d notices (%d alerts) began, %d (%d) are over", len(began), len(began2), len(over), len(over2))
	}
	for id := range began2 {
		if !over2[id] {
			t.Errorf("%s is not over", id)
		}
	}
}

// TestShareOfAMinute lets destinations fail one after the other, each of whose notices is sent at once. A channel gets
// five of them, and then one digest, which tells of the others.
func TestShareOfAMinute(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.DisableLeast = time.Hour })
	p := newPager(t)
	e.channel("acme", p)
	n, now := e.notices(), time.Now()
	const destinations = 20
	for i := range destinations {
		e.recorded(now, 60, false, e.destination(fmt.Sprintf("d%d", i), nil, nil))
		e.pass(now)
		list, err := e.store.Notifications(t.Context(), models.AllTenants(), "acme",
			models.NotificationQuery{Statuses: []string{models.NotificationQueued}})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list.Items {
			if _, err := n.Try(t.Context(), "test", x.Key); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Second)
	}
	// The first digest is made at once, for the sixth; those after it wait for a minute.
	if heard := p.all(); len(heard) != 6 {
		t.Errorf("%d notices within %d seconds", len(heard), destinations)
	}
	e.pass(now.Add(time.Minute))
	list, err := e.store.Notifications(t.Context(), models.AllTenants(), "acme",
		models.NotificationQuery{Statuses: []string{models.NotificationQueued}})
	if err != nil || len(list.Items) != 1 || list.Items[0].Notice.Others != destinations-6-1 {
		t.Errorf("the next digest: %+v %v", list.Items, err)
	}
}

// TestOnceInAWhile is about the rule's throttle, reminders, muting and acknowledging.
func TestOnceInAWhile(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	e.channel("acme", p)
	d := e.destination("d", nil, nil)
	e.onlyRule(models.Condition{"consecutive_failures": 3})
	want := e.wantTold
	now := time.Now()
	step := func(after time.Duration, failures int, ok bool) {
		t.Helper()
		now = now.Add(after)
		e.recorded(now, failures, ok, d)
		e.pass(now)
	}
	step(0, 2, false)
	want()
	step(time.Second, 1, false)
	want("opened queued")
	step(time.Second, 5, false)
	want("opened queued")
	step(time.Second, 1, true)
	want("opened queued", "resolved queued")
	step(time.Minute, 3, false) // again within the hour: whoever heard that all is well hears that it is not
	want("opened queued", "resolved queued", "opened queued")
	step(time.Second, 1, true)
	want("opened queued", "resolved queued", "opened queued", "resolved queued")
	step(time.Hour, 3, false)
	five := []string{"opened queued", "resolved queued", "opened queued", "resolved queued", "opened queued"}
	want(five...)
	step(61*time.Minute, 1, false)
	want(append(five, "repeated queued")...)
	open := e.alerts("acme", models.AlertOpen)
	if len(open) != 1 || open[0].Detail.Failures != 4 || !strings.Contains(open[0].Summary, "4 deliveries in a row") {
		t.Fatalf("%+v", open)
	}
	if _, err := e.store.AcknowledgeAlert(t.Context(), models.AllTenants(), "acme", open[0].ID(), "ann", "on it"); err != nil {
		t.Fatal(err)
	}
	five = append(five, "repeated queued", "acknowledged queued")
	step(61*time.Minute, 1, false)
	want(five...) // somebody takes care of it
	if _, err := e.store.MuteAlert(t.Context(), models.AllTenants(), "acme", open[0].ID(), "ann", now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	step(time.Minute, 1, true)
	want(append(five, "resolved suppressed")...)
	a, err := e.store.Alert(t.Context(), models.AllTenants(), "acme", open[0].ID())
	if err != nil || a.Status != models.AlertResolved || a.AcknowledgedBy != "ann" || a.Acknowledged != "on it" ||
		!strings.HasPrefix(a.Resolution, "Events are delivered again since") {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := e.store.AcknowledgeAlert(t.Context(), models.AllTenants(), "acme", a.ID(), "ann", ""); !models.IsKind(err,
		models.KindConflict) {
		t.Errorf("acknowledging what is over: %v", err)
	}
	if _, err := e.store.Alert(t.Context(), models.AllTenants(), "", a.ID()); !models.IsKind(err, models.KindNotFound) {
		t.Errorf("a tenant's alert among the operators': %v", err)
	}
}

// TestRestartWhileSending ends a worker in the middle of sending a notice.
func TestRestartWhileSending(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	inside := make(chan struct{})
	p.answer = func(r *http.Request, n int) int {
		if n == 1 {
			close(inside)
			<-r.Context().Done()
		}
		return 200
	}
	e.channel("acme", p)
	d := e.destination("d", nil, nil)
	e.recorded(time.Now(), 60, false, d)
	e.pass(time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- jobs.Run(ctx, e.store, jobs.Options{Role: "work", StopWait: time.Millisecond, Notices: e.notices()}, e.log, func() {})
	}()
	<-inside
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	e.startWorker()
	eventually(t, "the notice is sent", func() bool {
		list, err := e.store.Notifications(t.Context(), models.AllTenants(), "acme", models.NotificationQuery{})
		if err != nil || len(list.Items) != 1 {
			t.Fatal(list, err)
		}
		return list.Items[0].Status == models.NotificationSent
	})
	ids := map[string]bool{}
	for _, h := range p.all() {
		ids[h.id] = true
	}
	if len(ids) != 1 || len(p.all()) != 2 {
		t.Errorf("%d requests with %d ids", len(p.all()), len(ids))
	}
}

// TestNoticeIsTriedAgain is about a channel that refuses at first, and one that refuses for good.
func TestNoticeIsTriedAgain(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	p.answer = func(_ *http.Request, n int) int {
		if n == 1 {
			return 503
		}
		return 200
	}
	gone := newPager(t)
	gone.answer = func(*http.Request, int) int { return 410 }
	again, dead := e.channel("acme", p), e.channel("acme", gone)
	e.recorded(time.Now(), 60, false, e.destination("d", nil, nil))
	e.pass(time.Now())
	list, err := e.store.Notifications(t.Context(), models.AllTenants(), "acme", models.NotificationQuery{})
	if err != nil || len(list.Items) != 2 {
		t.Fatal(list, err)
	}
	n := e.notices()
	for _, x := range list.Items {
		wait, err := n.Try(t.Context(), "test", x.Key)
		if err != nil || (wait > 0) != (x.ChannelID == again.ID) {
			t.Errorf("%s: again in %v, %v", x.ChannelID, wait, err)
		}
		got, err := e.store.Notification(t.Context(), models.AllTenants(), "acme", x.ID())
		if err != nil || got.Tries != 1 || got.Error == "" || (got.Status == models.NotificationFailed) != (x.ChannelID == dead.ID) {
			t.Errorf("%+v %v", got, err)
		}
		if wait > 0 {
			heard := len(p.all())
			if wait, err = n.Try(t.Context(), "test", x.Key); wait < time.Second || err != nil || len(p.all()) != heard {
				t.Errorf("before it was due: again in %v, %v", wait, err)
			}
			e.exec("update notifications set due_at = now() where due_at is not null")
			if wait, err = n.Try(t.Context(), "test", x.Key); wait != 0 || err != nil {
				t.Errorf("%v %v", wait, err)
			}
			if got, err = e.store.Notification(t.Context(), models.AllTenants(), "acme", x.ID()); err != nil ||
				got.Status != models.NotificationSent || got.Tries != 2 || got.Code != 200 || got.Error != "" {
				t.Errorf("%+v %v", got, err)
			}
			if _, err = n.Try(t.Context(), "test", x.Key); err != nil || len(p.all()) != 2 { // sent already
				t.Errorf("%d requests, %v", len(p.all()), err)
			}
		}
	}
	if p.all()[0].id != p.all()[1].id {
		t.Error("another id with the second try")
	}
}

// TestProbe enables a destination by way of one delivery: in vain at first, then for good.
func TestProbe(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) {
		r.DisableAfter, r.DisableLeast, r.ProbeAfter = 3, 0, time.Millisecond
		r.Retry = models.RetryPolicy{Initial: 1, Multiplier: 1, MaxInterval: models.Duration(time.Hour), MaxAttempts: 1}
	})
	e.destination("d", server500, nil)
	for range 5 {
		e.publish(models.PublishInput{})
	}
	e.startWorker()
	eventually(t, "the destination is disabled", func() bool { return e.get("d").DisabledAt != nil })
	first, second := e.publish(models.PublishInput{}), e.publish(models.PublishInput{})
	failed := e.delivery(first.ID, "d", func(d *models.Delivery) bool { return d.Status == models.StatusHeld && d.Attempts > 0 })
	if !strings.Contains(failed.Reason, "A probe of the disabled destination failed: The receiver answered 500.") {
		t.Errorf("%q", failed.Reason)
	}
	if at := e.attempts(failed); at[0].Trigger != models.TriggerProbe || at[0].Actor != "Waybill" {
		t.Errorf("%+v", at[0])
	}
	answers.Delete(t.Name() + "/d")
	e.delivery(first.ID, "d", is(models.StatusDelivered))
	e.delivery(second.ID, "d", is(models.StatusDelivered))
	eventually(t, "the destination is enabled", func() bool { return e.get("d").DisabledAt == nil })

	// By hand, where nothing is held: there is nothing to probe with.
	if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", "d", "ann", ""); err != nil {
		t.Fatal(err)
	}
	d, probing, err := e.store.ProbeDestination(t.Context(), models.AllTenants(), "acme", "d", models.Asker{Actor: "ann"}, models.Backlog{})
	if err != nil || probing || d.DisabledAt != nil {
		t.Errorf("%v %v %v", probing, d.DisabledAt, err)
	}
	if _, _, err = e.store.ProbeDestination(t.Context(), models.AllTenants(), "acme", "d", models.Asker{Actor: "ann"},
		models.Backlog{}); !models.IsKind(err, models.KindConflict) {
		t.Errorf("probing what is enabled: %v", err)
	}
}
