package app

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// alertFrame is the frame of a page about alerts; with crumb, of one below its list.
func (p *pageCtx) alertFrame(title string, crumbs ...views.Crumb) views.Page {
	f := p.frame(title, views.SectionAlerts)
	if len(crumbs) > 0 {
		f.Crumbs = append([]views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}, crumbs...)
	}
	return f
}

// ownerCall is the call of the API below a tenant, or at the root for the operators.
func (p *pageCtx) ownerCall(method, body, query string, tail ...string) *views.APICall {
	return &views.APICall{Method: method, Path: ownerPath(p.tenantID(), tail...) + query, Body: body}
}

func (a *App) alertsPage(ctx context.Context, p *pageCtx) error {
	q := p.query()
	if !q.Has("status") {
		q.Set("status", models.AlertOpen)
	}
	v := views.Alerts{Page: p.alertFrame("Alerts"), Query: q, Now: time.Now()}
	v.API = p.ownerCall("GET", "", queryOf(q, "status", "destination_id", "rule_id"), "alerts")
	req := listAlertsRequest{Tenant: p.tenantID()}
	err := bindQuery(q, &req)
	if err == nil {
		v.List, err = a.alertPage(ctx, p.call, &req, pageSize, 100)
	}
	if err == nil && len(v.List.Items) == 0 {
		var rules []*models.AlertRule
		if rules, err = a.store.AlertRules(ctx, p.ownerScope(), p.tenantID()); err == nil {
			v.Rules = len(rules)
		}
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.AlertsPage(v)) })
}

// ownerScope is the scope of the pages about alerts.
func (p *pageCtx) ownerScope() models.Scope {
	if p.tenant == nil {
		return models.AllTenants()
	}
	return p.tenant.Scope()
}

func (a *App) alertPageOne(ctx context.Context, p *pageCtx) error {
	return a.showAlert(ctx, p, views.Form{Values: map[string][]string{"for": {"4h"}}})
}

func (a *App) showAlert(ctx context.Context, p *pageCtx, form views.Form) error {
	x, err := a.store.Alert(ctx, p.ownerScope(), p.tenantID(), p.Params("alert"))
	if err != nil {
		return err
	}
	name := x.DestinationName
	if name == "" {
		name = x.DestinationID
	}
	v := views.Alert{Page: p.alertFrame(x.RuleName + ": " + name), Alert: x, Form: form, Now: time.Now()}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", "", "alerts", x.ID())
	v.Invalid = form.Err != nil
	told, err := a.store.Notifications(ctx, p.ownerScope(), p.tenantID(), models.NotificationQuery{AlertID: x.ID(), Page: models.PageQuery{Limit: 100}})
	if err != nil {
		return err
	}
	v.Told = told.Items
	return p.render(ctx, listStatus(form.Err), views.AlertPage(v))
}

func (a *App) acknowledgePage(ctx context.Context, p *pageCtx) error {
	to := views.AlertURL(p.tenantID(), p.Params("alert"))
	_, err := a.acknowledgeAlert(ctx, p.call, &alertRequest{Tenant: p.tenantID(), Alert: p.Params("alert")})
	if e := refusal(err); e != nil {
		return p.done(to, &views.Flash{Tone: views.ToneInfo, Text: e.Message})
	}
	if err != nil {
		return err
	}
	return p.done(to, said("Acknowledged: you take care of it, and there are no reminders."))
}

