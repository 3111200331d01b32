package views

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
)

// Alerts is the list of a tenant's alerts, or without a tenant of the operators'. Query holds status, as in the address.
type Alerts struct {
	Page
	Query url.Values
	List  *models.Page[*models.Alert]
	Rules int // how many there are
	Err   *models.Error
	Now   time.Time
}

// Alert is the page of an alert. Its forms have for, which mutes it.
type Alert struct {
	Page
	Alert *models.Alert

	Response string // the receiver's answer to the last failure; empty for none

	Failed []notify.FailedEvent // that failed last, newest first

	Told []*models.Notification // what channels were told, newest first
	Form Form
	Now  time.Time
}

// alertTabs are the pages about alerts.
func alertTabs(p Page, current string) []Tab {
	return []Tab{{"Alerts", AlertsURL(p.Tenant), current == "alerts"}, {"Rules", RulesURL(p.Tenant), current == "rules"},
		{"Channels", ChannelsURL(p.Tenant), current == "channels"}, {"Notifications", NotificationsURL(p.Tenant),
			current == "notifications"}}
}

// alertNote says whose alerts these are.
func alertNote(p Page) string {
	if p.Tenant == "" {
		return "For the operators of this server: alerts about destinations of all tenants."
	}
	return ""
}

func (v Alerts) views() []View {
	status := v.Query.Get("status")
	all := v.Query.Has("status") && status == ""
	view := func(label, value string, current bool) View {
		return View{Label: label, URL: with(AlertsURL(v.Tenant), url.Values{"status": {value}}), Current: current}
	}
	return []View{view("Open", models.AlertOpen, status == models.AlertOpen),
		view("Acknowledged", models.AlertAcknowledged, status == models.AlertAcknowledged),
		view("Resolved", models.AlertResolved, status == models.AlertResolved), view("All", "", all)}
}

func (v Alerts) pager() Pager {
	return newPager(AlertsURL(v.Tenant), v.Query, len(v.List.Items), "alert", CursorsOf(v.List, time.Time{}))
}

// alertLook is how an alert is shown.
func alertLook(a *models.Alert) Look {
	switch a.Status {
	case models.AlertResolved:
		return Look{ToneOK, "circle-check", "Resolved"}
	case models.AlertAcknowledged:
		return Look{ToneInfo, "eye", "Acknowledged"}
	}
	switch a.Severity {
	case models.SeverityCritical:
		return Look{ToneBad, "circle-alert", "Open, critical"}
	case models.SeverityError:
		return Look{ToneBad, "circle-alert", "Open, error"}
	case models.SeverityInfo:
		return Look{ToneInfo, "info", "Open, info"}
	}
	return Look{ToneWarn, "triangle-alert", "Open, warning"}
}

// alertName is what people call the destination of an alert.
func alertName(a *models.Alert) string {
	if a.DestinationName != "" {
		return a.DestinationName
	}
	return a.DestinationID
}

// mutedText says until when and by whom an alert is muted; empty when it is not.
func mutedText(z Zone, a *models.Alert, now time.Time) string {
	if !a.Muted(now) {
		return ""
	}
	return "Muted by " + a.MutedBy + " until " + z.format(*a.MutedUntil, "2006-01-02 15:04")
}

// muteOptions are for how long an alert can be muted with one click.
var muteOptions = []Option{{Value: "1h", Label: "1 hour"}, {Value: "4h", Label: "4 hours"}, {Value: "24h", Label: "1 day"},
	{Value: "168h", Label: "1 week"}}

// ruleURL leads those to the alert's rule who may see its form, as long as there is one.
func (v Alert) ruleURL() string {
	if v.Alert.RuleDeleted || !v.Viewer.Write {
		return ""
	}
	return RuleURL(v.Tenant, v.Alert.RuleID)
}

// waiting is true for an alert about events that wait although none has failed.
func (v Alert) waiting() bool { return v.Alert.Detail.Failures == 0 }

func (v Alert) deliveriesLabel() string {
	if v.waiting() {
		return "Open deliveries"
	}
	return "Failed deliveries"
}

// traced reports whether one of the failed events has a trace.
func (v Alert) traced() bool {
	return slices.ContainsFunc(v.Failed, func(f notify.FailedEvent) bool { return f.TraceID != "" })
}

