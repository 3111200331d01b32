package views

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/waybill-dev/waybill/models/units"
)

// Tone is the set of colours of a state or a message.
type Tone string

// The tones. Each is always joined by an icon and words.
const (
	ToneOK   Tone = "ok"
	ToneBad  Tone = "bad"
	ToneWarn Tone = "warn"
	ToneInfo Tone = "info"
	ToneHold Tone = "hold"
	ToneMute Tone = "mute"
)

func (t Tone) class() string {
	switch t {
	case ToneOK:
		return "tone-ok"
	case ToneBad:
		return "tone-bad"
	case ToneWarn:
		return "tone-warn"
	case ToneInfo:
		return "tone-info"
	case ToneHold:
		return "tone-hold"
	}
	return "tone-mute"
}

// graphic is the class of an icon in the tone's strongest colour.
func (t Tone) graphic() string {
	switch t {
	case ToneOK:
		return "text-ok"
	case ToneBad:
		return "text-bad"
	case ToneWarn:
		return "text-warn"
	case ToneInfo:
		return "text-info"
	case ToneHold:
		return "text-hold"
	}
	return "text-muted"
}

// icon is the icon of a message in this tone.
func (t Tone) icon() string {
	switch t {
	case ToneOK:
		return "circle-check"
	case ToneBad:
		return "circle-x"
	case ToneWarn:
		return "triangle-alert"
	case ToneHold:
		return "pause"
	}
	return "info"
}

// role is the live region that a message in this tone is: failures interrupt, the rest waits.
func (t Tone) role() string {
	if t == ToneBad {
		return "alert"
	}
	return "status"
}

// Fact is one line of a FactList. Exactly one of Text, Time and Value is shown, the first that is set.
type Fact struct {
	Label string
	Text  string
	Mono  bool   // Text is for machines: an id, an address
	Copy  bool   // Text can be copied with a button
	URL   string // Text is a link
	Time  time.Time
	Value templ.Component
}

// Tab is one of several pages about an object.
type Tab struct {
	Label   string
	URL     string
	Current bool
}

// APICall is the call of the API that does the same as the page, or as the form on it.
type APICall struct {
	Method string // GET when empty
	Path   string // "/api/v1/…", with its query
	Body   string // JSON; empty for none

	Anybody bool // may call it, without a key
}

func (c APICall) reads() bool { return c.Method == "" || c.Method == "GET" }

// Curl is the call as a command line. The key is left to the environment.
func (c APICall) Curl(base string) string {
	cmd := "curl "
	if !c.reads() {
		cmd += "-X " + c.Method + " "
	}
	cmd += shellQuote(base + c.Path)
	if !c.Anybody {
		cmd += " \\\n  -H \"Authorization: Bearer $WAYBILL_API_KEY\""
	}
	if c.Body != "" {
		cmd += " \\\n  -H 'Content-Type: application/json' \\\n  -d " + shellQuote(c.Body)
	}
	return cmd
}

// shellQuote makes s one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Times. Tables show seconds, their header names the zone; details show milliseconds and the zone (zone.go).

// age is how long ago something was, in the greatest unit that fits: "16 s", "3 min", "8 h", "12 d".
func age(t time.Time) string {
	d := max(0, time.Since(t))
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return count(int(d.Hours()/24)) + " d"
}

func machineTime(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// took is how long something lasted, with as many digits as help: "30 µs", "2.4 ms", "40 ms", "1.24 s".
func took(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case d <= 0:
		return "0 ms"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	}
	return span(d)
}

func span(d time.Duration) string { return units.Span(d) }

// count is a number with its thousands set apart.
func count(n int) string { return units.Thousands(n) }

// figure is a number that may not have been counted to the end.
func figure(n int, more bool) string {
	if more {
		return count(n) + "+"
	}
	return count(n)
}

// plural is a number with its noun: "1 attempt", "3 attempts".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return count(n) + " " + stem + "ies"
	}
	return count(n) + " " + noun + "s"
}

// size is a number of bytes in the units that people use.
func size(n int) string {
	switch {
	case n < 1024:
		return plural(n, "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/1024)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// shortID leaves out the middle of a long id. Its end is what tells ids apart that were made at about the same time.
func shortID(id string) string {
	r := []rune(id)
	if len(r) <= 20 {
		return id
	}
	return string(r[:8]) + "…" + string(r[len(r)-6:])
}

// tailID is an ID in a list: how it begins and how it ends. One that a publisher chose is shown as far as it goes.
func tailID(id string) string {
	prefix, rest, ok := strings.Cut(id, "_")
	if !ok || len(prefix) > 4 || len(rest) < 24 {
		return shortID(id)
	}
	return prefix + "_…" + rest[len(rest)-6:]
}

// shorten cuts a text for a cell of a table.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return strings.TrimRight(string(r[:n-1]), " ") + "…"
}

// ended is a sentence that somebody else wrote, with its full stop.
func ended(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}
