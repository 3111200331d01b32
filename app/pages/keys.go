package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// tenantID is the tenant that the page is about; empty for pages about the whole server.
func (p *pageCtx) tenantID() string {
	if p.tenant == nil {
		return ""
	}
	return p.tenant.ID
}

func (a *Pages) keysPage(ctx context.Context, p *pageCtx) error {
	list, err := a.Store.APIKeys(ctx, p.call.Scope())
	if err != nil {
		return err
	}
	v := views.Keys{Page: p.frame("API keys", views.SectionKeys), List: list, Now: time.Now()}
	v.API = apiCallOf("GET", "", "/api-keys")
	return p.render(ctx, http.StatusOK, views.KeysPage(v))
}

func keyFrame(p *pageCtx, title string) views.Page {
	f := p.frame(title, views.SectionKeys)
	f.Crumbs = []views.Crumb{{Label: "API keys", URL: views.KeysURL(p.tenantID())}}
	return f
}

func newKeyFrame(p *pageCtx) views.Page {
	f := keyFrame(p, "Create API key")
	body := map[string]any{"name": "checkout service", "scopes": []string{"publish"}, "expires_in": "2160h"}
	if id := p.tenantID(); id != "" {
		body["tenant_id"] = id
	}
	f.API = apiCallOf("POST", indented(body), "/api-keys")
	return f
}

// indented is a value as JSON for people.
func indented(v any) string {
	b, _ := json.MarshalIndent(v, "", "  ") // made of maps and strings here
	return string(b)
}

func (a *Pages) newKeyPage(ctx context.Context, p *pageCtx) error {
	form := views.Form{Values: map[string][]string{"scopes": {string(models.MayPublish)}, "expires_in": {"2160h"}}}
	return p.render(ctx, http.StatusOK, views.NewKeyPage(views.NewKey{Page: newKeyFrame(p), Form: form}))
}

func (a *Pages) createKey(ctx context.Context, p *pageCtx) error {
	form := p.form()
	in, err := keyInput(form)
	if err == nil {
		if id := p.tenantID(); id != "" {
			in.TenantID = id
		}
		err = p.createdKey(ctx, in, "API key created", views.KeysURL(p.tenantID()))
	}
	if err == nil {
		return nil
	}
	if form.Err = api.Refusal(addressLines(err)); form.Err == nil {
		if !models.IsKind(err, models.KindNotFound) {
			return err
		}
		form.Err = models.Invalid("tenant_id", "is not the ID of a tenant")
	}
	return p.render(ctx, form.Err.Status(), views.NewKeyPage(views.NewKey{Page: refused(newKeyFrame(p)), Form: form}))
}

// keyInput reads the form by way of the API's parser, so that both find the same mistakes.
func keyInput(form views.Form) (in models.APIKeyInput, err error) {
	scopes := form.Values["scopes"]
	if scopes == nil {
		scopes = []string{}
	}
	body := map[string]any{"name": strings.TrimSpace(form.Value("name")), "scopes": scopes,
		"tenant_id": strings.TrimSpace(form.Value("tenant_id")), "expires_in": form.Value("expires_in")}
	keyBounds(form, body)
	b, err := json.Marshal(body)
	if err == nil {
		err = api.DecodeJSON(b, reflect.ValueOf(&in).Elem(), false)
	}
	return in, addressLines(err)
}

// keyBounds reads what a key is bound to into a body for the API. What is empty is null.
func keyBounds(form views.Form, body map[string]any) {
	body["addresses"] = strings.FieldsFunc(form.Value("addresses"), func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
	for _, name := range []string{"requests_per_second", "events_per_second", "bytes_per_second"} {
		body[name] = nil
		if v := strings.TrimSpace(form.Value(name)); v != "" {
			body[name] = v // refused by the API, with its words, unless it is a number
			if n, err := strconv.Atoi(v); err == nil {
				body[name] = n
			}
		}
	}
	body["limit_burst"] = nil
	if v := strings.TrimSpace(form.Value("limit_burst")); v != "" {
		body["limit_burst"] = v
	}
}

// addressLines puts what is wrong with single addresses where the form has them all.
func addressLines(err error) error {
	var e *models.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
		rest, ok := strings.CutPrefix(field, "addresses[")
		if !ok || e.Fields["addresses"] != "" {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(rest, "]")); err == nil {
			e.Fields["addresses"] = fmt.Sprintf("Line %d %s", n+1, e.Fields[field])
			delete(e.Fields, field)
		}
	}
	return err
}

func editKeyFrame(p *pageCtx, k *models.APIKey) views.Page {
	f := keyFrame(p, "Change API key")
	f.API = apiCallOf("PATCH", indented(map[string]any{"addresses": []string{"192.0.2.0/24"}, "events_per_second": 100}), "/api-keys/",
		k.ID.String())
	return f
}