func (v Alert) facts(z Zone) []Fact {
	a := v.Alert
	facts := []Fact{{Label: "Destination", Text: alertName(a), URL: DestinationURL(a.TenantID, a.DestinationID)}}
	if v.Tenant == "" {
		facts = append(facts, Fact{Label: "Tenant", Text: a.TenantID, URL: OverviewURL(a.TenantID)})
	}
	facts = append(facts, Fact{Label: "Rule", Text: a.RuleName, URL: v.ruleURL()}, Fact{Label: "Since", Time: a.OpenedAt})
	if a.ResolvedAt != nil {
		facts = append(facts, Fact{Label: "Resolved", Time: *a.ResolvedAt}, Fact{Label: "How it ended", Text: a.Resolution})
	}
	if a.AcknowledgedAt != nil {
		facts = append(facts, Fact{Label: "Acknowledged by", Text: a.AcknowledgedBy}, Fact{Label: "Acknowledged", Time: *a.AcknowledgedAt})
		if a.Acknowledged != "" {
			facts = append(facts, Fact{Label: "They said", Text: a.Acknowledged})
		}
	}
	d := a.Detail
	if d.Failures > 0 {
		facts = append(facts, Fact{Label: "Failed in a row", Text: plural(d.Failures, "delivery") + ", " + plural(d.Attempts, "attempt")})
	}
	if d.GivenUp > 0 {
		facts = append(facts, Fact{Label: "Failed", Text: plural(d.GivenUp, "delivery")})
	}
	if d.Rate != nil {
		facts = append(facts, Fact{Label: "Within " + d.Window.String(), Text: fmt.Sprintf("%s of %s failed the first attempt (%s of %s)",
			count(d.Rate.Failed), plural(d.Rate.Deliveries, "delivery"), count(d.Rate.FailedAttempts), plural(d.Rate.Attempts, "attempt"))})
	}
	if d.BacklogAge > 0 {
		facts = append(facts, Fact{Label: "Oldest event", Text: "has waited for " + span(time.Duration(d.BacklogAge))})
	}
	if d.CertificateEnds != nil {
		facts = append(facts, Fact{Label: "Certificate ends", Time: *d.CertificateEnds})
	}
	if d.FirstFailure != nil {
		facts = append(facts, Fact{Label: "First failure", Time: *d.FirstFailure})
	}
	if d.LastFailure != nil {
		facts = append(facts, Fact{Label: "Last failure", Time: *d.LastFailure})
	}
	if d.Error != "" {
		facts = append(facts, Fact{Label: "Last error", Text: d.Error})
	}
	if v.Response != "" {
		facts = append(facts, Fact{Label: "Its answer", Text: v.Response, Mono: true})
	}
	if d.Advice != "" {
		facts = append(facts, Fact{Label: "What to do", Text: d.Advice})
	}
	if m := mutedText(z, a, v.Now); m != "" {
		facts = append(facts, Fact{Label: "Notices", Text: m})
	}
	return facts
}

// Notifications is the log of what channels were told. Query holds channel_id, status and kind.
type Notifications struct {
	Page
	Query    url.Values
	List     *models.Page[*models.Notification]
	Channels []*models.Channel
	Err      *models.Error
}

// Notification is one entry of the log.
type Notification struct {
	Page
	Notification *models.Notification
	Channel      *models.Channel // nil when it was deleted
}

func (v Notifications) channelOptions() []Option {
	var out []Option
	for _, c := range v.Channels {
		out = append(out, Option{Value: c.ID, Label: c.Name})
	}
	return out
}

func (v Notifications) pager() Pager {
	return newPager(NotificationsURL(v.Tenant), v.Query, len(v.List.Items), "notification", CursorsOf(v.List, time.Time{}))
}

func (v Notifications) chips() []Chip {
	return chips[models.NotificationQuery](NotificationsURL(v.Tenant), v.Query, map[string][]Option{"channel": v.channelOptions()})
}

