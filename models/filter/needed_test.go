package filter

import (
	"strings"
	"testing"
	"time"
)

// TestNeeded tells the fields without which nothing matches, in every notation, and leaves out those whose absence is fine.
func TestNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ filter, want string }{
		{`{"customer.vip": true}`, `customer\.vip`},
		{`{"customer": {"vip": true}}`, "customer.vip"},
		{`"customer.vip:true"`, "customer.vip"},
		{`"data.total:>=10 AND topic:order.*"`, "total"},
		{`{"$or": [{"a": 1}, {"b": 2}]}`, "a b"},
		{`{"a": {"$exist": true}, "b": {"$exist": false}, "c": {"$neq": 1}, "$not": {"d": 1}}`, "a"},
		{`{"lines": {"sku": "x", "price": {"$gt": 1}}}`, "lines.sku lines.price"},
		{`{"metadata": {"plan": "pro"}, "id": {"$startsWith": "evt"}}`, "metadata.plan"},
		{`{"a": {"$gte": 1, "$lte": 2}}`, "a"},
		{`{"$expr": "data.total > 10"}`, ""},
		{`{}`, ""},
	} {
		f, err := ParseNew([]byte(c.filter))
		if err != nil {
			t.Fatal(c.filter, err)
		}
		var got []string
		for _, n := range f.Needed() {
			got = append(got, n.Path())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s needs %q, want %q", c.filter, got, c.want)
		}
	}
}

func TestNeededIn(t *testing.T) {
	t.Parallel()
	doc := NewDoc("evt_1", "order.created", time.Now(), map[string]string{"plan": "pro"},
		[]byte(`{"customer": {"vip": null}, "lines": [{"sku": "x"}], "a.b": 1}`))
	for filter, want := range map[string]bool{
		`{"customer": {"vip": true}}`: true, `{"customer.vip": true}`: false, `{"lines": {"sku": "y"}}`: true, `{"lines": {"price": 1}}`: false,
		`{"a.b": 2}`: true, `{"a": {"b": 1}}`: false, `{"metadata": {"plan": "free"}}`: true, `{"metadata": {"team": "x"}}`: false,
	} {
		f, err := ParseNew([]byte(filter))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Needed()[0].In(doc); got != want {
			t.Errorf("%s: %t", filter, got)
		}
	}
}

func TestNested(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		`{"customer.vip": true}`: `{"customer": {"vip": …}}`, `{"data.total": 1}`: `{"total": …}`, `{"metadata.plan": "x"}`: `{"metadata": {"plan": …}}`,
		`{"a": {"b.c": 1}}`: `{"a": {"b": {"c": …}}}`, `{"plain": 1}`: "", `{"a..b": 1}`: "", `{".a": 1}`: "",
	} {
		f, err := ParseNew([]byte(filter))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if n, ok := f.Needed()[0].Nested(); ok {
			got = n.JSON()
		}
		if got != want {
			t.Errorf("%s means %q, want %q", filter, got, want)
		}
	}
}

func TestResembles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field, seen string
		want        bool
	}{
		{"customerEmail", "customer_email", true}, {"Total", "total", true}, {"email", "customer.email", true}, {"currency", "curency",
			true}, {"amuont", "amount", true},
		{"total", "totals", true}, {"a", "b", false}, {"vip", "zip", false}, {"total", "currency", false}, {"status", "state",
			false}, {"order", "order.id", false},
	} {
		n, _ := neededAt([]string{"data", c.field})
		if got := n.Resembles(c.seen); got != c.want {
			t.Errorf("%s and %s: %t", c.field, c.seen, got)
		}
	}
}
