package app

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestFilterPage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	id := a.filtered()
	path := "/t/acme/destinations/" + id + "/filter"
	v := a.visitor()
	p := v.get(path)
	p.says("1 of the last 5 events match")
	if p.Find(`[name="rules[0].field"]`).AttrOr("value", "") != "status" ||
		p.Find(`[name="rules[1].field"]`).AttrOr("value", "") != "total" {
		t.Errorf("the rows are not those of the filter: %s", p.text("form"))
	}
	if p.Find(`#seen-fields option[value="total"]`).Text() != "number, for example 70, in 5 of the last 5" {
		t.Errorf("suggested: %s", p.Find("#seen-fields").Text())
	}

	// A button that is refused, or unknown, changes nothing.
	version := p.value("version")
	for _, do := range []string{"remove:7", "up:x", "down:99", "add:7", "remove:0.5", "remove:-1", "nonsense", "example:none", "up:0", ""} {
		p := v.post(path, "view", "rules", "version", version, "do", do, "match", "all", "rules[0].field", "a", "rules[0].condition",
			"exists", "rules[0].value", "", "rules[0].as", "")
		if n := p.Find(`[name$=".condition"]`).Length(); p.status != 200 || n != 1 {
			t.Errorf("%s: status %d, %d rows", do, p.status, n)
		}
	}
	// Hostile texts come back as texts.
	const hostile = `"><script>alert(1)</script>`
	p = v.post(path, "view", "rules", "version", version, "do", "test", "match", hostile, "event", hostile, "sample",
		`{"x": "`+strings.ReplaceAll(hostile, `"`, `\"`)+`"}`,
		"rules[0].field", hostile, "rules[0].condition", hostile, "rules[0].value", hostile, "rules[0].as", hostile, "rules[1].group",
		hostile)
	if p.Find("main script").Length() > 0 || p.value("rules[0].field") != hostile {
		t.Error("a hostile text did not stay one")
	}
	p = v.post(path, "view", "json", "version", version, "do", "save", "filter", `{"a": `)
	p.refused(422, "filter", "(line 1, column 6)")
	p = v.post(path, "view", "json", "version", version, "do", "save", "filter", `"a:1"`)
	p.refused(422, "filter", "a filter as JSON is an object")
	p = v.post(path, "view", "rules", "version", version, "do", "save", "keep", `{"a": {"$nope": 1}}`)
	if p.status != 422 {
		t.Errorf("a kept filter that is none: status %d", p.status)
	}

	// An empty filter is none, and saving it is no impact.
	p = v.post(path, "view", "search", "version", version, "do", "save", "filter", "  ")
	p.says("The filter is gone: every event of the destination's topics is delivered.")
	if d := a.want(200, "GET", "/tenants/acme/destinations/"+id, nil); d.body["filter"] != nil {
		t.Errorf("%s", d.raw)
	}
	// Only to look at, for those who may not change it.
	viewer := a.portal("acme")
	viewer.get(path)
}

// Few events are no impact; many are, unless the filter in force holds them back already.
func TestFilterImpact(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	path := "/t/acme/destinations/inbox/filter"
	save := func(do, text string) page {
		version := v.get(path).value("version")
		return v.post(path, "view", "search", "version", version, "do", do, "filter", text)
	}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","data":{"n":%d}}`, i))
		}
	}
	publish(0, 9)
	save("save", "n:>100").says("The filter is saved")
	save("save", "").says("The filter is gone")
	publish(9, 20)
	save("save", "n:>100").says("Of the 20 events of its topics in the last 24 hours, this filter would have filtered out 20 (100%).")
	save("save", "n:>8").says("The filter is saved") // less than half
	p := save("save", "n:>17")
	p.says("this filter would have filtered out 18 (90%)")
	p.says("The saved filter filtered out 9 of them.")
	p = v.post(path, "view", "search", "version", p.value("version"), "do", "confirm", "keep", p.Find(`[name="keep"]`).AttrOr("value", ""))
	p.says("The filter is saved")
	if d := a.want(200, "GET", "/tenants/acme/destinations/inbox", nil); d.str("filter") != "n:>17" {
		t.Errorf("%s", d.raw)
	}
	save("save", "n:>18").says("The filter is saved") // two events passed
}

func TestFilterHelp(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	p := a.visitor().get("/t/acme/docs/filters")
	p.says("Where the result would not mean the same in every case")
	if page, err := os.ReadFile("../docs/filters.md"); err != nil || !bytes.Contains(page, []byte("## Operators")) ||
		p.Find("h2").Length() < 8 {
		t.Errorf("%d headings, %v", p.Find("h2").Length(), err)
	}
}
