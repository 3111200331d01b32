package alertrule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models/units"
)

// Condition is when a rule fires: the values of the fields of one kind, by their keys. Values that are zero count as not
// given.
//
// A rule's topics choose destinations; health is not kept by topic. The fold would write two rows for each destination and
// topic: 0.1 s for 1,000 destinations became 1.6 to 2.4 s with 20 topics each, where a pass is due every second.
type Condition map[string]any

// FieldType says what values a field takes.
type FieldType int

// The types of fields.
const (
	Switch FieldType = iota
	Int
	Number
	Ints   // sorted
	Choice // one of Options; the first goes without saying
	Duration
	Days
)

var goTypes = map[FieldType]reflect.Type{Switch: reflect.TypeFor[bool](), Int: reflect.TypeFor[int](), Number: reflect.TypeFor[float64](),
	Ints: reflect.TypeFor[[]int](), Choice: reflect.TypeFor[string](),
	Duration: reflect.TypeFor[units.Duration](), Days: reflect.TypeFor[units.Days]()}

// Go is the type of the values of such fields.
func (t FieldType) Go() reflect.Type { return goTypes[t] }

// Field is one value of a condition.
type Field struct {
	Key     string
	Type    FieldType
	Label   string // in messages
	Input   string // of its control, which a sentence surrounds; Label when empty
	Doc     string // in the API's description
	Min     float64
	Max     float64 // 0 for no limit; of durations both are in nanoseconds
	Most    int     // of Ints: how many
	Problem string  // what is said of a value out of bounds; follows the field's name
	Default any     // what is taken when it is missing; nil for nothing
	Initial string  // what a new form has
	Options []string
}

// read reads a value from JSON.
func (f *Field) read(raw json.RawMessage) (any, error) {
	v := reflect.New(f.Type.Go())
	err := json.Unmarshal(raw, v.Interface())
	return v.Elem().Interface(), err
}

// Text is a value as forms show it.
func (f *Field) Text(v any) string {
	if list, ok := v.([]int); ok {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
	}
	return fmt.Sprint(v)
}

// takes reports whether a value is within the field's bounds.
func (f *Field) takes(v any) bool {
	within := func(n float64) bool { return n >= f.Min && (f.Max == 0 || n <= f.Max) }
	switch v := v.(type) {
	case []int:
		return len(v) <= f.Most && !slices.ContainsFunc(v, func(n int) bool { return !within(float64(n)) })
	case string:
		return slices.Contains(f.Options, v)
	case int:
		return within(float64(v))
	case float64:
		return within(v)
	case units.Duration:
		return within(float64(v))
	case units.Days:
		return within(float64(v))
	}
	return f.Type == Switch
}

// ReadError has the fields of a condition that cannot be read, and why.
type ReadError map[string]error

func (e ReadError) Error() string {
	keys := slices.Sorted(maps.Keys(e))
	return keys[0] + ": " + e[keys[0]].Error()
}

