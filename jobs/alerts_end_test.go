package jobs_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
)

// rule is a tenant's or the operators' rule of a kind.
func (e *engine) rule(tenant, kind string) *models.AlertRule {
	e.Helper()
	list, err := e.store.AlertRules(context.Background(), models.AllTenants(), tenant)
	if err != nil {
		e.Fatal(err)
	}
	i := slices.IndexFunc(list, func(r *models.AlertRule) bool { return r.Kind == kind })
	if i < 0 {
		e.Fatalf("no rule %s among %d", kind, len(list))
	}
	return list[i]
}

// TestCertificateExpires follows a destination's certificate to its end, by what two workers see at their handshakes.
func TestCertificateExpires(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	e.channel("acme", p)
	const day = 24 * time.Hour
	began := time.Now().Truncate(time.Second)
	var shown atomic.Pointer[time.Time] // nil for a kept connection
	e.destination("d", func(context.Context, *adapters.Message) (adapters.Receipt, error) {
		r := adapters.Receipt{Code: 200}
		if ends := shown.Load(); ends != nil {
			r.CertificateEnds = *ends
		}
		return r, nil
	}, nil)
	show := func(left time.Duration) {
		t.Helper()
		ends := began.Add(left)
		shown.Store(&ends)
		res := e.publish(models.PublishInput{})
		e.delivery(res.ID, "d", is(models.StatusDelivered))
		eventually(t, "the certificate is known", func() bool {
			h := e.get("d").Health
			return h != nil && h.CertificateEnds != nil && h.CertificateEnds.Equal(ends)
		})
		shown.Store(nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- jobs.Run(ctx, e.store, jobs.Options{Role: "work", StopWait: 5 * time.Second, Notices: e.notices()}, e.log, func() {})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	e.startWorker()
	alert := func(status, severity, summary string) *models.Alert {
		t.Helper()
		var found *models.Alert
		eventually(t, severity+" "+status+" "+summary, func() bool {
			list := e.alerts("acme", status)
			if len(list) != 1 || list[0].Severity != severity || !strings.Contains(list[0].Summary, summary) {
				return false
			}
			found = list[0]
			return true
		})
		return found
	}

	show(60 * day)
	if list := e.alerts("acme"); len(list) != 0 {
		t.Errorf("alerts about a certificate with 60 days left: %+v", list)
	}
	show(10*day + time.Hour)
	first := alert(models.AlertOpen, "warning", "in 10 days.")
	if at := first.Detail.CertificateEnds; at == nil || !at.Equal(began.Add(10*day+time.Hour)) {
		t.Errorf("%v", at)
	}
	// A connection that is kept shows nothing and changes nothing.
	e.delivery(e.publish(models.PublishInput{}).ID, "d", is(models.StatusDelivered))
	alert(models.AlertOpen, "warning", "in 10 days.")
	show(2*day + time.Hour)
	alert(models.AlertOpen, "error", "in 2 days.")
	show(-time.Hour)
	alert(models.AlertOpen, "critical", "ended on")
	show(90 * day)
	over := alert(models.AlertResolved, "critical", "ended on")
	if over.ID() != first.ID() || !strings.HasPrefix(over.Resolution, "A certificate was seen that is valid until") {
		t.Errorf("%+v", over)
	}
	var told []string
	eventually(t, "the notices", func() bool {
		told = nil
		for _, h := range p.all() {
			told = append(told, h.Type+" "+h.Data.Severity)
		}
		return len(told) == 4
	})
	if want := []string{"alert.opened warning", "alert.repeated error", "alert.repeated critical",
		"alert.resolved critical"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}

	// Another address may have another certificate, or none.
	other := e.Name() + "/elsewhere"
	show(time.Hour)
	alert(models.AlertOpen, "error", "in less than a day")
	if _, err := e.store.UpdateDestination(ctx, models.AllTenants(), "acme", "d", 0,
		models.DestinationInput{Patch: models.DestinationPatch{"config": models.Values{"name": &other}}}); err != nil {
		t.Fatal(err)
	}
	if h := e.get("d").Health; h.CertificateEnds != nil {
		t.Errorf("the certificate of an address that was left: %v", h.CertificateEnds)
	}
	eventually(t, "the alert about it is over", func() bool { return len(e.alerts("acme", models.AlertOpen)) == 0 })
}

// TestCertificatePreview says when rules about certificates would have fired.
func TestCertificatePreview(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	now := time.Now()
	for id, left := range map[string]time.Duration{"soon": 10 * 24 * time.Hour, "later": 100 * 24 * time.Hour, "none": 0} {
		d := e.destination(id, nil, nil)
		var ends, at *time.Time
		if left > 0 {
			x := now.Add(left)
			ends, at = &x, &now
		}
		if _, err := e.db.Exec(t.Context(),
			"insert into destination_health (destination_key, tenant_key, certificate_ends, certificate_at) values ($1, $2, $3, $4)",
			d.Key, d.TenantKey, ends, at); err != nil {
			t.Fatal(err)
		}
	}
	var when models.Condition
	if err := json.Unmarshal([]byte(`{"certificate_expires": "14d"}`), &when); err != nil {
		t.Fatal(err)
	}
	p, err := e.preview("acme", models.AlertRuleInput{When: &when})
	if err != nil || p.Count != 1 || p.Times[0].DestinationID != "soon" ||
		!p.Times[0].At.Equal(now.Add(-4*24*time.Hour).Truncate(time.Microsecond)) || p.Note == "" {
		t.Errorf("%+v %v", p, err)
	}
}

// TestRuleEnds deletes, switches off and narrows rules whose alerts are open: whoever was told hears that they are over.
func TestRuleEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end func(e *engine, r *models.AlertRule) error
		why string
	}{
		"deleted": {func(e *engine, r *models.AlertRule) error {
			return e.store.DeleteAlertRule(context.Background(), models.AllTenants(), "acme", r.ID)
		}, "The rule was deleted."},
		"switched off": {func(e *engine, r *models.AlertRule) error {
			off := true
			_, err := e.store.UpdateAlertRule(context.Background(), models.AllTenants(), "acme", r.ID,
				models.AlertRuleInput{Disabled: &off})
			return err
		}, "The rule was switched off."},
		"another condition": {func(e *engine, r *models.AlertRule) error {
			_, err := e.store.UpdateAlertRule(context.Background(), models.AllTenants(), "acme", r.ID,
				models.AlertRuleInput{When: &models.Condition{"filter_failing": true}})
			return err
		}, "The rule was changed."},
		"other destinations, and no channels": {func(e *engine, r *models.AlertRule) error {
			_, err := e.store.UpdateAlertRule(context.Background(), models.AllTenants(), "acme", r.ID,
				models.AlertRuleInput{DestinationIDs: json.RawMessage(`["other"]`), ChannelIDs: json.RawMessage(`[]`)})
			return err
		}, "The rule is not about this destination any more."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, nil)
			told, late := newPager(t), newPager(t)
			e.channel("acme", told)
			d := e.destination("d", nil, nil)
			e.destination("other", nil, nil)
			r := e.rule("acme", "disabled")
			if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", d.ID, "ann", "a test"); err != nil {
				t.Fatal(err)
			}
			e.startWorker()
			eventually(t, "the notice that it began", func() bool { return len(told.all()) == 1 })
			e.channel("acme", late)
			if err := tt.end(e, r); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the notice that it is over", func() bool { return len(told.all()) == 2 })
			all := told.all()
			if all[1].Type != "alert.resolved" || all[1].Data.AlertID != all[0].Data.AlertID || all[1].Data.Summary != tt.why ||
				all[1].Data.Destination.ID != "d" {
				t.Errorf("%+v", all[1])
			}
			a := e.alerts("acme")
			if len(a) != 1 || a[0].Status != models.AlertResolved || a[0].Resolution != tt.why {
				t.Errorf("%+v", a)
			}
			if got := late.all(); len(got) != 0 {
				t.Errorf("who was not told that it began heard %+v", got)
			}
		})
	}
}

