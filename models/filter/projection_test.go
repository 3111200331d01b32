package filter

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func projected(t *testing.T, source string) *Projection {
	t.Helper()
	p, err := ParseProjection(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return p
}

func TestProjectionTexts(t *testing.T) {
	t.Parallel()
	doc := NewDoc("evt_1", "order.created", time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600)),
		map[string]string{"b": "2", "a": "1"},
		[]byte(`{"id":820982911946154508,"big":12345678901234567890,"price":129.50,"name":"Ann \"A\"","vip":true,"tags":["x","y"],"gone":null,"o":{"z":1,"y":2,"x":3}}`))
	for source, want := range map[string]string{
		`data.id`: "820982911946154508", `data.big`: "12345678901234567890", `data.price`: "129.5", `data.price * 2`: "259",
		`data.name`: `Ann "A"`,
		`data.vip`:  "true", `data.gone`: "", `data?.none?.deeper`: "", `topic + "/" + string(data.id)`: "order.created/820982911946154508",
		`time`: "2026-03-01T11:00:00Z", `time.Format("2006/01/02")`: "2026/03/01", `keys(data.o)[0]`: "x", `string(values(data.o)[0])`: "3",
		`keys(metadata)[1]`:           "b",
		`data.vip ? "gold" : "plain"`: "gold", `len(data.tags)`: "2", `duration("90s")`: "1m30s", `metadata.none`: "", `time.Month()`: "3",
	} {
		if got, err := projected(t, source).Text(doc); err != nil || got != want {
			t.Errorf("%s gives %q (%v), want %q", source, got, err, want)
		}
	}
	for source, want := range map[string]string{
		`data.tags`: "a list", `data.o`: "an object", `data.none.deeper`: "the field before it is missing", `1 / 0`: "too large",
		`keys(data.name)`: "need an object",
	} {
		if got, err := projected(t, source).Text(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %q (%v), want an error with %q", source, got, err, want)
		}
	}
}

func TestProjectionBodies(t *testing.T) {
	t.Parallel()
	doc := NewDoc("evt_1", "order.created", time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), map[string]string{"source": "shop"},
		[]byte(`{"id":12345678901234567890,"rate":0.1234567890123456789,"huge":1e400,"a":1.0,"twice":[10000000000000000000001,10000000000000000000002],"lines":[{"sku":"a","qty":2},{"sku":"b","qty":1}],"text":"<&>\u0001ä"}`))
	for source, want := range map[string]string{
		`data.lines`: `[{"qty":2,"sku":"a"},{"qty":1,"sku":"b"}]`,
		`{"order": data.id, type: topic, "skus": map(data.lines, .sku), "n": sum(data.lines, .qty)}`: `{"n":3,"order":12345678901234567890,"skus":["a","b"],"type":"order.created"}`,
		`map(data.lines, {{"s": .sku}})`:                            `[{"s":"a"},{"s":"b"}]`,
		`[data.rate, data.a, data.text, metadata, time, nil, true]`: `[0.1234567890123456789,1,"<&>\u0001ä",{"source":"shop"},"2026-03-01T11:00:00Z",null,true]`,
		`"text"`: `"text"`, `1..3`: `[1,2,3]`, `split("a,b", ",")`: `["a","b"]`, `1.5e300`: `1.5e+300`,
		`data.twice`: `[1e+22,1e+22]`, // two numbers with one float64 are not told apart
	} {
		got, err := projected(t, source).Body(doc)
		if err != nil || string(got) != want || !json.Valid(got) {
			t.Errorf("%s gives %s (%v), want %s", source, got, err, want)
		}
	}
	for _, source := range []string{`data.none`, `nil`, `data.none.deeper`, `0/0`, `{"a": 1/0}`, `data.huge`, `{(data.id): 1}`} {
		if got, err := projected(t, source).Body(doc); err == nil {
			t.Errorf("%s gives %s, want an error", source, got)
		}
	}
}

// What an expression gives can name the payload many times over; what is written of it is bounded.
func TestProjectionIsBounded(t *testing.T) {
	t.Parallel()
	doc := eventDoc(`{"long":"` + strings.Repeat("x", 100_000) + `","deep":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`)
	for _, source := range []string{`map(1..1000, data)`, `map(1..1000, map(1..90, data.long))`,
		`let a = [data]; let b = [a,a,a,a,a,a]; let c = [b,b,b,b,b,b,b]; [c,c,c,c,c]`,
		`[[[[data.deep]]]]`} {
		started := time.Now()
		if got, err := projected(t, source).Body(doc); err == nil {
			t.Errorf("%s gives %d bytes", source, len(got))
		}
		if took := time.Since(started); took > time.Minute {
			t.Errorf("%s took %v", source, took)
		}
	}
}

func TestProjectionsRefused(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		``: "is empty", `data.`: "line 1, column", `name`: "line 1, column 1: unknown name name",
		`now()`:                    "line 1, column 1: an expression cannot call `now`",
		"{\n \"a\": toJSON(data)}": "line 2, column 7", `map(data.a, {"b": .c})`: "two pairs of braces",
		`time.Format(data.layout)`: "the layout of `Format`", `$env`: "and no `$env`",
	} {
		if _, err := ParseProjection(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

// An expression gives the same every time, which a body that is retried needs.
func TestProjectionsRepeat(t *testing.T) {
	t.Parallel()
	source := projected(t, `{"keys": keys(data), "values": values(data), "data": data}`)
	first := ""
	for range 50 {
		got, err := source.Body(eventDoc(`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}`))
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(got)
		}
		if string(got) != first {
			t.Fatalf("%s, then %s", first, got)
		}
	}
}

// The body of a destination with a transform, made for each of its events. A payload of 1 KiB is decoded,
// converted, evaluated and written again: 7 to 8 µs on one core of a shared Xeon.
func BenchmarkProjection(b *testing.B) {
	p, err := ParseProjection(`{"id": id, "total": data.total, "skus": map(data.lines, .sku), "customer": data.customer}`)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Body(benchDoc()); err != nil {
			b.Fatal(err)
		}
	}
}
