package app

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// unaudited are the requests that leave no entry although they are not a GET, and why.
var unaudited = map[string]string{
	"POST /api/v1/publish":                                         "events are the work itself, and kept with what became of them",
	"POST /api/v1/publish/batch":                                   "events",
	"POST /api/v1/retries/plan":                                    "changes nothing: a plan",
	"POST /api/v1/erasures/plan":                                   "changes nothing: a count",
	"POST /api/v1/filters/test":                                    "changes nothing: a trial",
	"POST /api/v1/filters/convert":                                 "changes nothing: a translation",
	"POST /api/v1/transforms/test":                                 "changes nothing: a trial",
	"POST /api/v1/tenants/:tenant/destinations/:destination/check": "changes nothing: a look whether it can be reached",
	"POST /t/:tenant/destinations/:destination/check":              "changes nothing: a look whether it can be reached",
	"POST /api/v1/tenants/:tenant/alert-rules/preview":             "changes nothing: what a rule would have done",
	"POST /api/v1/alert-rules/preview":                             "changes nothing: what a rule would have done",
	"POST /login/passkey/begin":                                    "changes nothing: asks for a challenge",
	"POST /login/code/passkey/begin":                               "changes nothing: asks for a challenge",
	"POST /confirm/passkey/begin":                                  "changes nothing: asks for a challenge",
	"POST /account/passkeys/new/begin":                             "changes nothing: asks for a challenge",
	"POST /preferences":                                            "kept in the viewer's browser only",
	"POST /logout":                                                 "ends what session.login or session.portal tells of",
}

