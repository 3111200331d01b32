package config

import (
	"fmt"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// linkTemplate is an address with placeholders, under which the operator's own system shows what belongs to an attempt: the
// log, or the trace. Values are escaped for a query.
type linkTemplate string

// linkMargin is how much earlier and later than the attempt the time is that a link names: clocks differ, and lines of before
// and after help.
const linkMargin = time.Minute

// placeholders are what a template may name.
var placeholders = map[string]func(at *models.Attempt, trace string) string{
	"trace_id":       func(_ *models.Attempt, trace string) string { return trace },
	"attempt_id":     func(at *models.Attempt, _ string) string { return at.ID() },
	"event_id":       func(at *models.Attempt, _ string) string { return at.PublicEventID },
	"delivery_id":    func(at *models.Attempt, _ string) string { return at.DeliveryID() },
	"destination_id": func(at *models.Attempt, _ string) string { return at.DestinationID },
	"tenant_id":      func(at *models.Attempt, _ string) string { return at.TenantID },
	"from":           func(at *models.Attempt, _ string) string { return linkFrom(at).UTC().Format(time.RFC3339) },
	"to":             func(at *models.Attempt, _ string) string { return linkTo(at).UTC().Format(time.RFC3339) },
	"from_ms":        func(at *models.Attempt, _ string) string { return strconv.FormatInt(linkFrom(at).UnixMilli(), 10) },
	"to_ms":          func(at *models.Attempt, _ string) string { return strconv.FormatInt(linkTo(at).UnixMilli(), 10) },
}

func linkFrom(at *models.Attempt) time.Time { return at.StartedAt.Add(-linkMargin) }
func linkTo(at *models.Attempt) time.Time   { return at.StartedAt.Add(at.Duration + linkMargin) }

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// parseLinkTemplate reads a template. The error is written to follow the variable's name.
func parseLinkTemplate(v string) (linkTemplate, error) {
	if v == "" {
		return "", nil
	}
	known := make([]string, 0, len(placeholders))
	for name := range placeholders {
		known = append(known, "{"+name+"}")
	}
	sort.Strings(known)
	for _, p := range placeholder.FindAllString(v, -1) {
		if placeholders[strings.Trim(p, "{}")] == nil {
			return "", fmt.Errorf("has an unknown placeholder %s: use %s", p, strings.Join(known, ", "))
		}
	}
	plain := placeholder.ReplaceAllString(v, "x")
	u, err := url.Parse(plain)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(plain, "{}\"<> ") ||
		strings.ContainsAny(strings.SplitN(v, "/", 4)[2], "{}") {
		return "", fmt.Errorf("must be an address like https://logs.example.com/?q={attempt_id}&from={from}&to={to}, with braces around placeholders only, and none in the host")
	}
	return linkTemplate(v), nil
}

// Of is the template's address for an attempt; empty without a template, and when it asks for a trace and there is none.
func (t linkTemplate) Of(at *models.Attempt, trace string) string {
	if t == "" || trace == "" && strings.Contains(string(t), "{trace_id}") {
		return ""
	}
	return placeholder.ReplaceAllStringFunc(string(t), func(p string) string {
		return url.QueryEscape(placeholders[strings.Trim(p, "{}")](at, trace))
	})
}
