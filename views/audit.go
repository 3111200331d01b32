package views

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Audit is the audit log: of a tenant, or without one of the whole server. Query holds q, range or since and until, action,
// actor, actor_type, object, outcome, ip, request_id, dir, limit, next and prev, as in the address.
type Audit struct {
	Page
	Query  url.Values
	List   *models.Page[*models.AuditEntry]
	Actors []string // who is named by the last entries, as suggestions
	Since  time.Time
	Export url.Values // the query of an export of what is shown
	Notice string     // about the address
	Err    *models.Error
}

// AuditEntry is one entry of the audit log.
type AuditEntry struct {
	Page
	Entry *models.AuditEntry
}

// Activity is what was done to a destination. Query holds limit, next and prev.
type Activity struct {
	Page
	Destination *models.Destination
	Query       url.Values
	List        *models.Page[*models.AuditEntry]
	Err         *models.Error
}

// auditWords are the words for actions, in the order in which the filter lists them. A value that ends in * stands for all
// that begin like it.
var auditWords = []Option{
	{Value: "destination.*", Label: "Destinations: anything"}, {Value: "destination.create", Label: "Destination created"},
	{Value: "destination.update", Label: "Destination changed"},
	{Value: "destination.delete", Label: "Destination deleted"}, {Value: "destination.disable", Label: "Destination disabled"},
	{Value: "destination.enable", Label: "Destination enabled"},
	{Value: "destination.probe", Label: "Destination probed"}, {Value: "destination.backlog", Label: "Held events released or dropped"},
	{Value: "destination.rotate_secret", Label: "Secret rotated"}, {Value: "destination.reveal_secret", Label: "Secret revealed"},
	{Value: "destination.end_previous_secret", Label: "Previous secret ended"}, {Value: "destination.test", Label: "Test event sent"},
	{Value: "destination.send_filtered", Label: "Filtered events delivered"},
	{Value: "delivery.*", Label: "Deliveries: anything"}, {Value: "delivery.retry", Label: "Delivery retried"},
	{Value: "delivery.cancel", Label: "Delivery cancelled"},
	{Value: "retry.*", Label: "Bulk retries: anything"}, {Value: "retry.start", Label: "Bulk retry started"},
	{Value: "retry.pause", Label: "Bulk retry paused"},
	{Value: "retry.resume", Label: "Bulk retry resumed"}, {Value: "retry.cancel", Label: "Bulk retry cancelled"},
	{Value: "retry.finish", Label: "Bulk retry ended"},
	{Value: "erasure.*", Label: "Erasures: anything"}, {Value: "erasure.start", Label: "Erasure started"},
	{Value: "erasure.finish", Label: "Erasure ended"},
	{Value: "export.*", Label: "Exports of the tenant: anything"}, {Value: "export.start", Label: "Export of the tenant started"},
	{Value: "export.finish", Label: "Export of the tenant ended"},
	{Value: "alert.*", Label: "Alerts: anything"}, {Value: "alert.acknowledge", Label: "Alert acknowledged"},
	{Value: "alert.mute", Label: "Alert muted"}, {Value: "alert.resolve", Label: "Alert resolved"},
	{Value: "alert_rule.*", Label: "Alert rules: anything"}, {Value: "alert_rule.create", Label: "Alert rule created"},
	{Value: "alert_rule.update", Label: "Alert rule changed"},
	{Value: "alert_rule.delete", Label: "Alert rule deleted"},
	{Value: "channel.*", Label: "Channels: anything"}, {Value: "channel.create", Label: "Channel created"},
	{Value: "channel.update", Label: "Channel changed"},
	{Value: "channel.delete", Label: "Channel deleted"}, {Value: "channel.test", Label: "Channel tested"},
	{Value: "channel.subscribe", Label: "Address subscribed again"},
	{Value: "channel.unsubscribe", Label: "Address unsubscribed"}, {Value: "notification.resend", Label: "Notification sent again"},
	{Value: "topic.*", Label: "Topics: anything"}, {Value: "topic.create", Label: "Topic added"},
	{Value: "topic.update", Label: "Topic changed"}, {Value: "topic.put", Label: "Topic saved"},
	{Value: "topic.delete", Label: "Topic deleted"},
	{Value: "retention.update", Label: "Retention by topic changed"},
	{Value: "tenant.*", Label: "Tenants: anything"}, {Value: "tenant.create", Label: "Tenant created"},
	{Value: "tenant.update", Label: "Tenant changed"}, {Value: "tenant.delete", Label: "Tenant deleted"},
	{Value: "tenant.settings", Label: "Tenant settings changed"},
	{Value: "server.settings", Label: "Server's defaults changed"},
	{Value: "cell.*", Label: "Databases of tenants: anything"}, {Value: "cell.add", Label: "Database of tenants added"},
	{Value: "cell.drain", Label: "New tenants go to other databases"}, {Value: "cell.undrain", Label: "New tenants go to a database again"},
	{Value: "cell.remove", Label: "Database of tenants removed"},
	{Value: "move.*", Label: "Moves of tenants: anything"}, {Value: "move.start", Label: "Move of a tenant started"},
	{Value: "move.switch", Label: "Tenant moved to another cell"}, {Value: "move.cancel", Label: "Move of a tenant cancelled"},
	{Value: "portal_link.*", Label: "Portal links: anything"}, {Value: "portal_link.create", Label: "Portal link created"},
	{Value: "portal_link.revoke", Label: "Portal link revoked"},
	{Value: "api_key.*", Label: "API keys: anything"}, {Value: "api_key.create", Label: "API key created"},
	{Value: "api_key.update", Label: "API key changed"}, {Value: "api_key.revoke", Label: "API key revoked"},
	{Value: "view.*", Label: "Saved views: anything"}, {Value: "view.create", Label: "View saved"},
	{Value: "view.update", Label: "View changed"}, {Value: "view.delete", Label: "View deleted"},
	{Value: "session.*", Label: "Logins: anything"}, {Value: "session.login", Label: "Login"},
	{Value: "session.portal", Label: "Portal opened"}, {Value: "session.confirm", Label: "Login confirmed"},
	{Value: "session.revoke", Label: "Session ended"}, {Value: "session.provider_logout", Label: "Logged out at the login provider"},
	{Value: "setup", Label: "Server set up"},
	{Value: "user.*", Label: "Users: anything"}, {Value: "user.create", Label: "User created"}, {Value: "user.update", Label: "User changed"},
	{Value: "user.role", Label: "Role changed"}, {Value: "user.password", Label: "Password changed"},
	{Value: "user.identity", Label: "Login provider connected"}, {Value: "user.disconnect", Label: "Login provider disconnected"},
	{Value: "user.passkey_add", Label: "Passkey added"}, {Value: "user.passkey_rename", Label: "Passkey renamed"},
	{Value: "user.passkey_remove", Label: "Passkey removed"},
	{Value: "user.delete", Label: "User removed"}, {Value: "user.factor_enable", Label: "Second factor enabled"},
	{Value: "user.factor_remove", Label: "Second factor removed"}, {Value: "user.recovery_codes", Label: "Recovery codes made"},
	{Value: "member.*", Label: "Members: anything"}, {Value: "member.add", Label: "Member added"},
	{Value: "member.update", Label: "Member's role changed"}, {Value: "member.remove", Label: "Member removed"},
	{Value: "invitation.*", Label: "Invitations: anything"}, {Value: "invitation.create", Label: "Invitation made"},
	{Value: "invitation.accept", Label: "Invitation accepted"}, {Value: "invitation.revoke", Label: "Invitation revoked"},
	{Value: "invitation.send", Label: "Invitation sent again"},
}

