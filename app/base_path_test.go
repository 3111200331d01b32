package app

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
)

// TestBasePathCrawl serves everything under a path, behind a proxy that passes it on and behind one that takes it off, and
// follows every link, form, source and redirect of every page that can be reached from the start, logged in and not. None
// leaves the path, and each leads somewhere.
func TestBasePathCrawl(t *testing.T) {
	t.Parallel()
	const base = "/hooks/waybill"
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "https://example.com" + base })
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"failing","type":"echo","topics":["order.created"],"config":{"answer":"500"},"retry":{"max_attempts":1}}`)
	a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":["order.created"],"config":{"url":"https://example.com"},"filter":{"total":{"$gte":10}}}`)
	a.want(200, "PUT", "/topics/order.created", `{"description":"An order.","example":{"total":1}}`)
	for i := range 30 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","topic":"order.created","data":{"total":%d}}`, i%9))
	}
	a.eventually("/deliveries?status=failed&tenant_id=acme&limit=1000", func(o answer) bool { return len(o.list()) == 30 })
	a.want(202, "POST", "/retries", `{"tenant_id":"acme","filter":{"status":["failed"],"destination_id":["failing"]}}`)
	a.want(201, "POST", "/api-keys", `{"name":"shop","scopes":["publish"]}`)

	somebody := a.visitor()
	for _, c := range []struct{ name, before string }{{"passed on", base}, {"taken off", ""}} {
		for _, v := range []*visitor{a.stranger(), somebody} {
			v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			t.Log("the path is", c.name)
			crawl(t, v, base, c.before)
		}
	}
}

// patterned is a path without what differs between pages of one kind.
var patterned = regexp.MustCompile(`(evt|des|dlv|att|rty|aud|key|alr|not|cha|rul)_[A-Za-z0-9]+|[0-9a-f]{8}-[0-9a-f-]{27}|\?.*|inbox|failing|hook`)

// crawl follows every link from the start, one of each kind of page.
func crawl(t *testing.T, v *visitor, base, before string) {
	t.Helper()
	seen, posts := map[string]bool{}, map[string]bool{}
	todo := []string{base + "/"}
	pages := 0
	link := func(from, what, address string) {
		t.Helper()
		u, err := url.Parse(address)
		switch {
		case err != nil:
			t.Errorf("%s: %s %q: %v", from, what, address, err)
			return
		case address == "" || strings.HasPrefix(address, "#") || u.Scheme == "data" || u.Scheme == "mailto":
			return
		case u.IsAbs():
			if !strings.HasPrefix(address, "https://example.com"+base+"/") {
				return // another site
			}
			u.Scheme, u.Host = "", ""
		case strings.HasPrefix(address, "?"):
			u.Path = strings.SplitN(from, "?", 2)[0]
		}
		if !strings.HasPrefix(u.Path, base+"/") || strings.HasPrefix(strings.TrimPrefix(u.Path, base), base) {
			t.Errorf("%s: %s %q leaves %s", from, what, address, base)
			return
		}
		u.Fragment = ""
		key := what[:1] + patterned.ReplaceAllString(u.String(), "*")
		if strings.HasPrefix(what, "post") {
			posts[u.String()] = posts[u.String()] || !seen[key]
		} else if !seen[key] {
			todo = append(todo, u.String())
		}
		seen[key] = true
	}
	outside := func(address string) string { return before + strings.TrimPrefix(address, base) } // as the server sees it
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		if strings.Contains(at, "/logout") {
			continue
		}
		p := v.send("GET", outside(at), nil)
		pages++
		if to := p.header.Get("Location"); to != "" {
			link(at, "redirect", to)
			continue
		}
		switch {
		case p.status == 401 && strings.HasPrefix(at, base+api.APIPrefix), p.status == 422 && strings.HasSuffix(at, "/compare"):
			continue // it is there, and wants a key, or what is to be compared
		case p.status != 200:
			t.Errorf("GET %s: status %d", at, p.status)
			continue
		}
		for _, c := range p.header.Values("Set-Cookie") {
			if !strings.Contains(strings.ToLower(c), "path="+base+";") {
				t.Errorf("%s: the cookie %s is not for %s only", at, c, base)
			}
		}
		p.Find("[href], [src], [action], [formaction], [hx-get], [hx-post], [data-url]").Each(func(_ int, s *goquery.Selection) {
			post := strings.EqualFold(s.AttrOr("formmethod", s.AttrOr("method", s.Closest("form").AttrOr("method", "get"))), "post")
			for _, name := range linkAttributes {
				address, has := s.Attr(name)
				what := name
				if name == "hx-post" || post && (name == "action" || name == "formaction") {
					what = "post " + name
				}
				if has {
					link(at, what, address)
				}
			}
		})
	}
	// What a form is sent to exists: a request from another site is refused there, and nowhere else.
	for address := range posts {
		if p := v.send("POST", outside(address), nil, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
			t.Errorf("POST %s: status %d", address, p.status)
		}
	}
	t.Logf("%d pages, %d forms", pages, len(posts))
	if v.client.Jar.Cookies(v.address("/")) != nil && (pages < 60 || len(posts) < 20) {
		t.Errorf("only %d pages and %d forms were found", pages, len(posts))
	}
}

