package pages

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
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
	return &views.APICall{Method: method, Path: api.OwnerPath(p.tenantID(), tail...) + query, Body: body}
}

func (a *Pages) alertsPage(ctx context.Context, p *pageCtx) error {
	q := p.query()
	if !q.Has("status") {
		q.Set("status", models.AlertOpen)
	}
	v := views.Alerts{Page: p.alertFrame("Alerts"), Query: q, Now: time.Now()}
	v.API = p.ownerCall("GET", "", queryOf[api.ListAlertsRequest](q), "alerts")
	var err error
	v.List, err = found(ctx, p, q, api.ListAlertsRequest{Tenant: p.tenantID()}, a.FindAlerts)
	if err == nil && len(v.List.Items) == 0 {
		var rules []*models.AlertRule
		if rules, err = a.Store.AlertRules(ctx, p.ownerScope(), p.tenantID()); err == nil {
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

func (a *Pages) alertPageOne(ctx context.Context, p *pageCtx) error {
	return a.showAlert(ctx, p, views.Form{Values: map[string][]string{"for": {"4h"}}})
}

func (a *Pages) showAlert(ctx context.Context, p *pageCtx, form views.Form) error {
	x, err := a.Store.Alert(ctx, p.ownerScope(), p.tenantID(), p.Params("alert"))
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
	told, err := a.Store.Notifications(ctx, p.ownerScope(), p.tenantID(),
		models.NotificationQuery{AlertID: x.ID(), Page: models.PageQuery{Limit: 100}})
	if err != nil {
		return err
	}
	v.Told = told.Items
	if v.Response, err = a.Store.AlertResponse(ctx, x); err != nil {
		return err
	}
	if v.Failed, err = a.Store.AlertFailures(ctx, x); err != nil {
		return err
	}
	return p.render(ctx, listStatus(form.Err), views.AlertPage(v))
}

func (a *Pages) acknowledgePage(ctx context.Context, p *pageCtx) error {
	to := views.AlertURL(p.tenantID(), p.Params("alert"))
	form := p.form()
	req := &api.MessageRequest{Tenant: p.tenantID(), Alert: p.Params("alert")}
	req.Body.Message = form.Value("message")
	_, err := a.AcknowledgeAlert(ctx, p.call, req)
	if e := api.Refusal(err); e != nil {
		if e.Kind == models.KindInvalid {
			form.Err = e
			return a.showAlert(ctx, p, form)
		}
		return p.done(to, &views.Flash{Tone: views.ToneInfo, Text: e.Message})
	}
	if err != nil {
		return err
	}
	return p.done(to, said("Acknowledged: you take care of it, and there are no reminders."))
}

func (a *Pages) resolvePage(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.MessageRequest{Tenant: p.tenantID(), Alert: p.Params("alert")}
	req.Body.Message = form.Value("message")
	if _, err := a.ResolveAlert(ctx, p.call, req); err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showAlert(ctx, p, form)
	}
	return p.done(views.AlertURL(p.tenantID(), req.Alert),
		said("Resolved. No other alert begins in its place before the condition was over once, unless it becomes worse."))
}

func (a *Pages) mutePage(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.MuteRequest{Tenant: p.tenantID(), Alert: p.Params("alert")}
	d, err := models.ParseDuration(form.Value("for"))
	if err != nil {
		err = models.Invalid("for", "must be one of these")
	} else {
		req.Body.For = &d
		_, err = a.MuteAlert(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
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

func (a *Pages) notificationsPage(ctx context.Context, p *pageCtx) error {
	v := views.Notifications{Page: p.alertFrame("Notifications"), Query: p.query()}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", queryOf[api.ListNotificationsRequest](v.Query), "notifications")
	var err error
	if v.Channels, err = a.Store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	v.List, err = found(ctx, p, v.Query, api.ListNotificationsRequest{Tenant: p.tenantID()}, a.FindNotifications)
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.NotificationsPage(v)) })
}

func (a *Pages) notificationPageOne(ctx context.Context, p *pageCtx) error {
	n, err := a.Store.Notification(ctx, p.ownerScope(), p.tenantID(), p.Params("notification"))
	if err != nil {
		return err
	}
	v := views.Notification{Page: p.alertFrame("Notification", views.Crumb{Label: "Notifications",
		URL: views.NotificationsURL(p.tenantID())}), Notification: n}
	v.API = p.ownerCall("GET", "", "", "notifications", n.ID())
	v.Channel, err = a.Store.Channel(ctx, p.ownerScope(), p.tenantID(), n.ChannelID)
	if err != nil && !models.IsKind(err, models.KindNotFound) {
		return err
	}
	return p.render(ctx, http.StatusOK, views.NotificationPage(v))
}

func (a *Pages) resendPage(ctx context.Context, p *pageCtx) error {
	reply, err := a.Resend(ctx, p.call, &api.NotificationRequest{Tenant: p.tenantID(), Notification: p.Params("notification")})
	if e := api.Refusal(err); e != nil {
		return p.done(views.NotificationURL(p.tenantID(), p.Params("notification")), &views.Flash{Tone: views.ToneBad, Text: e.Message})
	}
	if err != nil {
		return err
	}
	return p.done(views.NotificationURL(p.tenantID(), reply.Body.(api.NotificationJSON).ID), said("It is being sent once more."))
}

// alertPageRoutes lists the pages about alerts, of tenants and of the operators.
func (a *Pages) alertPageRoutes(page, api string) []pageRoute {
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
		{post, alerts + "/channels/:channel/subscribe", write, twin("POST /channels/:channel/subscribe"), a.subscribePage},
		{post, alerts + "/channels/:channel/test", write, twin("POST /channels/:channel/test"), a.testChannelPage},
		{get, alerts + "/channels/:channel/delete", write, twin("DELETE /channels/:channel"), a.deleteChannelPage},
		{post, alerts + "/channels/:channel/delete", write, twin("DELETE /channels/:channel"), a.doDeleteChannel},
		{get, alerts + "/notifications", read, twin("GET /notifications"), a.notificationsPage},
		{get, alerts + "/notifications/:notification", read, twin("GET /notifications/:notification"), a.notificationPageOne},
		{post, alerts + "/notifications/:notification/resend", write, twin("POST /notifications/:notification/resend"), a.resendPage},
		{get, alerts + "/:alert", read, twin("GET /alerts/:alert"), a.alertPageOne},
		{post, alerts + "/:alert/resolve", write, twin("POST /alerts/:alert/resolve"), a.resolvePage},
		{post, alerts + "/:alert/acknowledge", write, twin("POST /alerts/:alert/acknowledge"), a.acknowledgePage},
		{post, alerts + "/:alert/mute", write, twin("POST /alerts/:alert/mute"), a.mutePage},
	}
}
