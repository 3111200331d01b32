package models

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// What has happened to the alert that a notice tells of.
const (
	NoticeOpened       = "opened"
	NoticeRepeated     = "repeated" // it is still open, or has become worse
	NoticeResolved     = "resolved"
	NoticeAcknowledged = "acknowledged" // somebody takes care of it
	NoticeTest         = "test"         // somebody pressed the button
)

// NoticeKinds lists what notices can tell.
var NoticeKinds = []string{NoticeOpened, NoticeRepeated, NoticeAcknowledged, NoticeResolved, NoticeTest}

// Notice is what a channel is to say. Its fields are those of the notice that package jobs/notify sends.
type Notice struct {
	ID       string `json:"id" doc:"The notification's: the same for every try."`
	Try      int    `json:"-"` // from 1
	Kind     string `json:"kind" api:"schema=NotificationKind"`
	Severity string `json:"severity"`

	AlertID   string    `json:"alert_id" doc:"The same for all notices of one alert, and of one digest."`
	RuleName  string    `json:"rule_name"`
	Condition string    `json:"condition" doc:"The rule in words."`
	Summary   string    `json:"summary"`
	At        time.Time `json:"at,omitzero"` // when it was made

	TenantID        string `json:"tenant_id"`
	DestinationID   string `json:"destination_id"`
	DestinationName string `json:"destination_name"`
	DestinationType string `json:"destination_type"`
	Target          string `json:"target"`

	Failures int `json:"failures"`
	Attempts int `json:"attempts"`

	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	OpenedAt     time.Time `json:"opened_at,omitzero"`
	ResolvedAt   time.Time `json:"resolved_at,omitzero"`

	CertificateEnds time.Time `json:"certificate_expires_at,omitzero"`

	ErrorClass      string `json:"error_class"`
	Error           string `json:"error"`
	Advice          string `json:"advice"`
	ResponseExcerpt string `json:"response_excerpt"`

	Failed []FailedEvent `json:"failed_events,omitempty" doc:"The events that failed last, newest first."`

	DestinationURL string `json:"destination_url"`
	DeliveriesURL  string `json:"deliveries_url"`
	AlertURL       string `json:"alert_url"`

	Others int `json:"others" doc:"Further alerts that this notice stands for."`

	Skip []string `json:"reached,omitempty" doc:"Recipients that an earlier try has reached."`
}

// Digest reports whether the notice stands for alerts without being about one: it tells what waited, be it one alert only.
func (n *Notice) Digest() bool { return strings.HasPrefix(n.AlertID, notificationPrefix) }

// The states of a notification.
const (
	NotificationWaiting    = "waiting" // for the next digest, or with ends for calm: Reason says which
	NotificationQueued     = "queued"  // to be sent now, or again at DueAt
	NotificationSent       = "sent"
	NotificationFailed     = "failed"
	NotificationSuppressed = "suppressed" // not sent, and Reason says why
)

// NotificationStatuses lists the states of a notification.
var NotificationStatuses = []string{NotificationSent, NotificationFailed, NotificationSuppressed, NotificationQueued, NotificationWaiting}

// Notification is one notice on its way over one channel.
type Notification struct {
	Key            uuid.UUID
	OwnerKey       int64
	ChannelKey     int64
	AlertKey       *uuid.UUID
	RuleKey        *int64
	DestinationKey *int64
	Kind           string
	Status         string
	Reason         string
	DigestKey      *uuid.UUID // the notification that tells this one too
	Notice         Notice
	Tries          int
	Code           int
	Answer         string // what the other side said
	Error          string
	Advice         string
	Actor          string // who asked for it, with tests and what was sent again
	CreatedAt      time.Time
	DueAt          *time.Time
	SentAt         *time.Time

	ChannelID, ChannelName, ChannelType string
	RuleID                              string
}

// ID is the notification's public id, which receivers see as the notice's.
func (n *Notification) ID() string { return notificationPrefix + hex.EncodeToString(n.Key[:]) }

// digestSummary is what a digest says of several alerts. Those about one destination name it once.
func digestSummary(list []*Notification) string {
	const most = 5
	var names []string
	for _, n := range list {
		if w := destinationWord(&n.Notice); !slices.Contains(names, w) {
			names = append(names, w)
		}
	}
	s := fmt.Sprintf("%d alerts: %s", len(list), strings.Join(names[:min(len(names), most)], ", "))
	if len(names) > most {
		s += fmt.Sprintf(" and %s", countOf(len(names)-most, "other destination", "other destinations"))
	}
	return s + "."
}

func destinationWord(n *Notice) string {
	name := n.DestinationName
	if name == "" {
		name = n.DestinationID
	}
	return name + " (" + n.TenantID + ")"
}
