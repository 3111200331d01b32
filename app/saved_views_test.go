package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// names lists the names of views, in their order.
func (o answer) names() string {
	var out []string
	for _, v := range o.list() {
		out = append(out, v.(map[string]any)["name"].(string))
	}
	return strings.Join(out, " ")
}

// TestSavedViews saves views of a tenant and of the operators, changes and counts them.
func TestSavedViews(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	b := a.want(201, "POST", "/views", `{"tenant_id":"acme","name":" B ","query":"?topic=b&status=&range=24h"}`)
	if b.str("query") != "range=24h&topic=b" || b.str("name") != "B" || b.str("tenant_id") != "acme" || b.str("position") != "1" ||
		b.str("owner") != "" || b.header.Get("Location") != "/api/v1/views/"+b.str("id") {
		t.Errorf("%s %v", b.raw, b.header)
	}
	c := token.want(201, "POST", "/views", `{"name":"C","query":"q=n:>=2"}`)
	token.want(201, "POST", "/views", `{"name":"A","query":"order_by=status&dir=asc","position":1}`)
	all := a.want(201, "POST", "/views", `{"name":"All tenants","query":"tenant_id=globex&tenant_id=acme"}`)
	if names := token.want(200, "GET", "/views", nil).names(); names != "A B C" {
		t.Errorf("the tenant's: %s", names)
	}
	if names := a.want(200, "GET", "/views?list=events", nil).names(); names != "All tenants" {
		t.Errorf("the operators': %s", names)
	}
	if names := a.want(200, "GET", "/views?tenant_id=globex", nil).names(); names != "" {
		t.Errorf("another tenant's: %s", names)
	}
	a.want(200, "PATCH", "/views/"+c.str("id"), `{"position":1,"name":"First"}`)
	if e := a.entry("view.update", c.str("id")); e.changed("name") != "C -> First" || e.changed("position") != "3 -> 1" {
		t.Errorf("%+v", e)
	}
	if names := token.want(200, "GET", "/views", nil).names(); names != "First A B" {
		t.Errorf("after it was moved: %s", names)
	}

	for i := range 3 {
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","topic":"b","data":{"n":%d}}`, i))
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"globex","topic":"b","data":{}}`)
	counts := func(who *testApp) (out []string) {
		for _, v := range who.want(200, "GET", "/views?counts=true", nil).list() {
			view := v.(map[string]any)
			out = append(out, fmt.Sprint(view["name"], " ", view["count"]))
		}
		return out
	}
	if got := fmt.Sprint(counts(token)); got != "[First map[events:1 exact:true] A map[events:3 exact:true] B map[events:3 exact:true]]" {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(counts(a)); got != "[All tenants map[events:4 exact:true]]" {
		t.Errorf("%s", got)
	}

	for body, field := range map[string]string{
		`{}`: "name", `{"name":" "}`: "name", `{"name":"x","list":"attempts"}`: "list", `{"name":"x","query":"status=nonsense"}`: "query", `{"name":"x","query":"next=x"}`: "query",
		`{"name":"x","query":"since=nonsense"}`: "query", `{"name":"x","query":"range=2h"}`: "query", `{"name":"x","query":"tenant_id=nobody"}`: "query", `{"name":"x","query":"q={"}`: "query",
		`{"name":"x","tenant_id":"acme","query":"tenant_id=globex"}`: "query", `{"name":"x","position":0}`: "position", `{"name":"x","mine":true}`: "mine", `{"name":"` + strings.Repeat("x", 81) + `"}`: "name",
	} {
		if out := a.want(422, "POST", "/views", body); out.str("fields", field) == "" {
			t.Errorf("%s: %s", body, out.raw)
		}
	}
	token.want(404, "GET", "/views/"+all.str("id"), nil)
	token.want(404, "PATCH", "/views/"+all.str("id"), `{"name":"x"}`)
	token.want(404, "DELETE", "/views/"+all.str("id"), nil)
	token.want(404, "POST", "/views", `{"tenant_id":"globex","name":"x"}`)
	token.want(200, "DELETE", "/views/"+c.str("id"), nil)
	a.want(404, "GET", "/views/"+c.str("id"), nil)
	for i := range 48 {
		token.want(201, "POST", "/views", fmt.Sprintf(`{"name":"%d"}`, i))
	}
	if out := token.want(409, "POST", "/views", `{"name":"one too many"}`); !strings.Contains(out.raw, "50 shared views") {
		t.Errorf("%s", out.raw)
	}
}

// TestSavedViewsOfUsers: a user's own views are theirs alone.
func TestSavedViewsOfUsers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	ctx := t.Context()
	u, err := a.Store.CreateFirstUser(ctx, models.UserInput{Name: "Ann", Email: testEmail, Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	name, mine, shared := "Ann's", true, false
	v, err := a.Store.SaveView(ctx, models.AllTenants(), u.Key, "Ann", models.SavedViewInput{Name: &name, Mine: &mine})
	if err != nil || v.Owner != "Ann" {
		t.Fatalf("%+v %v", v, err)
	}
	a.want(404, "GET", "/views/"+v.ID(), nil)
	a.want(404, "DELETE", "/views/"+v.ID(), nil)
	if names := a.want(200, "GET", "/views", nil).names(); names != "" {
		t.Errorf("others see %s", names)
	}
	a.want(201, "POST", "/views", `{"name":"Shared"}`)
	list, err := a.Store.SavedViews(ctx, models.AllTenants(), u.Key, "")
	if err != nil || len(list) != 2 || list[0].Name != "Shared" || list[1].Name != name {
		t.Errorf("%+v %v", list, err)
	}
	if v, err = a.Store.ChangeView(ctx, models.AllTenants(), u.Key, v.ID(), models.SavedViewInput{Mine: &shared}); err != nil ||
		v.Owner != "" || v.Position != 2 {
		t.Errorf("%+v %v", v, err)
	}
	if names := a.want(200, "GET", "/views", nil).names(); names != "Shared Ann's" {
		t.Errorf("after it was shared: %s", names)
	}
}

// TestCountsOfLargeLists: what would take long to count is estimated, and says so.
func TestCountsOfLargeLists(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.largeEvents(6000, 10)
	a.exec("analyze events")
	a.want(201, "POST", "/views", `{"name":"Thirds","query":"q=\"n\":1"}`)
	a.want(201, "POST", "/views", `{"name":"All","query":"status=delivered"}`)
	count := func(o answer, i int) map[string]any {
		n, _ := o.list()[i].(map[string]any)["count"].(map[string]any) // none where it took too long
		return n
	}
	out := a.eventually("/views?counts=true", func(o answer) bool { return count(o, 0) != nil && count(o, 1)["exact"] == true })
	if first := count(out, 0); first["exact"] != false {
		t.Errorf("a search among payloads: %v", first)
	}
	if second := count(out, 1); second["events"] != 6000.0 {
		t.Errorf("%v", second)
	}
}
