package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
)

type destinationFilterRequest struct {
	Tenant      string    `path:"tenant"`
	Destination string    `path:"destination"`
	Since       time.Time `query:"since" doc:"From when on events are counted; 24 hours ago when missing."`
}

type filterRuleJSON struct {
	filter.Rule
	FilteredOut int64 `json:"filtered_out" doc:"Events that this rule held back."`
}

type destinationFilterJSON struct {
	Filter      json.RawMessage  `json:"filter" doc:"null for none."`
	Notation    filter.Notation  `json:"notation"`
	Rules       []filterRuleJSON `json:"rules"`
	Since       time.Time        `json:"since"`
	FilteredOut int64            `json:"filtered_out" doc:"Events that the filter held back since."`
	Failed      int64            `json:"failed" doc:"Events on which it could not be evaluated."`
}

// CountsOf returns what a destination's filters held back since a time, by default within the last 24 hours.
func (a *API) CountsOf(ctx context.Context, d *models.Destination, since time.Time) (*models.FilterCounts, error) {
	if since.IsZero() {
		since = time.Now().Add(-24 * time.Hour)
	}
	return a.Store.FilterCounts(ctx, d, since)
}

// getDestinationFilter tells a destination's filter in words, with how much each rule held back.
func (a *API) getDestinationFilter(ctx context.Context, c *Call, req *destinationFilterRequest) (*Reply, error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	f, err := filter.Parse(d.Filter)
	if err != nil {
		return nil, models.FilterError("filter", err)
	}
	counts, err := a.CountsOf(ctx, d, req.Since)
	if err != nil {
		return nil, err
	}
	rules := []filterRuleJSON{}
	for _, r := range f.Rules() {
		rules = append(rules, filterRuleJSON{r, counts.Rules[r.Number]})
	}
	return &Reply{Body: destinationFilterJSON{destinationToJSON(d, false).Filter, f.Notation(), rules, counts.Since, counts.Total,
		counts.Failed}}, nil
}

type FilteredRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Since *time.Time `json:"since" doc:"Only events received from then on."`
		Until *time.Time `json:"until" doc:"Only events received before."`
		All   bool       `json:"all" doc:"Also what the filter, as it is now, would hold back again."`
		Plan  bool       `json:"plan" doc:"Only say what would be sent."`
	} `body:"json"`
}

func (r *FilteredRequest) Query() models.FilteredQuery {
	q := models.FilteredQuery{All: r.Body.All}
	if r.Body.Since != nil {
		q.Since = *r.Body.Since
	}
	if r.Body.Until != nil {
		q.Until = *r.Body.Until
	}
	return q
}

type FilteredJSON struct {
	Count       int       `json:"count" doc:"Events that are sent, or would be."`
	FilteredOut int       `json:"filtered_out" doc:"Events that filters held back, in this span."`
	Matching    int       `json:"matching" doc:"Of those, events that the filter, as it is now, lets through."`
	More        bool      `json:"more" doc:"There are more than one request looks at."`
	Sample      []string  `json:"sample" doc:"Ids of some of the events."`
	Status      string    `json:"status,omitempty" api:"schema=WorkStatus"`
	Links       linksJSON `json:"links"`
}

// SendFiltered sends events that a destination's filter held back after all, or says what that would be.
func (a *API) SendFiltered(ctx context.Context, c *Call, req *FilteredRequest) (*Reply, error) {
	var plan *models.FilteredPlan
	var err error
	if req.Body.Plan {
		var d *models.Destination
		if d, err = a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination); err != nil {
			return nil, err
		}
		plan, err = a.Store.PlanFiltered(ctx, d, req.Query())
	} else {
		plan, err = a.Store.SendFiltered(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name, req.Query())
	}
	if err != nil {
		return nil, err
	}
	sample := []string{}
	for _, e := range plan.Sample {
		sample = append(sample, e.ID)
	}
	links := linksJSON{Destination: destinationPath(req.Tenant, req.Destination)}.under(a.Base)
	body := FilteredJSON{plan.Count(req.Body.All), plan.Events, plan.Matching, plan.More, sample, "", links}
	if req.Body.Plan {
		return &Reply{Body: body}, nil
	}
	// What is sent after all leaves this list.
	body.Links.Monitor, body.Status = WithBase(a.Base, destinationDeliveriesPath(req.Tenant, req.Destination, models.StatusFilteredOut)),
		workAccepted
	return &Reply{Body: body, Monitor: body.Links.Monitor, Links: body.Links.header("")}, nil
}