// writing says how each of the other addresses is called so that something is written: a body for the API, a form for a page,
// after a query where it begins with one. An address that is missing is called with an empty one.
var writing = map[string]string{
	"PUT /api/v1/tenants/:tenant":                                           `{"metadata":{"plan":"new"}}`,
	"PATCH /api/v1/tenants/:tenant/settings":                                `{"bulk_retry_limit":500}`,
	"PATCH /api/v1/cells/:cell":                                             `{"draining":true}`,
	"POST /api/v1/moves":                                                    `{"tenant_id":":moving","cell":"eu1"}`,
	"PATCH /api/v1/settings":                                                `{"bulk_retry_limit":500}`,
	"POST /api/v1/tenants/:tenant/destinations":                             `{"type":"echo","topics":"*"}`,
	"PATCH /api/v1/tenants/:tenant/destinations/:destination":               `{"name":"Other"}`,
	"POST /api/v1/tenants/:tenant/destinations/:destination/backlog":        `{"action":"drop"}`,
	"POST /api/v1/tenants/:tenant/destinations/:destination/secrets/rotate": `{"overlap":"1h"}`,
	"PUT /api/v1/server/topic-retention":                                    `{"topics":[{"topic":"walk.*","days":7}]}`,
	"PUT /api/v1/topics/:topic":                                             `{"description":"of the walk"}`,
	"POST /api/v1/retry":                                                    `{"tenant_id":"acme","event_id":":event","destination_id":"inbox"}`,
	"POST /api/v1/erasures":                                                 `{"event_id":":event"}`,
	"POST /api/v1/erasures/plan":                                            `{"tenant_id":"acme","all":true}`,
	"POST /api/v1/retries/plan":                                             `{"tenant_id":"acme","filter":{"status":["failed"]}}`,
	"POST /api/v1/retries":                                                  `{"tenant_id":"acme","filter":{"status":["failed"]},"rate":1}`,
	"POST /api/v1/deliveries/cancel":                                        `{"tenant_id":"acme","event_ids":[":event"]}`,
	"POST /api/v1/deliveries/retry":                                         `{"tenant_id":"acme","event_ids":[":event"]}`,
	"POST /api/v1/destinations/enable":                                      `{"tenant_id":"acme","destination_ids":["failing"]}`,
	"POST /api/v1/destinations/disable":                                     `{"tenant_id":"acme","destination_ids":["failing"]}`,
	"POST /api/v1/views":                                                    `{"name":"All"}`,
	"PATCH /api/v1/views/:view":                                             `{"name":"Other"}`,
	"PATCH /api/v1/api-keys/:key":                                           `{"name":"Other"}`,
	"POST /api/v1/api-keys":                                                 `{"name":"k","scopes":["read"]}`,
	"POST /api/v1/publish":                                                  `{"tenant_id":"acme","topic":"walk","data":{}}`,
	"POST /api/v1/publish/batch":                                            `[{"tenant_id":"acme","topic":"walk","data":{}}]`,
	"POST /api/v1/filters/test":                                             `{"filter":"total:>=10","event":{"data":{"total":12}}}`,
	"POST /api/v1/filters/convert":                                          `{"filter":{"total":{"$gte":10}},"to":"search"}`,
	"POST /api/v1/transforms/test":                                          `{"transform":"{number: data.order}","event":{"data":{"order":17}}}`,

	"POST /login":                      "email=" + testEmail + "&password=" + testPassword,
	"POST /tenants/new":                "tenant_id=by-form",
	"POST /t/:tenant/destinations/new": "?type=echo name=By+form&topics_mode=all",
	"POST /t/:tenant/destinations/:destination/settings":       "name=Other&topics_mode=all&config.url=https://example.com/&version=1",
	"POST /t/:tenant/destinations/:destination/filter":         "view=search&version=1&do=save&filter=total:>10",
	"POST /t/:tenant/destinations/:destination/disable":        "reason_kind=Maintenance",
	"POST /t/:tenant/destinations/:destination/enable":         "action=deliver",
	"POST /t/:tenant/destinations/:destination/test":           "topic=walk&data={}",
	"POST /t/:tenant/destinations/:destination/secrets/rotate": "overlap=24h",
	"POST /server/moves/new":                                   "tenant_id=:moving&cell=eu1",
	"POST /server/topic-retention":                             "topics=walk.page:+8",
	"POST /t/:tenant/topics":                                   "name=walk.page",
	"POST /t/:tenant/topics/delete":                            "name=walk.page",
	"POST /t/:tenant/events/views":                             "name=Mine&mine=true",
	"POST /events/views":                                       "name=Mine+of+all&mine=true&query=status%3Dfailed",
	"POST /t/:tenant/events/cancel":                            "event_id=:event",
	"POST /t/:tenant/erasures/new":                             "event_id=:event&why=Asked",
	"POST /t/:tenant/retries/new":                              "status=failed&rate=1",
	"POST /server/defaults":                                    "retry_initial=20s&version=2",
	"POST /t/:tenant/settings/tenant":                          "bulk_retry_limit=600",
	"POST /t/:tenant/api-keys/new":                             "name=k&scopes=read&expires_in=0",
	"POST /api-keys/new":                                       "name=k&scopes=read&expires_in=0",
	"POST /t/:tenant/api-keys/:key":                            "name=Other&scopes=read",
	"POST /api-keys/:key":                                      "name=Other&scopes=read",

	"PATCH /api/v1/users/:user":                 `{"role":"viewer"}`,
	"PUT /api/v1/tenants/:tenant/members/:user": `{"role":"viewer"}`,
	"POST /api/v1/invitations":                  `{"email":"dee@example.com","role":"viewer","tenant_id":"acme"}`,
	"POST /users/:user/role":                    "role=viewer",
	"POST /t/:tenant/members/:user/role":        "role=viewer",
	"POST /invitations/new":                     "email=dee@example.com&role=viewer",
	"POST /t/:tenant/invitations/new":           "email=dee@example.com&role=viewer",
	"POST /invite/:token":                       "name=Dee&password=" + testPassword,
	"POST /account":                             "name=Ann+Lee&email=" + testEmail,
	"POST /account/password":                    "present=" + testPassword + "&password=" + testPassword,
	"POST /confirm":                             "password=" + testPassword,
	"POST /account/passkeys/:passkey/rename":    "name=Other",

	"PATCH /api/v1/users/:user/passkeys/:passkey": `{"name":"Other"}`,
}

const ruleForm = "name=x&when=consecutive_failures&when.consecutive_failures=50&scope_mode=all&channels_mode=all&every=1h"

// writingAlerts are those of tenants and of operators.
var writingAlerts = map[string]string{
	"POST API/alert-rules":                 `{"when":{"consecutive_failures":50}}`,
	"POST API/alert-rules/preview":         `{"when":{"consecutive_failures":50}}`,
	"PATCH API/alert-rules/:rule":          `{"name":"Other"}`,
	"POST API/channels":                    `{"type":"email","config":{"to":"ops@example.com"}}`,
	"PATCH API/channels/:channel":          `{"name":"Other"}`,
	"POST API/channels/:channel/subscribe": `{"address":"ops@example.com"}`,
	"POST API/alerts/:alert/mute":          `{"for":"1h"}`,

	"POST PAGE/alerts/rules/new":                   ruleForm,
	"POST PAGE/alerts/rules/:rule":                 ruleForm,
	"POST PAGE/alerts/channels/new":                "?type=email name=x&config.to=ops@example.com",
	"POST PAGE/alerts/channels/:channel":           "name=Other&config.to=ops@example.com",
	"POST PAGE/alerts/channels/:channel/subscribe": "address=ops@example.com",
	"POST PAGE/alerts/:alert/mute":                 "for=4h",
}