func (a *App) mutePage(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &muteRequest{Tenant: p.tenantID(), Alert: p.Params("alert")}
	d, err := models.ParseDuration(form.Value("for"))
	if err != nil {
		err = models.Invalid("for", "must be one of these")
	} else {
		req.Body.For = &d
		_, err = a.muteAlert(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = refusal(err); form.Err == nil {
			return err
		}
		return a.showAlert(ctx, p, form)
	}
	text := "Notices about this alert are held back for " + d.String() + "."
	if d == 0 {
		text = "Notices about this alert are sent again."
	}
	return p.done(views.AlertURL(p.tenantID(), req.Alert), said(text))
}

func (a *App) notificationsPage(ctx context.Context, p *pageCtx) error {
	v := views.Notifications{Page: p.alertFrame("Notifications"), Query: p.query()}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", queryOf(v.Query, "channel_id", "status", "kind", "rule_id", "destination_id", "alert_id"), "notifications")
	var err error
	if v.Channels, err = a.store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	req := listNotificationsRequest{Tenant: p.tenantID()}
	if err = bindQuery(v.Query, &req); err == nil {
		v.List, err = a.notificationPage(ctx, p.call, &req, pageSize, 100)
	}
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.NotificationsPage(v)) })
}

func (a *App) notificationPageOne(ctx context.Context, p *pageCtx) error {
	n, err := a.store.Notification(ctx, p.ownerScope(), p.tenantID(), p.Params("notification"))
	if err != nil {
		return err
	}
	v := views.Notification{Page: p.alertFrame("Notification", views.Crumb{Label: "Notifications", URL: views.NotificationsURL(p.tenantID())}), Notification: n}
	v.API = p.ownerCall("GET", "", "", "notifications", n.ID())
	v.Channel, err = a.store.Channel(ctx, p.ownerScope(), p.tenantID(), n.ChannelID)
	if err != nil && !models.IsKind(err, models.KindNotFound) {
		return err
	}
	return p.render(ctx, http.StatusOK, views.NotificationPage(v))
}

func (a *App) resendPage(ctx context.Context, p *pageCtx) error {
	reply, err := a.resend(ctx, p.call, &notificationRequest{Tenant: p.tenantID(), Notification: p.Params("notification")})
	if e := refusal(err); e != nil {
		return p.done(views.NotificationURL(p.tenantID(), p.Params("notification")), &views.Flash{Tone: views.ToneBad, Text: e.Message})
	}
	if err != nil {
		return err
	}
	return p.done(views.NotificationURL(p.tenantID(), reply.Body.(notificationJSON).ID), said("It is being sent once more."))
}

func (a *App) rulesPage(ctx context.Context, p *pageCtx) error {
	v := views.Rules{Page: p.alertFrame("Alert rules")}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", "", "alert-rules")
	var err error
	if v.List, err = a.store.AlertRules(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	if v.Channels, err = a.store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.RulesPage(v))
}

// showRule is the form for a rule; r is nil for a new one.
func (a *App) showRule(ctx context.Context, p *pageCtx, r *models.AlertRule, form views.Form, preview *models.Preview) error {
	title, method, tail := "Add alert rule", "POST", []string{"alert-rules"}
	if r != nil {
		title, method, tail = r.Name, "PATCH", []string{"alert-rules", r.ID}
	}
	v := views.Rule{Page: p.alertFrame(title, views.Crumb{Label: "Rules", URL: views.RulesURL(p.tenantID())}), Rule: r, Form: form, Preview: preview}
	body, _ := ruleBody(form) // what is wrong with it is shown by the form
	v.API = p.ownerCall(method, indented(body), "", tail...)
	v.Invalid = form.Err != nil
	var err error
	if v.Channels, err = a.store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	if p.tenant != nil {
		list, err := a.store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
		if err != nil {
			return err
		}
		for _, d := range list {
			v.Destinations = append(v.Destinations, views.Option{Value: d.ID, Label: d.Title()})
		}
	}
	return p.render(ctx, listStatus(form.Err), views.RulePage(v))
}

func (a *App) newRulePage(ctx context.Context, p *pageCtx) error {
	return a.showRule(ctx, p, nil, views.Form{Values: views.NewRuleValues()}, nil)
}

func (a *App) rulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	return a.showRule(ctx, p, r, views.Form{Values: views.RuleValues(r)}, nil)
}

func (a *App) createRulePage(ctx context.Context, p *pageCtx) error { return a.saveRule(ctx, p, nil) }

