package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/views"
)

// filterPage shows a destination's filter, in the view that suits it best unless the address names one.
func (a *Pages) filterPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	saved, err := filter.Parse(d.Filter)
	if err != nil {
		return err
	}
	st := &filterState{pinned: p.Query("event"), version: strconv.FormatInt(d.Version, 10)}
	now := parsed{filter: saved, stored: storedFilter(d)}
	view := filter.Notation(p.Query("view"))
	if !isView(view) {
		if view = filter.NotationRules; st.show(now, view) != "" {
			view = saved.Notation()
		}
	}
	reason := st.show(now, view)
	return a.showFilter(ctx, p, d, st, filterView{reason: reason})
}

func storedFilter(d *models.Destination) json.RawMessage {
	if len(d.Filter) == 0 {
		return json.RawMessage("{}")
	}
	return d.Filter
}

// filterAction does what a button of the filter builder says. All of them send the whole form, so that nothing that was
// typed is lost, and no view needs scripts.
func (a *Pages) filterAction(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	st := readFilterState(p.form())
	do := p.form().Value("do")
	if to := filter.Notation(p.Query("view")); isView(to) {
		return a.switchFilterView(ctx, p, d, st, to)
	}
	switch do {
	case "save", "confirm":
		return a.saveFilter(ctx, p, d, st, do == "confirm")
	case "back":
		return a.switchFilterView(ctx, p, d, st, st.view)
	case "adopt":
		st.keep = nil
		return a.showFilter(ctx, p, d, st, filterView{focus: "filter"})
	case "", "test":
		return a.showFilter(ctx, p, d, st, filterView{reason: st.readOnlyReason()})
	}
	events, err := a.trialRecent(ctx, p, d)
	if err != nil {
		return err
	}
	return a.showFilter(ctx, p, d, st, filterView{focus: st.change(do, models.SuggestFields(events)), events: events})
}

// readOnlyReason is why the view cannot change the filter that is in it.
func (st *filterState) readOnlyReason() string {
	if st.keep == nil {
		return ""
	}
	p := st.parse(nil, true)
	if p.err != nil {
		return p.err.Fields["filter"]
	}
	text := st.text
	reason := st.show(p, st.view)
	if st.text == "" {
		st.text = text
	}
	return reason
}

func (a *Pages) switchFilterView(ctx context.Context, p *pageCtx, d *models.Destination, st *filterState, to filter.Notation) error {
	events, err := a.trialRecent(ctx, p, d)
	if err != nil {
		return err
	}
	now := st.parse(models.SuggestFields(events), false)
	if now.err != nil {
		return a.showFilter(ctx, p, d, st, filterView{err: now.err, events: events})
	}
	reason := st.show(now, to)
	return a.showFilter(ctx, p, d, st, filterView{reason: reason, events: events})
}

// filterView is what the filter builder shows beside its state.
type filterView struct {
	reason string          // why the view is read-only
	err    *models.Error   // why the filter was refused
	focus  string          // where to go on
	events []*models.Event // recent ones; read when missing
}

func (a *Pages) trialRecent(ctx context.Context, p *pageCtx, d *models.Destination) ([]*models.Event, error) {
	return a.Store.RecentEvents(ctx, p.call.Scope(), d.Topics, models.TrialEvents)
}

func (a *Pages) showFilter(ctx context.Context, p *pageCtx, d *models.Destination, st *filterState, fv filterView) error {
	var err error
	if fv.events == nil {
		if fv.events, err = a.trialRecent(ctx, p, d); err != nil {
			return err
		}
	}
	v := views.FilterBuilder{Page: p.destinationFrame(d, "Filter"), Destination: d, View: string(st.view), Match: st.match, Rows: st.rows,
		ReadOnly: fv.reason,
		Fields:   models.SuggestFields(fv.events), Seen: len(fv.events), Pinned: st.pinned, Sample: st.sample, Version: st.version,
		Focus: fv.focus,
		Form:  views.Form{Values: map[string][]string{"filter": {st.text}}, Err: fv.err}}
	v.API = apiCallOf("GET", "", destinationTail(d, "/filter"))
	v.Refresh = true
	v.Invalid = fv.err != nil
	saved, err := filter.Parse(d.Filter)
	if err != nil {
		return err
	}
	v.SavedRules = saved.Rules()
	if v.Counts, err = a.CountsOf(ctx, d, time.Time{}); err != nil {
		return err
	}
	now := st.parse(v.Fields, true)
	if st.keep != nil {
		v.Keep = string(st.keep)
		v.Words = now.filter.Rules()
	}
	if v.Trial, err = a.tryFilter(ctx, p, st, now, saved, fv.events); err != nil {
		return err
	}
	return p.render(ctx, listStatus(fv.err), views.FilterPage(v))
}

