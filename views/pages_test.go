package views

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/adapters"
	_ "github.com/waybill-dev/waybill/adapters/echo"
	"github.com/waybill-dev/waybill/adapters/notify"
	_ "github.com/waybill-dev/waybill/adapters/webhook"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/static"
)

// hostile is a text that must come out as text, wherever it goes in.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>' javascript:alert(3)`

func hostilePage(title string, crumbs ...Crumb) Page {
	return Page{Title: title, Context: hostile, Tenant: hostile, Section: SectionEvents, Crumbs: append(crumbs, Crumb{hostile, "/x"}),
		Viewer: Viewer{Name: hostile, Write: true, Retry: true, Admin: true, Catalogue: true, User: true, OneTenant: true, Tenants: 2},
		Flash:  &Flash{Tone: ToneBad, Text: hostile, LinkText: hostile, LinkURL: "javascript:alert(1)"},
		API:    &APICall{Path: "/api/v1/x?q=" + url.QueryEscape(hostile)}, Here: "/x?q=" + url.QueryEscape(hostile), Refresh: true,
		Chrome: Chrome{BaseURL: "https://waybill.example.com", Version: "1.0.0", Shortcuts: true}}
}

func hostileDestination(disabled bool) *models.Destination {
	d := galleryDestination(disabled)
	d.ID, d.Name, d.DisabledReason, d.Topics = hostile, hostile, hostile, []string{hostile, "b"}
	d.Filter = []byte(`"` + strings.ReplaceAll(hostile, `"`, `\"`) + `"`)
	d.Config = map[string]string{"url": "https://example.com/" + url.PathEscape(hostile), "custom_headers": `{"X-A":"<b>"}`}
	d.Credentials = map[string]string{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	d.Metadata, d.DeliveryMetadata = map[string]string{hostile: hostile}, map[string]string{hostile: hostile}
	return d
}

func hostileEvent() *models.Event {
	return &models.Event{Key: uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f"), ID: hostile, TenantID: hostile, Topic: hostile,
		Received: galleryTime, Time: galleryTime.Add(-time.Hour),
		Metadata: map[string]string{hostile: hostile}, Data: []byte(`{"` + `<script>alert(4)</script>` +
			`":"<img src=x onerror=alert(5)>","n":[1,{"d":{}}]}`),
		Counts: models.Counts{"failed": 1}, Matched: []string{hostile, "b"}, LastError: hostile, Attempts: 3}
}

func hostileDeliveries() []*models.Delivery {
	list := galleryDeliveries()
	for _, d := range list {
		d.PublicEventID, d.Topic, d.DestinationID, d.Reason, d.Error = hostile, hostile, hostile, hostile, hostile
		d.Destination = hostileDestination(d.Status == models.StatusHeld)
	}
	return list
}

// hostileFilter is the page of a filter in one of its views; reason makes it one for reading.
func hostileFilter(view, reason string) FilterBuilder {
	verdict := filter.Verdict{Rule: 1, Path: hostile, Reason: hostile}
	rows := []FilterRow{{Field: hostile, Condition: "equals", As: hostile, Value: hostile},
		{Group: "one", Field: hostile, Rows: []FilterRow{{Field: hostile, Condition: "gte", Value: hostile}}},
		{Group: "any", Rows: []FilterRow{{Condition: hostile}, {Field: hostile, Condition: "exists"}}}}
	return FilterBuilder{Page: hostilePage("Filter"), Destination: hostileDestination(false), View: view, Match: hostile, Rows: rows,
		Form: hostileForm("filter", "rules[0].value", "rules[1].rules[0].field"),
		Keep: `{"a":"` + strings.ReplaceAll(hostile, `"`, `\"`) + `"}`, ReadOnly: reason, Words: []filter.Rule{{Number: 1, Words: hostile}},
		SavedRules: []filter.Rule{{Number: 1, Words: hostile}}, Seen: 2,
		Fields: []models.SuggestedField{{SeenField: filter.SeenField{Path: hostile, Type: "text", Example: hostile, List: true},
			Events: 1}}, Counts: &models.FilterCounts{Total: 1, Failed: 1},
		Trial: FilterTrial{Notes: []string{hostile}, Total: 2, Compared: true, Stopped: 1, Started: 1,
			Items: []TrialItem{{Event: hostileEvent(), Label: hostile, Verdict: verdict, Changed: true},
				{Label: hostile, Problem: hostile}}},
		Pinned: hostile, Sample: hostile, Version: hostile}
}

func hostileAttempt(ok bool) *models.Attempt {
	a := &models.Attempt{PublicEventID: hostile, DestinationID: hostile, Number: 2, StartedAt: galleryTime, OK: ok, Code: 503,
		Trigger: models.TriggerManual, Actor: hostile,
		ErrorClass: "server", Error: hostile, Advice: hostile, RawError: hostile, Method: hostile, URL: hostile,
		RequestHeader:  "X-A: " + hostile + "\n" + hostile + ": b",
		ResponseHeader: "X-B: " + hostile, ResponseBody: []byte(hostile), Truncated: true,
		Timing: models.AttemptTiming{DNS: time.Millisecond}}
	a.EventKey = uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f")
	return a
}

func hostileForm(names ...string) Form {
	f := Form{Values: map[string][]string{}, Err: &models.Error{Kind: models.KindInvalid, Message: hostile, Fields: map[string]string{}}}
	for _, n := range names {
		f.Values[n] = []string{hostile}
		f.Err.Fields[n] = "is not " + hostile
	}
	return f
}

func query(keys ...string) url.Values {
	q := url.Values{}
	for _, k := range keys {
		q.Set(k, hostile)
	}
	return q
}

// pages renders every page there is, filled with hostile texts wherever somebody else than us chooses the text.
func pages() map[string]templ.Component {
	webhook := adapters.Lookup("webhook")
	d, off := hostileDestination(false), hostileDestination(true)
	formValues := DestinationValues(d)
	badForm := hostileForm("name", "config.url", "filter", "topics", "timeout", "max_in_flight", "retry", "retry.initial", "nonsense")
	for k, v := range formValues {
		if badForm.Values[k] == nil {
			badForm.Values[k] = v
		}
	}
	events := &models.Page[*models.Event]{Items: []*models.Event{hostileEvent()}, Next: hostile, Prev: hostile}
	deliveries := &models.Page[*models.Delivery]{Items: hostileDeliveries(), Next: hostile}
	tenants := &models.Page[models.TenantSummary]{Items: []models.TenantSummary{{Tenant: models.Tenant{ID: hostile, CreatedAt: galleryTime},
		Topics: []string{hostile}, Numbers: &models.TenantNumbers{Failing: 1}}}, Next: hostile}
	failed := &models.Error{Kind: models.KindInvalid, Message: hostile,
		Fields: map[string]string{"code": "must be " + hostile, hostile: hostile}}
	key := &models.APIKey{ID: uuid.Nil, Name: hostile, Hint: hostile, Scopes: []models.Permission{hostile}, TenantID: hostile,
		CreatedBy: hostile, CreatedAt: galleryTime}
	server := hostilePage("Tenants")
	server.Tenant = ""
	nobody := hostilePage("Log in")
	nobody.Tenant, nobody.Viewer, nobody.API = "", Viewer{}, nil
	considered := models.Considered{Event: hostileEvent(), Deliveries: hostileDeliveries(),
		Skipped: []models.Skipped{{Destination: d, Reason: hostile}}}
	steps := &Onboarding{Destinations: 1, First: d, Publish: APICall{Method: "POST", Path: "/api/v1/publish", Body: hostile}}
	sent := &Onboarding{Destinations: 1, EventID: hostile, EventURL: EventURL(hostile, hostile)}
	audit := &models.Page[*models.AuditEntry]{Items: hostileEntries(), Next: hostile, Prev: hostile}
	return map[string]templ.Component{
		"gallery":         GalleryPage(Gallery{hostilePage("Components")}),
		"setup":           SetupPage(Setup{nobody, hostileForm("code", "name", "email", "password")}),
		"login":           LoginPage(Login{nobody, hostileForm("email", "password", "return"), LoginWays{true, hostile, ProviderURL(hostile), true, true}, hostile}),
		"login first":     LoginPage(Login{Page: nobody, Ways: LoginWays{Password: true}}),
		"login elsewhere": LoginPage(Login{Page: nobody, Ways: LoginWays{Provider: hostile, URL: ProviderURL(hostile)}}),
		"tenants":         TenantsPage(Tenants{Page: server, Query: query("q"), List: tenants}),
		"no tenants":      TenantsPage(Tenants{Page: server, List: &models.Page[models.TenantSummary]{}}),
		"no such tenants": TenantsPage(Tenants{Page: server, Query: query("q"), List: &models.Page[models.TenantSummary]{}}),
		"tenants refused": TenantsPage(Tenants{Page: server, Query: query("q"), Err: failed}),
		"new tenant":      NewTenantPage(NewTenant{server, hostileForm("tenant_id")}),
		"overview":        OverviewPage(hostileOverview(d, off)),
		"overview, well": OverviewPage(Overview{Page: hostilePage("Overview"), Now: &models.Overview{Range: "1h"},
			Incidents: &models.Incidents{}}),
		"find": FindPage(Find{Page: hostilePage("Find"), Query: hostile,
			Groups: []HitGroup{{hostile, []Hit{{hostile, hostile, "x", "/x", true}}}}}),
		"find, nothing": FindPage(Find{Page: server, Query: hostile}),
		"help":          HelpPage(Help{hostilePage("Help")}),
		"events, beside": EventsPage(Events{Page: hostilePage("Events"), Query: query("q"),
			List:   &models.Page[*models.Event]{Items: []*models.Event{considered.Event}},
			Beside: hostileInspector(considered)}),
		"compare": ComparePage(Comparison{Page: hostilePage("Compare attempts"),
			A: ComparedAttempt{&models.Attempt{Number: 1, Error: hostile, RequestHeader: "A: " + hostile, ResponseBody: []byte(hostile)},
				hostile, []byte(`{"a":1}`)},
			B:       ComparedAttempt{&models.Attempt{Number: 2, OK: true}, hostile, []byte(`{"a":2,"b":"` + "x" + `"}`)},
			Choices: []Option{{Value: "a", Label: hostile}, {Value: "b", Label: hostile}}}),
		"overview, first step":  OverviewPage(Overview{Page: hostilePage("Overview"), Steps: &Onboarding{Echo: true}}),
		"overview, second step": OverviewPage(Overview{Page: hostilePage("Overview"), Steps: steps}),
		"overview, third step":  OverviewPage(Overview{Page: hostilePage("Overview"), Steps: sent}),
		"destinations": DestinationsPage(Destinations{Page: hostilePage("Destinations"),
			Query: query("q", "type", "state", "topics", "sort"), List: []*models.Destination{d, off}, Types: adapters.All(), Any: true}),
		"selected destinations": ChosenPage(Chosen{Page: hostilePage("Selected destinations"), List: []*models.Destination{d, off}}),
		"enabling destinations": ChosenPage(Chosen{Page: hostilePage("Enable destinations"), Do: DoEnable, Form: badForm, Missing: 1,
			List: []*models.Destination{d, off}, Waiting: map[int64]models.Waiting{off.Key: {Held: 1200, Retrying: 3}}}),
		"disabling destinations": ChosenPage(Chosen{Page: hostilePage("Disable destinations"), Do: DoDisable, Many: true,
			List: []*models.Destination{d, off}}),
		"no destinations":      DestinationsPage(Destinations{Page: hostilePage("Destinations"), Echo: true}),
		"no such destinations": DestinationsPage(Destinations{Page: hostilePage("Destinations"), Query: query("q"), Any: true}),
		"new destination":      NewDestinationPage(NewDestination{hostilePage("Add destination"), hostileForm("type"), adapters.All()}),
		"destination form": DestinationFormPage(DestinationForm{Page: hostilePage("Add Webhook"), Type: webhook,
			Form: Form{Values: NewDestinationValues(webhook, nil, nil)}, Topics: []models.Topic{{Name: hostile}},
			Defaults: models.DefaultRules()}),
		"destination refused": DestinationFormPage(DestinationForm{Page: hostilePage("Add Webhook"), Type: webhook, Form: badForm,
			Defaults: models.DefaultRules()}),
		"destination settings": DestinationFormPage(DestinationForm{Page: hostilePage("Settings"), Destination: d, Type: webhook,
			Form: Form{Values: formValues}, Defaults: models.DefaultRules(), Open: true}),
		"destination": DestinationPage(Destination{Page: hostilePage(hostile), Destination: d,
			Policy: models.DefaultRetryPolicy(), Timeout: 15 * time.Second, MaxInFlight: 20, Recent: hostileDeliveries()}),
		"destination disabled": DestinationPage(Destination{Page: hostilePage(hostile), Destination: off,
			Policy: models.DefaultRetryPolicy(), Held: 3}),
		"destination failing": DestinationPage(Destination{Page: hostilePage(hostile), Destination: d,
			Policy: models.DefaultRetryPolicy(), Health: hostileHealth()}),
		"alerts": AlertsPage(Alerts{Page: hostilePage("Alerts"), Query: query("status"),
			List: &models.Page[*models.Alert]{Items: []*models.Alert{hostileAlert()}}}),
		"alert": AlertPage(Alert{Page: hostilePage(hostile), Alert: hostileAlert(),
			Told: []*models.Notification{hostileNotification()}, Form: hostileForm("for")}),
		"rules": RulesPage(Rules{Page: hostilePage("Rules"),
			List:     []*models.AlertRule{{ID: hostile, Name: hostile, Topics: []string{hostile}}},
			Channels: []*models.Channel{{ID: hostile, Name: hostile, Target: hostile}}}),
		"rule": RulePage(Rule{Page: hostilePage(hostile), Form: hostileForm("name", "topics", "every", "when.window"),
			Destinations: []Option{{Value: hostile, Label: hostile}}, Preview: &models.Preview{Count: 2, Note: hostile,
				Times: []models.PreviewTime{{Name: hostile, TenantID: hostile, DestinationID: hostile}}}}),
		"channels": ChannelsPage(Channels{Page: hostilePage("Channels"),
			List: []*models.Channel{{ID: hostile, Name: hostile, Type: hostile, Target: hostile}}}),
		"channel test": ChannelTestPage(ChannelTest{Page: hostilePage("Test"),
			Channel: &models.Channel{ID: hostile, Name: hostile, Target: hostile}, Answer: hostile, Error: hostile, Advice: hostile}),
		"notifications": NotificationsPage(Notifications{Page: hostilePage("Notifications"), Query: query("status", "rule_id"),
			List: &models.Page[*models.Notification]{Items: []*models.Notification{hostileNotification()}}}),
		"notification": NotificationPage(Notification{Page: hostilePage("Notification"), Notification: hostileNotification()}),
		"destination deliveries": DestinationDeliveriesPage(DestinationDeliveries{Page: hostilePage("Deliveries"), Destination: d,
			Query: query("status", "code", "error_class"), List: deliveries}),
		"no destination delivery": DestinationDeliveriesPage(DestinationDeliveries{Page: hostilePage("Deliveries"), Destination: d,
			List: &models.Page[*models.Delivery]{}}),
		"disable": DisablePage(Disable{hostilePage("Disable destination"), d, hostileForm("reason")}),
		"enable":  EnablePage(Enable{hostilePage("Enable destination"), off, 12, true, hostileForm("action")}),
		"confirm": ConfirmPage(Confirm{Page: hostilePage("Delete destination"), Question: hostile,
			Effects: []string{hostile}, Action: "/x", Submit: "Delete destination", Back: "/x", Hidden: []Label{{"name", hostile}},
			Err: failed}),
		"secrets":          SecretsPage(Secrets{Page: hostilePage("Secrets"), Destination: d, Form: hostileForm("overlap")}),
		"secrets revealed": SecretsPage(Secrets{Page: hostilePage("Secrets"), Destination: d, Revealed: true}),
		"test":             TestPage(Test{hostilePage("Send test event"), d, []string{hostile}, hostileForm("topic", "data")}),
		"check": CheckPage(Check{hostilePage("Connection check"), d, false,
			[]adapters.Stage{{Name: hostile, Message: hostile, Advice: hostile}, {Name: "dns", OK: true, Took: time.Second}}}),
		"filter":             FilterPage(hostileFilter("rules", "")),
		"filter as text":     FilterPage(hostileFilter("json", "")),
		"filter for reading": FilterPage(hostileFilter("search", hostile)),
		"filter without rules": FilterPage(FilterBuilder{Page: hostilePage("Filter"), Destination: d, View: "rules",
			Counts: &models.FilterCounts{}}),
		"filter's impact": FilterImpactPage(FilterImpact{Page: hostilePage("Save the filter?"), Destination: d, Events: 10,
			Dropped: 9, Filter: hostile}),
		"send filtered": SendFilteredPage(SendFiltered{Page: hostilePage("Deliver filtered events"), Destination: d,
			Form: hostileForm("since", "until"), Plan: &models.FilteredPlan{Events: 2, Matching: 1,
				Sample: []*models.Event{hostileEvent()}}}),
		"filter help": FilterHelpPage(hostilePage("Filters")),
		"events searched": EventsPage(Events{Page: hostilePage("Events"), Query: query("q"),
			List: &models.Page[*models.Event]{Next: "x", Searched: &models.Searched{Stopped: true, Note: hostile}}, Any: true}),
		"events": EventsPage(Events{Page: hostilePage("Events"),
			Query: query("q", "status", "topic", "destination_id", "since"), List: events,
			Destinations: []Option{{Value: hostile, Label: hostile}}, Topics: []string{hostile}, Notice: hostile, Any: true}),
		"no events": EventsPage(Events{Page: hostilePage("Events"), List: &models.Page[*models.Event]{}}),
		"no such events": EventsPage(Events{Page: hostilePage("Events"), Query: query("q"), List: &models.Page[*models.Event]{},
			Any: true}),
		"events refused": EventsPage(Events{Page: hostilePage("Events"), Query: query("code"), Err: failed, Any: true}),
		"event": EventPage(Event{Page: hostilePage("Event"), Considered: considered,
			Attempts: []*models.Attempt{hostileAttempt(true), hostileAttempt(false)},
			Publish:  APICall{Method: "POST", Path: "/api/v1/publish", Body: hostile}}),
		"event raw":         EventPage(Event{Page: hostilePage("Event"), Considered: considered, Raw: true}),
		"event nobody took": EventPage(Event{Page: hostilePage("Event"), Considered: models.Considered{Event: hostileEvent()}}),
		"retries": RetriesPage(Retries{Page: hostilePage("Retries"), Query: query("status"),
			List: &models.Page[*models.BulkRetry]{Items: []*models.BulkRetry{hostileBulk(models.BulkRunning)}, Next: "x"}}),
		"no retries": RetriesPage(Retries{Page: hostilePage("Retries"), List: &models.Page[*models.BulkRetry]{}}),
		"retry plan": NewRetryPage(hostilePlan()),
		"retry plan refused": NewRetryPage(NewRetry{Page: hostilePage("Retry deliveries"),
			Form: hostileForm("status", "destination_id", "topic", "code", "since", "until", "error_class")}),
		"retry of selected": NewRetryPage(NewRetry{Page: hostilePage("Retry deliveries"),
			Form: Form{Values: map[string][]string{"delivery_ids": {hostile}}},
			Plan: &models.BulkPlan{Skipped: []models.Skip{{Reason: models.SkipLimit, Count: 1}}}}),
		"retry": RetryPage(Retry{Page: hostilePage("Bulk retry"), BulkRetry: hostileBulk(models.BulkRunning),
			Failures: []*models.Attempt{hostileAttempt(false)}, Now: galleryTime.Add(time.Minute)}),
		"retry paused": RetryPage(Retry{Page: hostilePage("Bulk retry"), BulkRetry: hostileBulk(models.BulkPaused),
			Now: galleryTime}),
		"retry cancelled": RetryPage(Retry{Page: hostilePage("Bulk retry"), BulkRetry: hostileBulk(models.BulkCancelled),
			Now: galleryTime}),
		"erasures": ErasuresPage(Erasures{Page: hostilePage("Erasures"),
			List: &models.Page[*models.Erasure]{Items: []*models.Erasure{hostileErasure(false), hostileErasure(true)}, Next: "x"}}),
		"no erasures":  ErasuresPage(Erasures{Page: hostilePage("Erasures"), List: &models.Page[*models.Erasure]{}}),
		"erasure":      ErasurePage(Erasure{Page: hostilePage("Erasure"), Erasure: hostileErasure(false)}),
		"erasure done": ErasurePage(Erasure{Page: hostilePage("Erasure"), Erasure: hostileErasure(true)}),
		"erase":        NewErasurePage(NewErasure{Page: hostilePage("Erase data"), Form: hostileForm("what", "q", "topic", "since", "until", "why")}),
		"export":       TenantExportPage(TenantExport{Page: hostilePage("Export"), Events: &models.EventCount{Events: 7}}),
		"topic rules":  TopicRetentionPage(TopicRetention{Page: hostilePage("Retention by topic"), Form: hostileForm("topics"), Days: 30}),
		"erase, counted": NewErasurePage(NewErasure{Page: hostilePage("Erase data"), Form: hostileForm("q"), Confirm: hostile,
			Plan: &models.ErasurePlan{Count: 3, Looked: 7}}),
		"erase an event": NewErasurePage(NewErasure{Page: hostilePage("Erase data"), Event: hostile}),
		"event erased":   EventPage(Event{Page: hostilePage("Event"), Considered: models.Considered{Event: erasedEvent()}}),
		"attempt failed": AttemptPage(Attempt{Page: hostilePage("Attempt 2"), Attempt: hostileAttempt(false),
			Event: hostileEvent(), Destination: d, Delivery: hostileDeliveries()[3], Newer: "/x", Older: "/y"}),
		"attempt succeeded": AttemptPage(Attempt{Page: hostilePage("Attempt 2"), Attempt: hostileAttempt(true),
			Event: hostileEvent()}),
		"topics": TopicsPage(Topics{Page: hostilePage("Topics"),
			List: []models.Topic{{Name: hostile, Description: hostile, Example: []byte(`"<b>"`)}, {Name: "env", FromEnv: true}},
			Form: hostileForm("name", "description", "example")}),
		"no topics": TopicsPage(Topics{Page: hostilePage("Topics")}),
		"keys": KeysPage(Keys{Page: hostilePage("API keys"), List: []*models.APIKey{key},
			Now: galleryTime.Add(4000 * time.Hour)}),
		"all keys": KeysPage(Keys{Page: server, List: []*models.APIKey{key}, Now: galleryTime}),
		"no keys":  KeysPage(Keys{Page: server}),
		"new key": NewKeyPage(NewKey{hostilePage("Create API key"),
			hostileForm("name", "scopes", "tenant_id", "expires_in")}),
		"new key for all": NewKeyPage(NewKey{server, hostileForm("tenant_id")}),
		"users":           UsersPage(Users{Page: hostileServer("Users"), List: hostileUsers(), Invitations: hostileInvitations()}),
		"user": UserPage(User{Page: hostileServer("User"), User: hostileUsers()[0], Form: hostileForm("role"), Sessions: hostileSessions(), MayOwn: true,
			Passkeys: hostilePasskeys(), Identities: hostileIdentities()}),
		"members":             MembersPage(Members{Page: hostilePage("Members"), List: hostileUsers(), Invitations: hostileInvitations()}),
		"no members":          MembersPage(Members{Page: hostilePage("Members")}),
		"new invitation":      NewInvitationPage(NewInvitation{Page: hostileServer("Invite"), Form: hostileForm("email", "role", "tenant_id")}),
		"invited":             InvitedPage(Invited{Page: hostilePage("Invited"), Invitation: hostileInvitations()[0], Link: hostile, Next: "/x"}),
		"invited, mail waits": InvitedPage(Invited{Page: hostilePage("Invited"), Invitation: hostileInvitations()[1], Link: hostile, Next: "/x"}),
		"new passkey":         NewPasskeyPage(NewPasskey{Page: hostilePage("Add a passkey"), Form: hostileForm("name")}),
		"no passkeys":         NewPasskeyPage(NewPasskey{Page: hostilePage("Add a passkey"), Off: hostile}),
		"passkey as a code":   LoginCodePage(LoginCode{Page: hostilePage("Code"), Form: hostileForm("return"), Passkey: true}),
		"invite": InvitePage(Invite{Page: hostilePage("Accept invitation"), Invitation: hostileInvitations()[0], Action: InviteURL("x"),
			Form: hostileForm("name", "password"), Ways: LoginWays{true, hostile, ProviderURL(hostile), true, true}}),
		"choose": ChoosePage(Choose{Page: hostileServer("Your tenants"), List: hostileUsers()[0].Members}),
		"account": AccountPage(Account{Page: hostilePage("Your account"), User: hostileUsers()[0], Sessions: hostileSessions(),
			Profile: hostileForm("name", "email"), Passkeys: hostilePasskeys(), PasskeysOff: hostile, Provider: hostile, Issuer: hostile,
			Identities: hostileIdentities()}),
		"account, password": AccountPage(Account{Page: hostilePage("Your account"), User: hostileUsers()[0], Profile: Form{Values: query("name")},
			Password: hostileForm("present", "password")}),
		"second factor": FactorPage(Factor{Page: hostilePage("Second factor"), Setup: &models.FactorSetup{Secret: hostile, URL: hostile}, Required: true,
			Form: hostileForm("code")}),
		"second factor on": FactorPage(Factor{Page: hostilePage("Second factor"), Left: 3}),
		"recovery codes":   RecoveryCodesPage(RecoveryCodes{Page: hostilePage("Recovery codes"), Codes: []string{hostile}}),
		"login code":       LoginCodePage(LoginCode{Page: hostilePage("Code"), Form: hostileForm("code", "return"), Code: true, Passkey: true}),
		"confirm login": ConfirmLoginPage(ConfirmLogin{Page: hostilePage("Password"), Form: hostileForm("password", "return"),
			Ways: LoginWays{true, hostile, ProviderURL(hostile), false, true}}),
		"key created": KeyCreatedPage(KeyCreated{Page: hostilePage("API key created"), Key: key, Secret: hostile, Next: "/x",
			Try: APICall{Path: "/api/v1/topics"}}),
		"audit log": AuditPage(Audit{Page: hostilePage("Audit log"),
			Query: query("q", "action", "actor", "object", "since", "ip"), Actors: []string{hostile}, Export: query("q", "object"),
			Notice: hostile, List: audit}),
		"audit log of all": AuditPage(Audit{Page: server, List: audit}),
		"empty audit log":  AuditPage(Audit{Page: hostilePage("Audit log"), List: &models.Page[*models.AuditEntry]{}}),
		"no such entries": AuditPage(Audit{Page: hostilePage("Audit log"), Query: query("q"),
			List: &models.Page[*models.AuditEntry]{}}),
		"audit log refused":  AuditPage(Audit{Page: hostilePage("Audit log"), Query: query("since"), Err: failed}),
		"audit entry":        AuditEntryPage(AuditEntry{Page: hostilePage(hostile), Entry: audit.Items[0]}),
		"audit entry failed": AuditEntryPage(AuditEntry{Page: server, Entry: audit.Items[1]}),
		"activity":           ActivityPage(Activity{Page: hostilePage("Activity"), Destination: d, Query: query("next"), List: audit}),
		"no activity": ActivityPage(Activity{Page: hostilePage("Activity"), Destination: off,
			List: &models.Page[*models.AuditEntry]{}}),
		"settings": SettingsPage(Settings{Page: hostilePage("Settings"), Policy: models.DefaultRetryPolicy(),
			Settings: []Setting{{"Topics", hostile, "TOPICS", hostile, "default"}}}),
		"tenant settings": TenantSettingsPage(TenantSettings{Page: hostilePage("Tenant settings"),
			Form: Form{Values: map[string][]string{"name": {hostile}}}, Defaults: map[string]string{"name": hostile}}),
		"problem": ProblemPage(Problem{Page: hostilePage("Not found"), Status: 404, Message: hostile,
			Fields: []string{hostile}, RequestID: hostile, Back: "/x", BackText: "Go to the start"}),
		"problem for nobody": ProblemPage(Problem{Page: nobody, Status: 500, Message: hostile, Back: "/",
			BackText: "Go to the start"}),
	}
}

func hostileChoice() models.RetryFilter {
	return models.RetryFilter{Statuses: []string{models.StatusFailed}, Destinations: []string{hostile}, Topics: []string{hostile},
		ErrorClasses: []string{hostile}, Codes: []models.Code{"500"},
		Events: []string{hostile}, Since: &galleryTime, Until: &galleryTime}
}

func hostileBulk(status string) *models.BulkRetry {
	return &models.BulkRetry{TenantID: hostile, Actor: hostile, ChangedBy: hostile, Status: status, Filter: hostileChoice(), Rate: 10,
		Total: 12, Queued: 8, Delivered: 4, Failed: 2,
		Unsent: 1, Left: map[string]int{models.SkipDisabled: 1}, Note: "hourly_limit", CreatedAt: galleryTime, ChangedAt: galleryTime}
}

func hostilePlan() NewRetry {
	share := []models.Share{{Key: hostile, Count: 3}, {Count: 1}}
	return NewRetry{Page: hostilePage("Retry deliveries"), Form: hostileForm("rate"), Key: hostile, Hidden: []Label{{"topic", hostile}},
		Topics:       []string{hostile},
		Destinations: []Option{{Value: hostile, Label: hostile}}, Plan: &models.BulkPlan{Filter: hostileChoice(), Count: 4,
			ByDestination: share, ByErrorClass: share,
			ByTopic: share, Skipped: []models.Skip{{Reason: models.SkipDeleted, Count: 1}}, Sample: hostileDeliveries(),
			Limits: models.AppliedLimits{PerDelivery: models.Limit{Most: 10}, PerHour: models.Limit{Most: 10}}, HourlyLeft: 3}}
}

func render(t *testing.T, c templ.Component) (string, *goquery.Document) {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), doc
}

