package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// webhookForm is the form of a webhook as a browser sends it, with changes given as names and values in turn. An empty
// change takes the control's value away.
func webhookForm(changes ...string) []string {
	form := map[string]string{"name": "Billing", "config.url": "https://example.com/hook", "credentials.secret": "", "topics_mode": "all",
		"topics": "", "filter": "",
		"timeout": "", "max_in_flight": "", "signature": "", "retry.initial": "", "retry.multiplier": "", "retry.max_interval": "",
		"retry.max_attempts": "",
		"retry.schedule":     "", "retry.retry_on": "", "config.custom_headers[key]": "", "config.custom_headers[value]": "",
		"metadata[key]": "", "metadata[value]": "",
		"delivery_metadata[key]": "", "delivery_metadata[value]": ""}
	for i := 0; i+1 < len(changes); i += 2 {
		form[changes[i]] = changes[i+1]
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(form)) {
		out = append(out, k, form[k])
	}
	return out
}

const newWebhook = "/t/acme/destinations/new?type=webhook"

func TestNewDestinationSteps(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	p := v.get("/t/acme/destinations/new")
	if p.Find(`input[type=radio][name=type]`).Length() < 2 || p.Find(`input[name=type][checked]`).Length() != 0 {
		t.Error("the types are not offered")
	}
	v.send("GET", "/t/acme/destinations/new?step=2", nil).refused(422, "", "Type is required: choose one")
	v.send("GET", "/t/acme/destinations/new?type=pigeon", nil).refused(422, "", "Type is none of these")
	p = v.get(newWebhook)
	for _, name := range []string{"name", "config.url", "credentials.secret", "filter", "retry.initial"} {
		if p.Find(`[name="`+name+`"]`).Length() != 1 {
			t.Errorf("the form lacks %s", name)
		}
	}
	if p.Find(`[name="credentials.rotate_secret"]`).Length() > 0 {
		t.Error("the form has a field that is for the API only")
	}
}

// TestPageSaysWhatTheAPISays holds the form's messages to those of the API.
func TestPageSaysWhatTheAPISays(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	for _, c := range []struct{ control, typed, field, body string }{
		{"config.url", "", "config.url", `{"type":"webhook","topics":"*"}`},
		{"config.url", "ftp://x", "config.url", `{"type":"webhook","topics":"*","config":{"url":"ftp://x"}}`},
		{"filter", "total:>=", "filter", `{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"filter":"total:>="}`},
		{"filter", `{"a":{"$nope":1}}`, "filter",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"filter":{"a":{"$nope":1}}}`},
		{"timeout", "5h", "timeout", `{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"timeout":"5h"}`},
		{"timeout", "soon", "timeout", `{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"timeout":"soon"}`},
		{"max_in_flight", "many", "max_in_flight",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"max_in_flight":"many"}`},
		{"max_in_flight", "5000", "max_in_flight",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"max_in_flight":5000}`},
		{"retry.max_attempts", "1000", "retry.max_attempts",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"retry":{"max_attempts":1000}}`},
		{"credentials.secret", "whsec_!", "credentials.secret",
			`{"type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"credentials":{"secret":"whsec_!"}}`},
	} {
		api := a.want(422, "POST", "/tenants/acme/destinations", c.body)
		want := api.str("fields", c.field)
		if want == "" {
			t.Fatalf("the API has no problem with %s: %s", c.field, api.raw)
		}
		p := v.post(newWebhook, webhookForm(c.control, c.typed)...)
		p.refused(422, c.control, want)
		if got := p.value(c.control); got != c.typed {
			t.Errorf("%s came back as %q, typed was %q", c.control, got, c.typed)
		}
		if got := p.value("name"); got != "Billing" {
			t.Errorf("the name came back as %q", got)
		}
	}
	list, err := a.Store.Destinations(t.Context(), models.AllTenants(), "acme", models.DestinationQuery{})
	if err != nil || len(list) != 1 {
		t.Errorf("%d destinations, %v", len(list), err)
	}
}

