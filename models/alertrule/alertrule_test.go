package alertrule_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/alertrule"
)

var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func at(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }

func ago(d time.Duration) *time.Time {
	t := start.Add(-d)
	return &t
}

// when reads a condition as the API does and completes it.
func when(t *testing.T, text string) alertrule.Condition {
	t.Helper()
	var c alertrule.Condition
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	c, bad := c.Check()
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return c
}

// verdict is what a condition should say of a destination.
type verdict struct {
	when     string
	d        alertrule.Subject
	met      bool
	step     int
	severity string // of what is met
	summary  string // a part of it
}

func judge(t *testing.T, cases map[string]verdict) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.d.Now.IsZero() {
				c.d.Now = start
			}
			w := when(t, c.when)
			got, met := w.Met(&c.d)
			if met != c.met || met && (got.Step != c.step || got.Severity != c.severity || !strings.Contains(got.Summary, c.summary)) {
				t.Errorf("met %v, %+v", met, got)
			}
			if _, over := w.Over(&c.d, start.Add(-time.Hour)); over && met && c.d.Health.Failures > 0 {
				t.Error("met and over at once")
			}
		})
	}
}

// ending is how an open alert ends.
type ending struct {
	when string
	d    alertrule.Subject
	over bool
	why  string
}

func end(t *testing.T, cases map[string]ending) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.d.Now = start
			why, over := when(t, c.when).Over(&c.d, start.Add(-time.Hour))
			if over != c.over || over && why != c.why {
				t.Errorf("%v %q", over, why)
			}
		})
	}
}

// replay holds the minutes in which a condition would have fired against those that are wanted.
func replay(t *testing.T, text string, d alertrule.Subject, past alertrule.Past, want ...time.Time) {
	t.Helper()
	if d.Now.IsZero() {
		d.Now = start
	}
	if got := when(t, text).Replay(&d, &past); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", text, got, want)
	}
}

var failing = alertrule.Health{Failures: 70, Attempts: 140, Since: ago(40 * time.Minute), Error: "connection refused"}

func TestConditionsThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: "", `{"disabled": false}`: "", `{"disable_steps": []}`: "", `{"consecutive_failures": 0}`: "", `{"disabled": null}`: "",
		`{"disabled": true, "retries_exhausted": true}`:   "",
		`{"disable_steps": [0]}`:                          "disable_steps",
		`{"disable_steps": [1,2,3,4,5,6,7,8,9,10,11]}`:    "disable_steps",
		`{"consecutive_failures": -1}`:                    "consecutive_failures",
		`{"consecutive_failures": 1000001}`:               "consecutive_failures",
		`{"consecutive_failures": 3, "window": "1m"}`:     "window",
		`{"consecutive_failures": 3, "count": "bytes"}`:   "count",
		`{"failure_rate": 101}`:                           "failure_rate",
		`{"failure_rate": -1}`:                            "failure_rate",
		`{"failure_rate": 5, "window": "48h"}`:            "window",
		`{"failure_rate": 5, "min_attempts": -1}`:         "min_attempts",
		`{"backlog_age": "1s"}`:                           "backlog_age",
		`{"certificate_expires": "366d"}`:                 "certificate_expires",
		`{"disabled": true, "count": "attempts"}`:         "count",
		`{"retries_exhausted": true, "min_attempts": 20}`: "min_attempts",
	} {
		var c alertrule.Condition
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(text, err)
		}
		if _, bad := c.Check(); len(bad) != 1 || bad[want] == "" {
			t.Errorf("%s: %v, want a problem of %q", text, bad, want)
		}
	}
}

func TestConditionsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	var c alertrule.Condition
	err := json.Unmarshal([]byte(`{"consecutive_failures": "three", "window": "15x", "disabled": true, "no_such": 1}`), &c)
	var bad alertrule.ReadError
	if !errors.As(err, &bad) || len(bad) != 2 || bad["consecutive_failures"] == nil || bad["window"] == nil {
		t.Errorf("%v", err)
	}
}

// TestConditionsAreStoredAsTheyAreSent reads and prints one condition of each kind.
func TestConditionsAreStoredAsTheyAreSent(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"consecutive_failures": `{"consecutive_failures":10,"count":"attempts"}`,
		"disable_steps":        `{"disable_steps":[50,70,100]}`,
		"failure_rate":         `{"failure_rate":12.5,"window":"15m","min_attempts":20,"count":"deliveries"}`,
		"disabled":             `{"disabled":true}`,
		"retries_exhausted":    `{"retries_exhausted":true}`,
		"backlog_age":          `{"backlog_age":"10m"}`,
		"filter_failing":       `{"filter_failing":true}`,
		"certificate_expires":  `{"certificate_expires":"14d"}`,
	}
	for _, k := range alertrule.Kinds() {
		text := all[k.Name]
		c := when(t, text)
		if b, err := json.Marshal(c); err != nil || string(b) != text || c.Kind() != k.Name || c.Sentence() == "" {
			t.Errorf("%s: %s, %v", text, b, err)
		}
		delete(all, k.Name)
	}
	if len(all) > 0 {
		t.Errorf("no kinds: %v", slices.Collect(maps.Keys(all)))
	}
	if b, _ := json.Marshal(when(t, `{"disable_steps": [70, 50, 70]}`)); string(b) != `{"disable_steps":[50,70]}` {
		t.Errorf("%s", b)
	}
	if b, _ := json.Marshal(when(t, `{"failure_rate": 20}`)); string(b) != `{"failure_rate":20,"window":"15m","min_attempts":20}` {
		t.Errorf("%s", b)
	}
}

// TestPhrasesShowEachField finds every field of a kind in the sentence of its form.
func TestPhrasesShowEachField(t *testing.T) {
	t.Parallel()
	for _, k := range alertrule.Kinds() {
		for _, f := range k.Fields {
			if f.Type != alertrule.Switch && (!strings.Contains(k.Phrase, "{"+f.Key+"}") || f.Label == "" || f.Initial == "" ||
				f.Problem == "") {
				t.Errorf("%s: %+v", k.Name, f)
			}
			if f.Doc == "" {
				t.Errorf("%s has no description", f.Key)
			}
		}
		if k.Span != "" && k.Field(k.Span) == nil {
			t.Errorf("%s has no field %s", k.Name, k.Span)
		}
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"disable_steps": [50, 70]}`:                      "50, 70 % of the deliveries in a row have failed at which the destination is disabled",
		`{"consecutive_failures": 1}`:                      "a delivery failed",
		`{"consecutive_failures": 3}`:                      "3 deliveries in a row failed",
		`{"consecutive_failures": 3, "count": "attempts"}`: "3 attempts in a row failed",
		`{"failure_rate": 12.5}`:                           "at least 12.5 % of deliveries failed within 15m (at least 20)",
		`{"backlog_age": 600}`:                             "an event has waited for longer than 10m",
		`{"certificate_expires": "14d"}`:                   "the certificate expires within 14 days",
		`{"certificate_expires": "90m"}`:                   "the certificate expires within 1h30m",
	} {
		if got := when(t, text).Sentence(); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
