package api

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Years that a time in a request may be in: those that event ids can tell of and that RFC 3339 can write, in UTC. When an event
// happened (models.TrialEvent, models.PublishInput) may be before.
const (
	firstYear = 1970
	lastYear  = 9999
)

// badTime says what is wrong with a time of a request, or nothing.
func badTime(t time.Time) string {
	if y := t.UTC().Year(); !t.IsZero() && (y < firstYear || y > lastYear) {
		return "must be between the years 1970 and 9999 (UTC)"
	}
	return ""
}

const noNUL = "must not contain a NUL character"

// unreadable finds what is in a request that PostgreSQL cannot keep or look up, or what no answer could show: NUL characters
// in texts, and times out of range. It adds them to bad by the names of their fields. Payloads are kept as they are.
func unreadable(v reflect.Value, field string, bad map[string]string) {
	switch x := v.Interface().(type) {
	case time.Time:
		if message := badTime(x); message != "" {
			bad[field] = message
		}
		return
	case json.RawMessage:
		if strings.Contains(string(x), `\u0000`) {
			var parsed any
			if json.Unmarshal(x, &parsed) == nil && parsed != nil {
				unreadable(reflect.ValueOf(parsed), field, bad)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		if strings.IndexByte(v.String(), 0) >= 0 {
			bad[field] = noNUL
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			unreadable(v.Elem(), field, bad)
		}
	case reflect.Slice:
		for i := range v.Len() {
			unreadable(v.Index(i), inField(field, strconv.Itoa(i)), bad)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			key := it.Key().String()
			if strings.IndexByte(key, 0) >= 0 {
				bad[field] = noNUL
				continue
			}
			unreadable(it.Value(), inField(field, key), bad)
		}
	case reflect.Struct:
		unreadableFields(v, field, bad)
	}
}

func unreadableFields(v reflect.Value, field string, bad map[string]string) {
	_, trial := v.Interface().(models.TrialEvent)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		payload := f.Type == reflect.TypeFor[json.RawMessage]() && (name == "data" || name == "example")
		if name == "" || name == "-" || !f.IsExported() || payload || trial && name == "time" {
			continue
		}
		unreadable(v.Field(i), inField(field, name), bad)
	}
}

func inField(field, part string) string {
	if field == "" {
		return part
	}
	return field + "." + part
}
