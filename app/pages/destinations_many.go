package pages

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// Destinations that are selected in their list are enabled or disabled together: a plan says what that does to each and how many
// deliveries wait, and what was done leads to the same destinations as they are then, from where it is undone.

// chosenPage shows the selected destinations; do is what is planned with them, empty for nothing.
func (a *Pages) chosenPage(do string) pageHandler {
	return func(ctx context.Context, p *pageCtx) error {
		form := views.Form{Values: url.Values{"action": {a.Store.EnableAction(p.tenant)}}}
		return a.showChosen(ctx, p, do, p.query()["destination_id"], form)
	}
}

func (a *Pages) showChosen(ctx context.Context, p *pageCtx, do string, ids []string, form views.Form) error {
	v := views.Chosen{Do: do, Form: form}
	var err error
	if v.List, err = a.chosenOf(ctx, p, ids); err != nil {
		return err
	}
	if len(v.List) == 0 {
		return p.done(views.DestinationsURL(p.tenant.ID), &views.Flash{Tone: views.ToneInfo, Text: "Select destinations first."})
	}
	distinct := map[string]bool{}
	for _, id := range ids {
		distinct[id] = true
	}
	v.Missing = len(distinct) - len(v.List)
	title := map[string]string{views.DoEnable: "Enable destinations", views.DoDisable: "Disable destinations", "": "Selected destinations"}[do]
	v.Page = p.frame(title, views.SectionDestinations)
	v.Crumbs = []views.Crumb{{Label: "Destinations", URL: views.DestinationsURL(p.tenant.ID)}}
	v.Invalid = form.Err != nil
	names := make([]string, len(v.List))
	for i, d := range v.List {
		names[i] = d.ID
	}
	switch do {
	case views.DoEnable:
		v.API = apiCallOf("POST", indented(map[string]any{"tenant_id": p.tenant.ID, "destination_ids": names, "backlog": "deliver"}), "/destinations/enable")
	case views.DoDisable:
		v.API = apiCallOf("POST", indented(map[string]any{"tenant_id": p.tenant.ID, "destination_ids": names, "reason": "Maintenance"}),
			"/destinations/disable")
	}
	if v.Waiting, v.Many, err = a.Store.WaitingOf(ctx, v.List); err != nil {
		return err
	}
	return p.render(ctx, listStatus(form.Err), views.ChosenPage(v))
}

// chosenOf finds the tenant's destinations with these ids, in the order of the list.
func (a *Pages) chosenOf(ctx context.Context, p *pageCtx, ids []string) ([]*models.Destination, error) {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	all, err := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
	if err != nil {
		return nil, err
	}
	var out []*models.Destination
	for _, d := range all {
		if wanted[d.ID] {
			out = append(out, d)
		}
	}
	return out, nil
}

func (a *Pages) enableChosen(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.ManyDestinationsRequest{}
	req.Body.Tenant, req.Body.Destinations, req.Body.Backlog = p.tenant.ID, form.Values["destination_id"], form.Value("action")
	r, err := a.EnableDestinations(ctx, p.call, req)
	return a.didChosen(ctx, p, views.DoEnable, form, r, err)
}

func (a *Pages) disableChosen(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.ManyDestinationsRequest{}
	req.Body.Tenant, req.Body.Destinations = p.tenant.ID, form.Values["destination_id"]
	reason, err := disableReason(form)
	var r *api.Reply
	if err == nil {
		req.Body.Reason = reason
		r, err = a.DisableDestinations(ctx, p.call, req)
	}
	return a.didChosen(ctx, p, views.DoDisable, form, r, err)
}

// didChosen leads to the destinations that were acted on, with what became of them.
func (a *Pages) didChosen(ctx context.Context, p *pageCtx, do string, form views.Form, r *api.Reply, err error) error {
	ids := form.Values["destination_id"]
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showChosen(ctx, p, do, ids, form)
	}
	return p.done(views.ChosenURL(p.tenant.ID, "", ids), chosenFlash(do, r))
}

// chosenFlash says what became of many destinations.
func chosenFlash(do string, r *api.Reply) *views.Flash {
	many, ok := r.Body.(*api.ManyJSON)
	if !ok {
		return nil
	}
	word, after := "Enabled", "New events are delivered."
	if do == views.DoDisable {
		word, after = "Disabled", "New events are held."
	}
	text := []string{fmt.Sprintf("%s: %d.", word, many.Done)}
	if many.Done > 0 {
		text = append(text, after)
	}
	if many.Unchanged > 0 {
		text = append(text, fmt.Sprintf("Unchanged: %d.", many.Unchanged))
	}
	flash := said("")
	if many.Refused > 0 {
		flash.Tone = views.ToneWarn
		for _, x := range many.Results {
			if x.Error != nil {
				text = append(text, fmt.Sprintf("Refused: %d. %s: %s", many.Refused, x.ID, x.Error.Message))
				break
			}
		}
	}
	flash.Text = strings.Join(text, " ")
	return flash
}

// disableReason is why somebody disables destinations: one of the usual reasons, or in words of their own.
func disableReason(form views.Form) (string, error) {
	reason := form.Value("reason_kind")
	if reason == otherReason || reason == "" {
		if reason = strings.TrimSpace(form.Value("reason")); reason == "" {
			return "", models.Invalid("reason", "is required: say why in a few words")
		}
	}
	return reason, nil
}
