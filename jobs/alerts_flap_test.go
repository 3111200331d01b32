package jobs_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
)

// onlyRule makes a rule that tells once an hour, in place of those that acme has from the first day.
func (e *engine) onlyRule(when models.Condition) {
	e.Helper()
	rules, err := e.store.AlertRules(e.Context(), models.AllTenants(), "acme")
	if err != nil || len(rules) != 3 {
		e.Fatal(rules, err)
	}
	for _, r := range rules {
		if err := e.store.DeleteAlertRule(e.Context(), models.AllTenants(), "acme", r.ID); err != nil {
			e.Fatal(err)
		}
	}
	every := models.Duration(time.Hour)
	if _, err := e.store.CreateAlertRule(e.Context(), models.AllTenants(), "acme",
		models.AlertRuleInput{When: &when, Every: &every}); err != nil {
		e.Fatal(err)
	}
}

// told lists the notifications of acme, oldest first.
func (e *engine) told() []*models.Notification {
	e.Helper()
	list, err := e.store.Notifications(e.Context(), models.AllTenants(), "acme",
		models.NotificationQuery{Page: models.PageQuery{Asc: true, Limit: 1000}})
	if err != nil {
		e.Fatal(err)
	}
	return list.Items
}

// wantTold compares the kinds and states of these.
func (e *engine) wantTold(want ...string) {
	e.Helper()
	var got []string
	for _, n := range e.told() {
		got = append(got, n.Kind+" "+n.Status)
	}
	if !slices.Equal(got, want) {
		e.Errorf("%q, want %q", got, want)
	}
}

// TestDisablingIsToldEachTime: whoever heard that a destination was enabled hears that it is disabled again, however soon.
func TestDisablingIsToldEachTime(t *testing.T) {
	t.Parallel()
	for _, resolve := range []bool{true, false} {
		e := newEngine(t, nil)
		e.channel("acme", newPager(t))
		e.destination("d", nil, nil)
		e.onlyRule(models.Condition{"disabled": true})
		if !resolve {
			e.exec("update alert_rules set resolve = false")
		}
		now := time.Now()
		for i := range 5 {
			if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", "d", "Waybill", "it failed"); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
			e.pass(now)
			told := e.told()
			if last := told[len(told)-1]; len(told) != 2*i+1 || last.Kind != notify.Opened || last.Status != models.NotificationQueued {
				t.Fatalf("disabled for the %d. time: %+v", i+1, last)
			}
			if _, err := e.store.EnableDestination(t.Context(), models.AllTenants(), "acme", "d", "ann", models.Backlog{}); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
			e.pass(now)
		}
	}
}

// TestFlapping is about a condition that is met and over again and again: what a channel heard last is true, and it does not
// hear of each turn.
func TestFlapping(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.channel("acme", newPager(t))
	d := e.destination("d", nil, nil)
	e.onlyRule(models.Condition{"consecutive_failures": 3})
	now := time.Now()
	turn := func(fails int, ok bool) {
		t.Helper()
		now = now.Add(time.Minute)
		e.recorded(now, fails, ok, d)
		e.pass(now)
	}
	for range 5 {
		turn(3, false)
		turn(1, true)
	}
	said := []string{"opened queued", "resolved queued", "opened queued", "resolved queued", "opened queued", "resolved waiting",
		"opened suppressed", "resolved suppressed", "opened suppressed", "resolved suppressed"}
	e.wantTold(said...)
	end := e.told()[5]
	if !strings.Contains(end.Reason, "It began 3 times within 1h") {
		t.Errorf("%q", end.Reason)
	}
	now = now.Add(9 * time.Minute)
	e.pass(now)
	e.wantTold(said...) // not calm for long enough
	turn(3, false)
	said = append(said, "opened suppressed")
	now = now.Add(11 * time.Minute)
	e.pass(now)
	e.wantTold(said...) // the last one is open, and that it is was said
	turn(1, true)
	now = now.Add(11 * time.Minute)
	e.pass(now)
	said = append(said, "resolved suppressed")
	said[5] = "resolved queued"
	e.wantTold(said...)
	if told := e.told(); told[5].ID() != end.ID() || told[5].Notice.AlertID != told[4].Notice.AlertID ||
		!strings.HasPrefix(told[5].Notice.Summary, "Events are delivered again since") {
		t.Errorf("%+v", told[5].Notice)
	}
	turn(3, false)
	e.wantTold(append(said, "opened queued")...) // the end was told, so the next beginning is
}

// TestEndByHandIsToldAtOnce although the alert went on and off.
func TestEndByHandIsToldAtOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	e.channel("acme", newPager(t))
	d := e.destination("d", nil, nil)
	e.onlyRule(models.Condition{"consecutive_failures": 3})
	now := time.Now().Add(-time.Hour / 2)
	for i := range 3 {
		now = now.Add(time.Minute)
		e.recorded(now, 3, false, d)
		e.pass(now)
		if i < 2 {
			now = now.Add(time.Minute)
			e.recorded(now, 1, true, d)
			e.pass(now)
		}
	}
	open := e.alerts("acme", models.AlertOpen)
	if _, err := e.store.ResolveAlert(t.Context(), models.AllTenants(), "acme", open[0].ID(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	e.wantTold("opened queued", "resolved queued", "opened queued", "resolved queued", "opened queued", "resolved queued")
}
