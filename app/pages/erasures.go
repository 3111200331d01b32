package pages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) erasuresPage(ctx context.Context, p *pageCtx) error {
	v := views.Erasures{Page: p.frame("Erasures", views.SectionSettings), Query: p.query()}
	v.Crumbs = []views.Crumb{{Label: "Settings", URL: views.SettingsURL(p.tenant.ID)}}
	q := maps.Clone(v.Query)
	q.Set("tenant_id", p.tenant.ID)
	v.API = apiCallOf("GET", "", "/erasures", queryOf[api.ListErasuresRequest](q))
	var err error
	v.List, err = found(ctx, p, q, api.ListErasuresRequest{}, a.FindErasures)
	return p.list(err, &v.Err, &v.Page, func() error { return p.render(ctx, listStatus(v.Err), views.ErasuresPage(v)) })
}

func (a *Pages) newErasurePage(ctx context.Context, p *pageCtx) error {
	form := views.Form{Values: p.query()}
	if form.Value("what") == "" {
		form.Values["what"] = []string{"filter"}
	}
	return a.showNewErasure(ctx, p, form, nil)
}

// showNewErasure shows the form, with what was counted; nil before.
func (a *Pages) showNewErasure(ctx context.Context, p *pageCtx, form views.Form, plan *models.ErasurePlan) error {
	v := views.NewErasure{Page: p.frame("Erase data", views.SectionSettings), Form: form, Event: form.Value("event_id"), Plan: plan}
	if plan != nil {
		v.Confirm = erasureConfirm(form, *plan.Filter.Until)
	}
	v.Invalid = form.Err != nil
	v.Crumbs = []views.Crumb{{Label: "Erasures", URL: views.ErasuresURL(p.tenant.ID)}}
	body := map[string]any{"tenant_id": p.tenant.ID, "filter": map[string]any{"q": "data.customer.email:ann@example.com"}}
	if v.Event != "" {
		body = map[string]any{"tenant_id": p.tenant.ID, "event_id": v.Event}
	}
	v.API = apiCallOf("POST", indented(body), "/erasures")
	if v.Event == "" && plan == nil {
		v.API = apiCallOf("POST", indented(body), "/erasures/plan")
	}
	return p.render(ctx, listStatus(form.Err), views.NewErasurePage(v))
}

// erasureConditions are the fields of the form that are times.
type erasureConditions struct {
	Since time.Time `query:"since"`
	Until time.Time `query:"until"`
}

// erasureRequest is what the form asks for.
func erasureRequest(tenant string, form views.Form) (*api.ErasureRequest, error) {
	req := &api.ErasureRequest{}
	b := &req.Body
	b.Tenant, b.Event, b.Why = tenant, form.Value("event_id"), form.Value("why")
	var c erasureConditions
	if err := bindQuery(map[string][]string{"since": {form.Value("since")}, "until": {form.Value("until")}}, &c); err != nil {
		return req, err
	}
	switch {
	case b.Event != "":
	case form.Value("what") == "all":
		if b.All = true; strings.TrimSpace(form.Value("q")+form.Value("topic")+form.Value("since")+form.Value("until")) != "" {
			return req, models.Invalid("what", "is everything, but there are conditions: take them away, or choose by them")
		}
	default:
		b.Filter = models.ErasureFilter{Topics: config.List(form.Value("topic")), Text: form.Value("q")}
		if !c.Since.IsZero() {
			b.Filter.Since = &c.Since
		}
		if !c.Until.IsZero() {
			b.Filter.Until = &c.Until
		}
	}
	return req, nil
}

// erasureConfirm is what the button that erases sends: which conditions were counted, and until when.
func erasureConfirm(form views.Form, until time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{form.Value("what"), form.Value("q"), form.Value("topic"), form.Value("since"),
		form.Value("until"), until.UTC().Format(time.RFC3339Nano)}, "\x00")))
	return hex.EncodeToString(sum[:8]) + "." + until.UTC().Format(time.RFC3339Nano)
}

// confirmed reports whether what the form asks for is what was counted, and until when that was.
func confirmed(form views.Form) (until time.Time, ok bool) {
	given := form.Value("confirm")
	_, at, _ := strings.Cut(given, ".")
	until, err := time.Parse(time.RFC3339Nano, at)
	return until, err == nil && given == erasureConfirm(form, until)
}

// startErasure starts what the form asks for. What conditions choose is counted first, and erased once somebody has seen how much
// that is.
func (a *Pages) startErasure(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req, err := erasureRequest(p.tenant.ID, form)
	if err == nil && req.Body.Event == "" {
		until, ok := confirmed(form)
		if !ok {
			return a.countErasure(ctx, p, form, req)
		}
		if !req.Body.All {
			req.Body.Filter.Until = &until
		}
	}
	if err == nil {
		var reply *api.Reply
		if reply, err = a.StartErasure(ctx, p.call, req); err == nil {
			return p.done(views.ErasureURL(p.tenant.ID, reply.Body.(api.ErasureJSON).ID), said("The erasure has started."))
		}
	}
	if form.Err = named(api.Refusal(err)); form.Err == nil {
		return err
	}
	return a.showNewErasure(ctx, p, form, nil)
}

// countErasure shows how much would be erased, and asks whether it shall be.
func (a *Pages) countErasure(ctx context.Context, p *pageCtx, form views.Form, req *api.ErasureRequest) error {
	plan, err := a.PlanErasure(ctx, p.call, req)
	if err != nil {
		if form.Err = named(api.Refusal(err)); form.Err == nil {
			return err
		}
	}
	return a.showNewErasure(ctx, p, form, plan)
}

func (a *Pages) erasurePage(ctx context.Context, p *pageCtx) error {
	e, err := a.Store.Erasure(ctx, p.call.Scope(), p.Params("erasure"))
	if err != nil {
		return err
	}
	v := views.Erasure{Page: p.frame("Erasure", views.SectionSettings), Erasure: e}
	v.Context = e.ID()
	v.Crumbs = []views.Crumb{{Label: "Erasures", URL: views.ErasuresURL(p.tenant.ID)}}
	v.API = apiCallOf("GET", "", "/erasures/", e.ID())
	v.Refresh = e.FinishedAt == nil
	return p.render(ctx, 200, views.ErasurePage(v))
}
