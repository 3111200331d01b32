package pages

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/views"
)

// newDestinationPage is both steps to a new destination: without a type it asks for one, with one it is the form.
func (a *Pages) newDestinationPage(ctx context.Context, p *pageCtx) error {
	typ := p.Query("type")
	if r := adapters.Lookup(typ); r != nil {
		config, beside := a.Store.TypeDefaults(p.tenant, r.Spec.Name)
		v, err := a.newForm(ctx, p, r, views.Form{Values: views.NewDestinationValues(r, config, beside)})
		if err != nil {
			return err
		}
		return p.render(ctx, http.StatusOK, views.DestinationFormPage(v))
	}
	f := p.frame("Add destination", views.SectionDestinations)
	f.Crumbs = []views.Crumb{{Label: "Destinations", URL: views.DestinationsURL(p.tenant.ID)}}
	f.API = apiCallOf("GET", "", "/destination-types")
	v := views.NewDestination{Page: f, Types: adapters.All()}
	if typ != "" {
		v.Form.Err = models.Invalid("type", "is none of these: choose another")
	} else if p.Query("step") != "" {
		v.Form.Err = models.Invalid("type", "is required: choose one")
	}
	v.Invalid = v.Form.Err != nil
	return p.render(ctx, listStatus(v.Form.Err), views.NewDestinationPage(v))
}

func (a *Pages) newForm(ctx context.Context, p *pageCtx, r *adapters.Registration, form views.Form) (views.DestinationForm, error) {
	f := p.frame("Add "+r.Spec.Label, views.SectionDestinations)
	f.Crumbs = []views.Crumb{{Label: "Destinations", URL: views.DestinationsURL(p.tenant.ID)},
		{Label: "Add destination", URL: views.NewDestinationURL(p.tenant.ID)}}
	f.API = apiCallOf("POST", indented(exampleDestination(r)), "/tenants/", url.PathEscape(p.tenant.ID), "/destinations")
	topics, err := a.Store.TopicCatalogue(ctx)
	if err != nil {
		return views.DestinationForm{}, err
	}
	limits, err := a.Store.Limits(ctx, p.tenant.Key)
	return views.DestinationForm{Page: f, Type: r, Form: form, Topics: topics, Defaults: *a.Store.RulesOf(p.tenant), Limits: limits}, err
}

// exampleDestination is what a program would send to create a destination of the type.
func exampleDestination(r *adapters.Registration) map[string]any {
	part := func(fields []adapters.Field) map[string]string {
		out := map[string]string{}
		for _, f := range fields {
			if f.Required && f.Default == "" {
				out[f.Key] = f.Placeholder
			}
		}
		return out
	}
	out := map[string]any{"type": r.Spec.Name, "topics": "*"}
	if c := part(r.Spec.Config); len(c) > 0 {
		out["config"] = c
	}
	if c := part(r.Spec.Credentials); len(c) > 0 {
		out["credentials"] = c
	}
	return out
}

func (a *Pages) createDestinationPage(ctx context.Context, p *pageCtx) error {
	r := adapters.Lookup(p.Query("type"))
	if r == nil {
		return p.Redirect(views.NewDestinationURL(p.tenant.ID), http.StatusSeeOther)
	}
	form := p.form()
	then := form.Value("then")
	var shown *views.Transformed
	again := func(status int, e *models.Error, preview *models.RetryPolicy) error {
		form.Err = e
		v, err := a.newForm(ctx, p, r, form)
		if err != nil {
			return err
		}
		v.Transformed = shown
		v.Preview, v.Invalid = preview, e != nil
		return p.render(ctx, status, views.DestinationFormPage(v))
	}
	in, err := readDestination(form, r, nil)
	if err == nil && then == views.ThenPreview {
		return again(http.StatusOK, nil, policyOf(in))
	}
	if err == nil && then == views.ThenTransform {
		if shown, err = a.showTransform(ctx, p, form, in); err == nil {
			return again(http.StatusOK, nil, nil)
		}
	}
	var reply *api.Reply
	if err == nil {
		in["type"] = r.Spec.Name
		reply, err = a.CreateDestination(ctx, p.call, &api.CreateDestinationRequest{Tenant: p.tenant.ID, Body: in,
			Disabled: then == views.ThenDisabled})
	}
	if err != nil {
		if e := api.Refusal(err); e != nil {
			return again(e.Status(), e, nil)
		}
		return err
	}
	id := reply.Body.(api.DestinationJSON).ID
	flash := warned(said("The destination was created."), reply)
	if r.Rotates() {
		flash.LinkText, flash.LinkURL = "Get its signing secret", views.DestinationURL(p.tenant.ID, id, "secrets")
	}
	if then == views.ThenTest {
		return p.done(views.DestinationURL(p.tenant.ID, id, "test"), flash)
	}
	return p.done(views.DestinationURL(p.tenant.ID, id), flash)
}

