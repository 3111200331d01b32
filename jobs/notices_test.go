package jobs_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// preview previews a rule of a tenant's.
func (e *engine) preview(tenant string, in models.AlertRuleInput) (*models.Preview, error) {
	r, err := e.store.NewAlertRule(e.Context(), models.AllTenants(), tenant, in)
	if err != nil {
		return nil, err
	}
	return e.store.PreviewRule(e.Context(), r)
}

// onlyNotification is the one notification of acme's.
func (e *engine) onlyNotification() *models.Notification {
	e.Helper()
	list, err := e.store.Notifications(e.Context(), models.AllTenants(), "acme", models.NotificationQuery{})
	if err != nil || len(list.Items) != 1 {
		e.Fatal(list, err)
	}
	return list.Items[0]
}

// TestNoticeIsRecordedAgain has the database refuse to take down that a notice was sent. It is taken down as soon as
// there is room, and nobody gets the notice twice.
func TestNoticeIsRecordedAgain(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	e.channel("acme", p)
	e.exec(`create sequence refused; create function refuse() returns trigger language plpgsql as $$ begin
		perform nextval('refused'); -- which no rollback undoes
		raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$`)
	e.exec(`create trigger refuse before update on notifications for each row execute function refuse()`)
	e.recorded(time.Now(), 60, false, e.destination("d", nil, nil))
	e.startWorker()
	eventually(t, "recording is refused three times", func() (enough bool) {
		if err := e.db.QueryRow(t.Context(), "select last_value >= 3 from refused").Scan(&enough); err != nil {
			t.Fatal(err)
		}
		return enough
	})
	e.exec("drop trigger refuse on notifications")
	eventually(t, "it is recorded", func() bool { return e.onlyNotification().Status == models.NotificationSent })
	e.stopWorker()
	if n := e.onlyNotification(); n.Tries != 1 || len(p.all()) != 1 {
		t.Errorf("%d tries, and the channel heard it %d times", n.Tries, len(p.all()))
	}
}

// TestNoticeWhoseJobDoesNotEnd has the database refuse that the job of a notice which was sent ends, as when it is away
// just then. The job is done once more, and nobody gets the notice twice.
func TestNoticeWhoseJobDoesNotEnd(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	e.channel("acme", p)
	e.exec(`create function refuse() returns trigger language plpgsql as $$ begin
		raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$`)
	e.exec(`create trigger refuse before update on river.river_job for each row when (new.kind = 'notice' and new.state = 'completed') execute function refuse()`)
	e.recorded(time.Now(), 60, false, e.destination("d", nil, nil))
	e.startWorker()
	job := func(where string) bool {
		var is bool
		if err := e.db.QueryRow(t.Context(),
			"select exists (select 1 from river.river_job where kind = 'notice' and "+where+")").Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	eventually(t, "the job is begun again", func() bool { return job("state = 'running' and attempt > 1") })
	if n := e.onlyNotification(); n.Status != models.NotificationSent {
		t.Errorf("the notice is %s", n.Status)
	}
	e.exec("drop trigger refuse on river.river_job")
	eventually(t, "the job ends", func() bool { return !job("state <> 'completed'") })
	if n := e.onlyNotification(); n.Tries != 1 || len(p.all()) != 1 {
		t.Errorf("%d tries, and the channel heard it %d times", n.Tries, len(p.all()))
	}
}

// TestNoticeHasOneTryAtATime gives the job of a notice to a process twice, and to another one, as a crash of PostgreSQL
// may, which can forget that it was taken.
func TestNoticeHasOneTryAtATime(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	p := newPager(t)
	inside, answer := make(chan struct{}), make(chan struct{})
	p.answer = func(*http.Request, int) int {
		close(inside)
		<-answer
		return 200
	}
	e.channel("acme", p)
	e.recorded(time.Now(), 60, false, e.destination("d", nil, nil))
	e.pass(time.Now())
	notices, id := e.notices(), e.onlyNotification().Key
	done := make(chan error, 1)
	go func() {
		_, err := notices.Try(t.Context(), "test", id)
		done <- err
	}()
	<-inside
	e.exec(`insert into processes (id, role, host, pid) values ('test', 'work', 'h', 1)`)
	if again, err := notices.Try(t.Context(), "test", id); again <= 0 || err != nil {
		t.Errorf("a second try at the same time: again in %v, %v", again, err)
	}
	if again, err := e.notices().Try(t.Context(), "other", id); again <= 0 || err != nil {
		t.Errorf("a try of another process at the same time: again in %v, %v", again, err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if again, err := notices.Try(t.Context(), "test", id); again != 0 || err != nil || len(p.all()) != 1 {
		t.Errorf("again in %v, %v; heard %d times", again, err, len(p.all()))
	}
}

// TestRuleByTopic is about rules for topics: they are about the destinations that take one of these, by name, by a
// pattern, or as all others.
func TestRuleByTopic(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	var list []*models.Destination
	for id, topics := range map[string]models.Topics{"name": {"order.created"}, "pattern": {"order.*"}, "all": {"*"},
		"other": {"order.paid"}} {
		list = append(list, e.destination(id, nil, func(in models.DestinationPatch) { in["topics"] = topics }))
	}
	in := models.AlertRuleInput{When: &models.Condition{"consecutive_failures": 3}, Topics: json.RawMessage(`["order.created"]`)}
	r, err := e.store.CreateAlertRule(t.Context(), models.AllTenants(), "acme", in)
	if err != nil {
		t.Fatal(err)
	}
	e.recorded(time.Now(), 3, false, list...)
	e.pass(time.Now())
	var about []string
	for _, a := range e.alerts("acme", models.AlertOpen) {
		if a.RuleID == r.ID {
			about = append(about, a.DestinationID)
		}
	}
	slices.Sort(about)
	if !slices.Equal(about, []string{"all", "name", "pattern"}) {
		t.Errorf("alerts about %q", about)
	}
	p, err := e.preview("acme", in)
	if err != nil || p.Count != 3 || p.Note != "3 destinations take one of these topics. All that goes there counts, whatever its topic." {
		t.Errorf("%+v %v", p, err)
	}
}