func (a *App) updateRulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	return a.saveRule(ctx, p, r)
}

// saveRule creates a rule, changes one, or shows what it would have done.
func (a *App) saveRule(ctx context.Context, p *pageCtx, r *models.AlertRule) error {
	form := p.form()
	var in models.AlertRuleInput
	body, err := ruleBody(form)
	if err == nil {
		err = decodeJSON([]byte(indented(body)), reflect.ValueOf(&in).Elem(), false)
	}
	var preview *models.Preview
	switch {
	case err != nil:
	case form.Value("then") == views.ThenPreview:
		if preview, err = a.store.PreviewRule(ctx, p.ownerScope(), p.tenantID(), in); err == nil {
			return a.showRule(ctx, p, r, form, preview)
		}
	case r == nil:
		_, err = a.createRule(ctx, p.call, &newRuleRequest{Tenant: p.tenantID(), Body: in})
	default:
		_, err = a.updateRule(ctx, p.call, &updateRuleRequest{Tenant: p.tenantID(), Rule: r.ID, Body: in})
	}
	if err != nil {
		if form.Err = refusal(err); form.Err == nil {
			return err
		}
		return a.showRule(ctx, p, r, form, nil)
	}
	text := "The rule is in force."
	if in.Disabled != nil && *in.Disabled {
		text = "The rule is saved, and switched off."
	}
	return p.done(views.RulesURL(p.tenantID()), said(text))
}

// ruleBody is the body of the API's request that the form stands for.
func ruleBody(form views.Form) (map[string]any, error) {
	when := map[string]any{}
	switch kind := form.Value("when"); kind {
	case models.RuleSteps:
		steps := []any{}
		for _, w := range words(form.Value("when.disable_steps")) {
			steps = append(steps, formNumber(w))
		}
		when[kind] = steps
	case models.RuleFailures:
		when[kind] = formNumber(form.Value("when.consecutive_failures"))
		if c := form.Value("when.failures_count"); c == models.CountAttempts {
			when["count"] = c
		}
	case models.RuleRate:
		when[kind], when["window"], when["min_attempts"] = formNumber(form.Value("when.failure_rate")), form.Value("when.window"), formNumber(form.Value("when.min_attempts"))
		if c := form.Value("when.count"); c == models.CountAttempts {
			when["count"] = c
		}
	case models.RuleBacklog:
		when[kind] = form.Value("when.backlog_age")
	case models.RuleDisabled, models.RuleExhausted, models.RuleFilter:
		when[kind] = true
	}
	body := map[string]any{"name": form.Value("name"), "when": when, "every": orElse(form.Value("every"), "0s"), "resolve": form.Has("resolve", "true"),
		"disabled": form.Has("disabled", "true"), "destination_ids": nil, "topics": nil, "channel_ids": nil}
	switch form.Value("scope_mode") {
	case views.ScopeDestinations:
		body["destination_ids"] = manyWords(form.Values["destination_ids"])
	case views.ScopeTopics:
		body["topics"] = manyWords(form.Values["topics"])
	}
	switch form.Value("channels_mode") {
	case views.ChannelsSome:
		body["channel_ids"] = manyWords(form.Values["channel_ids"])
	case views.ChannelsNone:
		body["channel_ids"] = []string{}
	}
	for _, part := range []struct{ mode, name, message string }{{views.ScopeDestinations, "destination_ids", "must name at least one destination"},
		{views.ScopeTopics, "topics", "must name at least one topic"}} {
		if list, ok := body[part.name].([]string); form.Value("scope_mode") == part.mode && ok && len(list) == 0 {
			return body, models.Invalid(part.name, part.message)
		}
	}
	return body, nil
}

// manyWords cuts all the values of a control.
func manyWords(values []string) []string {
	out := []string{}
	for _, v := range values {
		out = append(out, words(v)...)
	}
	return out
}