// serverActions are the groups of actions that no tenant has entries of.
var serverActions = []string{"topic.", "retention.", "server.", "cell.", "move.", "setup", "session.login", "session.confirm", "session.revoke",
	"session.provider_logout", "tenant.*", "user."}

// actionOptions are the choices of the filter: in a tenant's log those that it can have.
func (v Audit) actionOptions() []Option {
	var out []Option
	for _, o := range auditWords {
		elsewhere := slices.ContainsFunc(serverActions, func(p string) bool { return strings.HasPrefix(o.Value, p) })
		if o.Value != "topic.put" && (v.Tenant == "" || !elsewhere) {
			out = append(out, o)
		}
	}
	return withAny(out, v.Query["action"])
}

// ActionWord is what an action is called. What has no words yet is told by its name.
func ActionWord(action string) string {
	if w := optionLabel(auditWords, action); w != action || action == "" {
		return w
	}
	w := strings.NewReplacer(".", " ", "_", " ").Replace(action)
	return strings.ToUpper(w[:1]) + w[1:]
}

var actorKindWords = []Option{
	{Value: models.ActorUser, Label: "Person"}, {Value: models.ActorKey, Label: "API key"},
	{Value: models.ActorToken, Label: "Tenant's token"}, {Value: models.ActorPortal, Label: "Portal session"},
	{Value: models.ActorRecipient, Label: "Recipient of a mail"}, {Value: models.ActorVisitor, Label: "Not logged in"},
	{Value: models.ActorServer, Label: "Waybill itself"},
}

