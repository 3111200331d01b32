package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// FuzzIdempotencyKey: a key is taken as it was quoted, and nothing but printable ASCII is one.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{"8e03978e-40d5-43dd-bc93-6894a57f9324", `"a\"b\\"`, `"`, `""`, ` x `, "é", "\x00", strings.Repeat("k", 256),
		`"a`, `a"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := idempotencyKey(header)
		if err != nil {
			if e := models.AsError(err); e.Kind != models.KindMalformed || e.Fields["Idempotency-Key"] == "" {
				t.Errorf("%q: %v", header, err)
			}
			return
		}
		if key == "" || len(key) > maxIdempotencyKey || strings.Trim(key, " ") != key && !strings.HasPrefix(strings.TrimSpace(header), `"`) {
			t.Errorf("%q is %q", header, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := idempotencyKey(quoted); err != nil || again != key {
			t.Errorf("%q is %q, and in quotation marks %q: %v", header, key, again, err)
		}
	})
}

// FuzzParam reads one value as each kind of parameter. What is taken is within what the database holds.
func FuzzParam(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "2147483648", "9223372036854775808", "0x1", "1_0", "true", "T", "2026-01-31T12:00:00Z",
		"1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59",
		"2026-02-30", "2026-01-31T12:00:00 02:00", "0000-01-01T00:00:00Z", "1h", "NaN", "a,,b", " , ", "2026-01-31T12:00:00.999999999999Z",
		"1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var x struct {
			Text  string
			List  []string
			Whole int
			Maybe *int
			Yes   bool
			At    time.Time
			Until *time.Time
			Long  models.Duration
		}
		v := reflect.ValueOf(&x).Elem()
		for i := range v.NumField() {
			if err := SetParam(v.Field(i), []string{"", value}); err != nil && err.Error() == "" {
				t.Errorf("%q: refused without a word", value)
			}
		}
		for _, s := range x.List {
			if s == "" || strings.Contains(s, ",") {
				t.Errorf("%q has %q in it", value, s)
			}
		}
		if int(int32(x.Whole)) != x.Whole {
			t.Errorf("%q is %d", value, x.Whole)
		}
		if x.At.IsZero() {
			return
		}
		if year := x.At.UTC().Year(); year < 1970 || year > 9999 {
			t.Errorf("%q is in the year %d", value, year)
		}
		if again, err := ParseTime(x.At.Format(time.RFC3339Nano)); err != nil || !again.Equal(x.At) {
			t.Errorf("%q is %v, and then %v: %v", value, x.At, again, err)
		}
	})
}

// FuzzDecodeBody reads bodies of several shapes: patches, settings, conditions, filters, lists. What is wrong is told as a
// place in the text, or by the names of fields.
func FuzzDecodeBody(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `[]`, `{`, `"x"`,
		`{"topics":"*","config":{"url":null},"retry":{"initial":"1h","max_attempts":1e99}}`, `{"topics":[1]}`, "\xff",
		`{"redact_fields":["a.b"],"limit_burst":"1h","name":null}`, `{"filter":{"code":["connect",404],"since":"1969-01-01T00:00:00Z"}}`,
		`{"metadata":{"a":1},"rate_limit":-0}`,
		`{"condition":{"failures":"x","window":{}}}`, "{\n\"a\":\n tru}", `{"expires_at":"9999-12-31T23:59:59-23:59"}`, `{"a":1}{`,
		`{"filter":"\u0000","transform":1}`,
		strings.Repeat("[", 11_000), `{"credentials":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 501)} {
		f.Add([]byte(s))
	}
	shapes := []reflect.Type{reflect.TypeFor[models.DestinationPatch](), reflect.TypeFor[models.TenantSettings](),
		reflect.TypeFor[models.AlertRule](),
		reflect.TypeFor[models.RetryFilter](), reflect.TypeFor[models.ErasureFilter](), reflect.TypeFor[models.PublishInput](),
		reflect.TypeFor[[]models.PublishInput](),
		reflect.TypeFor[models.RetryPolicy](), reflect.TypeFor[models.Backlog]()}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, shape := range shapes {
			for _, strict := range []bool{false, true} {
				read, err := decodeJSON(body, reflect.New(shape).Elem(), strict)
				if err == nil {
					bad := map[string]string{}
					unreadable(read, "", bad)
					continue
				}
				var e *models.Error
				if !errors.As(err, &e) || e.Kind != models.KindInvalid && e.Kind != models.KindMalformed || e.Message == "" {
					t.Fatalf("%s from %.200q: %#v", shape, body, err)
				}
				if e.Kind == models.KindInvalid && len(e.Fields) == 0 {
					t.Errorf("%s from %.200q: no field is named", shape, body)
				}
				if at := e.Position; at != nil && (at.Line < 1 || at.Column < 1 || at.Line > strings.Count(string(body), "\n")+1) {
					t.Errorf("%s from %.200q: wrong at %+v", shape, body, at)
				}
			}
		}
	})
}

// FuzzSavedQuery: the query of a view is kept in one form, which is read as the same again.
func FuzzSavedQuery(f *testing.F) {
	for _, s := range []string{"status=failed&topic=a,b", "?q=%00", "range=24h&dir=asc", "tenant_id=&since=2026-01-01", "a=1", "%zz",
		"code=503&code=connect", "topic=a;b", "since=x", "q=a%26b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, canonical, err := readSavedQuery(raw)
		if err != nil {
			if models.AsError(err).Fields["query"] == "" {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		again, second, err := readSavedQuery(canonical)
		if err != nil || second != canonical || fmt.Sprint(again) != fmt.Sprint(q) {
			t.Errorf("%q is %q, and then %q: %v", raw, canonical, second, err)
		}
	})
}

// FuzzClientHeaders reads what clients say of themselves.
func FuzzClientHeaders(f *testing.F) {
	for _, s := range [][2]string{{"speakeasy-sdk/python 1.7.0 2.943.0 0.0.1 outpost_sdk", "outpost/1.6"}, {"speakeasy-sdk/", "outpost"},
		{"", "outpost/-1.-1"}, {"speakeasy-sdk/a b outpost", "outpost/99999999999.9"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, agent, wanted string) {
		if s := schemaOf(agent, wanted); s.version < 0 || s.version > 0 && s.name == "" {
			t.Errorf("%q, %q: %+v", agent, wanted, s)
		}
	})
}

// FuzzBatch holds the reading of a batch against encoding/json: each event has its own size.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{`[]`, `[{"data":{}}]`, `[{"data":1},null]`, `{}`, `[{"id":"\ud800"}]`, `[1]`, `[{},`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var raw []json.RawMessage
		if json.Unmarshal(body, &raw) != nil {
			return
		}
		for _, one := range raw {
			var in models.PublishInput
			err := decodePublish(one, &in, true)
			if err != nil && models.AsError(err).Message == "" {
				t.Errorf("%q is refused without a word", one)
			}
		}
	})
}
