package models

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/models/alertrule"
)

// The states of an alert.
const (
	AlertOpen         = "open"
	AlertAcknowledged = "acknowledged" // somebody takes care of it: no reminders
	AlertResolved     = "resolved"
)

// Alert says that the condition of a rule is met for a destination, or was.
type Alert struct {
	Key            uuid.UUID `gorm:"column:id;primaryKey"`
	OwnerKey       int64     // whose rule it is
	RuleKey        int64
	TenantKey      int64 // whose destination it is
	DestinationKey int64
	Status         string
	Step           int // percent of the limit, with rules that have steps
	Severity       string
	Summary        string // what was found, in one or two sentences
	Detail         AlertDetail
	OpenedAt       time.Time
	UpdatedAt      time.Time
	AcknowledgedAt *time.Time
	AcknowledgedBy string
	Acknowledged   string // what they had to say; may be empty
	MutedUntil     *time.Time
	MutedBy        string
	ResolvedAt     *time.Time
	Resolution     string // how it ended
	ResolvedBy     string // who ended it; empty when it ended by itself

	RuleID, RuleName                         string
	RuleKind                                 string
	RuleDeleted                              bool
	TenantID, DestinationID, DestinationType string
	DestinationName                          string // as the owner calls it; may be empty
}

// AlertDetail are the figures of an alert, as they were when it was looked at last.
type AlertDetail struct {
	Failures     int        `json:"failures" doc:"Deliveries that failed in a row."`
	Attempts     int        `json:"attempts" doc:"The attempts that these took."`
	GivenUp      int        `json:"given_up" doc:"Of the deliveries, have failed: no retry is left."`
	FirstFailure *time.Time `json:"first_failure"`
	LastFailure  *time.Time `json:"last_failure"`
	Code         int        `json:"code"`
	ErrorClass   string     `json:"error_class" doc:"One of the classes of errors, or empty."`
	Error        string     `json:"error"`
	Advice       string     `json:"advice"`
	DisableAfter int        `json:"disable_after" doc:"Limit in force; 0 for never."`
	BacklogAge   Duration   `json:"backlog_age,omitempty"`
	Rate         *Rates     `json:"rate,omitempty"` // within the rule's window
	Window       Duration   `json:"window,omitempty"`
	Counts       string     `json:"counts" doc:"What the condition counts: deliveries or attempts."`
	DisabledBy   string     `json:"disabled_by,omitempty"`

	CertificateEnds *time.Time `json:"certificate_expires_at,omitempty"`
}

// The prefixes of public ids.
const (
	alertPrefix        = "alt_"
	notificationPrefix = "ntf_"
	rulePrefix         = "rule_"
	channelPrefix      = "chn_"
)

// ID is the alert's public id.
func (a *Alert) ID() string { return alertPrefix + hex.EncodeToString(a.Key[:]) }

// Muted reports whether notices about the alert are held back.
func (a *Alert) Muted(now time.Time) bool { return a.MutedUntil != nil && a.MutedUntil.After(now) }

// parsePrefixed reads a public id that is a prefix and a UUID in hexadecimal.
func parsePrefixed(prefix, s string) (id uuid.UUID, ok bool) {
	body, ok := strings.CutPrefix(s, prefix)
	if !ok || len(body) != 32 {
		return id, false
	}
	b, err := hex.DecodeString(body)
	if err != nil {
		return id, false
	}
	copy(id[:], b)
	return id, true
}

// detailOf are the figures of a destination for an alert of a condition.
func detailOf(c Condition, d *subject) AlertDetail {
	h := d.health
	x := AlertDetail{Failures: max(h.Failures, h.Peak), Attempts: h.Attempts, GivenUp: h.GivenUp, FirstFailure: h.Since,
		LastFailure: h.LastFailure, Code: h.Code,
		ErrorClass: h.ErrorClass, Error: h.Error, Advice: h.Advice, DisableAfter: d.Limit, Counts: c.Counted(), DisabledBy: d.disabledBy}
	switch data, span := c.Data(); data {
	case alertrule.Rates:
		r := d.Tried[span]
		x.Rate, x.Window = &Rates{Deliveries: r.Deliveries, Failed: r.Failed, Attempts: r.Attempts, FailedAttempts: r.FailedAttempts},
			Duration(span)
	case alertrule.Waits:
		x.BacklogAge = Duration(d.Waited.Truncate(time.Second))
	case alertrule.Certificate:
		// What its deliveries do is not what the alert is about.
		x = AlertDetail{DisableAfter: d.Limit, Counts: c.Counted(), CertificateEnds: h.CertificateEnds,
			Advice: "Renew the receiver's certificate. The alert ends by itself once a new connection has seen the new one; checking the connection on the destination's page makes one."}
	}
	return x
}