func TestCreateAndChangeDestination(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	p := v.post(newWebhook, webhookForm("name", "<i>Billing</i>", "config.url", " \"https://example.com/hook\" ", "topics_mode", "some",
		"topics", "order.created\norder.paid, order.created",
		"filter", `{"total":{"$gte":10}}`, "timeout", "5s", "retry.schedule", "10s 1m, 1h", "config.custom_headers[key]", "X-Team",
		"config.custom_headers[value]", "a secret token", "metadata[key]", "owner", "metadata[value]", "ann")...)
	if p.status != 200 || !strings.HasPrefix(p.path, "/t/acme/destinations/des_") {
		t.Fatalf("created: %d %s %s", p.status, p.path, p.text("main"))
	}
	p.says("The destination was created.")
	if got := p.text("h1"); got != "<i>Billing</i>" {
		t.Errorf("name %q", got)
	}
	if again := v.get(p.path); strings.Contains(again.text("main"), "The destination was created.") {
		t.Error("the message is shown twice")
	}
	id := p.path[strings.LastIndex(p.path, "/")+1:]
	d, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Config["url"] != "https://example.com/hook" || strings.Join(d.Topics, " ") != "order.created order.paid" ||
		string(d.Filter) != `{"total":{"$gte":10}}` ||
		*d.Timeout != models.Duration(5*time.Second) || len(d.Retry.Schedule) != 3 ||
		d.Config["custom_headers"] != `{"X-Team":"a secret token"}` || d.Metadata["owner"] != "ann" {
		t.Errorf("%+v", d)
	}
	secret := d.Credentials["secret"]

	settings := p.path + "/settings"
	form := v.get(settings)
	for name, want := range map[string]string{"name": "<i>Billing</i>", "config.url": "https://example.com/hook", "topics_mode": "some",
		"topics":  "order.created\norder.paid",
		"timeout": "5s", "retry.schedule": "10s, 1m, 1h", "credentials.secret": ""} {
		if got := form.value(name); got != want {
			t.Errorf("%s is %q in the form, want %q", name, got, want)
		}
	}
	if strings.Contains(form.text("html")+form.Find("input").AttrOr("value", ""), "a secret token") ||
		strings.Contains(form.text("html"), secret) {
		t.Error("the form shows a secret")
	}
	send := func(changes ...string) page {
		pairs := append([]string{"version", form.value("version")}, formPairsOf(form)...)
		return v.post(settings, append(pairs, changes...)...)
	}
	p = send()
	p.says("The changes are saved")
	if d, _ = a.Store.Destination(t.Context(), models.AllTenants(), "acme", id); d.Credentials["secret"] != secret ||
		d.Config["custom_headers"] != `{"X-Team":"a secret token"}` || d.Metadata["owner"] != "ann" || len(d.Retry.Schedule) != 3 ||
		*d.Timeout != models.Duration(5*time.Second) {
		t.Errorf("saving without a change changed it: %+v", d)
	}
	stale := send()
	stale.refused(412, "", "Somebody has changed the destination")
	if stale.value("version") == form.value("version") {
		t.Error("saving again would fail for ever")
	}
	form = v.get(settings)
	p = v.post(settings, webhookForm("version", form.value("version"), "name", "", "config.url", "https://example.com/other")...)
	p.says("The changes are saved")
	d, _ = a.Store.Destination(t.Context(), models.AllTenants(), "acme", id)
	if d.Retry != nil || d.Timeout != nil || len(d.Metadata) > 0 || d.Config["custom_headers"] != "" || views.HasFilter(d) ||
		!d.TakesAll() || d.Credentials["secret"] != secret {
		t.Errorf("what was emptied stayed, or the secret went: %+v", d)
	}
}

// formPairsOf are the names and values that a browser would send of a form, but for the version.
func formPairsOf(p page) []string {
	var out []string
	form := p.Find(`form[data-guard]`)
	form.Find("input, textarea, select").Each(func(_ int, s *goquery.Selection) {
		name := s.AttrOr("name", "")
		typ := s.AttrOr("type", "")
		_, checked := s.Attr("checked")
		if name == "" || name == "version" || (typ == "radio" || typ == "checkbox") && !checked {
			return
		}
		value := s.AttrOr("value", "")
		switch goquery.NodeName(s) {
		case "textarea":
			value = s.Text()
		case "select":
			value = s.Find("option[selected]").AttrOr("value", "")
		}
		out = append(out, name, value)
	})
	return out
}