func (a *App) deleteRulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	v := views.Confirm{Page: p.alertFrame("Delete rule", views.Crumb{Label: "Rules", URL: views.RulesURL(p.tenantID())}), Question: "Delete the rule " + r.Name + "?",
		Effects: []string{"Its open alerts end, without a notice.", "What it has found in the past stays in the lists."},
		Action:  views.RuleURL(p.tenantID(), r.ID, "delete"), Submit: "Delete rule", Back: views.RuleURL(p.tenantID(), r.ID)}
	v.API = p.ownerCall("DELETE", "", "", "alert-rules", r.ID)
	return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
}

func (a *App) doDeleteRule(ctx context.Context, p *pageCtx) error {
	if _, err := a.deleteRule(ctx, p.call, &ruleRequest{Tenant: p.tenantID(), Rule: p.Params("rule")}); err != nil {
		return err
	}
	return p.done(views.RulesURL(p.tenantID()), said("The rule was deleted."))
}

// alertPageRoutes lists the pages about alerts, of tenants and of the operators.
func (a *App) alertPageRoutes(page, api string) []pageRoute {
	get, post := http.MethodGet, http.MethodPost
	read, write := models.MayRead, models.MayWrite
	twin := func(list ...string) []string {
		for i, s := range list {
			method, path, _ := strings.Cut(s, " ")
			list[i] = method + " " + api + path
		}
		return list
	}
	alerts := page + "/alerts"
	return []pageRoute{
		{get, alerts, read, twin("GET /alerts"), a.alertsPage},
		{get, alerts + "/rules", read, twin("GET /alert-rules"), a.rulesPage},
		{get, alerts + "/rules/new", write, twin("POST /alert-rules", "POST /alert-rules/preview"), a.newRulePage},
		{post, alerts + "/rules/new", write, twin("POST /alert-rules", "POST /alert-rules/preview"), a.createRulePage},
		{get, alerts + "/rules/:rule", write, twin("PATCH /alert-rules/:rule"), a.rulePage},
		{post, alerts + "/rules/:rule", write, twin("PATCH /alert-rules/:rule"), a.updateRulePage},
		{get, alerts + "/rules/:rule/delete", write, twin("DELETE /alert-rules/:rule"), a.deleteRulePage},
		{post, alerts + "/rules/:rule/delete", write, twin("DELETE /alert-rules/:rule"), a.doDeleteRule},
		{get, alerts + "/channels", read, twin("GET /channels"), a.channelsPage},
		{get, alerts + "/channels/new", write, twin("POST /channels"), a.newChannelPage},
		{post, alerts + "/channels/new", write, twin("POST /channels"), a.createChannelPage},
		{get, alerts + "/channels/:channel", write, twin("PATCH /channels/:channel"), a.channelPage},
		{post, alerts + "/channels/:channel", write, twin("PATCH /channels/:channel"), a.updateChannelPage},
		{post, alerts + "/channels/:channel/test", write, twin("POST /channels/:channel/test"), a.testChannelPage},
		{get, alerts + "/channels/:channel/delete", write, twin("DELETE /channels/:channel"), a.deleteChannelPage},
		{post, alerts + "/channels/:channel/delete", write, twin("DELETE /channels/:channel"), a.doDeleteChannel},
		{get, alerts + "/notifications", read, twin("GET /notifications"), a.notificationsPage},
		{get, alerts + "/notifications/:notification", read, twin("GET /notifications/:notification"), a.notificationPageOne},
		{post, alerts + "/notifications/:notification/resend", write, twin("POST /notifications/:notification/resend"), a.resendPage},
		{get, alerts + "/:alert", read, twin("GET /alerts/:alert"), a.alertPageOne},
		{post, alerts + "/:alert/acknowledge", write, twin("POST /alerts/:alert/acknowledge"), a.acknowledgePage},
		{post, alerts + "/:alert/mute", write, twin("POST /alerts/:alert/mute"), a.mutePage},
	}
}
