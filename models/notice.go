package models

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/adapters/notify"
)

// IsDigest reports whether a notice stands for alerts without being about one: it tells what waited, be it one alert only.
func IsDigest(n *notify.Notice) bool { return strings.HasPrefix(n.AlertID, notificationPrefix) }

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
	Notice         notify.Notice
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

func destinationWord(n *notify.Notice) string {
	name := n.DestinationName
	if name == "" {
		name = n.DestinationID
	}
	return name + " (" + n.TenantID + ")"
}