// walker makes what the addresses of requests name.
type walker struct {
	*testApp
	retry  string              // a bulk retry that is not over
	user   *models.User        // the last that was made
	alerts map[string][]string // open ones by their owner
	device *device             // of the first user, who has a passkey there
	moving int                 // tenants that were made to be moved
}

// needsCells reports whether an address can only be called with success where there are further databases. With these, requests over
// all tenants that are not put together are refused: such addresses come last.
func needsCells(path string) bool {
	return strings.Contains(path, "/moves") || strings.Contains(path, "/cells")
}

// addCells adds a database, and another one that does not answer.
func (w *walker) addCells(url string) {
	w.silentCell("away")
	w.addCell("eu1", url)
}

// owner begins the addresses of a tenant's channels and rules, or of the operators'.
func owner(path string) string {
	if strings.Contains(path, ":tenant") {
		return "/tenants/acme"
	}
	return ""
}

// id makes a new one of what a part of an address stands for.
func (w *walker) id(name, path string) string {
	made := func(path, body string) string { return w.want(201, "POST", path, body).str("id") }
	channel := func() string {
		return made(owner(path)+"/channels", `{"type":"email","config":{"to":"ops@example.com"}}`)
	}
	switch name {
	case "tenant":
		return "acme"
	case "destination":
		if strings.HasSuffix(path, "/test") {
			return "inbox"
		}
		id := made("/tenants/acme/destinations",
			`{"type":"webhook","topics":"*","filter":{"never":true},"config":{"url":"https://example.com/"}}`)
		if strings.Contains(path, "/secrets/previous") {
			w.want(200, "POST", "/tenants/acme/destinations/"+id+"/secrets/rotate", nil)
		}
		return id
	case "topic":
		return "walk"
	case "cell":
		return "main"
	case "moving": // a tenant that can be moved
		w.moving++
		id := fmt.Sprintf("moving-%d", w.moving)
		w.want(201, "PUT", "/tenants/"+id, `{"cell":"main"}`)
		return id
	case "move": // to where nobody answers, so that it can be cancelled
		return w.want(202, "POST", "/moves", fmt.Sprintf(`{"tenant_id":%q,"cell":"away"}`, w.id("moving", path))).str("id")
	case "view":
		return made("/views", `{"tenant_id":"acme","name":"All"}`)
	case "user":
		w.user = w.addUser("Bo", models.RoleDeveloper)
		if strings.Contains(path, "/members/") {
			w.want(200, "PUT", "/tenants/acme/members/"+w.user.ID(), `{"role":"developer"}`)
		}
		if strings.Contains(path, "/second-factor") {
			w.factor(w.user)
		}
		if strings.Contains(path, "/passkeys") {
			w.loggedIn(w.user).adds(newDevice(w), "Key")
		}
		return w.user.ID()
	case "session":
		if strings.Contains(path, "/account/") {
			u, err := w.Store.UserByEmail(w.Context(), testEmail)
			if err != nil {
				w.Fatal(err)
			}
			return w.session(u)
		}
		return w.session(w.user)
	case "passkey":
		u := w.user
		if strings.HasPrefix(path, "/account/") {
			u = w.testApp.user(testEmail)
			w.loggedIn(u).adds(newDevice(w), "Key")
		}
		list, err := w.Store.Passkeys(w.Context(), u.Key)
		if err != nil {
			w.Fatal(err)
		}
		return list[len(list)-1].ID()
	case "identity":
		u := w.user
		if strings.HasPrefix(path, "/account/") {
			u = w.testApp.user(testEmail)
		}
		w.exec("insert into identities (issuer, subject, user_id, email) values ('https://id.example', $1, $2, '') on conflict do nothing",
			u.ID()+path, u.Key)
		list, err := w.Store.Identities(w.Context(), u.Key)
		if err != nil || len(list) == 0 {
			w.Fatal(err)
		}
		return list[0].ID()
	case "invitation":
		if strings.Contains(path, ":tenant") {
			return made("/invitations", `{"email":"dee@example.com","role":"viewer","tenant_id":"acme"}`)
		}
		return made("/invitations", `{"email":"dee@example.com","role":"viewer"}`)
	case "link":
		return made("/tenants/acme/portal-links", "{}")
	case "key":
		if strings.Contains(path, ":tenant") {
			return made("/api-keys", `{"name":"k","scopes":["read"],"tenant_id":"acme"}`)
		}
		return made("/api-keys", `{"name":"k","scopes":["read"]}`)
	case "rule":
		return made(owner(path)+"/alert-rules", `{"when":{"consecutive_failures":50}}`)
	case "channel":
		return channel()
	case "notification":
		return w.want(200, "POST", owner(path)+"/channels/"+channel()+"/test", nil).str("notification_id")
	case "token":
		if strings.HasPrefix(path, "/p/") {
			link, _ := url.Parse(w.want(201, "POST", "/tenants/acme/portal-links", "{}").str("url"))
			return strings.TrimPrefix(link.Path, "/p/")
		}
		if strings.HasPrefix(path, "/invite/") {
			link, _ := url.Parse(w.want(201, "POST", "/invitations", `{"email":"cy@example.com","role":"viewer"}`).str("url"))
			return strings.TrimPrefix(link.Path, "/invite/")
		}
		return w.Store.UnsubscribeToken(made("/channels", `{"type":"email","config":{"to":"ops@example.com"}}`), "ops@example.com")
	case "retry":
		if w.retry == "" {
			w.delivered("failed") // an earlier one may have sent all
			w.retry = w.want(202, "POST", "/retries", `{"tenant_id":"acme","filter":{"status":["failed"]},"rate":1}`).str("id")
		}
		id := w.retry
		if strings.HasSuffix(path, "/cancel") {
			w.retry = ""
		}
		return id
	case "alert":
		list := w.alerts[owner(path)]
		w.alerts[owner(path)] = list[1:]
		return list[0]
	case "event", "delivery":
		out := w.want(200, "POST", "/publish", `{"tenant_id":"acme","topic":"walk","data":{}}`, "Prefer", "wait=60")
		event, delivery := out.str("id"), out.str("deliveries", "0", "id")
		status := "failed"
		if strings.HasSuffix(path, "/cancel") {
			status = "held"
		}
		w.delivered(status)
		if name == "event" {
			return event
		}
		return delivery
	}
	w.Fatalf("the test does not know what %s is in %s", name, path)
	return ""
}