func TestEveryPage(t *testing.T) {
	t.Parallel()
	for name, page := range pages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			html, doc := render(t, page)
			checkInert(t, html, doc)
			checkStructure(t, doc)
			checkForms(t, doc)
			checkIcons(t, doc)
		})
	}
}

// checkInert holds a page to the Content-Security-Policy, and to showing foreign text as text.
func checkInert(t *testing.T, html string, doc *goquery.Document) {
	t.Helper()
	doc.Find("script").Each(func(_ int, s *goquery.Selection) {
		if src, ok := s.Attr("src"); !ok || static.Lookup(src) == nil || strings.TrimSpace(s.Text()) != "" {
			t.Errorf("a script that is not ours: %s", outer(s))
		}
	})
	if n := doc.Find("style, [style], img, iframe, object, base").Length(); n > 0 {
		t.Errorf("%d elements that the policy forbids or no page needs", n)
	}
	doc.Find("*").Each(func(_ int, s *goquery.Selection) {
		for _, a := range s.Nodes[0].Attr {
			if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
				t.Errorf("an inline handler: %s", outer(s))
			}
			if v := strings.ToLower(strings.TrimSpace(a.Val)); (a.Key == "href" || a.Key == "action" || a.Key == "src") &&
				strings.HasPrefix(v, "javascript:") {
				t.Errorf("a script as an address: %s", outer(s))
			}
		}
	})
	for _, raw := range []string{"<script>alert", "<img src=x"} {
		if strings.Contains(html, raw) {
			t.Errorf("%q came out as markup", raw)
		}
	}
}