// UnmarshalJSON implements json.Unmarshaler. What is wrong with several fields is reported at once, in a ReadError.
func (c *Condition) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*c = Condition{}
	bad := ReadError{}
	for _, f := range Fields() {
		value, given := raw[f.Key]
		if !given {
			continue
		}
		v, err := f.read(value)
		if err != nil {
			bad[f.Key] = err
		} else if !zero(v) {
			(*c)[f.Key] = v
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// MarshalJSON prints the fields in their order.
func (c Condition) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for _, f := range Fields() {
		v, given := c[f.Key]
		if !given || zero(v) {
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.WriteString(`"` + f.Key + `":`)
		out.Write(b)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func zero(v any) bool {
	if list, ok := v.([]int); ok {
		return len(list) == 0
	}
	return v == nil || reflect.ValueOf(v).IsZero()
}

// given lists the kinds that the condition names.
func (c Condition) given() (list []*Kind) {
	for _, k := range kinds {
		if !zero(c[k.Name]) {
			list = append(list, k)
		}
	}
	return list
}

// kind is the condition's kind; nil for none.
func (c Condition) kind() *Kind {
	if list := c.given(); len(list) > 0 {
		return list[0]
	}
	return nil
}

// Kind is the name of the condition's kind; empty for none.
func (c Condition) Kind() string {
	if k := c.kind(); k != nil {
		return k.Name
	}
	return ""
}

// Check returns the condition with defaults filled in, and its problems by field ("" for the whole).
func (c Condition) Check() (Condition, map[string]string) {
	list := c.given()
	if len(list) != 1 {
		return c, map[string]string{"": "must name exactly one of " + names()}
	}
	k, out, bad := list[0], Condition{}, map[string]string{}
	for i := range k.Fields {
		f := &k.Fields[i]
		v := c[f.Key]
		if zero(v) {
			v = f.Default
		}
		if v == nil {
			continue
		}
		if list, ok := v.([]int); ok {
			v = slices.Compact(slices.Sorted(slices.Values(list)))
		}
		if out[f.Key] = v; !f.takes(v) {
			bad[f.Key] = f.Problem
		}
	}
	for key, v := range c {
		if k.Field(key) == nil && !zero(v) {
			bad[key] = "goes with " + strings.Join(owners(key), " or ") + " only"
		}
	}
	return out, bad
}

// Sentence is the condition in words, to follow "When"; empty for none.
func (c Condition) Sentence() string {
	if k := c.kind(); k != nil {
		return k.Sentence(c)
	}
	return ""
}

// Data says what the condition looks at, and how far that reaches.
func (c Condition) Data() (Data, time.Duration) {
	k := c.kind()
	if k == nil {
		return Failures, 0
	}
	return k.Data, c.duration(k.Span)
}

// Every is how often a rule tells at most unless it says otherwise.
func (c Condition) Every() time.Duration { return c.EveryOr(time.Hour) }

// EveryOr is Every where conditions that do not say so have another time than an hour.
func (c Condition) EveryOr(most time.Duration) time.Duration {
	if k := c.kind(); k != nil && k.Every > 0 {
		return k.Every
	}
	return most
}

// Countdown reports whether time alone makes an alert worse.
func (c Condition) Countdown() bool {
	k := c.kind()
	return k != nil && k.Countdown
}

// Decided reports whether somebody's decision begins and ends an alert.
func (c Condition) Decided() bool {
	k := c.kind()
	return k != nil && k.Decided
}

// Met reports whether the condition is met, or was since the last look, and what it found.
func (c Condition) Met(d *Subject) (Finding, bool) {
	if k := c.kind(); k != nil {
		return k.Met(c, d)
	}
	return Finding{}, false
}

// Over reports whether an alert that was open is over, and why.
func (c Condition) Over(d *Subject, openedAt time.Time) (resolution string, over bool) {
	if k := c.kind(); k != nil {
		return k.Over(c, d, openedAt)
	}
	return "The rule was changed.", true
}

// Replay lists the times in the past at which the condition began to be met.
func (c Condition) Replay(d *Subject, past *Past) []time.Time {
	if k := c.kind(); k != nil {
		return k.Replay(c, d, past)
	}
	return nil
}

// Unknown says what the past cannot tell; empty for nothing.
func (c Condition) Unknown() string {
	if k := c.kind(); k != nil && k.Unknown != nil {
		return k.Unknown(c)
	}
	return ""
}

func (c Condition) int(key string) int {
	n, _ := c[key].(int)
	return n
}

func (c Condition) number(key string) float64 {
	switch n := c[key].(type) {
	case float64:
		return n
	case int:
		return float64(n)
	}
	return 0
}

func (c Condition) duration(key string) time.Duration {
	switch d := c[key].(type) {
	case units.Duration:
		return time.Duration(d)
	case units.Days:
		return time.Duration(d)
	}
	return 0
}

// What a condition counts.
const (
	CountDeliveries = "deliveries" // an event that is tried ten times counts once; the default
	CountAttempts   = "attempts"
)

// countField lets a condition choose what it counts.
func countField(input string) Field {
	return Field{Key: "count", Type: Choice, Label: "Count", Input: input, Doc: "With 'failure_rate' and 'consecutive_failures'.",
		Problem: `must be "deliveries" or "attempts"`, Initial: CountDeliveries, Options: []string{CountDeliveries, CountAttempts}}
}

// Counted is what the condition counts.
func (c Condition) Counted() string {
	if c["count"] == CountAttempts {
		return CountAttempts
	}
	return CountDeliveries
}

func deliveries(n int) string { return units.Count(n, "delivery", "deliveries") }

func attempts(n int) string { return units.Count(n, "attempt", "attempts") }

// on are the fields of a kind that takes nothing.
func on(key, doc string) []Field { return []Field{{Key: key, Type: Switch, Doc: doc}} }