// tryFilter evaluates the filter in the builder on recent events, on the one that the builder was opened for, and on
// somebody's own.
func (a *Pages) tryFilter(ctx context.Context, p *pageCtx, st *filterState, now parsed, saved *filter.Filter,
	recent []*models.Event) (views.FilterTrial, error) {
	t := views.FilterTrial{Notes: now.notes}
	if now.err != nil {
		t.Problem = strings.Join(now.err.Problems(), "; ")
		return t, nil //nolint:nilerr // that it was not tried is the answer
	}
	if st.sample = strings.TrimSpace(st.sample); st.sample != "" {
		item := views.TrialItem{Label: "Your event"}
		if e, err := ownEvent(st.sample); err != nil {
			item.Problem = strings.Replace(models.AsError(err).Message, "The body", "This text", 1)
		} else {
			item.Event, item.Verdict = e, e.Try(now.filter)
		}
		t.Items = append(t.Items, item)
	}
	if st.pinned != "" {
		e, err := a.Store.Event(ctx, p.call.Scope(), st.pinned)
		if models.IsKind(err, models.KindNotFound) {
			e, err = nil, nil // its day is over
		}
		if err != nil {
			return t, err
		}
		if e != nil {
			t.Items = append(t.Items, views.TrialItem{Event: e, Label: "The event you came from", Verdict: e.Try(now.filter)})
		}
	}
	t.Total, t.Compared = len(recent), len(recent) > 0
	for _, e := range recent {
		item := views.TrialItem{Event: e, Verdict: e.Try(now.filter)}
		before := e.Try(saved).Match
		item.Changed = before != item.Verdict.Match
		switch {
		case item.Verdict.Match:
			t.Matched++
			if !before {
				t.Started++
			}
		case before:
			t.Stopped++
		}
		t.Items = append(t.Items, item)
	}
	return t, nil
}

// eventKeys are what an event has, as it is published and as the API shows it.
var eventKeys = strings.Fields("id topic time metadata data tenant_id eligible_for_retry received_at matched_destination_ids deliveries")

// ownEvent reads what somebody pasted: a payload, or a whole event with its data.
func ownEvent(text string) (*models.Event, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &keys); err != nil || keys == nil {
		var payload json.RawMessage // which need not be an object
		if err := json.Unmarshal([]byte(text), &payload); err != nil {
			return nil, api.JSONProblem([]byte(text), err)
		}
		return &models.Event{Data: payload, Time: time.Now()}, nil
	}
	whole := keys["data"] != nil
	for k := range keys {
		whole = whole && slices.Contains(eventKeys, k)
	}
	if !whole {
		return &models.Event{Data: []byte(text), Time: time.Now()}, nil
	}
	var e models.TrialEvent
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		field, message := api.FieldProblem("event", err)
		return nil, &models.Error{Kind: models.KindInvalid, Message: field + " " + message}
	}
	return e.Event(), nil
}

// Saving asks first when the filter would stop at least this part of the events that pass now, of at least so many.
const (
	impactShare  = 0.5
	impactEvents = 10
)

func (a *Pages) saveFilter(ctx context.Context, p *pageCtx, d *models.Destination, st *filterState, confirmed bool) error {
	events, err := a.trialRecent(ctx, p, d)
	if err != nil {
		return err
	}
	now := st.parse(models.SuggestFields(events), false)
	if now.err != nil {
		return a.showFilter(ctx, p, d, st, filterView{err: now.err, events: events})
	}
	if !confirmed {
		impact, err := a.filterImpact(ctx, p, d, now.filter)
		if err != nil {
			return err
		}
		if impact != nil {
			impact.Filter, impact.View, impact.Version = string(now.stored), string(st.view), st.version
			return p.render(ctx, http.StatusOK, views.FilterImpactPage(*impact))
		}
	}
	p.call.IfMatch = st.version
	reply, err := a.UpdateDestination(ctx, p.call, &api.UpdateDestinationRequest{Tenant: p.tenant.ID, Destination: d.ID,
		Body: models.DestinationPatch{"filter": now.stored}})
	if e := api.Refusal(err); err != nil && e != nil {
		if e.Kind == models.KindStale {
			st.version = strconv.FormatInt(d.Version, 10)
			e = &models.Error{Kind: e.Kind,
				Message: "Somebody has changed the destination since you opened this page. The rules of its filter are listed below; saving again replaces them."}
		}
		return a.showFilter(ctx, p, d, st, filterView{err: e, events: events, reason: st.readOnlyReason()})
	}
	if err != nil {
		return err
	}
	flash := warned(said("The filter is saved, and in force for the next event."), reply)
	if now.filter.IsEmpty() {
		flash = said("The filter is gone: every event of the destination's topics is delivered.")
	}
	if views.HasFilter(d) && p.call.Actor.Can(models.MayRetry) {
		flash.LinkText, flash.LinkURL = "Send what was filtered out before", views.DestinationURL(p.tenant.ID, d.ID, "filter/send")
	}
	to := views.DestinationURL(p.tenant.ID, d.ID, "filter")
	if st.view != filter.NotationRules {
		to += "?view=" + string(st.view)
	}
	return p.done(to, flash)
}