func checkStructure(t *testing.T, doc *goquery.Document) {
	t.Helper()
	if n := doc.Find("h1").Length(); n != 1 {
		t.Errorf("%d h1", n)
	}
	if doc.Find("html[lang]").Length() != 1 || doc.Find("title").Text() == "" || doc.Find("main#main").Length() != 1 ||
		doc.Find(`a.skip[href="#main"]`).Length() != 1 {
		t.Error("language, title, main or the way past the navigation is missing")
	}
	ids := map[string]bool{}
	doc.Find("[id]").Each(func(_ int, s *goquery.Selection) {
		id := s.AttrOr("id", "")
		// The list of states in the gallery and these pages shows one delivery several times.
		if ids[id] && !strings.HasPrefix(id, "retry-") && !strings.HasPrefix(id, "cancel-") {
			t.Errorf("id %q is given twice", id)
		}
		ids[id] = true
	})
	for _, attr := range []string{"aria-describedby", "aria-labelledby", "for", "list", "data-copy-from", "data-peek", "data-add-row"} {
		doc.Find("[" + attr + "]").Each(func(_ int, s *goquery.Selection) {
			for id := range strings.FieldsSeq(s.AttrOr(attr, "")) {
				if !ids[id] {
					t.Errorf("%s names %q, which is not on the page", attr, id)
				}
			}
		})
	}
	doc.Find(".banner.tone-bad ul a[href^='#']").Each(func(_ int, s *goquery.Selection) {
		if id := strings.TrimPrefix(s.AttrOr("href", ""), "#"); !ids[id] {
			t.Errorf("the error summary leads to %q, which is not on the page", id)
		}
	})
	doc.Find("table").Each(func(_ int, s *goquery.Selection) {
		if s.Find("th[scope=col]").Length() == 0 {
			t.Errorf("a table without headers: %.200s", outer(s))
		}
	})
}

