package filter

import (
	"strings"
	"testing"
)

const explained = `{"total":4,"status":"paid","note":null,"price":"29.99","name":"Ann","customer":{"vip":false,"email":"ann@example.org"},` +
	`"tags":["gift","new"],"empty":[],"lines":[{"sku":"a","qty":1},{"sku":"b","qty":7}],"many":[1,2,3,4,5,6],"at":"2026-01-01T00:00:00Z",` +
	`"long":"` + "0123456789012345678901234567890123456789012345678901234567890123456789" + `","flags":{}}`

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter string
		rule   int // 0 for a match
		path   string
		reason string
	}{
		{`{"total":{"$gte":10}}`, 1, "data.total", "`data.total` is 4, needs at least 10"},
		{`{"totals":{"$gte":10}}`, 1, "data.totals", "`data.totals` is missing"},
		{`{"status":"paid","total":{"$gt":10}}`, 2, "data.total", "`data.total` is 4, needs more than 10"},
		{`{"total":{"$gt":1,"$lt":3}}`, 1, "data.total", "`data.total` is 4, needs less than 3"},
		{`{"status":"open"}`, 1, "data.status", "`data.status` is \"paid\", needs \"open\""},
		{`{"status":{"$neq":"paid"}}`, 1, "data.status", "`data.status` is \"paid\", needs not to be \"paid\""},
		{`{"status":{"$in":["open","sent"]}}`, 1, "data.status", "`data.status` is \"paid\", needs one of \"open\", \"sent\""},
		{`{"status":{"$nin":["paid","sent"]}}`, 1, "data.status", "`data.status` is \"paid\", needs not to be one of \"paid\", \"sent\""},
		{`{"status":{"$in":["a","b","c","d","e"]}}`, 1, "data.status",
			"`data.status` is \"paid\", needs one of \"a\", \"b\", \"c\" and 2 more"},
		{`{"note":"x"}`, 1, "data.note", "`data.note` is null, needs \"x\""},
		{`"note:*"`, 1, "data.note", "`data.note` is null, needs to be present and not empty"},
		{`{"status":{"$exist":false}}`, 1, "data.status", "`data.status` is \"paid\", needs to be missing"},
		{`{"gone":{"$exist":true}}`, 1, "data.gone", "`data.gone` is missing"},
		{`{"price":{"$gte":30}}`, 1, "data.price", "`data.price` is the text \"29.99\" (compared as a number), needs at least 30"},
		{`{"name":{"$gte":30}}`, 1, "data.name", "`data.name` is the text \"Ann\" (not a number), needs at least 30"},
		{`"price:30"`, 1, "data.price", "`data.price` is the text \"29.99\" (compared as a number), needs the number 30"},
		{`{"name":{"$contains":"z"}}`, 1, "data.name", "`data.name` is \"Ann\", needs to contain \"z\""},
		{`{"name":{"$not":{"$startsWith":"A"}}}`, 1, "data.name", "`data.name` is \"Ann\", needs not to start with \"A\""},
		{`{"name":{"$endsWith":["x","y"]}}`, 1, "data.name", "`data.name` is \"Ann\", needs to end with \"x\" or \"y\""},
		{`{"name":{"$regex":"^B"}}`, 1, "data.name", "`data.name` is \"Ann\", needs to match the pattern \"^B\""},
		{`{"at":{"$gt":"2026-06-01T00:00:00Z"}}`, 1, "data.at",
			"`data.at` is \"2026-01-01T00:00:00Z\", needs later than \"2026-06-01T00:00:00Z\""},
		{`{"total":{"$gt":{"$ref":"lines[0].qty"}},"status":{"$eq":{"$ref":"name"}}}`, 2, "data.status",
			"`data.status` is \"paid\" and `data.name` is \"Ann\", needs `data.name`"},
		{`{"total":{"$gt":{"$ref":"gone"}}}`, 1, "data.total", "`data.total` is 4 and `data.gone` is missing, needs more than `data.gone`"},
		{`{"customer":{"vip":true,"email":{"$exist":true}}}`, 1, "data.customer", "`data.customer.vip` is false, needs true"},
		{`{"customer":{"email":{"$exist":true},"phone":"1"}}`, 1, "data.customer", "`data.customer.phone` is missing"},
		{`{"customer":{"email":{"$neq":"ann@example.org"}}}`, 1, "data.customer.email",
			"`data.customer.email` is \"ann@example.org\", needs not to be \"ann@example.org\""},
		{`{"tags":"old"}`, 1, "data.tags", "`data.tags` holds \"gift\" and \"new\", needs one that is \"old\""},
		{`{"tags":{"$neq":"gift"}}`, 1, "data.tags", "`data.tags` holds \"gift\" and \"new\", needs none that is \"gift\""},
		{`{"tags":["gift","old"]}`, 1, "data.tags",
			"`data.tags` is the list [\"gift\",\"new\"], needs an element that is \"gift\" and an element that is \"old\""},
		{`{"tags":{"$eq":["new"]}}`, 1, "data.tags", "`data.tags` is the list [\"gift\",\"new\"], needs exactly [\"new\"]"},
		{`{"status":["gift"]}`, 1, "data.status", "`data.status` is \"paid\", needs to be a list that has an element that is \"gift\""},
		{`{"empty":"x"}`, 1, "data.empty", "`data.empty` is an empty list, needs one that is \"x\""},
		{`{"empty":{"sku":"x"}}`, 1, "data.empty.sku", "`data.empty` is an empty list, needs one that is \"x\""},
		{`{"lines":{"sku":"a","qty":{"$gt":5}}}`, 1, "data.lines",
			"`data.lines` holds 2 objects, needs one that has `sku` that is \"a\" and has `qty` that is more than 5"},
		{`{"lines":{"qty":{"$gt":10}}}`, 1, "data.lines.qty", "`data.lines.qty` holds 1 and 7, needs one that is more than 10"},
		{`{"many":{"$gt":10}}`, 1, "data.many", "`data.many` holds 1, 2, 3 and 3 more, needs one that is more than 10"},
		{`{"long":"x"}`, 1, "data.long", "`data.long` is \"0123456789012345678901234567890123456789012345678901234567…, needs \"x\""},
		{`{"flags":"x"}`, 1, "data.flags", "`data.flags` is an object, needs \"x\""},
		{`{"$or":[{"status":"open"},{"total":{"$gt":9}}]}`, 1, "data.status",
			"none of 2 alternatives holds: `data.status` is \"paid\", needs \"open\"; `data.total` is 4, needs more than 9"},
		{`{"status":"paid","$or":[{"total":1},{"name":"x"}]}`, 2, "data.total",
			"none of 2 alternatives holds: `data.total` is 4, needs 1; `data.name` is \"Ann\", needs \"x\""},
		{`{"$not":{"status":"paid","total":4}}`, 1, "data.status",
			"these must not all hold, and do: `data.status` is \"paid\"; `data.total` is 4"},
		{`"NOT (status:open OR name:Ann)"`, 1, "data.status", "`data.name` is \"Ann\", needs not to be \"Ann\""},
		{`{"topic":"x"}`, 1, "topic", "`topic` is \"order.created\", needs \"x\""},
		{`{"metadata":{"env":"test"}}`, 1, "metadata.env", "`metadata.env` is \"prod\", needs \"test\""},
		{`{"$expr":"data.total > 5"}`, 1, "", "the expression is false"},
		{`{"$expr":"data.gone.x > 5"}`, 1, "",
			"the filter failed: cannot fetch x from nothing: the field before it is missing; `?.` instead of `.` allows for that (line 1, column 11)"},
		{`{}`, 0, "", "there is no filter"},
		{`{"total":{"$gte":3}}`, 0, "", "`data.total` is 4, needs at least 3"},
		{`{"gone":{"$neq":1}}`, 0, "", "`data.gone` is missing"},
		{`{"customer":{"phone":{"$exist":false}}}`, 0, "", "`data.customer.phone` is missing"},
		{`{"status":"paid","total":4}`, 0, "", "all 2 rules are met"},
		{`{"$or":[{"status":"open"},{"total":4}]}`, 0, "", "`data.total` is 4, needs 4"},
		{`"NOT (status:open OR name:Bob)"`, 0, "", "none of 2 rules that must not hold does"},
		{`{"$not":{"status":"open","total":4}}`, 0, "", "not all of 2 rules that must not hold together do"},
		{`{"$expr":"data.total == 4"}`, 0, "", "the expression is true"},
	} {
		t.Run(c.filter, func(t *testing.T) {
			t.Parallel()
			got := mustParse(t, c.filter).Explain(eventDoc(explained))
			if want := (Verdict{Match: c.rule == 0, Rule: c.rule, Path: c.path, Reason: c.reason,
				Failed: strings.Contains(c.reason, "failed")}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string][]string{
		`{"total":{"$gte":10},"status":{"$neq":"open"}}`: {"`data.total` is at least 10", "`data.status` is not \"open\""},
		`{"total":{"$gt":10,"$lte":20}}`:                 {"`data.total` is more than 10 and is at most 20"},
		`{"$or":[{"a":1},{"b":{"$exist":false}}]}`:       {"`data.a` is 1", "`data.b` is missing"},
		`{"$not":{"a":{"$contains":"x"},"b":{"$gt":{"$ref":"c"}}}}`: {"`data.a` does not contain \"x\"",
			"`data.b` is not more than `data.c`"},
		`{"lines":{"sku":"a","$or":[{"qty":1},{"qty":{"$gt":5}}]}}`: {"`data.lines` has `sku` that is \"a\" and (has `qty` that is 1 or has `qty` that is more than 5)"},
		`{"tags":["x",{"$startsWith":"y"}]}`:                        {"`data.tags` has an element that is \"x\" and an element that starts with \"y\""},
		`{"lines":{"$not":{"sku":"a","qty":1}}}`:                    {"`data.lines` does not fit (has `sku` that is \"a\" and has `qty` that is 1)"},
		`"metadata.k:* topic:a* -x:5"`: {"`metadata.k` is present and not empty",
			"`topic` starts with \"a\"", "`data.x` is not the number 5"},
		`{"$expr":"true"}`: {"the expression `true` is true"},
		`{"a":{"$regex":"x+"},"b":{"$endsWith":"z"},"c":{"$lt":"2026"}}`: {"`data.a` matches the pattern \"x+\"",
			"`data.b` ends with \"z\"", "`data.c` is less than \"2026\""},
	} {
		rules := mustParse(t, filter).Rules()
		var got []string
		for i, rule := range rules {
			if rule.Number != i+1 {
				t.Errorf("%s: rule %d has the number %d", filter, i+1, rule.Number)
			}
			got = append(got, rule.Words)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\ngot  %q\nwant %q", filter, got, want)
		}
	}
}

// The number of the deciding rule is found while matching, without explaining.
func TestResultNamesTheRule(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]int{
		`{"status":"paid","total":5,"name":"x"}`:                             2,
		`{"status":"paid","$or":[{"total":1},{"total":{"$gt":9}}],"name":1}`: 2,
		`{"$or":[{"status":"x"},{"total":1}]}`:                               1,
		`{"$not":{"$or":[{"status":"x"},{"total":{"$gt":1}}]}}`:              1,
		`{"status":"paid"}`: 0,
	} {
		if got := mustParse(t, filter).Match(eventDoc(explained)); got.Rule != want {
			t.Errorf("%s: %+v, want rule %d", filter, got, want)
		}
	}
}
