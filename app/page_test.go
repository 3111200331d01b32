package app

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/static"
	"github.com/waybill-dev/waybill/views"
)

// visitor is somebody with a browser that runs no scripts.
type visitor struct {
	*testApp
	client *http.Client
}

// page is what a visitor sees.
type page struct {
	*goquery.Document
	t      testing.TB
	status int
	header http.Header
	path   string // path and query, after redirects
}

// stranger is a visitor who has not logged in.
func (a *testApp) stranger() *visitor {
	a.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.Fatal(err)
	}
	return &visitor{a, &http.Client{Jar: jar}}
}

const (
	testEmail    = "ann@example.com"
	testPassword = "a long sentence is fine"
)

// visitor is the first user, logged in.
func (a *testApp) visitor() *visitor {
	a.Helper()
	u, err := a.Store.CreateFirstUser(a.Context(), models.UserInput{Name: "Ann", Email: testEmail, Password: testPassword})
	if err != nil {
		a.Fatal(err)
	}
	token, err := a.Store.StartSession(a.Context(), u)
	if err != nil {
		a.Fatal(err)
	}
	v := a.stranger()
	v.setCookie(pages.SessionCookie, token)
	return v
}

// portal is a visitor who came by a portal link of a tenant.
func (a *testApp) portal(tenant string) *visitor {
	a.Helper()
	out := a.want(200, "GET", "/tenants/"+tenant+"/portal?theme=dark", nil)
	v := a.stranger()
	p := v.open(strings.TrimPrefix(out.str("redirect_url"), a.Cfg.BaseURL))
	if p.path != "/t/"+tenant {
		a.Fatalf("the portal link led to %s", p.path)
	}
	return v
}

// open follows a portal link and presses its button.
func (v *visitor) open(link string) page {
	v.Helper()
	to, _ := v.get(link).Find("main form").Attr("action")
	return v.post(to)
}

func (v *visitor) address(path string) *url.URL {
	u, err := url.Parse(v.base + path)
	if err != nil {
		v.Fatal(err)
	}
	return u
}