// filterImpact tells what the filter would have stopped within a day; nil when it is not much.
func (a *Pages) filterImpact(ctx context.Context, p *pageCtx, d *models.Destination, f *filter.Filter) (*views.FilterImpact, error) {
	saved, err := filter.Parse(d.Filter)
	if err != nil {
		return nil, err
	}
	events, err := a.Store.RecentEvents(ctx, p.call.Scope(), d.Topics, models.MaxTrialEvents)
	if err != nil {
		return nil, err
	}
	v := &views.FilterImpact{Page: p.destinationFrame(d, "Save the filter?"), Destination: d}
	since, stopped := time.Now().Add(-24*time.Hour), 0
	for _, e := range events {
		if e.Received.Before(since) {
			break
		}
		v.Events++
		before, after := e.Try(saved).Match, e.Try(f).Match
		if !before {
			v.Before++
		}
		if !after {
			v.Dropped++
		}
		if before && !after {
			stopped++
		}
	}
	if passing := v.Events - v.Before; passing < impactEvents || float64(stopped) < impactShare*float64(passing) {
		return nil, nil
	}
	v.Crumbs = append(v.Crumbs, views.Crumb{Label: "Filter", URL: views.DestinationURL(p.tenant.ID, d.ID, "filter")})
	return v, nil
}

// sendFilteredPage shows which of the events that a filter held back would be sent after all.
func (a *Pages) sendFilteredPage(ctx context.Context, p *pageCtx) error {
	q := p.query()
	form := views.Form{Values: map[string][]string{}}
	for _, name := range []string{"since", "until", "which"} {
		form.Values[name] = []string{q.Get(name)}
	}
	return a.showSendFiltered(ctx, p, form)
}

func (a *Pages) showSendFiltered(ctx context.Context, p *pageCtx, form views.Form) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	if form.Value("which") == "" {
		form.Values["which"] = []string{"matching"}
	}
	v := views.SendFiltered{Page: p.destinationFrame(d, "Deliver filtered events"), Destination: d, All: form.Value("which") == "all"}
	v.Crumbs = append(v.Crumbs, views.Crumb{Label: "Filter", URL: views.DestinationURL(p.tenant.ID, d.ID, "filter")})
	req, err := filteredForm(p, d, form)
	if err == nil && form.Err == nil {
		v.Plan, err = a.Store.PlanFiltered(ctx, d, req.Query())
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
	}
	v.Form, v.Invalid = form, form.Err != nil
	v.API = apiCallOf("POST", indented(map[string]any{"all": v.All, "plan": true}), destinationTail(d, "/filtered"))
	return p.render(ctx, listStatus(form.Err), views.SendFilteredPage(v))
}

// filteredForm reads which events are meant.
func filteredForm(p *pageCtx, d *models.Destination, form views.Form) (*api.FilteredRequest, error) {
	req := &api.FilteredRequest{Tenant: p.tenant.ID, Destination: d.ID}
	req.Body.All = form.Value("which") == "all"
	for name, to := range map[string]**time.Time{"since": &req.Body.Since, "until": &req.Body.Until} {
		if text := strings.TrimSpace(form.Value(name)); text != "" {
			t, err := api.ParseTime(text)
			if err != nil {
				return nil, models.Invalid(name, err.Error())
			}
			*to = &t
		}
	}
	return req, nil
}

func (a *Pages) doSendFiltered(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	form := p.form()
	req, err := filteredForm(p, d, form)
	var reply *api.Reply
	if err == nil {
		reply, err = a.SendFiltered(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showSendFiltered(ctx, p, form)
	}
	body := reply.Body.(api.FilteredJSON)
	flash := said("The event that was filtered out is on its way.")
	switch n := body.Count; {
	case body.More:
		flash = said(fmt.Sprintf("At least %d events that were filtered out are on their way.", n))
	case n != 1:
		flash = said(fmt.Sprintf("%d events that were filtered out are on their way.", n))
	}
	flash.LinkText, flash.LinkURL = "Show the deliveries", views.DestinationURL(p.tenant.ID, d.ID, "deliveries")
	return p.done(views.DestinationURL(p.tenant.ID, d.ID, "filter"), flash)
}

func (a *Pages) filterHelpPage(ctx context.Context, p *pageCtx) error {
	f := p.frame("Filters on payload content", views.SectionDestinations)
	f.Crumbs = []views.Crumb{{Label: "Destinations", URL: views.DestinationsURL(p.tenant.ID)}}
	return p.render(ctx, http.StatusOK, views.FilterHelpPage(f))
}