var auditOutcomes = []Option{{Value: models.AuditOK, Label: "Done"}, {Value: models.AuditFailed, Label: "Refused or failed"}}

func auditLook(e *models.AuditEntry) Look {
	if e.Outcome != "" {
		return Look{ToneBad, "x", "Failed"}
	}
	if e.Attempt != nil {
		return retryLooks[e.Attempt.Outcome]
	}
	return Look{ToneOK, "check", "Done"}
}

// retryLooks are the words for what became of a manual retry.
var retryLooks = map[string]Look{
	models.RetryWaiting:   {ToneInfo, "clock", "Attempt pending"},
	models.RetrySucceeded: {ToneOK, "check", "Delivered"},
	models.RetryFailed:    {ToneBad, "x", "Attempt failed"},
	models.RetryNotMade:   {ToneMute, "ban", "No attempt made"},
	models.RetryForgotten: {ToneMute, "check", "Queued"},
}

// retryText says what became of a manual retry, in a sentence.
func retryText(a *models.AuditAttempt) string {
	switch a.Outcome {
	case models.RetryWaiting:
		return "The attempt has not been made yet."
	case models.RetrySucceeded:
		return ended(strings.TrimSpace("The attempt succeeded " + codeSuffix(a.Code)))
	case models.RetryFailed:
		return ended(strings.TrimSpace("The attempt failed "+codeSuffix(a.Code))) + " " + a.Error
	case models.RetryNotMade:
		return "No attempt was made: the delivery was held, cancelled or delivered before its turn."
	}
	return "What became of it is not kept any more."
}

func codeSuffix(c models.Code) string {
	if c == "" {
		return ""
	}
	return "(" + string(c) + ")"
}

// auditNote is what one should know of an entry in a line: why it failed, or which fields it changed.
func auditNote(e *models.AuditEntry) string {
	if e.Outcome != "" {
		return e.Outcome
	}
	if e.Attempt != nil {
		return retryText(e.Attempt)
	}
	if strings.HasSuffix(e.Action, ".create") {
		return ""
	}
	if e.Changes != nil && len(e.Changes) == 0 && strings.HasSuffix(e.Action, ".update") {
		return "Nothing was different afterwards."
	}
	if reason, ok := e.Detail["reason"].(string); ok && reason != "" {
		return reason
	}
	fields := make([]string, len(e.Changes))
	for i, c := range e.Changes {
		fields[i] = c.Field
	}
	return strings.Join(fields, ", ")
}

// objectName is what people call what was acted upon, next to its id; empty when the entry does not tell.
func objectName(e *models.AuditEntry) string {
	name, _ := e.Detail["name"].(string)
	return name
}

