package models

import (
	"strings"
	"testing"
)

func redactionOf(fields, headers, query string) *Redaction {
	list := func(s string) *[]string {
		l := strings.Fields(s)
		return &l
	}
	x := TenantSettings{RedactFields: list(fields), RedactHeaders: list(headers), RedactQuery: list(query)}
	return x.redaction()
}

// TestRedactedFields hides fields of JSON answers, and leaves all else as it was, in its order.
func TestRedactedFields(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ fields, body, want string }{
		{"customer.email", `{"id":1,"customer":{"email":"a@b","name":"x"}}`, `{"id":1,"customer":{"email":"••••••","name":"x"}}`},
		{"$.Email", `{"z":1,"email":{"a":[1]},"a":2}`, `{"z":1,"email":"••••••","a":2}`},
		{"items[*].mail", `{"items":[{"mail":"a","n":1},{"n":2},3]}`, `{"items":[{"mail":"••••••","n":1},{"n":2},3]}`},
		{"*.mail mail", `[{"mail":"a"},{"mail":1e9}]`, `[{"mail":"••••••"},{"mail":"••••••"}]`},
		{"a.b a.c", `{"a":{"b":1,"c":2,"d":3}}`, `{"a":{"b":"••••••","c":"••••••","d":3}}`},
		{"absent", ` {"a" : 1} `, ` {"a" : 1} `},
		{"a.b", `{"a":"text"}`, `{"a":"text"}`},
		{"mail", `<p>plain text</p>`, `<p>plain text</p>`},
		{"mail", `{"mail":"cut off he`, BodyNotKept},
		{"mail", ``, ``},
	} {
		a := &Attempt{ResponseBody: []byte(x.body)}
		if redactionOf(x.fields, "", "").Apply(a); string(a.ResponseBody) != x.want {
			t.Errorf("%s of %s: %s, want %s", x.fields, x.body, a.ResponseBody, x.want)
		}
	}
}

// TestRedactedHeadersAndQuery hides values of headers and query parameters wherever the attempt tells them.
func TestRedactedHeadersAndQuery(t *testing.T) {
	t.Parallel()
	a := &Attempt{URL: "https://example.com/h?id=7&User%5Bmail%5D=ann%40example.com#x", RequestHeader: "X-User: ann\nAccept: */*\n",
		ResponseHeader: "x-user: Ann Smith\n", RawError: `Get "https://example.com/h?User%5Bmail%5D=ann%40example.com": EOF`,
		Log: []string{"sent to ann@example.com"}, Error: "Ann Smith was refused."}
	redactionOf("", "x-USER", "user[mail]").Apply(a)
	if a.URL != "https://example.com/h?id=7&User%5Bmail%5D=••••••#x" || a.RequestHeader != "X-User: ••••••\nAccept: */*\n" ||
		a.ResponseHeader != "x-user: ••••••\n" {
		t.Errorf("%+v", a)
	}
	if all := a.RawError + a.Log[0] + a.Error; strings.Contains(all, "example.com\"") && strings.Contains(all, "ann") ||
		strings.Contains(all, "Smith") || strings.Contains(all, "ann@") {
		t.Errorf("it is still told: %s", all)
	}
	if (&TenantSettings{}).redaction() != nil {
		t.Error("no rules are not nil")
	}
}