// showTransform makes what the form's transform makes of the newest event of the form's topics.
func (a *Pages) showTransform(ctx context.Context, p *pageCtx, form views.Form, in models.DestinationPatch) (*views.Transformed,
	error) {
	source := strings.TrimSpace(form.Value("transform"))
	if source == "" {
		return nil, models.Invalid("transform", "is empty, so that the payload is sent as it is")
	}
	tr, err := filter.ParseProjection(source)
	if err != nil {
		return nil, models.FilterError("transform", err)
	}
	list, err := a.Store.RecentEvents(ctx, p.call.Scope(), in.Fields().Topics, 1)
	if err != nil || len(list) == 0 {
		return &views.Transformed{}, err
	}
	out := api.Transformed(list[0], tr)
	return &views.Transformed{EventID: out.EventID, Body: out.Body, Problem: out.Error}, nil
}

func policyOf(in models.DestinationPatch) *models.RetryPolicy {
	if p := in.Fields().Retry; p != nil {
		return p
	}
	return &models.RetryPolicy{}
}

func (a *Pages) settingsForm(ctx context.Context, p *pageCtx, d *models.Destination, form views.Form) (views.DestinationForm, error) {
	v := views.DestinationForm{Page: p.destinationFrame(d, "Settings"), Destination: d, Type: d.Registration(), Form: form,
		Defaults: *a.Store.RulesOf(p.tenant)}
	if v.Type == nil {
		return v, &models.Error{Kind: models.KindConflict, Message: "This build of Waybill lacks the destination type " + d.Type + "."}
	}
	v.API = apiCallOf("PATCH", indented(map[string]any{"name": d.Title(), "topics": d.Topics}), destinationTail(d))
	var err error
	if v.Limits, err = a.Store.Limits(ctx, p.tenant.Key); err != nil {
		return v, err
	}
	v.Topics, err = a.Store.TopicCatalogue(ctx)
	v.Open = d.Adjusted()
	return v, err
}

func (a *Pages) destinationSettingsPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v, err := a.settingsForm(ctx, p, d, views.Form{Values: views.DestinationValues(d)})
	if err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.DestinationFormPage(v))
}

func (a *Pages) saveDestination(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	form := p.form()
	var shown *views.Transformed
	again := func(status int, e *models.Error, preview *models.RetryPolicy) error {
		form.Err = e
		v, err := a.settingsForm(ctx, p, d, form)
		if err != nil {
			return err
		}
		v.Transformed = shown
		v.Preview, v.Invalid = preview, e != nil
		return p.render(ctx, status, views.DestinationFormPage(v))
	}
	r := d.Registration()
	if r == nil {
		_, err := a.settingsForm(ctx, p, d, form)
		return err
	}
	in, err := readDestination(form, r, d)
	if err == nil && form.Value("then") == views.ThenPreview {
		return again(http.StatusOK, nil, policyOf(in))
	}
	if err == nil && form.Value("then") == views.ThenTransform {
		if shown, err = a.showTransform(ctx, p, form, in); err == nil {
			return again(http.StatusOK, nil, nil)
		}
	}
	var reply *api.Reply
	if err == nil {
		p.call.IfMatch = form.Value("version")
		reply, err = a.UpdateDestination(ctx, p.call, &api.UpdateDestinationRequest{Tenant: p.tenant.ID, Destination: d.ID, Body: in})
	}
	if err != nil {
		e := api.Refusal(err)
		if e == nil {
			return err
		}
		if e.Kind == models.KindStale {
			// What was typed stays, and may be saved over what somebody else has saved meanwhile.
			form.Values["version"] = []string{strconv.FormatInt(d.Version, 10)}
			e = &models.Error{Kind: e.Kind,
				Message: "Somebody has changed the destination since you opened this form. Compare with its overview; saving again replaces what they changed."}
		}
		return again(e.Status(), e, nil)
	}
	return p.done(views.DestinationURL(p.tenant.ID, d.ID), warned(said("The changes are saved, and in force for the next event."),
		reply))
}

