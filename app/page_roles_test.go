package app

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"github.com/waybill-dev/waybill/models"
)

// needs is the permission of the page or action at an address; false for what is no page.
func (a *testApp) needs(method, path string) (perm models.Permission, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	best := -1
	for _, r := range a.pages.PageRoutes() {
		pattern := strings.Split(strings.Trim(r.Path, "/"), "/")
		if r.Method != method || len(pattern) != len(parts) {
			continue
		}
		fixed := 0
		for i, p := range pattern {
			if p == parts[i] {
				fixed++
			} else if !strings.HasPrefix(p, ":") {
				fixed = -1
				break
			}
		}
		if fixed > best {
			best, perm, ok = fixed, r.Perm, true
		}
	}
	return perm, ok
}

// TestPagesOfferWhatIsAllowed opens all pages that a viewer and a developer see, and fails where one has a link or a form that they
// may not use.
func TestPagesOfferWhatIsAllowed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ids := everyID(a)
	real := withTenant("acme")
	for k, v := range ids {
		if name, ok := strings.CutPrefix(k, "{"); ok {
			real[strings.TrimSuffix(name, "}")] = v
		}
	}
	a.want(200, "PUT", "/tenants/acme/destinations/bad/disable", `{"reason":"Maintenance"}`)
	real["alert"] = a.eventually("/tenants/acme/alerts?status=open", func(o answer) bool { return len(o.list()) > 0 }).str("models", "0", "id")
	a.want(200, "PUT", "/topics/order.created", `{"description":"x"}`)
	walked := 0
	for _, role := range []models.Role{models.RoleViewer, models.RoleDeveloper} {
		for _, server := range []bool{true, false} {
			u := a.addUser(string(role), models.RoleNone)
			if server {
				u = a.addUser(string(role), role)
			} else {
				a.member(u, "acme", role)
			}
			v := a.loggedIn(u)
			may := func(perm models.Permission) bool { return perm == "" || slices.Contains(role.May(), perm) }
			for _, r := range a.pages.PageRoutes() {
				if r.Method != "GET" || !may(r.Perm) || !server && r.Perm != "" && !strings.HasPrefix(r.Path, "/t/") {
					continue
				}
				path := fill(r.Path, real)
				p := v.send("GET", path, nil)
				if !strings.Contains(p.header.Get("Content-Type"), "text/html") {
					continue
				}
				walked++
				check := func(method, to string) {
					u, err := url.Parse(to)
					if err != nil || u.Host != "" || u.Scheme != "" || u.Path == "" {
						return
					}
					perm, known := a.needs(method, u.Path)
					if known && (!may(perm) || !server && perm != "" && !strings.HasPrefix(u.Path, "/t/acme")) {
						t.Errorf("a %s (of the server: %v) is offered %s %s on %s (%d)", role, server, method, u.Path, path, p.status)
					}
				}
				p.Find("a[href]").Each(func(_ int, s *goquery.Selection) { check("GET", s.AttrOr("href", "")) })
				p.Find("form").Each(func(_ int, s *goquery.Selection) {
					method := strings.ToUpper(s.AttrOr("method", "get"))
					check(method, s.AttrOr("action", ""))
					s.Find("button[formaction]").Each(func(_ int, b *goquery.Selection) {
						check(strings.ToUpper(b.AttrOr("formmethod", method)), b.AttrOr("formaction", ""))
					})
				})
			}
		}
	}
	if walked < 80 {
		t.Errorf("%d pages were walked", walked)
	}
}