func (v *visitor) setCookie(name, value string) {
	v.client.Jar.SetCookies(v.address("/"), []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

func (v *visitor) send(method, path string, form url.Values, header ...string) page {
	v.Helper()
	var body *strings.Reader
	if form == nil {
		body = strings.NewReader("")
	} else {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(v.Context(), method, v.base+path, body)
	if err != nil {
		v.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	doc, err := goquery.NewDocumentFromReader(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	return page{doc, v, resp.StatusCode, resp.Header, resp.Request.URL.RequestURI()}
}

// get opens a page, and fails the test unless the answer is a page.
func (v *visitor) get(path string) page {
	v.Helper()
	p := v.send("GET", path, nil)
	if p.status != 200 {
		v.Fatalf("GET %s: status %d: %s", path, p.status, p.text("main"))
	}
	return p
}

// post sends a form, given as names and values in turn.
func (v *visitor) post(path string, pairs ...string) page {
	v.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return v.send("POST", path, form)
}

var blanks = regexp.MustCompile(`\s+`)

// text is what the elements say, with single spaces.
func (p page) text(selector string) string {
	return strings.TrimSpace(blanks.ReplaceAllString(p.Find(selector).Text(), " "))
}

// says fails the test unless the page's content contains the text.
func (p page) says(text string) {
	p.t.Helper()
	if got := p.text("main"); !strings.Contains(got, text) {
		p.t.Errorf("%s (%d) does not say %q, but: %s", p.path, p.status, text, got)
	}
}

// refused fails the test unless the page is a refused form with this problem of this control, said in the summary and
// beside the control.
func (p page) refused(status int, name, problem string) {
	p.t.Helper()
	if p.status != status || !strings.HasPrefix(p.text("title"), "Error: ") {
		p.t.Errorf("%s: status %d, title %q; want %d and an error", p.path, p.status, p.text("title"), status)
	}
	if got := p.text(`[role="alert"]`); !strings.Contains(got, problem) {
		p.t.Errorf("%s: the summary does not say %q, but: %s", p.path, problem, got)
	}
	if name == "" {
		return
	}
	control := p.Find(`[name="` + name + `"][aria-invalid="true"]`)
	if control.Length() != 1 {
		p.t.Errorf("%s: the control %s is not marked", p.path, name)
		return
	}
	for id := range strings.FieldsSeq(control.AttrOr("aria-describedby", "")) {
		if strings.Contains(p.text("#"+id), problem) {
			return
		}
	}
	p.t.Errorf("%s: nothing beside the control %s says %q", p.path, name, problem)
}

// value is what is in a control.
func (p page) value(name string) string {
	p.t.Helper()
	s := p.Find(`[name="` + name + `"]`)
	switch goquery.NodeName(s) {
	case "textarea":
		return s.Text()
	case "select":
		return s.Find("option[selected]").AttrOr("value", "")
	case "input":
		if t := s.AttrOr("type", ""); t == "radio" || t == "checkbox" {
			return s.Filter("[checked]").AttrOr("value", "")
		}
		return s.AttrOr("value", "")
	}
	p.t.Errorf("%s has no control %q", p.path, name)
	return ""
}

// fill puts ids into the placeholders of a route.
func fill(path string, ids map[string]string) string {
	for name, id := range ids {
		path = strings.ReplaceAll(path, ":"+name, url.PathEscape(id))
	}
	return path
}

// TestPageTwins holds every page to having a request of the API that does the same, with the same permission.
func TestPageTwins(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	api := map[string]models.Permission{}
	for _, r := range a.APIRoutes() {
		api[r.Method+" "+r.Path] = r.Perm
	}
	without := map[string]bool{"GET /": true, "POST /logout": true, "GET /t/:tenant/settings": true, "GET /t/:tenant/docs/filters": true,
		"GET /help": true, "GET /t/:tenant/help": true, // what is the same for everybody
		// One's own account. The API has no user who calls it; PATCH and DELETE of /users are for administrators.
		"GET /account": true, "POST /account": true, "POST /account/password": true, "POST /account/sessions/end": true,
		"POST /account/sessions/:session/end": true, "GET /confirm": true, "POST /confirm": true, "GET /confirm/oidc": true,
		"GET /account/second-factor": true, "POST /account/second-factor": true, "POST /account/second-factor/codes": true,
		"POST /account/second-factor/remove": true, "GET /account/passkeys/new": true, "POST /account/passkeys/new": true,
		"POST /account/passkeys/new/begin": true, "POST /account/passkeys/:passkey/rename": true, "POST /account/passkeys/:passkey/remove": true,
		"POST /confirm/passkey": true, "POST /confirm/passkey/begin": true, "POST /account/identities/:identity/disconnect": true}
	for _, r := range a.pages.PageRoutes() {
		name := r.Method + " " + r.Path
		if len(r.Twin) == 0 && !without[name] {
			t.Errorf("%s has no twin", name)
		}
		for _, twin := range r.Twin {
			if perm, ok := api[twin]; !ok || perm != r.Perm {
				t.Errorf("%s needs %q; its twin %s needs %q (exists: %v)", name, r.Perm, twin, perm, ok)
			}
		}
	}
}

func TestEveryPageNeedsALogin(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.visitor()
	for _, r := range a.pages.PageRoutes() {
		v := a.stranger()
		var form url.Values
		if r.Method == "POST" {
			form = url.Values{"x": {"y"}}
		}
		p := v.send(r.Method, fill(r.Path, map[string]string{"tenant": "acme", "destination": "inbox", "event": "e", "attempt": "a",
			"delivery": "d", "key": "k"}), form)
		if !strings.HasPrefix(p.path, "/login") {
			t.Errorf("%s %s without a login: %d %s", r.Method, r.Path, p.status, p.path)
		}
	}
}

// TestForeignPages walks every page and action with the ids of another tenant.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	out := a.want(200, "POST", "/publish", `{"tenant_id":"globex","topic":"order.created","data":{"secret":"globex"}}`, "Prefer", "wait=10")
	event, delivery := out.str("id"), out.str("deliveries", "0", "id")
	attempt := a.want(200, "GET", "/attempts?event_id="+event, nil).str("models", "0", "id")
	a.want(201, "POST", "/tenants/globex/destinations", `{"id":"theirs","type":"echo","topics":"*"}`)
	channel := a.want(201, "POST", "/tenants/globex/channels", `{"type":"email","config":{"to":"ops@example.com"}}`).str("id")
	test := a.want(200, "POST", "/tenants/globex/channels/"+channel+"/test", nil).str("notification_id")
	rule := a.want(200, "GET", "/tenants/globex/alert-rules", nil).str("models", "0", "id")
	foreign := map[string]string{"retry": a.want(202, "POST", "/retries",
		`{"tenant_id":"globex","filter":{"status":["delivered"]}}`).str("id"), "channel": channel, "notification": test, "rule": rule,
		"alert": "alt_0123456789abcdef0123456789abcdef", "entry": a.entries("tenant_id=globex")[0].ID, "destination": "theirs",
		"event": event, "delivery": delivery, "attempt": attempt}
	who := map[string]*visitor{"a portal visitor": a.portal("acme"), "an operator": a.visitor()}
	for _, r := range a.pages.PageRoutes() {
		if !strings.HasPrefix(r.Path, "/t/:tenant") || strings.Contains(r.Path, ":key") {
			continue
		}
		var form url.Values
		if r.Method == "POST" {
			form = url.Values{"action": {"deliver"}, "reason_kind": {"Maintenance"}, "name": {"x"}}
		}
		ids := map[string]string{"tenant": "acme"}
		for k, v := range foreign {
			ids[k] = v
		}
		if path := fill(r.Path, ids); path != fill(r.Path, map[string]string{"tenant": "acme"}) {
			for name, v := range who {
				if p := v.send(r.Method, path, form); p.status != 404 || strings.Contains(p.text("html"), "globex") {
					t.Errorf("%s: %s %s: status %d", name, r.Method, path, p.status)
				}
			}
		}
		ids["tenant"] = "globex"
		if r.Perm == models.MayAdmin {
			continue
		}
		if p := who["a portal visitor"].send(r.Method, fill(r.Path, ids), form); p.status != 404 {
			t.Errorf("a portal visitor of another tenant: %s %s: status %d", r.Method, r.Path, p.status)
		}
	}
	d, err := a.Store.Destination(t.Context(), models.AllTenants(), "globex", "theirs")
	if err != nil || d.DisabledAt != nil {
		t.Errorf("a foreign destination was changed: %+v %v", d, err)
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	form := url.Values{"reason_kind": {"Maintenance"}}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}} {
		if p := v.send("POST", "/t/acme/destinations/inbox/disable", form, header...); p.status != 403 {
			t.Errorf("%v: status %d", header, p.status)
		}
	}
	if d, _ := a.Store.Destination(t.Context(), models.AllTenants(), "acme", "inbox"); d.DisabledAt != nil {
		t.Error("it was carried out")
	}
	if p := v.send("POST", "/t/acme/destinations/inbox/disable", form, "Sec-Fetch-Site", "", "Origin", v.base); p.status != 200 {
		t.Errorf("an old browser on our own page: status %d", p.status)
	}
}

func TestHeadersOfPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	for _, path := range []string{"/t/acme", "/t/acme/destinations/nope", "/nothing", "/login"} {
		p := v.send("GET", path, nil)
		if path != "/nothing" && !strings.Contains(p.header.Get("Content-Security-Policy"), "script-src 'self'") ||
			p.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, p.header)
		}
	}
	p := v.get("/t/acme/destinations")
	if got := p.Find(`link[rel="alternate"][type="application/json"]`).AttrOr("href", ""); got != "/api/v1/tenants/acme/destinations" {
		t.Errorf("alternate: %q", got)
	}
	p.says("curl 'http://localhost/api/v1/tenants/acme/destinations'")
	f := v.send("GET", static.URL("app.css"), nil)
	if f.status != 200 || f.header.Get("Cache-Control") != static.CacheControl ||
		f.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("stylesheet: %d %v", f.status, f.header)
	}
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	if got := v.get("/t/acme/settings").Find("html").AttrOr("data-theme", "none"); got != "none" {
		t.Errorf("theme %q at first", got)
	}
	p := v.post("/preferences", "theme", "dark", "return", "/t/acme/events?status=failed")
	if p.path != "/t/acme/events?status=failed" || p.Find("html").AttrOr("data-theme", "") != "dark" {
		t.Errorf("%s, theme %q", p.path, p.Find("html").AttrOr("data-theme", ""))
	}
	p = v.post("/preferences", "theme", "system", "all", "true", "return", "//evil.example")
	if p.path != "/tenants" || p.Find("html").AttrOr("data-shortcuts", "") != "off" ||
		p.Find("html").AttrOr("data-theme", "none") != "none" {
		t.Errorf("%s", p.path)
	}
	if got := a.stranger().post("/preferences", "theme", "<x>", "return", "/setup").Find("html").AttrOr("data-theme",
		"none"); got != "none" {
		t.Errorf("theme %q", got)
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	p := v.send("GET", "/t/acme/events/<script>", nil)
	if p.status != 404 || p.Find("nav a[href='/t/acme/events']").Length() != 1 || p.Find("main script").Length() > 0 {
		t.Errorf("an unknown event: %d", p.status)
	}
	p.says("There is no event")
	if p.Find(`main a[href="/t/acme"]`).Length() == 0 {
		t.Error("there is no way back")
	}
	if p = v.send("GET", "/t/nobody/events", nil); p.status != 404 || p.Find(`main a[href="/"]`).Length() != 1 {
		t.Errorf("an unknown tenant: %d", p.status)
	}
	if p = a.stranger().send("GET", "/nothing", nil); p.status != 404 || p.Find("nav").Length() > 0 {
		t.Errorf("a stranger: %d", p.status)
	}
	for status, title := range map[int]string{404: "Not found", 500: "Something went wrong", 418: "Something went wrong",
		429: "Too many tries"} {
		if views.ProblemTitle(status) != title {
			t.Errorf("%d is called %q", status, views.ProblemTitle(status))
		}
	}
}

