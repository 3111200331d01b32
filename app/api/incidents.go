package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type listIncidentsRequest struct {
	Tenant string `query:"tenant_id" doc:"Only of this tenant; a tenant's key sees its own only."`
	models.IncidentQuery
	Limit *int `query:"limit" api:"min=1" doc:"How many are listed."`
}

type incidentsJSON struct {
	Models []incidentJSON `json:"models" doc:"Those that the server disabled first, then those that fail, then those that a person disabled; in each, the most deliveries that wait first."`
	Total  int            `json:"total" doc:"How many there are in all, with the conditions of this list."`
	States map[string]int `json:"states" doc:"How many there are in each state, whatever the conditions: 'disabled_by_waybill', 'failing', 'disabled'."`
}

type incidentJSON struct {
	namedDestinationJSON
	State        string     `json:"state" api:"enum=disabled_by_waybill|failing|disabled" doc:"Disabled by the server because it kept failing; failing; disabled by a person."`
	Cause        string     `json:"cause" doc:"The last error, or why a person disabled it; may be empty."`
	ErrorClass   string     `json:"error_class" doc:"Of the last error; empty for none."`
	Code         int        `json:"code" doc:"HTTP status of the last failure; 0 when there was no answer."`
	Advice       string     `json:"advice" doc:"What to do about the error; may be empty."`
	Since        time.Time  `json:"since" doc:"Disabled since then, or failing."`
	Held         int        `json:"held" doc:"Deliveries that are kept for it."`
	Retrying     int        `json:"retrying" doc:"Deliveries to it that have failed and are due again."`
	Failures     int        `json:"failures_in_a_row" doc:"Deliveries that failed since the last success."`
	Attempts     int        `json:"failed_attempts_in_a_row" doc:"Attempts that failed since the last success."`
	DisableAfter int        `json:"disable_after" doc:"Of 'failures_in_a_row', at which the server disables it; 0 for never."`
	DisableLeast float64    `json:"disable_least_seconds" doc:"And they must have gone on for so long."`
	DisabledBy   string     `json:"disabled_by" doc:"Who disabled it; empty when it is not."`
	LastFailure  *time.Time `json:"last_failure_at" api:"null" doc:"null for never."`
	ProbeAt      *time.Time `json:"probe_at" api:"null" doc:"When the server tries next whether it works again; null for never."`
}

func (a *API) listIncidents(ctx context.Context, c *Call, req *listIncidentsRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	if req.Limit != nil {
		if req.IncidentQuery.Limit = *req.Limit; *req.Limit == 0 {
			req.IncidentQuery.Limit = -1 // which is refused: models take 0 for a default
		}
	}
	found, err := a.Store.Incidents(ctx, scope, req.IncidentQuery)
	if err != nil {
		return nil, err
	}
	out := incidentsJSON{Models: []incidentJSON{}, Total: found.Total, States: found.States}
	for _, x := range found.Items {
		out.Models = append(out.Models, incidentJSON{namedDestinationJSON: namedToJSON(x.Destination), State: x.State, Cause: x.Cause,
			ErrorClass: x.ErrorClass, Code: x.Code, Advice: x.Advice, Since: x.Since, Held: x.Held, Retrying: x.Retrying,
			Failures: x.Failures, Attempts: x.Attempts, DisableAfter: x.Limit, DisableLeast: x.Least.Seconds(),
			DisabledBy: x.Destination.DisabledBy, LastFailure: x.LastFailure, ProbeAt: x.ProbeAt})
	}
	return &Reply{Body: out}, nil
}