func checkForms(t *testing.T, doc *goquery.Document) {
	t.Helper()
	doc.Find("input, select, textarea").Each(func(_ int, s *goquery.Selection) {
		if s.AttrOr("type", "") == "hidden" || s.AttrOr("aria-label", "") != "" || s.Closest("label").Length() > 0 {
			return
		}
		id := s.AttrOr("id", "")
		if label := doc.Find(`label[for="` + id + `"]`); id == "" || label.Length() != 1 || strings.TrimSpace(label.Text()) == "" {
			t.Errorf("a control without a label: %s", outer(s))
		}
	})
	doc.Find("button, a").Each(func(_ int, s *goquery.Selection) {
		if strings.TrimSpace(s.Text()) == "" {
			t.Errorf("without a name: %s", outer(s))
		}
		if goquery.NodeName(s) == "button" && s.AttrOr("type", "") == "" {
			t.Errorf("a button without a type: %s", outer(s))
		}
	})
}

func checkIcons(t *testing.T, doc *goquery.Document) {
	t.Helper()
	sprite := string(static.Lookup(static.URL("icons.svg")).Body)
	doc.Find("use").Each(func(_ int, s *goquery.Selection) {
		_, name, _ := strings.Cut(s.AttrOr("href", ""), "#")
		if !strings.Contains(sprite, `<symbol id="`+name+`"`) {
			t.Errorf("there is no icon %q; add it to static/icons.mjs", name)
		}
	})
	doc.Find("main svg").Each(func(_ int, s *goquery.Selection) {
		if s.Closest(`[aria-hidden="true"]`).Length() == 0 && (s.AttrOr("role", "") != "group" || s.AttrOr("aria-label", "") == "") {
			t.Errorf("an icon that screen readers see: %s", outer(s))
		}
	})
}