// readDestination turns the form into the body of the API's request and lets the API's parser read it, so that both find
// the same mistakes. d is nil for a new destination; then what was left empty is left out. Otherwise it is taken away,
// but for credentials that are never shown: empty, they stay as they are.
func readDestination(form views.Form, r *adapters.Registration, d *models.Destination) (models.DestinationPatch, error) {
	body := map[string]any{"topics": formTopics(form),
		"config": formFields(form, "config", r.Spec.Config, d), "credentials": formFields(form, "credentials", r.Spec.Credentials, d)}
	var deliveryMetadata, metadata map[string]string
	if d != nil {
		deliveryMetadata, metadata = d.DeliveryMetadata, d.Metadata
	}
	body["delivery_metadata"] = formPairs(form, "delivery_metadata", deliveryMetadata)
	body["metadata"] = formPairs(form, "metadata", metadata)
	body["retry"] = formRetry(form)
	for _, f := range models.DestinationFieldList() {
		if typed, given := form.Values[f.Name]; f.Kind == models.BooleanField {
			body[f.Name] = form.Has(f.Name, "true")
		} else if given && f.Kind != models.CompoundField {
			body[f.Name] = formPlain(f, typed[0])
		}
	}
	if f := formFilter(form.Value("filter")); f != "" || d != nil && views.HasFilter(d) {
		body["filter"] = f
	}
	if t := strings.TrimSpace(form.Value("transform")); t != "" || d != nil && d.Transform != "" {
		body["transform"] = t
	}
	if order, given := form.Values["order"]; given {
		body["ordered"], body["on_exhausted"] = order[0] != "", order[0]
	}
	if rate, given := form.Values["rate_limit.per_second"]; given {
		body["rate_limit"] = map[string]any{"per_second": nil}
		if v := strings.TrimSpace(rate[0]); v != "" {
			body["rate_limit"] = map[string]any{"per_second": formNumber(v)}
		}
	}
	for _, f := range r.Spec.Beside {
		if typed, given := form.Values[f.Key]; given {
			body[f.Key] = typed[0]
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var in models.DestinationPatch
	err = api.DecodeJSON(b, reflect.ValueOf(&in).Elem(), false)
	return in, err
}

// formPlain is what was typed into the control of a plain field, as JSON has it. What is empty is null.
func formPlain(f models.Field, typed string) any {
	typed = strings.TrimSpace(typed)
	switch {
	case typed == "":
		return nil
	case f.Kind == models.NumberField || f.Kind == models.DecimalField:
		return formNumber(typed)
	case f.Kind == models.WordsField:
		return words(typed)
	}
	return typed
}

func orElse(s, otherwise string) string {
	if s = strings.TrimSpace(s); s == "" {
		return otherwise
	}
	return s
}

// formNumber is a number where the text is one; otherwise the text, which the parser refuses with the reason.
func formNumber(s string) any {
	s = strings.TrimSpace(s)
	if _, err := strconv.ParseFloat(s, 64); err == nil && json.Valid([]byte(s)) {
		return json.Number(s)
	}
	return s
}

func formTopics(form views.Form) any {
	if form.Value("topics_mode") == views.TopicsAll {
		return models.AllTopics
	}
	out := []string{}
	for _, v := range form.Values["topics"] {
		out = append(out, words(v)...)
	}
	return out
}

// formFilter is a filter as the API takes it: an object where it is JSON, otherwise the text of a search.
func formFilter(s string) any {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") && json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	return s
}

func formFields(form views.Form, part string, fields []adapters.Field, d *models.Destination) map[string]any {
	out := map[string]any{}
	for _, f := range fields {
		name := part + "." + f.Key
		value := form.Value(name)
		switch {
		case f.Hidden:
			continue
		case f.Type == adapters.FieldCheckbox:
			value = strconv.FormatBool(form.Has(name, "true"))
		case f.Type == adapters.FieldMap:
			value = ""
			if m := typedPairs(form, name); len(m) > 0 {
				b, _ := json.Marshal(m) // strings can always be encoded
				value = string(b)
			}
		case f.Sensitive && value == "":
			if d != nil && form.Has(views.RemoveName(name), "true") {
				out[f.Key] = nil
			}
			continue
		case !f.Sensitive:
			value = tidy(value)
		}
		switch {
		case value != "":
			out[f.Key] = value
		case d != nil:
			out[f.Key] = nil
		}
	}
	return out
}

// tidy takes off what is pasted along with a value by mistake: spaces, line breaks and quotes around it.
func tidy(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	return s
}

// typedPairs reads a list of keys and values. A value without a key is kept under the empty key, for the parser to refuse.
func typedPairs(form views.Form, name string) map[string]string {
	out := map[string]string{}
	values := form.Values[views.ValueName(name)]
	for i, k := range form.Values[views.KeyName(name)] {
		v := ""
		if i < len(values) {
			v = values[i]
		}
		if k = strings.TrimSpace(k); k != "" || v != "" {
			out[k] = v
		}
	}
	return out
}

// formPairs is a merge patch that makes metadata what the form says.
func formPairs(form views.Form, name string, before map[string]string) map[string]any {
	out := map[string]any{}
	for k := range before {
		out[k] = nil
	}
	for k, v := range typedPairs(form, name) {
		out[k] = v
	}
	return out
}

func formRetry(form views.Form) map[string]any {
	out := map[string]any{}
	for _, name := range []string{"initial", "max_interval"} {
		if v := strings.TrimSpace(form.Value("retry." + name)); v != "" {
			out[name] = v
		}
	}
	for _, name := range []string{"multiplier", "max_attempts"} {
		if v := strings.TrimSpace(form.Value("retry." + name)); v != "" {
			out[name] = formNumber(v)
		}
	}
	for _, name := range []string{"schedule", "retry_on"} {
		if v := words(form.Value("retry." + name)); len(v) > 0 {
			out[name] = v
		}
	}
	return out
}
