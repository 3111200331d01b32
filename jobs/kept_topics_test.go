package jobs_test

import (
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// left are the ids of events whose data is kept.
func (e *engine) left() []string {
	e.Helper()
	rows, err := e.db.Query(e.Context(), "select caller_id from events where erased_at is null and data <> 'null' order by 1")
	if err != nil {
		e.Fatal(err)
	}
	ids := []string{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			e.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func (e *engine) serverRules(rules ...models.TopicRetention) {
	e.Helper()
	if err := e.store.SetTopicRetention(e.Context(), rules); err != nil {
		e.Fatal(err)
	}
}

// TestRetentionByTopic: of the rules that hold for an event, the server's, its tenant's and its tenant's days, the shortest counts; a
// changed rule also concerns events of before, and what was received later waits for its own time.
func TestRetentionByTopic(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	d := e.destination("d", nil, nil)
	if _, err := e.store.DisableDestination(t.Context(), models.AllTenants(), "acme", d.ID, "Ann", "x"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.store.PutTenant(t.Context(), "globex", nil); err != nil {
		t.Fatal(err)
	}
	publish := func(suffix string) {
		for _, topic := range []string{"login", "order.new", "order.paid", ""} {
			for _, tenant := range []string{"acme", "globex"} {
				e.publish(models.PublishInput{TenantID: tenant, ID: tenant + ":" + topic + suffix, Topic: topic, Data: []byte(`{"a":1}`)})
			}
		}
	}
	publish("")
	e.age(3*24*time.Hour + time.Hour)
	publish("+")

	e.serverRules(models.TopicRetention{Topic: "login", Days: 4}, models.TopicRetention{Topic: "order.*", Days: 3})
	if n, l := e.eraseKept(), e.left(); n != 4 || slices.Contains(l, "acme:order.new") || slices.Contains(l, "globex:order.paid") ||
		!slices.Contains(l, "acme:order.new+") || !slices.Contains(l, "acme:login") || !slices.Contains(l, "acme:") {
		t.Errorf("%d were erased, left are %q", n, l)
	}
	if d := e.delivery("acme:order.new", "d", is(models.StatusCancelled)); d.Reason != "Erased after 3 days, as the server's rule for the topic order.* asks for." {
		t.Errorf("called off because: %s", d.Reason)
	}
	// The tenant's rule is shorter, and holds for it alone.
	e.settings(models.TenantSettings{TopicRetention: &[]models.TopicRetention{{Topic: "l*n", Days: 2}, {Topic: "order.*", Days: 9}}})
	if n, l := e.eraseKept(), e.left(); n != 1 || slices.Contains(l, "acme:login") || !slices.Contains(l, "globex:login") {
		t.Errorf("%d were erased, left are %q", n, l)
	}
	if n := e.number("select count(*) from events where erased_why = 'Erased after 2 days, as the tenant''s rule for the topic l*n asks for.'"); n != 1 {
		t.Errorf("%d events say why", n)
	}
	if n := e.eraseKept(); n != 0 {
		t.Errorf("%d were erased twice", n)
	}
	// Another pattern for the same days looks at those again that were passed over.
	e.serverRules(models.TopicRetention{Topic: "login", Days: 3}, models.TopicRetention{Topic: "order.*", Days: 3})
	if n, l := e.eraseKept(), e.left(); n != 1 || slices.Contains(l, "globex:login") || len(l) != 10 {
		t.Errorf("%d were erased, left are %q", n, l)
	}
	// All topics, also events without one; the tenant's days are shorter than the rule.
	three := 3
	e.settings(models.TenantSettings{RetentionDays: &three})
	if n, l := e.eraseKept(), e.left(); n != 1 || slices.Contains(l, "acme:") || !slices.Contains(l, "globex:") {
		t.Errorf("%d were erased, left are %q", n, l)
	}
	e.serverRules(models.TopicRetention{Topic: "*", Days: 3})
	if n, l := e.eraseKept(), e.left(); n != 1 || len(l) != 8 {
		t.Errorf("%d were erased, left are %q", n, l)
	}
	if e.serverRules(); e.eraseKept() != 0 || e.number("select count(*) from kept_topic_marks where tenant_key = 0") != 0 {
		t.Error("a mark of a rule that is no more is left")
	}
}
