package pages

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	_ "github.com/waybill-dev/waybill/adapters/webhook"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// FuzzLocalPath: where somebody is led after a login is a page of this server, as browsers read addresses.
func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/t/acme?x=1", "//evil.example", `/\evil.example`, "/\t/evil.example", "\t//evil.example", "/\r\n/evil",
		"https:evil", "/%2f/evil", "/./", "/x#y", "/\x00//evil", "/ /evil"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://waybill.example.com/login")
	f.Fuzz(func(t *testing.T, s string) {
		got := localPath(s)
		// Browsers leave tabs and line ends out, and take backslashes for slashes (WHATWG URL, section 4.4).
		read := strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.TrimLeft(got,
			"\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f "))
		u, err := base.Parse(read)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Errorf("%q leads to %q", s, got)
		}
	})
}

// FuzzFilterForm: the builder of filters shows what was typed again, whatever it is, and what it makes of it is a filter.
func FuzzFilterForm(f *testing.F) {
	for _, s := range []string{"view=rules&match=all&row0.condition=eq&row0.field=a&row0.value=1", "view=json&filter={}",
		"view=search&filter=a:b", "view=expression&filter=1/0", "keep={", "view=x"} {
		f.Add(s)
	}
	name := views.RowName("", 0)
	for _, condition := range []string{"eq", "in", "between", "exists", "matches", "$gt", ""} {
		f.Add(url.Values{name + ".condition": {condition}, name + ".field": {"a.b"}, name + ".value": {"1, x\n\x00"},
			name + ".as": {"number"}}.Encode())
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		form := views.Form{Values: values}
		st := readFilterState(form)
		for _, do := range []string{"", "add", "remove:0", "group", "up:0"} {
			again := readFilterState(form)
			again.change(do, nil)
			again.parse(nil, true)
		}
		p := st.parse(nil, false)
		st.show(p, st.view)
	})
}

// FuzzDestinationForm: what a form says of a destination's fields is a patch, whatever is in its controls.
func FuzzDestinationForm(f *testing.F) {
	for _, s := range []string{"type=webhook&config.url=x", "topics=a,b&rate_limit=1e99", "retry.initial=x&timeout=-1",
		"metadata[key]=a&metadata[value]=b", "rate_limit=%00", "ordering_key=1/0"} {
		f.Add(s)
	}
	for _, field := range models.DestinationFieldList() {
		for _, v := range []string{"1", "x", "", "1h", "true", "9223372036854775808", "\x00"} {
			f.Add(url.Values{field.Name: {v}}.Encode())
		}
	}
	webhooks := adapters.Lookup("webhook")
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		patch, err := readDestination(views.Form{Values: values}, webhooks, nil)
		if err != nil {
			if e := models.AsError(err); e.Kind != models.KindInvalid || len(e.Fields) == 0 {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if _, err := json.Marshal(patch); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
		if again, err := readDestination(views.Form{Values: values}, webhooks, nil); err != nil || !reflect.DeepEqual(fmt.Sprint(again),
			fmt.Sprint(patch)) {
			t.Errorf("%q is %v, and then %v: %v", raw, patch, again, err)
		}
	})
}