func outer(s *goquery.Selection) string {
	h, err := goquery.OuterHtml(s)
	if err != nil {
		return err.Error()
	}
	if len(h) > 300 {
		h = h[:300]
	}
	return h
}

func TestTypeIcons(t *testing.T) {
	t.Parallel()
	for _, r := range adapters.All() {
		doc, err := goquery.NewDocumentFromReader(strings.NewReader(r.Spec.Icon))
		if err != nil {
			t.Fatal(err)
		}
		if doc.Find("body > svg").Length() != 1 || doc.Find("script, style, [style], image, foreignObject").Length() > 0 ||
			strings.Contains(r.Spec.Icon, "href") {
			t.Errorf("the icon of %s is not a plain SVG", r.Spec.Name)
		}
	}
}

func hostileHealth() Health {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Health{Health: &models.Health{Failures: 3, Attempts: 9, Since: &at, LastFailure: &at, Error: hostile, Advice: hostile},
		Limit: 20, Now: at, Day: models.Rates{Deliveries: 4, Failed: 3},
		History: []models.HealthBucket{{Start: at, Rates: models.Rates{Deliveries: 4, Failed: 3}, Peak: 3}},
		Alerts:  []*models.Alert{hostileAlert()},
		Changes: []models.StateChange{{At: at, Disabled: true, Actor: hostile, Reason: hostile, Attempts: []string{hostile}}}}
}

