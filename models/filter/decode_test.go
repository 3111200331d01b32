package filter

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// decodeSeeds are JSON texts, and texts that nearly are.
var decodeSeeds = []string{
	`null`, `true`, `false`, `0`, `-0`, `1.5e-3`, `1E+2`, `""`, `"a\u00e9\ud83d\ude00\n"`, `[]`, `{}`, `[1,[2,{"a":[]}]]`,
	`{"a":{"b":[1,2]},"a":3}`,
	` { "k" : "v" } `, "\t[ 1 ,\n2 ]\r\n", `"\ud800"`, `"\ud800\u0041"`, `"\udc00x"`, `123456789012345678901234567890`, `1e400`,
	``, ` `, `tru`, `nul`, `truex`, `01`, `-`, `1.`, `.5`, `+1`, `1e`, `"`, `"\`, `"\x"`, `"\u12"`, "\"\n\"", `[`, `[1`, `[1,`, `[1,]`,
	`[,1]`, `{`, `{"a"`, `{"a":`,
	`{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `1 2`, `[1] x`, `"a" "b"`, "\x00", "\xff", "\"\xff\"", `NaN`, `Infinity`, `'a'`,
	`/* */1`,
	strings.Repeat("[", 50) + strings.Repeat("]", 50),
}

// checkDecode holds the decoder against encoding/json: the same texts are accepted, and the same values read.
func checkDecode(t *testing.T, text string) {
	t.Helper()
	var tape tape
	root, err := tape.parse(text)
	if valid := json.Valid([]byte(text)); valid != (err == nil) {
		t.Fatalf("%q: encoding/json says valid=%v, we say %v", text, valid, err)
	}
	if err != nil {
		if err.offset < 0 || err.offset > len(text) || err.message == "" {
			t.Fatalf("%q: %+v", text, err)
		}
		return
	}
	if int(tape.items[root].end) != len(tape.items) {
		t.Fatalf("%q: the value ends at %d of %d items", text, tape.items[root].end, len(tape.items))
	}
	if !utf8.ValidString(text) {
		return // encoding/json replaces what is not UTF-8; we keep it
	}
	// Both are written out again by encoding/json, which sorts keys and keeps the last of equal ones.
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var want any
	if err := decoder.Decode(&want); err != nil {
		t.Fatal(err)
	}
	again := json.NewDecoder(bytes.NewReader(tape.append(nil, root)))
	again.UseNumber()
	var got any
	if err := again.Decode(&got); err != nil {
		t.Fatalf("%q is written as %q: %v", text, tape.append(nil, root), err)
	}
	wantText, _ := json.Marshal(want)
	gotText, _ := json.Marshal(got)
	if !bytes.Equal(wantText, gotText) {
		t.Fatalf("%q\ngot  %s\nwant %s", text, gotText, wantText)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, text := range decodeSeeds {
		checkDecode(t, text)
	}
	for _, v := range vectors(t) {
		checkDecode(t, string(v.Event.Data))
	}
	g := newGenerator(20)
	for range rounds {
		checkDecode(t, g.data(4))
	}
	for _, depth := range []int{maxDecodeDepth, maxDecodeDepth + 1} {
		text := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		if _, err := new(tape).parse(text); (err == nil) != (depth <= maxDecodeDepth) {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
}

// A deep payload is walked through in recursion; it must not be too deep for that.
func TestDeepPayload(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"a":` + strings.Repeat("[", 9000) + "1" + strings.Repeat("]", 9000) + `}`,
		strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000),
	} {
		doc := eventDoc(data)
		for _, raw := range []string{`{"a":{"$gt":0}}`, `{"a":{"b":1}}`, `{"a":{"$eq":{"$ref":"a"}}}`, `{"a":{"$eq":[1]}}`,
			`{"$expr":"data.a == data.a"}`} {
			f := mustParse(t, raw)
			f.Explain(doc)
			doc.Fields(10)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range decodeSeeds {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkDecode(t, text) })
}

var numberTexts = []string{
	"0", "-0", "0.0", "-0e5", "1", "-1", "1.0", "1e0", "10e-1", "0.1", "0.10", "1e-1", "100000000000000000", "999999999999999999",
	"1000000000000000000",
	"9007199254740992", "9007199254740993", "9007199254740993.0", "9007199254740992.5", "123456789012345678901234567890",
	"123456789012345678901234567891",
	"1.000000000000000000000000001", "1e308", "1e309", "1e400", "-1e400", "1.5e400", "1e-320", "1e-400", "-1e-400", "2e-400", "3.14159",
	"29.99", "29.990", "-29.99",
}

func TestNumbersCompareByValue(t *testing.T) {
	t.Parallel()
	check := func(a, b string) {
		t.Helper()
		x, ok1 := parseNumber(a)
		y, ok2 := parseNumber(b)
		p, _ := new(big.Rat).SetString(a)
		q, _ := new(big.Rat).SetString(b)
		if !ok1 || !ok2 {
			t.Fatalf("%s %v, %s %v", a, ok1, b, ok2)
		}
		if got, want := x.compare(y), p.Cmp(q); got != want {
			t.Errorf("%s with %s: %d, want %d", a, b, got, want)
		}
	}
	for _, a := range numberTexts {
		for _, b := range numberTexts {
			check(a, b)
		}
	}
	g := newGenerator(21)
	digits := func() string {
		text := pick(g, "", "-") + pick(g, "0", "1", "7", "12", "90071992547409", "4503599627370496") + pick(g, "", ".0", ".5", ".25",
			".1000000000000000055511151231257827")
		return text + pick(g, "", "", "e0", "e1", "E-2", "e+17", "e-300", "e300")
	}
	for range rounds {
		check(digits(), digits())
	}
	for _, text := range []string{"", "-", "+1", "01", "-01", "1.", ".1", "1e", "1e+", "0x1", "1_000", "1,000", " 1", "1 ", "NaN", "Inf",
		"1e5x", "--1", "１"} {
		if _, ok := parseNumber(text); ok {
			t.Errorf("%q is taken for a number", text)
		}
	}
	// Exponents beyond all reason keep their order with everything ordinary.
	huge, _ := parseNumber("1e99999999999999999999")
	tiny, _ := parseNumber("1e-99999999999999999999")
	one, _ := parseNumber("1")
	zero, _ := parseNumber("0")
	if huge.compare(one) != 1 || tiny.compare(one) != -1 || tiny.compare(zero) != 1 {
		t.Error("extreme exponents are out of order")
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	check := func(text string) {
		t.Helper()
		got, ok := parseInstant(text)
		want, err := time.Parse(time.RFC3339Nano, text)
		if ok != (err == nil) {
			t.Errorf("%q: %v, but time.Parse says %v", text, ok, err)
		}
		if ok && (got.seconds != want.Unix() || int(got.nanos) != want.Nanosecond()) {
			t.Errorf("%q: %+v, want %d.%09d", text, got, want.Unix(), want.Nanosecond())
		}
	}
	for _, text := range []string{
		"2026-01-01T00:00:00Z", "2026-01-02T00:00:00+02:00", "2026-01-02T00:00:00-11:30", "0000-01-01T00:00:00Z", "0001-02-28T23:59:59Z",
		"9999-12-31T23:59:59.999999999Z",
		"2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00", "2026-01-01", "2026-01-01 00:00:00Z",
		"2026-01-01T00:00:00+0200", "2026-01-01T00:00:00+2:00",
		"2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.123456789Z", "x026-01-01T00:00:00Z",
		"", "T", "2026-01-01T00:00:00ZZ", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z",
	} {
		check(text)
	}
	g := newGenerator(22)
	for range rounds {
		moment := time.Unix(g.Int64N(253402300800+62135596800)-62135596800, g.Int64N(1e9)).UTC()
		check(moment.In(time.FixedZone("", (g.IntN(47)-23)*1800)).Format(time.RFC3339Nano))
	}
	for _, text := range []string{"2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60"} { // time.Parse lets these pass
		if _, ok := parseInstant(text); ok {
			t.Errorf("%q is taken for a time", text)
		}
	}
	// Where we allow more than time.Parse: what RFC 3339 allows.
	leap, ok1 := parseInstant("2016-12-31T23:59:60Z")
	next, ok2 := parseInstant("2017-01-01T00:00:00Z")
	lower, ok3 := parseInstant("2017-01-01t00:00:00z")
	long, ok4 := parseInstant("2017-01-01T00:00:00.000000000999Z")
	if !ok1 || !ok2 || !ok3 || !ok4 || leap != next || lower != next || long != next {
		t.Error("a leap second, lower case or a long fraction is not read")
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]ValueKind{`null`: KindNull, `true`: KindBool, `-1.50`: KindNumber, `"a\"\u0001b"`: KindString,
		`[1,"x",[null]]`: KindList, `{"b":1,"a":{}}`: KindObject} {
		var v Value
		if err := json.Unmarshal([]byte(" "+text+" "), &v); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(v)
		if err != nil || v.Kind() != kind || v.JSON() != text || string(again) != text {
			t.Errorf("%s: kind %d, JSON %s, marshalled %s, %v", text, v.Kind(), v.JSON(), again, err)
		}
	}
	if v := Values(String("a"), Bool(false), Null()); v.JSON() != `["a",false,null]` || len(v.Items()) != 3 || v.Items()[0].Text() != "a" {
		t.Error(v.JSON())
	}
	if _, ok := Number("1x"); ok {
		t.Error("1x is taken for a number")
	}
	var v Value
	if err := v.UnmarshalJSON([]byte(`{"a":}`)); err == nil {
		t.Error("broken JSON is read")
	}
	if text, err := json.Marshal(Value{}); err != nil || string(text) != "null" || (Value{}).Kind() != KindNone {
		t.Errorf("%s %v", text, err)
	}
}