func TestDestinationFormButtons(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	p := v.post(newWebhook, webhookForm("then", "preview", "retry.schedule", "1s,2s")...)
	if p.status != 200 || p.value("retry.schedule") != "1s,2s" {
		t.Errorf("preview: %d", p.status)
	}
	p.says("3 attempts over 3 s")
	p = v.post(newWebhook, webhookForm("then", "disabled")...)
	p.says("Events for it are held, not lost.")
	p = v.post(newWebhook, webhookForm("then", "test")...)
	if !strings.HasSuffix(p.path, "/test") {
		t.Errorf("create and test led to %s", p.path)
	}
}

func TestTopicsOfTheCatalogue(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Topics = []string{"order.created"} })
	a.tenant("acme")
	v := a.visitor()
	v.post("/t/acme/topics", "name", "bad topic!", "example", "{x").refused(422, "name", "may hold letters")
	v.post("/t/acme/topics", "name", "a/b", "description", "<b>x</b>", "example", `{"n":1}`).says("The topic a/b was saved.")
	p := v.get(newWebhook)
	if n := p.Find(`input[type=checkbox][name=topics]:not([value^="waybill."])`).Length(); n != 2 {
		t.Errorf("%d topics of the catalogue offered", n)
	}
	if p.Find(`input[type=checkbox][name=topics][value="waybill.alert"]`).Length() != 1 {
		t.Error("the server's own topics are not offered")
	}
	p = v.post(newWebhook, webhookForm("topics_mode", "some", "topics", "other")...)
	p.refused(422, "", `"other" is not in the catalogue`)
	if p.Find(`input[name=topics][value=other][checked]`).Length() != 1 {
		t.Error("the topic that was refused is not shown")
	}
	p = v.get("/t/acme/topics")
	link, _ := p.Find(`a[href*="/topics/delete"]`).Attr("href")
	if p.Find(`a[href*="/topics/delete"]`).Length() != 1 {
		t.Fatal("topics of the environment cannot be deleted, the other one can")
	}
	v.get(link).says("Delete the topic a/b from the catalogue?")
	v.post("/t/acme/topics/delete", "name", "a/b").says("The topic a/b was deleted")
	if p := v.post("/t/acme/topics/delete", "name", "order.created"); p.status != 409 {
		t.Errorf("deleting a topic of the environment: %d", p.status)
	}
}