// TestResolvedByHand: what somebody has ended stays ended until it was over once, or becomes worse.
func TestResolvedByHand(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	told := newPager(t)
	e.channel("acme", told)
	d := e.destination("d", nil, nil)
	steps := e.rule("acme", "disable_steps")
	every := models.Duration(0)
	r, err := e.store.CreateAlertRule(t.Context(), models.AllTenants(), "acme",
		models.AlertRuleInput{When: &models.Condition{"consecutive_failures": 3}, Every: &every})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	step := func(failures int, ok bool) {
		t.Helper()
		now = now.Add(time.Second)
		e.recorded(now, failures, ok, d)
		e.pass(now)
	}
	open := func(rule *models.AlertRule) (out []*models.Alert) {
		t.Helper()
		for _, a := range e.alerts("acme", models.AlertOpen) {
			if a.RuleID == rule.ID {
				out = append(out, a)
			}
		}
		return out
	}
	resolve := func(rule *models.AlertRule, message string) *models.Alert {
		t.Helper()
		list := open(rule)
		if len(list) != 1 {
			t.Fatalf("%d open alerts of %s", len(list), rule.Name)
		}
		a, err := e.store.ResolveAlert(t.Context(), models.AllTenants(), "acme", list[0].ID(), "ann", message)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := func(rule *models.AlertRule, n int, when string) {
		t.Helper()
		if got := len(open(rule)); got != n {
			t.Errorf("%s: %d open alerts of %s, want %d", when, got, rule.Name, n)
		}
	}
	step(3, false)
	a := resolve(r, "the receiver is being rebuilt")
	if a.Status != models.AlertResolved || a.ResolvedBy != "ann" || a.Resolution != "Resolved by ann: the receiver is being rebuilt." {
		t.Errorf("%+v", a)
	}
	if _, err := e.store.ResolveAlert(t.Context(), models.AllTenants(), "acme", a.ID(), "ann", ""); !models.IsKind(err,
		models.KindConflict) {
		t.Errorf("resolving it again: %v", err)
	}
	if _, err := e.store.ResolveAlert(t.Context(), models.AllTenants(), "acme", a.ID(), "ann",
		strings.Repeat("x", 501)); !models.IsKind(err, models.KindInvalid) {
		t.Errorf("a message of 501 characters: %v", err)
	}
	log, err := e.store.Notifications(t.Context(), models.AllTenants(), "acme",
		models.NotificationQuery{AlertID: a.ID(), Page: models.PageQuery{Asc: true}})
	if err != nil || len(log.Items) != 2 || log.Items[1].Kind != notify.Resolved || log.Items[1].Status != models.NotificationQueued ||
		log.Items[1].Notice.Summary != a.Resolution {
		t.Errorf("%+v %v", log, err)
	}
	step(5, false)
	want(r, 0, "it goes on failing")
	step(1, true)
	step(3, false)
	want(r, 1, "it fails again after it had worked")

	step(50, false)
	want(steps, 1, "half of the limit")
	resolve(steps, "")
	step(5, false)
	want(steps, 0, "58 of 100")
	step(15, false)
	want(steps, 1, "73 of 100")
}