func (a *Pages) keyPage(ctx context.Context, p *pageCtx) error {
	k, err := a.Store.APIKey(ctx, p.call.Scope(), p.Params("key"))
	if err != nil {
		return err
	}
	form := views.Form{Values: map[string][]string{"name": {k.Name}, "addresses": {strings.Join(k.AddressTexts(), "\n")}}}
	for _, s := range k.Scopes {
		form.Values["scopes"] = append(form.Values["scopes"], string(s))
	}
	if k.ExpiresAt != nil {
		form.Values["expires_at"] = []string{k.ExpiresAt.UTC().Format("2006-01-02T15:04:05")}
	}
	for name, n := range map[string]*int{"requests_per_second": k.Limits.RequestsPerSecond,
		"events_per_second": k.Limits.EventsPerSecond, "bytes_per_second": k.Limits.BytesPerSecond} {
		if n != nil {
			form.Values[name] = []string{strconv.Itoa(*n)}
		}
	}
	if b := k.Limits.LimitBurst; b != nil {
		form.Values["limit_burst"] = []string{b.String()}
	}
	return p.render(ctx, http.StatusOK, views.KeyPage(views.EditKey{Page: editKeyFrame(p, k), Key: k, Form: form}))
}

// changeKey saves the whole form: a field that is empty is taken away.
func (a *Pages) changeKey(ctx context.Context, p *pageCtx) error {
	k, err := a.Store.APIKey(ctx, p.call.Scope(), p.Params("key"))
	if err != nil {
		return err
	}
	form := p.form()
	req := api.UpdateAPIKeyRequest{Key: p.Params("key")}
	scopes := form.Values["scopes"]
	if scopes == nil {
		scopes = []string{}
	}
	body := map[string]any{"name": strings.TrimSpace(form.Value("name")), "scopes": scopes, "expires_at": nil}
	keyBounds(form, body)
	if v := strings.TrimSpace(form.Value("expires_at")); v != "" {
		at, perr := api.ParseTime(v)
		if perr != nil {
			err = models.Invalid("expires_at", "must be a date like 2027-01-31, or a date and time like 2027-01-31T12:00")
		}
		body["expires_at"] = at
	}
	if err == nil {
		var b []byte
		if b, err = json.Marshal(body); err == nil {
			err = api.DecodeJSON(b, reflect.ValueOf(&req.Body).Elem(), false)
		}
	}
	if err == nil {
		_, err = a.UpdateAPIKey(ctx, p.call, &req)
	}
	if err == nil {
		return p.done(views.KeysURL(p.tenantID()), said("The key was changed."))
	}
	if form.Err = api.Refusal(addressLines(err)); form.Err == nil {
		return err
	}
	return p.render(ctx, form.Err.Status(), views.KeyPage(views.EditKey{Page: refused(editKeyFrame(p, k)), Key: k, Form: form}))
}

// createdKey makes a key and shows it, this once. It is the answer to the form itself and not a page of its own, since
// the key is not kept anywhere.
func (p *pageCtx) createdKey(ctx context.Context, in models.APIKeyInput, title, next string) error {
	k, secret, err := p.app.Store.CreateAPIKey(ctx, p.call.Actor, in)
	if err != nil {
		return err
	}
	v := views.KeyCreated{Page: keyFrame(p, title), Key: k, Secret: secret, Next: next}
	v.Here = next
	if v.Section = views.SectionKeys; next == views.HomeURL() {
		v.Section, v.Crumbs = "", nil
	}
	v.Try = views.APICall{Path: api.APIPrefix + "/destination-types"}
	tenant := k.TenantID
	if tenant == "" {
		tenant = api.DemoTenant
	}
	for _, s := range k.Scopes {
		if s == models.MayPublish || s == models.MayAdmin {
			v.Try = publishCall(tenant, "order.created", []byte(`{"hello": "world"}`))
		}
	}
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.KeyCreatedPage(v))
}

// publishCall is the call that publishes an event.
func publishCall(tenant, topic string, data []byte) views.APICall {
	const most = 8 << 10
	if len(data) > most || !json.Valid(data) {
		data = []byte(`{}`)
	}
	body := "{\n  \"tenant_id\": " + quote(tenant) + ",\n"
	if topic != "" {
		body += "  \"topic\": " + quote(topic) + ",\n"
	}
	return *apiCallOf("POST", body+"  \"data\": "+string(data)+"\n}", "/publish")
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string can always be encoded
	return string(b)
}

func (a *Pages) revokeKeyPage(ctx context.Context, p *pageCtx) error {
	return a.confirmRevoke(ctx, p, nil)
}

func (a *Pages) confirmRevoke(ctx context.Context, p *pageCtx, problem *models.Error) error {
	k, err := a.Store.APIKey(ctx, p.call.Scope(), p.Params("key"))
	if err != nil {
		return err
	}
	used := "It was never used."
	if k.LastUsedAt != nil {
		used = "It was last used on " + p.zone().Say(*k.LastUsedAt, "2 January 2006 at 15:04") + "."
	}
	v := views.Confirm{Page: keyFrame(p, "Revoke API key"), Question: "Revoke the key " + k.Name + " (" + k.Hint + ")?",
		Effects: []string{used, "Whoever uses it is refused within seconds.", "It cannot be undone; a new key can be created."},
		Action:  views.KeyURL(p.tenantID(), k.ID.String(), "revoke"), Submit: "Revoke key", Back: views.KeysURL(p.tenantID()),
		Err: problem}
	v.API = apiCallOf("DELETE", "", "/api-keys/", k.ID.String())
	return p.render(ctx, listStatus(problem), views.ConfirmPage(v))
}

func (a *Pages) revokeKey(ctx context.Context, p *pageCtx) error {
	if _, err := a.RevokeAPIKey(ctx, p.call, &api.APIKeyRequest{Key: p.Params("key")}); err != nil {
		return err
	}
	return p.done(views.KeysURL(p.tenantID()), said("The key was revoked."))
}