// objectURL is the page of what was acted upon, for a viewer who may see it; empty without one. It may be gone by now, which
// its page says.
func objectURL(p Page, e *models.AuditEntry) string {
	kind, what, _ := strings.Cut(e.Action, ".")
	if what == "delete" || what == "revoke" || e.TenantDeleted || e.Object == "" {
		return ""
	}
	switch kind {
	case "alert":
		return AlertURL(e.TenantID, e.Object)
	case "alert_rule":
		if p.Viewer.Write {
			return RuleURL(e.TenantID, e.Object)
		}
	case "channel":
		if p.Viewer.Write {
			return ChannelURL(e.TenantID, e.Object)
		}
	case "notification":
		return NotificationURL(e.TenantID, e.Object)
	case "api_key":
		if p.Viewer.Admin {
			return KeysURL(e.TenantID)
		}
	case "member":
		if p.Viewer.Admin && e.TenantID != "" {
			return MembersURL(e.TenantID)
		}
	case "user":
		if p.Viewer.Admin && !p.Viewer.OneTenant {
			return UserURL(e.Object)
		}
	}
	if e.TenantID == "" {
		return ""
	}
	switch kind {
	case "destination":
		return DestinationURL(e.TenantID, e.Object)
	case "retry":
		return RetryURL(e.TenantID, e.Object)
	case "tenant", "session":
		return OverviewURL(e.TenantID)
	case "delivery":
		if event, ok := e.Detail["event"].(string); ok {
			return EventURL(e.TenantID, event)
		}
	}
	return ""
}

// tenantOf names the tenant of an entry in the log of the whole server.
func tenantOf(e *models.AuditEntry) string {
	switch {
	case e.TenantID == "":
		return "Whole server"
	case e.TenantDeleted:
		return e.TenantID + " (deleted)"
	}
	return e.TenantID
}

func (v Audit) base() string { return AuditURL(v.Tenant) }

func (v Audit) form() Form { return Form{Values: v.Query, Err: v.Err} }

// narrowed reports whether a condition was refused whose control is folded away.
func (v Audit) narrowed() bool {
	return narrowed[models.AuditQuery](v.Err, "q", "action")
}

func (v Audit) chips() []Chip {
	return chips[models.AuditQuery](v.base(), v.Query, map[string][]Option{timeRange: Ranges})
}

func (v Audit) views() []View {
	quick := []struct{ label, key, value string }{{"Failed", "outcome", models.AuditFailed}, {"By people", "actor_type", models.ActorUser},
		{"By Waybill itself", "actor_type", models.ActorServer}}
	out := []View{{Label: "All", URL: v.base(), Current: len(firstPage(v.Query)) == 0}}
	for _, x := range quick {
		out = append(out, View{Label: x.label, URL: with(v.base(), replaced(v.Query, x.key, x.value)),
			Current: v.Query.Get(x.key) == x.value})
	}
	return out
}

func (v Audit) sort() SortLink {
	if v.Query.Get("dir") == "asc" {
		return SortLink{"Time (UTC)", with(v.base(), replaced(v.Query, "dir")), "ascending"}
	}
	return SortLink{"Time (UTC)", with(v.base(), replaced(v.Query, "dir", "asc")), "descending"}
}

// keptNote says how long entries are kept.
const keptNote = "Entries are kept for good."

func (v Audit) pager() Pager {
	p := newPager(v.base(), v.Query, len(v.List.Items), "entry", CursorsOf(v.List, v.Since))
	p.Note = keptNote
	return p
}

func (v Activity) base() string { return DestinationURL(v.Tenant, v.Destination.ID, "activity") }

func (v Activity) pager() Pager {
	p := newPager(v.base(), v.Query, len(v.List.Items), "entry", CursorsOf(v.List, time.Time{}))
	p.Note = keptNote
	return p
}