// notificationLooks are the words for the states of a notification.
var notificationLooks = map[string]Look{
	models.NotificationSent:       {ToneOK, "check", "Sent"},
	models.NotificationFailed:     {ToneBad, "x", "Failed"},
	models.NotificationSuppressed: {ToneMute, "bell-off", "Suppressed"},
	models.NotificationQueued:     {ToneInfo, "send", "Being sent"},
	models.NotificationWaiting:    {ToneInfo, "clock", "Queued for digest"},
}

func notificationLook(n *models.Notification) Look {
	if n.Status == models.NotificationQueued && n.Tries > 0 {
		return Look{ToneWarn, "rotate-ccw", "Retrying"}
	}
	if n.Status == models.NotificationWaiting && n.Kind == notify.Resolved {
		return Look{ToneInfo, "clock", "Waits for calm"}
	}
	if n.Status == models.NotificationSuppressed && n.DigestKey != nil {
		return Look{ToneOK, "check", "Sent in a digest"}
	}
	return notificationLooks[n.Status]
}

func notificationOptions() []Option {
	var out []Option
	for _, s := range models.NotificationStatuses {
		out = append(out, Option{Value: s, Label: notificationLooks[s].Word})
	}
	return out
}

var noticeOptions = []Option{{Value: notify.Opened, Label: "Opened"}, {Value: notify.Repeated, Label: "Reminder, or worse"},
	{Value: notify.Acknowledged, Label: "Acknowledged"}, {Value: notify.Resolved, Label: "Resolved"}, {Value: notify.Test, Label: "Test"}}

// notificationNote is what one should know of a notification in a line.
func notificationNote(z Zone, n *models.Notification) string {
	switch {
	case n.Status == models.NotificationQueued && n.Tries > 0 && n.DueAt != nil:
		return n.Error + " Next try at " + z.format(*n.DueAt, "15:04:05") + "."
	case n.Error != "":
		return n.Error
	case n.Reason != "":
		return n.Reason
	}
	return n.Answer
}

func (v Notification) facts() []Fact {
	n := v.Notification
	facts := []Fact{{Label: "Channel", Text: n.ChannelName}, {Label: "Kind", Text: optionLabel(noticeOptions, n.Kind)},
		{Label: "Created", Time: n.CreatedAt}}
	if v.Channel != nil && v.Viewer.Write {
		facts[0].URL = ChannelURL(v.Tenant, v.Channel.ID)
	}
	if n.AlertKey != nil {
		id := (&models.Alert{Key: *n.AlertKey}).ID()
		facts = append(facts, Fact{Label: "Alert", Text: n.Notice.Summary, URL: AlertURL(v.Tenant, id)})
	}
	if n.DigestKey != nil {
		id := (&models.Notification{Key: *n.DigestKey}).ID()
		facts = append(facts, Fact{Label: "Digest", Text: id, URL: NotificationURL(v.Tenant, id), Mono: true})
	}
	if n.Reason != "" {
		facts = append(facts, Fact{Label: "Note", Text: n.Reason})
	}
	if n.Tries > 0 {
		facts = append(facts, Fact{Label: "Tries", Text: count(n.Tries)})
	}
	if n.DueAt != nil && n.Status == models.NotificationQueued {
		facts = append(facts, Fact{Label: "Next try", Time: *n.DueAt})
	}
	if n.SentAt != nil {
		facts = append(facts, Fact{Label: "Sent", Time: *n.SentAt})
	}
	if n.Code != 0 {
		facts = append(facts, Fact{Label: "Code", Text: fmt.Sprint(n.Code)})
	}
	if n.Answer != "" {
		facts = append(facts, Fact{Label: "Answer", Text: n.Answer})
	}
	if n.Error != "" {
		facts = append(facts, Fact{Label: "Error", Text: n.Error})
	}
	if n.Advice != "" {
		facts = append(facts, Fact{Label: "What to do", Text: n.Advice})
	}
	if n.Actor != "" {
		facts = append(facts, Fact{Label: "Asked for by", Text: n.Actor})
	}
	return append(facts, Fact{Label: "ID", Text: n.ID(), Mono: true, Copy: true})
}

// noticeText is what was told, as JSON for people.
func noticeText(n notify.Notice) string {
	b, _ := json.MarshalIndent(n, "", "  ") // made of texts and numbers
	return string(b)
}