func hostileAlert() *models.Alert {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &models.Alert{Status: models.AlertAcknowledged, Summary: hostile, RuleName: hostile, RuleID: hostile, TenantID: hostile,
		DestinationID: hostile, DestinationName: hostile,
		OpenedAt: at, AcknowledgedAt: &at, AcknowledgedBy: hostile, Acknowledged: hostile,
		Detail: models.AlertDetail{Error: hostile, Advice: hostile, Failures: 3, FirstFailure: &at}}
}

func hostileEntries() []*models.AuditEntry {
	key := uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f")
	detail := map[string]any{"name": hostile, hostile: hostile, "list": []any{hostile, 1.5}, "map": map[string]any{hostile: hostile},
		"event": hostile}
	changes := []models.Change{{Field: hostile, From: hostile, To: []any{hostile}}, {Field: hostile, To: hostile, Secret: true},
		{Field: "ordered", From: false, To: true}}
	return []*models.AuditEntry{
		{Key: key, TenantID: hostile, Actor: hostile, ActorKind: hostile, Action: "destination.update", Object: hostile, Detail: detail,
			Changes: changes, IP: hostile, RequestID: hostile},
		{Key: key, TenantID: hostile, TenantDeleted: true, Actor: hostile, Action: hostile, Object: hostile, Outcome: hostile,
			Detail: detail, IP: hostile},
		{Key: key, TenantID: hostile, Actor: hostile, Action: "delivery.retry", Object: hostile, Detail: detail},
		{Key: key, Actor: hostile, Action: "destination.disable", Object: hostile, Detail: map[string]any{"reason": hostile}},
		{Key: key, Actor: hostile, Action: "channel.update", Object: hostile, Changes: []models.Change{}},
	}
}

