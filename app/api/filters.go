package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
)

// trialParams say on what a filter or a transform is tried: on an event of the caller's, or on recent events.
type trialParams struct {
	Event  *models.TrialEvent
	Tenant string
	Topics models.Topics // of the recent events; all when missing
	Limit  int           // of recent events; 0 for models.TrialEvents
}

// trialEvents are those to try on; given says that the caller gave the one event.
func (a *API) trialEvents(ctx context.Context, c *Call, p trialParams) (list []*models.Event, given bool, err error) {
	if p.Event != nil {
		return []*models.Event{p.Event.Event()}, true, nil
	}
	limit := p.Limit
	if limit == 0 {
		limit = models.TrialEvents
	}
	switch {
	case p.Tenant == "" && c.Actor.TenantID == "":
		return nil, false, models.Invalid("event", "is required, or else tenant_id for recent events of that tenant")
	case limit < 1 || limit > models.MaxTrialEvents:
		return nil, false, models.Invalid("limit", fmt.Sprintf("must be between 1 and %d", models.MaxTrialEvents))
	}
	scope, err := a.Store.Of(ctx, c.Scope(), p.Tenant)
	if err != nil {
		return nil, false, err
	}
	list, err = a.Store.RecentEvents(ctx, scope, p.Topics, limit)
	return list, false, err
}

type testFilterRequest struct {
	Body struct {
		Filter json.RawMessage    `json:"filter" api:"required,schema=Filter"`
		Event  *models.TrialEvent `json:"event" doc:"Try it on this event."`
		Tenant string             `json:"tenant_id" doc:"Or on recent events of this tenant."`
		Topics models.Topics      `json:"topics" doc:"With these topics; all when missing."`
		Limit  int                `json:"limit" api:"min=1,max=1000,default=50" doc:"How many recent events."`
	} `body:"json"`
}

type verdictJSON struct {
	EventID string `json:"event_id,omitempty"`
	Match   bool   `json:"match"`
	Reason  string `json:"reason" doc:"What decided, in words."`
	Rule    int    `json:"rule,omitempty" doc:"Number of the rule that decided against the event, from 1."`
	Path    string `json:"path,omitempty" doc:"Of the field that decided."`
	Failed  bool   `json:"failed,omitempty" doc:"The filter could not be evaluated."`

	Warnings []models.Warning `json:"warnings,omitempty" doc:"Fields that the filter needs and the event of the request does not have."`
}

type filterTrialJSON struct {
	Matched int           `json:"matched"`
	Total   int           `json:"total" doc:"Events that it was tried on."`
	Results []verdictJSON `json:"results"`

	Warnings []models.Warning `json:"warnings,omitempty" doc:"Fields that the filter needs and none of the events has."`
}

// testFilter tells what a filter would do: to an event in the request, or to recent events.
func (a *API) testFilter(ctx context.Context, c *Call, req *testFilterRequest) (*Reply, error) {
	b := &req.Body
	f, err := filter.ParseNew(models.PlainSearch(b.Filter))
	if err != nil {
		return nil, models.FilterError("filter", err)
	}
	list, given, err := a.trialEvents(ctx, c, trialParams{b.Event, b.Tenant, b.Topics, b.Limit})
	if err != nil {
		return nil, err
	}
	results, matched := make([]verdictJSON, len(list)), 0
	for i, e := range list {
		v := e.Try(f)
		results[i] = verdictJSON{EventID: e.ID, Match: v.Match, Reason: v.Reason, Rule: v.Rule, Path: v.Path, Failed: v.Failed}
		if v.Match {
			matched++
		}
	}
	doubts := models.DoubtsOf("filter", f, list)
	if given {
		results[0].Warnings = doubts
		return &Reply{Body: results[0]}, nil
	}
	return &Reply{Body: filterTrialJSON{matched, len(list), results, doubts}}, nil
}

type convertFilterRequest struct {
	Body struct {
		Filter json.RawMessage `json:"filter" api:"schema=Filter"`
		Rules  *filter.Rules   `json:"rules" doc:"Instead of 'filter': rows as the filter builder edits them."`
		To     filter.Notation `json:"to" api:"required"`
	} `body:"json"`
}

type convertedJSON struct {
	Filter   json.RawMessage `json:"filter" doc:"null when the notation cannot say anything similar."`
	Lossless bool            `json:"lossless"`
	Reason   string          `json:"reason,omitempty" doc:"What the notation cannot say."`
}

// convertFilter writes a filter in another notation.
func (a *API) convertFilter(_ context.Context, _ *Call, req *convertFilterRequest) (*Reply, error) {
	b := &req.Body
	var f *filter.Filter
	var err error
	field := "filter"
	if b.Rules != nil {
		field = "rules"
		f, err = filter.FromRules(*b.Rules)
	} else {
		f, err = filter.ParseNew(models.PlainSearch(b.Filter))
	}
	if err != nil {
		return nil, models.FilterError(field, err)
	}
	out, lossless, reason, err := f.Convert(b.To)
	if err != nil {
		return nil, models.Invalid("to", "must be json, search, expression or rules")
	}
	return &Reply{Body: convertedJSON{out, lossless, reason}}, nil
}

type testTransformRequest struct {
	Body struct {
		Transform string             `json:"transform" api:"required" doc:"The expression."`
		Event     *models.TrialEvent `json:"event" doc:"Try it on this event."`
		Tenant    string             `json:"tenant_id" doc:"Or on recent events of this tenant."`
		Topics    models.Topics      `json:"topics" doc:"With these topics; all when missing."`
		Limit     int                `json:"limit" api:"min=1,max=1000,default=50" doc:"How many recent events."`
	} `body:"json"`
}

type transformedJSON struct {
	EventID string          `json:"event_id,omitempty"`
	Body    json.RawMessage `json:"body,omitempty" doc:"What would be sent."`
	Error   string          `json:"error,omitempty" doc:"Why an attempt would fail."`
}

type transformTrialJSON struct {
	Total   int               `json:"total" doc:"Events that it was tried on."`
	Results []transformedJSON `json:"results"`
}

// testTransform shows the bodies that a transform would make: of an event in the request, or of recent events.
func (a *API) testTransform(ctx context.Context, c *Call, req *testTransformRequest) (*Reply, error) {
	b := &req.Body
	p, err := filter.ParseProjection(b.Transform)
	if err != nil {
		return nil, models.FilterError("transform", err)
	}
	list, given, err := a.trialEvents(ctx, c, trialParams{b.Event, b.Tenant, b.Topics, b.Limit})
	if err != nil {
		return nil, err
	}
	results := make([]transformedJSON, len(list))
	for i, e := range list {
		results[i] = Transformed(e, p)
	}
	if given {
		return &Reply{Body: results[0]}, nil
	}
	return &Reply{Body: transformTrialJSON{len(list), results}}, nil
}

func Transformed(e *models.Event, p *filter.Projection) transformedJSON {
	body, err := e.Transform(p)
	if err != nil {
		return transformedJSON{EventID: e.ID, Error: "The transform failed: " + err.Error() + "."}
	}
	return transformedJSON{EventID: e.ID, Body: body}
}
