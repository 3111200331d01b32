package models

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// TestDigest is about what one notice says of several: each alert once, however often it had something to say.
func TestDigest(t *testing.T) {
	t.Parallel()
	member := func(alert, destination, severity string) *Notification {
		return &Notification{Kind: notify.Opened, Notice: notify.Notice{AlertID: alert, DestinationName: destination, TenantID: "acme",
			Severity: severity, Summary: alert + " is bad."}}
	}
	for _, c := range []struct {
		name    string
		members []*Notification
		others  int
		summary string
	}{
		{"one alone", []*Notification{member("a", "Orders", SeverityError)}, 0, "a is bad."},
		{"one alert several times", []*Notification{member("a", "Orders", SeverityError), member("a", "Orders", SeverityCritical)}, 0,
			"a is bad."},
		{"the worst first", []*Notification{member("a", "Orders", SeverityError), member("b", "Mail", SeverityCritical),
			member("a", "Orders", SeverityError)}, 1, "2 alerts: Mail (acme), Orders (acme)."},
		{"several of one destination", []*Notification{member("a", "Orders", SeverityError), member("b", "Orders", SeverityError)}, 1,
			"2 alerts: Orders (acme)."},
		{"many", []*Notification{member("a", "1", SeverityError), member("b", "2", SeverityError), member("c", "3", SeverityError),
			member("d", "4", SeverityError),
			member("e", "5", SeverityError), member("f", "6", SeverityError), member("g", "7", SeverityError)}, 6,
			"7 alerts: 1 (acme), 2 (acme), 3 (acme), 4 (acme), 5 (acme) and 2 other destinations."},
	} {
		d := (&pass{now: time.Now()}).digest(&Channel{}, c.members)
		if d.Notice.Others != c.others || d.Notice.Summary != c.summary {
			t.Errorf("%s: %d others, %q", c.name, d.Notice.Others, d.Notice.Summary)
		}
	}
}

// TestSeveritiesOfNotices: alerts and channels use the same words for how bad it is, so that channels colour what they say.
func TestSeveritiesOfNotices(t *testing.T) {
	t.Parallel()
	for alert, channel := range map[string]string{SeverityCritical: notify.Critical, SeverityError: notify.ErrorSev,
		SeverityWarning: notify.Warning, SeverityInfo: notify.Info} {
		if alert != channel {
			t.Errorf("alerts say %s, channels %s", alert, channel)
		}
	}
}
