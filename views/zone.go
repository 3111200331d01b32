package views

import (
	"context"
	"maps"
	"strings"
	"time"
)

// Zone is the zone that the times of a page are said in: the viewer's, as their browser has told by a cookie, or UTC. The zero Zone
// is UTC. Components find it in their context, functions that make sentences are given it.
type Zone struct {
	shown *time.Location // nil for UTC
	other *time.Location // that is at hand beside it: UTC, or the viewer's where they have chosen UTC; nil for none
	now   time.Time
}

// NewZone is the zone of a viewer whose browser is in local. utc says that they have chosen to see UTC.
func NewZone(local *time.Location, utc bool, now time.Time) Zone {
	switch {
	case local == nil || local == time.UTC:
		return Zone{now: now}
	case utc:
		return Zone{other: local, now: now}
	}
	return Zone{shown: local, other: time.UTC, now: now}
}

type zoneKey struct{}

// WithZone makes the components that are drawn with ctx say their times in z.
func WithZone(ctx context.Context, z Zone) context.Context {
	return context.WithValue(ctx, zoneKey{}, z)
}

func zone(ctx context.Context) Zone {
	z, _ := ctx.Value(zoneKey{}).(Zone)
	return z
}

// Location is the zone as package time has it.
func (z Zone) Location() *time.Location {
	if z.shown == nil {
		return time.UTC
	}
	return z.shown
}

// id names the zone in addresses and forms: "Europe/Berlin".
func (z Zone) id() string { return z.Location().String() }

// in is t as the clock of the zone has it.
func (z Zone) in(t time.Time) time.Time { return t.In(z.Location()) }

// zoneName is what people call the zone of t then: "CET", "UTC". Zones that are called by no letters are called by their distance:
// "UTC-3", "UTC+5:45".
func zoneName(t time.Time) string {
	name, _ := t.Zone()
	if name != "" && name[0] != '+' && name[0] != '-' {
		return name
	}
	distance := strings.Replace(t.Format("-07:00"), ":00", "", 1)
	return "UTC" + distance[:1] + strings.TrimPrefix(distance[1:], "0")
}

// name is what the zone is called now.
func (z Zone) name() string { return zoneName(z.in(z.now)) }

// choices are the zones among which the foot of a page lets choose; none when there is only UTC.
func (z Zone) choices() []Option {
	switch {
	case z.other == nil:
		return nil
	case z.shown == nil:
		return []Option{{Value: "local", Label: zoneName(z.now.In(z.other)), Hint: z.other.String()}, {Value: "utc", Label: "UTC"}}
	}
	return []Option{{Value: "local", Label: z.name(), Hint: z.id()}, {Value: "utc", Label: "UTC"}}
}

// label is the label of a column or control, written with "(UTC)", with the zone of the page.
func (z Zone) label(text string) string { return strings.Replace(text, "(UTC)", "("+z.name()+")", 1) }

// clock is a time for a table whose header names the zone. Where summer time begins or ends between it and now, it says its own.
func (z Zone) clock(t time.Time) string {
	s := z.in(t).Format("2006-01-02 15:04:05")
	if own := zoneName(z.in(t)); own != z.name() {
		return s + " " + own
	}
	return s
}

// full is a time with milliseconds and its zone.
func (z Zone) full(t time.Time) string { return z.format(t, "2006-01-02 15:04:05.000") }

// format is a time in this layout of package time, with its zone.
func (z Zone) format(t time.Time, layout string) string {
	t = z.in(t)
	return t.Format(layout) + " " + zoneName(t)
}

// Say is format for the messages that handlers make.
func (z Zone) Say(t time.Time, layout string) string { return z.format(t, layout) }

// hover is a time with milliseconds in the zone of the page, and in a line below in the other one.
func (z Zone) hover(t time.Time) string {
	if b := z.beside(t); b != "" {
		return z.full(t) + "\n" + t.In(z.other).Format("2006-01-02 ") + b
	}
	return z.full(t)
}

// beside is the time of the day in the other zone; empty when there is none. Where it is another day there, it has the date.
func (z Zone) beside(t time.Time) string {
	if z.other == nil {
		return ""
	}
	o := t.In(z.other)
	return o.Format("15:04:05.000") + " " + zoneName(o)
}

// hourMinute is a time of the near future or past in a sentence, with its zone, and with the date when that is another day than the one
// of reference: "14:10:00 CET".
func (z Zone) hourMinute(t, reference time.Time) string {
	if z.sameDay(t, reference) {
		return z.format(t, "15:04:05")
	}
	return z.format(t, "2006-01-02 15:04")
}

func (z Zone) sameDay(a, b time.Time) bool {
	return z.in(a).Format(time.DateOnly) == z.in(b).Format(time.DateOnly)
}

// typedLayouts are how a time without a zone can be typed.
var typedLayouts = []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04",
	time.DateOnly}

// ReadTime makes a time that was typed as the clock of the zone has it an absolute one, as the API reads it. What is no time, or has
// a zone of its own, stays as it is.
func ReadTime(typed string, in *time.Location) string {
	for _, layout := range typedLayouts {
		if t, err := time.ParseInLocation(layout, strings.TrimSpace(typed), in); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return typed
}

// readTime reads a time of an address, as the API does: what has no zone is in UTC.
func readTime(value string) (t time.Time, ok bool) {
	for _, layout := range []string{time.RFC3339Nano, typedLayouts[0], typedLayouts[1], time.DateOnly} {
		if t, err := time.Parse(layout, strings.Replace(value, " ", "+", 1)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// typed is an absolute time as it can be typed in the zone. What is no time stays. One that the clock shows twice, when summer time
// ends, has its distance from UTC.
func (z Zone) typed(value string) string {
	t, ok := readTime(value)
	if !ok {
		return value
	}
	layout := typedLayouts[0]
	if t = z.in(t); t.Second() == 0 && t.Nanosecond() == 0 {
		layout = typedLayouts[1]
	}
	if again, _ := readTime(ReadTime(t.Format(layout), z.Location())); !again.Equal(t) {
		return t.Format(time.RFC3339Nano)
	}
	return t.Format(layout)
}

// chip is a time of an address in the words of a condition.
func (z Zone) chip(value string) string {
	t, ok := readTime(value)
	switch {
	case !ok:
		return value
	case z.in(t).Second() == 0:
		return z.format(t, "2006-01-02 15:04")
	}
	return z.format(t, "2006-01-02 15:04:05")
}

// timed is a form whose control of this name holds a time, as it is typed in the zone.
func (z Zone) timed(f Form, name string) Form {
	if v := f.Value(name); v != "" {
		f.Values = maps.Clone(f.Values)
		f.Values[name] = []string{z.typed(v)}
	}
	return f
}