// activityTone is how an entry looks among the others of its destination.
func activityTone(e *models.AuditEntry) (Tone, string) {
	if e.Outcome != "" {
		return ToneBad, "x"
	}
	switch strings.TrimPrefix(e.Action, "destination.") {
	case "disable":
		return ToneHold, "power-off"
	case "enable":
		return ToneOK, "power"
	case "create":
		return ToneInfo, "plus"
	case "delete":
		return ToneBad, "trash-2"
	case "rotate_secret", "reveal_secret", "end_previous_secret":
		return ToneWarn, "key-round"
	case "test", "probe", "send_filtered", "backlog":
		return ToneInfo, "send"
	}
	return ToneMute, "pencil"
}

// shownChanges are the changes that the activity shows of an entry. What a new destination was made of is on the entry's page.
func shownChanges(e *models.AuditEntry) []models.Change {
	switch strings.TrimPrefix(e.Action, "destination.") {
	case "create", "disable", "enable":
		return nil
	}
	return e.Changes
}

// changeSide is a value of a change in a table; secret ones say that there is one.
func changeSide(c models.Change, v any, most int) string {
	if v != nil && c.Secret {
		return "•••••• (secret)"
	}
	return shorten(models.ChangeText(v), most)
}

func (v AuditEntry) facts() []Fact {
	e := v.Entry
	facts := []Fact{{Label: "Time", Time: e.At()}, {Label: "Actor", Text: e.Actor, URL: v.more("actor", e.Actor)}}
	if e.ActorKind != "" {
		facts = append(facts, Fact{Label: "Kind of actor", Text: optionLabel(actorKindWords, e.ActorKind)})
	}
	facts = append(facts, Fact{Label: "Action", Text: e.Action, Mono: true, URL: v.more("action", e.Action)},
		Fact{Label: "Object", Text: e.Object, Mono: true, Copy: true, URL: objectURL(v.Page, e)})
	if v.Tenant == "" {
		f := Fact{Label: "Tenant", Text: tenantOf(e)}
		if e.TenantID != "" && !e.TenantDeleted {
			f.URL = OverviewURL(e.TenantID)
		}
		facts = append(facts, f)
	}
	if e.Outcome != "" {
		facts = append(facts, Fact{Label: "Why not", Text: e.Outcome})
	}
	if a := e.Attempt; a != nil {
		f := Fact{Label: "Attempt", Text: a.ID, Mono: true, Copy: true}
		if a.Outcome == models.RetrySucceeded || a.Outcome == models.RetryFailed {
			f.URL = AttemptURL(e.TenantID, a.ID)
		}
		facts = append(facts, f, Fact{Label: "What became of it", Text: retryText(a)})
	}
	return append(facts, Fact{Label: "Source IP", Text: e.IP, Mono: true, URL: v.more("ip", e.IP)},
		Fact{Label: "Request ID", Text: e.RequestID, Mono: true, Copy: e.RequestID != ""},
		Fact{Label: "Entry ID", Text: e.ID(), Mono: true, Copy: true})
}

// more leads to the entries that have something in common with this one.
func (v AuditEntry) more(key, value string) string {
	if value == "" {
		return ""
	}
	return with(AuditURL(v.Tenant), url.Values{key: {value}})
}

// details are what else is known.
func (v AuditEntry) details() []Fact {
	var out []Fact
	for _, k := range slices.Sorted(maps.Keys(v.Entry.Detail)) {
		if k == "attempt" && v.Entry.Attempt != nil {
			continue
		}
		var text string
		switch x := v.Entry.Detail[k].(type) {
		case map[string]any:
			b, _ := json.Marshal(x) // it came from JSON
			text = string(b)
		default:
			text = models.ChangeText(x)
		}
		if text != "" {
			out = append(out, Fact{Label: k, Text: shorten(text, 2000)})
		}
	}
	return out
}

// auditIntro says whose log it is.
func auditIntro(p Page) string {
	if p.Tenant == "" {
		return "Who did what on this server, in all tenants. Secrets are never part of it, and nobody can change it here."
	}
	return "Who did what in this tenant. Secrets are never part of it, and nobody can change it here."
}

// nothingText says what to do when no entry matches.
func (v Audit) nothingText() string {
	if v.pager().Older != "" {
		return "None of the entries that were searched. There are older ones."
	}
	return "Remove a filter above, or choose a longer time."
}