// TestBasePath looks at what no page links to: answers of the API, portal links, logging in, and paths that only look alike.
func TestBasePath(t *testing.T) {
	t.Parallel()
	const base = "/waybill"
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "https://example.com" + base })
	a.tenant("acme")
	for _, before := range []string{"", base} {
		b := *a
		b.base += before
		out := b.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"order.created","data":{}}`)
		event := base + api.APIPrefix + "/events/" + out.str("id")
		if got := out.header.Get("Location"); got != event || out.header.Get("Content-Location") != "" ||
			!strings.HasPrefix(out.header.Get("Link"), "<"+event+">") {
			t.Errorf("a 202 tells of %s and %s, not of %s alone (%s)", got, out.header.Get("Link"), event,
				out.header.Get("Content-Location"))
		}
		if got := out.str("links", "monitor"); got != event {
			t.Errorf("the body of a 202 tells of %s, not of %s", got, event)
		}
		a.eventually("/events?tenant_id=acme", func(o answer) bool { return len(o.list()) > 0 })
		if got := b.want(200, "GET", "/tenants?limit=1", nil).header.Get("Link"); got != "" && !strings.HasPrefix(got, "<"+base+"/") {
			t.Errorf("the next page of a list is %s", got)
		}
		portal := b.want(200, "GET", "/tenants/acme/portal", nil).str("redirect_url")
		token, ok := strings.CutPrefix(portal, "https://example.com"+base+"/p/")
		if !ok {
			t.Fatalf("the portal link is %s", portal)
		}
		v := b.stranger()
		v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		p := v.send("GET", "/p/"+token, nil)
		if to := p.Find("main form").AttrOr("action", ""); to != base+"/p/"+token {
			t.Errorf("the portal link's button leads to %s", to)
		}
		p = v.send("POST", "/p/"+token, nil)
		if to := p.header.Get("Location"); to != base+"/t/acme" {
			t.Errorf("the portal link leads to %s", to)
		}
		if c := p.header.Get("Set-Cookie"); !strings.Contains(c, "path="+base+";") {
			t.Errorf("the session's cookie is %s", c)
		}
		// Nobody is there yet; then somebody logs in, and goes on where they wanted to be.
		p = v.send("GET", "/t/acme/events?status=failed", nil, "Cookie", "")
		if to := p.header.Get("Location"); !strings.HasPrefix(to, base+"/setup") && !strings.HasPrefix(to, base+"/login?") &&
			p.status != 200 {
			t.Errorf("without a session: %d %s", p.status, to)
		}
	}
	v := a.visitor()
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := v.post("/waybill/login", "email", testEmail, "password", testPassword, "return", "/t/acme/events")
	if to := p.header.Get("Location"); p.status != 303 || to != base+"/t/acme/events" {
		t.Errorf("after logging in: %d %s", p.status, to)
	}
	if s := a.want(200, "GET", "/openapi.json", nil).str("servers", "0", "url"); s != "https://example.com"+base+api.APIPrefix {
		t.Errorf("openapi.json names %s", s)
	}
	if p := v.send("GET", "/waybills", nil); p.status != 404 {
		t.Errorf("a path that only looks alike: %d", p.status)
	}
	for uri, want := range map[string]string{"/waybill": "/", "/waybill/": "/", "/waybill?x=1": "/?x=1", "/waybill/t/a%2Fb?x": "/t/a%2Fb?x",
		"/waybills": "/waybills", "/t/waybill": "/t/waybill"} {
		if got, _ := api.WithoutBase(base, uri); got != want {
			t.Errorf("%s is served as %s, not as %s", uri, got, want)
		}
	}
}

// TestBasePathLinks changes addresses of this server only, wherever they stand, and nothing else.
func TestBasePathLinks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`<!doctype html><a class="x" href="/a?b=1&amp;c">/a</a>`:                    `<!doctype html><a class="x" href="/w/a?b=1&amp;c">/a</a>`,
		`<a href="#x">x</a><a href="https://y/z">/z</a><a href="//y/z">z</a>`:       `<a href="#x">x</a><a href="https://y/z">/z</a><a href="//y/z">z</a>`,
		`<form action="/s"><input value="/t/a" placeholder="/x"></form>`:            `<form action="/w/s"><input value="/t/a" placeholder="/x"></form>`,
		`<noscript><a href="/n">n</a></noscript><textarea><a href="/t"></textarea>`: `<noscript><a href="/w/n">n</a></noscript><textarea><a href="/t"></textarea>`,
		`<svg viewBox="0 0 1 1"><use href="/static/i.svg#x"/></svg>`:                `<svg viewBox="0 0 1 1"><use href="/w/static/i.svg#x"/></svg>`,
		`<script src="/s.js">var a = '<a href="/x">';</script>`:                     `<script src="/w/s.js">var a = '<a href="/x">';</script>`,
	} {
		if got := string(linksUnder("/w", []byte(in))); got != want {
			t.Errorf("%s becomes %s", in, got)
		}
	}
}

// TestBaseURL takes addresses with a path, and refuses what would not work.
func TestBaseURL(t *testing.T) {
	t.Parallel()
	read := func(v string) (*config.Config, error) {
		return config.ReadConfig("serve", func(n string) string { return map[string]string{"BASE_URL": v}[n] })
	}
	for v, want := range map[string]string{"https://example.com": "", "https://example.com/": "",
		"https://example.com/waybill/": "/waybill", "https://example.com/a/b-1": "/a/b-1", "": ""} {
		if c, err := read(v); err != nil || c.BasePath() != want {
			t.Errorf("%q: %v %v", v, c, err)
		}
	}
	for v, want := range map[string]string{"https://u:p@example.com": "no user", "https://example.com/?x=1": "query",
		"https://example.com/#top": "fragment", "https://example.com#": "fragment",
		"https://example.com/a%20b": "letters", "https://example.com/a//b": "letters", "https://example.com/../x": "letters",
		"https://example.com/t": "/t", "https://example.com/api/waybill": "/api"} {
		if _, err := read(v); err == nil || !strings.HasPrefix(err.Error(), "BASE_URL: must have ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", v, err)
		}
	}
	for _, r := range newTestApp(t, nil).http.GetRoutes(true) {
		if first := config.FirstPart(r.Path); first != "" && !slices.Contains(config.OwnPaths, first) {
			t.Errorf("%s is not among ownPaths", r.Path)
		}
	}
}