func hostileNotification() *models.Notification {
	return &models.Notification{Kind: notify.Opened, Status: models.NotificationFailed, Reason: hostile, Answer: hostile, Error: hostile,
		Advice: hostile, Actor: hostile,
		ChannelID: hostile, ChannelName: hostile, Notice: notify.Notice{Summary: hostile, DestinationName: hostile, Error: hostile}}
}

func hostileOverview(d, off *models.Destination) Overview {
	n := 7
	start := hostileHealth().Now
	x := models.TrafficBucket{Start: start, Traffic: models.Traffic{Received: 9, Delivered: 1200, Failed: 3, Retrying: 2, First: 9,
		FirstFailed: 3}}
	return Overview{Page: hostilePage("Overview"), At: start, Destinations: 3,
		Now: &models.Overview{Range: "24h", Since: start, Bucket: 30 * time.Minute, Buckets: []models.TrafficBucket{x, x},
			Points: []models.TrafficBucket{x, x}, Sum: x.Traffic, Before: &models.Traffic{Received: 3, First: 3}, Retrying: &n, Failing: 1},
		Incidents: &models.Incidents{Total: 8, States: map[string]int{models.IncidentFailing: 1}, Items: []*models.Incident{
			{Destination: d, State: models.IncidentFailing, Cause: hostile, Since: start, Failures: 4, Limit: 100},
			{Destination: off, State: models.IncidentDisabled, Cause: hostile, Since: start, Waiting: models.Waiting{Held: 4811}}}},
		Busy: []*models.Busy{{Destination: d, Rates: models.Rates{Deliveries: 4, Failed: 1}, Delivered: 3}},
		Failures: &models.Failures{Groups: []models.FailureGroup{{Destination: d, ErrorClass: "server", Error: hostile, Example: hostile,
			Failed: 2, Last: start}}}}
}

