package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Settings shows what the server is configured to do, and the reader's own preferences.
type Settings struct {
	Page
	Policy   models.RetryPolicy
	Settings []Setting
}

// Setting is one value with where it comes from.
type Setting struct {
	Label    string
	Value    string // in the words of people: "15 s"
	Variable string // of the environment
	Raw      string // what the variable holds, or its default: "15s"; empty for nothing
	Source   string // one of config.Sources
}

// source says where the value comes from.
func (s Setting) source() string { return Capital(s.Source) }

// Capital is a text that begins with a capital.
func Capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// assignment is the variable as it is set, or its name alone.
func (s Setting) assignment() string {
	if s.Raw == "" {
		return s.Variable
	}
	return s.Variable + "=" + s.Raw
}

// inBytes and inDays are the variables whose numbers are bytes, or days.
var inBytes, inDays = map[string]bool{"MAX_PAYLOAD": true}, map[string]bool{"RETENTION_DAYS": true}

// PlainValue is the value of a variable in the words of people: "15 s" for "15s", "100,000" for "100000"; empty where it reads the same.
func PlainValue(variable, raw string) string {
	n, err := strconv.Atoi(raw)
	d, notSpan := time.ParseDuration(raw)
	plain := ""
	switch {
	case err == nil && inBytes[variable]:
		plain = size(n)
	case err == nil && inDays[variable]:
		plain = span(time.Duration(n) * 24 * time.Hour)
	case err == nil && variable == "OTEL_EXPORTER_OTLP_TIMEOUT": // milliseconds, as OpenTelemetry has it
		plain = Lasts(time.Duration(n) * time.Millisecond)
	case err == nil && variable == "PORT":
	case err == nil:
		plain = count(n)
	case notSpan == nil && d > 0:
		plain = Lasts(d)
	}
	if plain == raw {
		return ""
	}
	return plain
}

// Lasts is a duration in the words of people, exactly: "15 s", "6 h", "1 ms".
func Lasts(d time.Duration) string {
	if d%time.Second != 0 {
		return took(d)
	}
	return span(d)
}

// Size is a number of bytes in the units that people use.
func Size(n int) string { return size(n) }

// Problem is the page for a request that could not be answered.
type Problem struct {
	Page
	Status    int
	Message   string
	Fields    []string // what exactly is wrong, one sentence each
	RequestID string
	Back      string // where to go on
	BackText  string
}

var problemTitles = map[int]string{
	400: "This request cannot be understood", 403: "Not allowed", 404: "Not found", 409: "Not possible now", 412: "Changed meanwhile",
	413: "Too large", 421: "Not this server", 422: "Not accepted", 429: "Too many tries", 500: "Something went wrong",
	503: "Not available now",
}

// ProblemTitle is the heading of the page for a status.
func ProblemTitle(status int) string {
	if t := problemTitles[status]; t != "" {
		return t
	}
	return problemTitles[500]
}

// preferences is the form of the reader's own choices.
func (v Settings) preferences() Form {
	return Form{Values: map[string][]string{"theme": {v.themeChoice()}, "times": {v.timesChoice()}, "shortcuts": {pressed(v.Shortcuts)}}}
}