// delivered makes what was delivered to the inbox look as if it had another status.
func (w *walker) delivered(status string) {
	w.Helper()
	w.exec(`update deliveries set status = $1::delivery_status where status = 'delivered' and destination_key =
		(select d.key from destinations d join tenants t on t.key = d.tenant_key where t.id = 'acme' and d.id = 'inbox')`, status)
}

var pathPart = regexp.MustCompile(`:(\w+)`)

// TestAuditOfEveryRequest calls every address of the API and of the dashboard that is not a GET, and fails where what was
// done has left no entry in the audit log. Whoever adds an address either has it write one or says here why it does not.
func TestAuditOfEveryRequest(t *testing.T) {
	t.Parallel()
	calls, silent := maps.Clone(writing), maps.Clone(unaudited)
	another := modelstest.Empty(t)
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("gone")
	a.failures("failing", 40)
	code, err := a.Store.SetupCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, alerts := range [][2]string{{"/api/v1", ""}, {"/api/v1/tenants/:tenant", "/t/:tenant"}} {
		for k, body := range writingAlerts {
			calls[strings.NewReplacer("API", alerts[0], "PAGE", alerts[1]).Replace(k)] = body
		}
	}
	calls["POST /setup"] = "name=Ann&email=" + testEmail + "&password=" + testPassword + "&code=" + code
	w := &walker{testApp: a, alerts: map[string][]string{}}
	const alerts = 6 // for each owner: acknowledged, muted and resolved over the API and on pages
	for range alerts {
		disabled := w.id("destination", "")
		w.want(200, "PUT", "/tenants/acme/destinations/"+disabled+"/disable", nil)
		calls["POST /t/:tenant/selected-destinations/disable"] = "reason_kind=Maintenance&destination_id=" + w.id("destination", "")
		calls["POST /t/:tenant/selected-destinations/enable"] = "action=keep&destination_id=" + disabled
	}
	for _, owner := range []string{"", "/tenants/acme"} {
		for _, x := range w.eventually(owner+"/alerts?status=open", func(o answer) bool { return len(o.list()) == alerts }).list() {
			w.alerts[owner] = append(w.alerts[owner], x.(map[string]any)["id"].(string))
		}
	}
	browser := func() *visitor {
		v := a.stranger()
		v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return v
	}
	user := browser()
	walk := func(method, path string) {
		name := method + " " + path
		at, body := path, calls[name]
		for _, m := range pathPart.FindAllStringSubmatch(path, -1) {
			id := w.id(m[1], path)
			if name == "DELETE /api/v1/tenants/:tenant" {
				id = "gone"
			}
			at = strings.Replace(at, m[0], url.PathEscape(id), 1)
		}
		if strings.HasPrefix(body, "?") {
			query, form, _ := strings.Cut(body, " ")
			at, body = at+query, form
		}
		for _, part := range []string{"event", "moving"} {
			if before, after, named := strings.Cut(body, ":"+part); named {
				body = before + w.id(part, path) + after
			}
		}
		v := user
		passkey := func(v *visitor) {
			if w.device == nil {
				w.device = newDevice(t)
				user.adds(w.device, "Walk")
			}
			options, _ := v.challenge(strings.TrimSuffix(path, "/begin"))
			body = url.Values{"credential": {w.device.signs(options)}}.Encode()
		}
		switch path {
		case "/account/passkeys/new":
			options, _ := v.challenge(path)
			body = url.Values{"credential": {newDevice(t).makes(options)}, "name": {"Key"}}.Encode()
		case "/login/passkey":
			v = browser()
			passkey(v)
		case "/confirm/passkey":
			passkey(v)
		case "/confirm/passkey/begin":
			passkey(v)
			body = ""
		case "/login/code/passkey", "/login/code/passkey/begin":
			if w.device == nil {
				w.device = newDevice(t)
				user.adds(w.device, "Walk")
			}
			a.factor(a.user(testEmail))
			v = browser()
			v.post("/login", "email", testEmail, "password", testPassword)
			if path == "/login/code/passkey" {
				passkey(v)
			}
			a.exec("update users set totp_secret = null, totp_enabled_at = null where lower(email) = $1", testEmail)
		case "/account/second-factor":
			body = "code=" + a.code(user.get(path).text("#factor-secret"))
		case "/login/code":
			u := a.addUser("Bo", models.RoleViewer)
			body = "code=" + a.code(a.factor(u))
			v = browser()
			v.post("/login", "email", u.Email, "password", testPassword)
		}
		if strings.HasPrefix(path, "/p/") || strings.HasPrefix(path, "/invite/") {
			v = browser() // which gets a session of its own
		}
		status, text, request := v.call(method, at, body)
		if status >= 400 {
			t.Errorf("%s: %d %s: the test does not know how it succeeds", name, status, text)
			return
		}
		entries := a.count("select count(*) from audit where request_id = $1 and outcome = 'ok'", request)
		why, none := unaudited[name]
		switch {
		case request == "":
			t.Errorf("%s answers without X-Request-Id", name)
		case !none && entries == 0:
			t.Errorf("%s: %d, and no entry in the audit log: %s", name, status, text)
		case none && entries > 0:
			t.Errorf("%s has an entry; it is in the list of those without: %s", name, why)
		}
		delete(silent, name)
	}
	var names []string
	for _, r := range a.http.GetRoutes(true) {
		if !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"}, r.Method) && r.Path != "/setup" && r.Path != "/logout" {
			names = append(names, r.Method+" "+r.Path)
		}
	}
	slices.SortFunc(names, func(a, b string) int { // what is made is deleted last
		if x, y := strings.HasPrefix(a, "DELETE"), strings.HasPrefix(b, "DELETE"); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return strings.Compare(a, b)
	})
	slices.SortStableFunc(names, func(a, b string) int {
		if x, y := needsCells(a), needsCells(b); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return 0
	})
	names = append(append([]string{"POST /setup"}, slices.Compact(names)...), "POST /logout")
	for i, name := range names {
		if needsCells(name) && !needsCells(names[i-1]) {
			w.addCells(another)
		}
		method, path, _ := strings.Cut(name, " ")
		walk(method, path)
	}
	for name := range silent {
		t.Errorf("there is no %s any more", name)
	}
	if len(names) < 80 {
		t.Errorf("%d addresses were walked", len(names))
	}
}

// call sends a request as an API's client or as somebody's browser, as its address asks for, and returns the id of the request.
func (v *visitor) call(method, path, body string) (status int, text, request string) {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), method, v.base+path, strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	if strings.HasPrefix(path, "/api/") {
		req.Header.Set("Authorization", "Bearer "+v.key)
		req.Header.Set("Prefer", "respond-async")
	} else {
		form, err := url.ParseQuery(body)
		if err != nil {
			v.Fatal(err)
		}
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		req.ContentLength = int64(len(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header.Get("X-Request-Id")
}
