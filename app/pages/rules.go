package pages

import (
	"context"
	"net/http"
	"reflect"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) rulesPage(ctx context.Context, p *pageCtx) error {
	v := views.Rules{Page: p.alertFrame("Alert rules")}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", "", "alert-rules")
	var err error
	if v.List, err = a.Store.AlertRules(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	if v.Channels, err = a.Store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.RulesPage(v))
}

// showRule is the form for a rule; r is nil for a new one.
func (a *Pages) showRule(ctx context.Context, p *pageCtx, r *models.AlertRule, form views.Form, preview *models.Preview) error {
	title, method, tail := "Add alert rule", "POST", []string{"alert-rules"}
	if r != nil {
		title, method, tail = r.Name, "PATCH", []string{"alert-rules", r.ID}
	}
	v := views.Rule{Page: p.alertFrame(title, views.Crumb{Label: "Rules", URL: views.RulesURL(p.tenantID())}), Rule: r, Form: form,
		Preview: preview}
	body, _ := ruleBody(form) // what is wrong with it is shown by the form
	v.API = p.ownerCall(method, indented(body), "", tail...)
	v.Invalid = form.Err != nil
	var err error
	if v.Channels, err = a.Store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	if p.tenant != nil {
		list, err := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
		if err != nil {
			return err
		}
		for _, d := range list {
			v.Destinations = append(v.Destinations, views.Option{Value: d.ID, Label: d.Title()})
		}
	}
	return p.render(ctx, listStatus(form.Err), views.RulePage(v))
}

func (a *Pages) newRulePage(ctx context.Context, p *pageCtx) error {
	return a.showRule(ctx, p, nil, views.Form{Values: views.NewRuleValues()}, nil)
}

func (a *Pages) rulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.Store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	return a.showRule(ctx, p, r, views.Form{Values: views.RuleValues(r)}, nil)
}

func (a *Pages) createRulePage(ctx context.Context, p *pageCtx) error { return a.saveRule(ctx, p, nil) }

func (a *Pages) updateRulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.Store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	return a.saveRule(ctx, p, r)
}

// saveRule creates a rule, changes one, or shows what it would have done.
func (a *Pages) saveRule(ctx context.Context, p *pageCtx, r *models.AlertRule) error {
	form := p.form()
	var in models.AlertRuleInput
	body, err := ruleBody(form)
	if err == nil {
		err = api.DecodeJSON([]byte(indented(body)), reflect.ValueOf(&in).Elem(), false)
	}
	var preview *models.Preview
	switch {
	case err != nil:
	case form.Value("then") == views.ThenPreview:
		if preview, err = a.PreviewRule(ctx, p.call, p.ownerScope(), &api.NewRuleRequest{Tenant: p.tenantID(), Body: in}); err == nil {
			return a.showRule(ctx, p, r, form, preview)
		}
	case r == nil:
		_, err = a.CreateRule(ctx, p.call, &api.NewRuleRequest{Tenant: p.tenantID(), Body: in})
	default:
		_, err = a.UpdateRule(ctx, p.call, &api.UpdateRuleRequest{Tenant: p.tenantID(), Rule: r.ID, Body: in})
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
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
	if k := alertrule.Find(form.Value("when")); k != nil {
		for _, f := range k.Fields {
			if v := conditionValue(f, form.Value(views.ConditionControl(k, f))); v != nil {
				when[f.Key] = v
			}
		}
	}
	body := map[string]any{"name": form.Value("name"), "when": when, "resolve": form.Has("resolve", "true"),
		"disabled": form.Has("disabled", "true"), "destination_ids": nil, "topics": nil, "channel_ids": nil}
	if every := form.Value("every"); every != "" {
		body["every"] = every
	}
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
	for _, part := range []struct{ control, mode, name, message string }{{"scope_mode", views.ScopeDestinations, "destination_ids",
		"must name at least one destination"},
		{"scope_mode", views.ScopeTopics, "topics", "must name at least one topic"},
		{"channels_mode", views.ChannelsSome, "channel_ids", "must name at least one channel"}} {
		if list, ok := body[part.name].([]string); form.Value(part.control) == part.mode && ok && len(list) == 0 {
			return body, models.Invalid(part.name, part.message)
		}
	}
	return body, nil
}

// conditionValue is a field of a condition as the API takes it; nil for a choice that goes without saying.
func conditionValue(f alertrule.Field, text string) any {
	switch f.Type {
	case alertrule.Switch:
		return true
	case alertrule.Int, alertrule.Number:
		return formNumber(text)
	case alertrule.Ints:
		list := []any{}
		for _, w := range words(text) {
			list = append(list, formNumber(w))
		}
		return list
	case alertrule.Choice:
		if text == "" || text == f.Options[0] {
			return nil
		}
	}
	return text
}

// manyWords cuts all the values of a control.
func manyWords(values []string) []string {
	out := []string{}
	for _, v := range values {
		out = append(out, words(v)...)
	}
	return out
}

func (a *Pages) deleteRulePage(ctx context.Context, p *pageCtx) error {
	r, err := a.Store.AlertRule(ctx, p.ownerScope(), p.tenantID(), p.Params("rule"))
	if err != nil {
		return err
	}
	v := views.Confirm{Page: p.alertFrame("Delete rule", views.Crumb{Label: "Rules", URL: views.RulesURL(p.tenantID())}),
		Question: "Delete the rule " + r.Name + "?",
		Effects: []string{"Its open alerts end. Channels that were notified of them are notified of that.",
			"What it has found in the past stays in the lists."},
		Action: views.RuleURL(p.tenantID(), r.ID, "delete"), Submit: "Delete rule", Back: views.RuleURL(p.tenantID(), r.ID)}
	v.API = p.ownerCall("DELETE", "", "", "alert-rules", r.ID)
	return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
}

func (a *Pages) doDeleteRule(ctx context.Context, p *pageCtx) error {
	if _, err := a.DeleteRule(ctx, p.call, &api.RuleRequest{Tenant: p.tenantID(), Rule: p.Params("rule")}); err != nil {
		return err
	}
	return p.done(views.RulesURL(p.tenantID()), said("The rule was deleted."))
}