func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	const inbox = "/t/acme/destinations/inbox"
	v.post(inbox+"/disable", "reason_kind", "other", "reason", " ").refused(422, "reason", "is required")
	p := v.post(inbox+"/disable", "reason_kind", "other", "reason", "They <b>moved</b>")
	p.says("Disabled by Ann")
	p.says("They <b>moved</b>")
	out := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	v.get("/t/acme/events/" + out.str("id")).says("Held")
	v.get("/t/acme").says("1 held")
	v.get("/t/acme/events/" + out.str("id")).says("Enable")
	if p := v.post(inbox+"/test", "data", "{}"); p.status != 409 {
		t.Errorf("a test of a disabled destination: %d", p.status)
	}
	v.get(inbox + "/enable").says("Deliver 1 held")
	v.post(inbox+"/enable", "action", "burn").refused(422, "", "must be deliver, drop or keep")
	v.post(inbox+"/enable", "action", "deliver").says("Held deliveries being sent: 1.")
	a.eventually("/events/"+out.str("id")+"/deliveries", func(o answer) bool { return o.str("models", "0", "status") == "delivered" })
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	created := a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`)
	secret := created.str("credentials", "secret")
	const hook = "/t/acme/destinations/hook"
	p := v.get(hook + "/secrets")
	if strings.Contains(p.text("html"), secret) {
		t.Error("the secret is shown without asking")
	}
	p = v.post(hook + "/secrets/reveal")
	p.says(secret)
	if p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a revealed secret may be cached: %v", p.header)
	}
	if p := v.send("GET", hook+"/secrets/reveal", nil); p.status != 405 {
		t.Errorf("a secret has an address: %d", p.status)
	}
	v.post(hook+"/secrets/rotate", "overlap", "1000h").refused(422, "", "must be between 0s and 720h")
	p = v.post(hook+"/secrets/rotate", "overlap", "24h")
	p.says("The old one is valid for another 24h.")
	p.says("The previous secret is valid until")
	d, err := a.Store.Destination(t.Context(), models.AllTenants(), "acme", "hook")
	if err != nil || d.Credentials["secret"] == secret || d.Credentials["previous_secret"] != secret {
		t.Errorf("%v %v", d.Credentials, err)
	}
	if p := v.get("/t/acme/destinations/inbox"); p.Find(`a[href$="/secrets"]`).Length() > 0 {
		t.Error("a destination without a secret offers one")
	}
}

func TestTestEventAndCheck(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	const inbox = "/t/acme/destinations/inbox"
	v.post(inbox+"/test", "topic", "order.created", "data", "{\n \"a\": }").refused(422, "data", "is not valid JSON at line 2, column")
	v.post(inbox+"/test", "topic", "bad topic", "data", "[]").refused(422, "topic", "may hold letters")
	p := v.post(inbox+"/test", "topic", "order.created", "data", `{"x":"<script>alert(1)</script>"}`)
	if !strings.HasPrefix(p.path, "/t/acme/attempts/") {
		t.Fatalf("led to %s: %s", p.path, p.text("main"))
	}
	p.says("Succeeded")
	p.says("Test by Ann")
	if p := v.get(inbox + "/test?topic=order.created"); !strings.Contains(p.value("data"), "<script>") {
		t.Error("the sample is not the last event of the topic")
	}
	if p := v.post(inbox + "/check"); p.status != 200 || p.Find("ol li").Length() == 0 {
		t.Errorf("check: %d %s", p.status, p.text("main"))
	}
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"closed","type":"webhook","topics":"*","config":{"url":"http://127.0.0.1:9/"}}`)
	p = v.post("/t/acme/destinations/closed/check")
	p.says("Not reachable")
	p.says("Nothing answered on 127.0.0.1:9")
	// Somebody who answers that there is no such queue can be reached.
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"It does not exist."}`))
	}))
	t.Cleanup(srv.Close)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"queue","type":"aws_sqs","topics":"*","config":{"queue_url":"`+srv.URL+`/1/orders"},"credentials":{"key":"AKIAIOSFODNN7EXAMPLE","secret":"s"}}`)
	p = v.post("/t/acme/destinations/queue/check")
	p.says("Not ready")
	p.says("There is no queue orders")
}

func TestDestinationList(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	for _, id := range []string{"b", "a", "c"} {
		body, err := json.Marshal(map[string]any{"id": id, "name": "Name " + id, "type": "webhook", "topics": []string{"t." + id},
			"config": map[string]string{"url": "https://" + id + ".example.com/"}})
		if err != nil {
			t.Fatal(err)
		}
		a.want(201, "POST", "/tenants/acme/destinations", body)
	}
	names := func(path string) string {
		var out []string
		v.get(path).Find("tbody tr").Each(func(_ int, s *goquery.Selection) {
			out = append(out,
				strings.TrimSpace(s.Find("a").First().Text()))
		})
		return strings.Join(out, ", ")
	}
	const list = "/t/acme/destinations"
	for path, want := range map[string]string{
		list + "?type=webhook":           "Name b, Name a, Name c",
		list + "?type=webhook&sort=name": "Name a, Name b, Name c",
		list + "?sort=-name":             "Name c, Name b, Name a, Inbox of this server",
		list + "?q=b.example":            "Name b",
		list + "?topics=t.a":             "Inbox of this server, Name a",
		list + "?state=disabled":         "",
		list + "?unknown=1&type=":        "Inbox of this server, Name b, Name a, Name c",
	} {
		if got := names(path); got != want {
			t.Errorf("%s lists %q, want %q", path, got, want)
		}
	}
	if p := v.get(list + "?type=webhook&q=a"); p.Find(`a[href="/t/acme/destinations?q=a"]`).Length() != 1 ||
		p.Find(`a[href="/t/acme/destinations?type=webhook"]`).Length() != 1 {
		t.Error("no chips that remove one condition each")
	}
	p := v.get(list + "/a/delete")
	p.says("Delete the destination Name a?")
	v.post(list + "/a/delete").says("The destination Name a was deleted.")
	if got := names(list + "?type=webhook"); got != "Name b, Name c" {
		t.Errorf("after deleting: %s", got)
	}
}