func hostileInspector(c models.Considered) *Inspector {
	v := &Inspector{Event: Event{Page: hostilePage("Event"), Considered: c}, Delivery: c.Deliveries[0],
		List: "/t/x/events?q=" + url.QueryEscape(hostile)}
	a := &models.Attempt{DeliveryKey: c.Deliveries[0].DeliveryKey, Number: 1, Code: 500, Error: hostile, Method: "POST", URL: hostile,
		RequestHeader: "A: " + hostile, ResponseHeader: "B: " + hostile, ResponseBody: []byte(`{"error": "` + "<b>" + `"}`)}
	v.Attempts = []*models.Attempt{a}
	v.Attempt = &Attempt{Page: v.Page, Attempt: a, Event: c.Event, Delivery: c.Deliveries[0], Sent: []byte(`{"a": [1, "<script>", null]}`)}
	return v
}

// hostileServer is a page about the whole server.
func hostileServer(title string) Page {
	p := hostilePage(title)
	p.Tenant = ""
	return p
}

func hostileUsers() []*models.User {
	return []*models.User{{Name: hostile, Email: hostile, Role: models.RoleAdmin, CreatedAt: galleryTime,
		Members: []models.Member{{TenantID: hostile, Name: hostile, Role: models.RoleViewer}}}}
}

func hostileInvitations() []*models.Invitation {
	key := int64(1)
	return []*models.Invitation{{Email: hostile, Role: models.RoleViewer, TenantKey: &key, TenantID: hostile, TenantName: hostile, CreatedBy: hostile,
		ExpiresAt: galleryTime, Mail: &models.LetterState{Status: models.LetterFailed, Tries: 9, Error: hostile}},
		{Email: hostile, Role: models.RoleViewer, TenantKey: &key, TenantID: hostile, TenantName: hostile, CreatedBy: hostile, ExpiresAt: galleryTime,
			Mail: &models.LetterState{Status: models.LetterWaiting, Tries: 1, Error: hostile, NextTry: &galleryTime}}}
}

func hostilePasskeys() []*models.Passkey {
	return []*models.Passkey{{Name: hostile, CreatedAt: galleryTime, LastUsedAt: &galleryTime, SuspectAt: &galleryTime},
		{Key: uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f"), Name: hostile, CreatedAt: galleryTime, Elsewhere: true}}
}

func hostileIdentities() []*models.Identity {
	return []*models.Identity{{Issuer: hostile, Subject: hostile, Email: hostile, CreatedAt: galleryTime, LastLoginAt: galleryTime}}
}

func hostileSessions() []*models.Session {
	return []*models.Session{{StartedAt: galleryTime, SeenAt: galleryTime, IP: hostile, Browser: hostile},
		{Key: uuid.MustParse("0195939e-1a2b-7c3d-8e4f-5a6b7c8d9e0f"), StartedAt: galleryTime, SeenAt: galleryTime, Browser: hostile}}
}

func TestBrowserWords(t *testing.T) {
	for agent, want := range map[string]string{"": "Unknown browser", "curl/8.5": "curl/8.5",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                   "Chrome on macOS"} {
		if got := browserWords(agent); got != want {
			t.Errorf("%q is called %q, want %q", agent, got, want)
		}
	}
}

func hostileErasure(done bool) *models.Erasure {
	n := 12
	e := &models.Erasure{TenantID: hostile, Actor: hostile, Why: hostile, Scope: models.ErasureOfFilter, Total: &n, Looked: 7, Erased: 3,
		Cancelled: 1, Attempts: 4, CreatedAt: galleryTime,
		Filter: models.ErasureFilter{Since: &galleryTime, Until: &galleryTime, Topics: []string{hostile}, Text: hostile}}
	if done {
		e.FinishedAt, e.Scope, e.EventID = &galleryTime, models.ErasureOfEvent, hostile
	}
	return e
}

func erasedEvent() *models.Event {
	e := hostileEvent()
	e.Data, e.Metadata, e.ErasedAt, e.ErasedWhy = nil, nil, &galleryTime, "Erased by "+hostile
	return e
}