// TestServerSettings: a tenant sees values as people write them, beside what was set, and where each comes from, also where what was set
// is the default.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	a := newProcessOf(t, testConfigOf(t, map[string]string{"MANUAL_RETRY_LIMIT": "10", "MAX_PAYLOAD": "131072"}, nil))
	a.tenant("acme")
	p := a.visitor().get("/t/acme/settings")
	rows := map[string]string{}
	p.Find("tbody tr").Each(func(_ int, s *goquery.Selection) {
		rows[strings.TrimSpace(s.Find("th").Text())] = strings.Join(strings.Fields(s.Find("td").First().Text()+" "+s.Find("td").Last().Text()), " ")
	})
	for label, want := range map[string]string{"Timeout of an attempt": "15 s Default: DELIVERY_TIMEOUT=15s",
		"Manual retries of a delivery": "10 Environment: MANUAL_RETRY_LIMIT=10",
		"Deliveries of a bulk retry":   "100,000 Default: BULK_RETRY_LIMIT=100000",
		"Maximum payload size":         "128.0 KiB Environment: MAX_PAYLOAD=131072",
		"Events are kept":              "30 days Default: RETENTION_DAYS=30",
		"Waits between attempts":       "1.0 ms, 1.0 ms Environment: RETRY_SCHEDULE=1ms,1ms"} {
		if rows[label] != want {
			t.Errorf("%s: %q, want %q", label, rows[label], want)
		}
	}
}

func TestGalleryIsForDevelopers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.visitor()
	if p := a.stranger().get("/dev/components"); p.Find(".st").Length() < 20 {
		t.Error("the gallery is empty")
	}
}
