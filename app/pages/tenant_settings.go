package pages

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/units"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) tenantSettingsPage(ctx context.Context, p *pageCtx) error {
	if err := api.OperatorsOnly(p.call); err != nil {
		return err
	}
	s, err := a.Store.TenantSettings(ctx, p.call.Scope(), p.tenant.ID)
	if err != nil {
		return err
	}
	form := views.Form{Values: map[string][]string{}}
	for _, f := range models.SharedFields() {
		if text, has := f.StoredShared(&s.SharedSettings); has {
			form.Values[f.Name] = []string{f.Entered(text)}
		}
	}
	for name, v := range map[string]*string{"name": s.Name, "signature": s.Signature, "header_prefix": s.HeaderPrefix} {
		if v != nil {
			form.Values[name] = []string{*v}
		}
	}
	for name, n := range map[string]*int{"requests_per_second": s.RequestsPerSecond, "events_per_second": s.EventsPerSecond,
		"bytes_per_second": s.BytesPerSecond, "retention_days": s.RetentionDays} {
		if n != nil {
			form.Values[name] = []string{strconv.Itoa(*n)}
		}
	}
	if s.LimitBurst != nil {
		form.Values["limit_burst"] = []string{s.LimitBurst.String()}
	}
	if s.EraseDelivered != nil {
		form.Values["erase_delivered"] = []string{strconv.FormatBool(*s.EraseDelivered)}
	}
	for name, l := range map[string]*[]string{"redact_fields": s.RedactFields, "redact_headers": s.RedactHeaders,
		"redact_query": s.RedactQuery} {
		if l != nil {
			form.Values[name] = []string{strings.Join(*l, ", ")}
		}
	}
	if s.TopicRetention != nil {
		form.Values["topic_retention"] = []string{views.RetentionText(*s.TopicRetention)}
	}
	return a.showTenantSettings(ctx, p, p.frame("Tenant settings", views.SectionSettings), form)
}

func (a *Pages) showTenantSettings(ctx context.Context, p *pageCtx, f views.Page, form views.Form) error {
	d := a.SettingsOf(p.tenant.ID, &models.TenantSettings{}, nil).Effective
	number := func(n int) string {
		if n == 0 {
			return "no limit"
		}
		return units.Thousands(n)
	}
	f.Crumbs = []views.Crumb{{Label: "Settings", URL: views.SettingsURL(p.tenant.ID)}}
	f.API = apiCallOf("PATCH", `{"manual_retry_limit": 3, "enable_backlog": "keep"}`, "/tenants/", p.tenant.ID, "/settings")
	v := views.TenantSettings{Page: f, Form: form, Defaults: map[string]string{"name": "the ID",
		"retention_days": views.Lasts(time.Duration(d.RetentionDays) * 24 * time.Hour), "erase_delivered": "keep it", "topic_retention": "as all other events",
		"redact_fields": "none", "redact_headers": "none but secrets", "redact_query": "none but secrets",
		"signature": views.SignatureWord(d.Signature), "header_prefix": cmp.Or(d.HeaderPrefix, "none"), "requests_per_second": number(d.RequestsPerSecond),
		"events_per_second": number(d.EventsPerSecond), "bytes_per_second": number(d.BytesPerSecond),
		"limit_burst": views.Lasts(time.Duration(d.LimitBurst))}}
	for _, x := range models.SharedFields() {
		v.Defaults[x.Name] = views.SettingWords(x, x.Rule(a.Store.Rules()))
	}
	return p.render(ctx, listStatus(form.Err), views.TenantSettingsPage(v))
}

// saveTenantSettings saves the whole form: a field that is empty is taken away.
func (a *Pages) saveTenantSettings(ctx context.Context, p *pageCtx) error {
	form := p.form()
	var in models.TenantSettings
	bad := map[string]string{}
	text := func(name string, to **string) {
		if v := strings.TrimSpace(form.Value(name)); v != "" {
			*to = &v
		} else {
			in.Remove(name)
		}
	}
	number := func(name string, to **int) {
		var v *string
		if text(name, &v); v == nil {
			return
		}
		n, err := strconv.Atoi(*v)
		if err != nil {
			bad[name] = "must be a whole number"
		}
		*to = &n
	}
	text("name", &in.Name)
	for _, f := range models.SharedFields() {
		var v *string
		if text(f.Name, &v); v != nil {
			if err := f.EnterShared(&in.SharedSettings, *v); err != nil {
				bad[f.Name] = err.Error()
			}
		}
	}
	number("requests_per_second", &in.RequestsPerSecond)
	number("events_per_second", &in.EventsPerSecond)
	number("bytes_per_second", &in.BytesPerSecond)
	var burst *string
	if text("limit_burst", &burst); burst != nil {
		d, err := models.ParseDuration(*burst)
		if err != nil {
			bad["limit_burst"] = err.Error()
		}
		in.LimitBurst = &d
	}
	number("retention_days", &in.RetentionDays)
	var rules *string
	if text("topic_retention", &rules); rules != nil {
		list, problem := retentionRules(*rules)
		if problem != "" {
			bad["topic_retention"] = problem
		}
		in.TopicRetention = &list
	}
	var erase *string
	if text("erase_delivered", &erase); erase != nil {
		on := *erase == "true"
		in.EraseDelivered = &on
	}
	text("signature", &in.Signature)
	text("header_prefix", &in.HeaderPrefix)
	for name, to := range map[string]**[]string{"redact_fields": &in.RedactFields, "redact_headers": &in.RedactHeaders, "redact_query": &in.RedactQuery} {
		var given *string
		if text(name, &given); given != nil {
			l := config.List(*given)
			*to = &l
		}
	}
	var err error
	if len(bad) > 0 {
		err = &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}
	} else {
		_, err = a.UpdateTenantSettings(ctx, p.call, &api.TenantSettingsRequest{Tenant: p.tenant.ID, Body: in})
	}
	if err != nil {
		if form.Err = ofRules(api.Refusal(err), "topic_retention", in.TopicRetention); form.Err == nil {
			return err
		}
		return a.showTenantSettings(ctx, p, refused(p.frame("Tenant settings", views.SectionSettings)), form)
	}
	return p.done(views.TenantSettingsURL(p.tenant.ID), said("The settings were saved."))
}
