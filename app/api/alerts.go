package api

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// OwnerPath is the API's path of what a tenant owns, or without one the operators.
func OwnerPath(tenant string, tail ...string) string {
	out := APIPrefix
	if tenant != "" {
		out += "/tenants/" + url.PathEscape(tenant)
	}
	for _, t := range tail {
		out += "/" + url.PathEscape(t)
	}
	return out
}

// ownedBy makes sure that the caller may see what a tenant owns, or without one the operators, and returns its scope.
func ownedBy(ctx context.Context, a *API, c *Call, tenant string) (models.Scope, error) {
	if tenant == "" {
		return models.AllTenants(), OperatorsOnly(c)
	}
	return a.Store.Of(ctx, c.Scope(), tenant)
}

type alertJSON struct {
	ID             string          `json:"id"`
	RuleID         string          `json:"rule_id"`
	RuleName       string          `json:"rule_name"`
	TenantID       string          `json:"tenant_id"`
	DestinationID  string          `json:"destination_id"`
	Status         string          `json:"status" api:"schema=AlertStatus"`
	Severity       string          `json:"severity" api:"schema=Severity"`
	Summary        string          `json:"summary" doc:"What was found."`
	Step           *int            `json:"step,omitempty" doc:"Percent of the limit, of rules with steps."`
	Detail         alertDetailJSON `json:"detail"`
	OpenedAt       time.Time       `json:"opened_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
	AcknowledgedAt *time.Time      `json:"acknowledged_at"`
	AcknowledgedBy string          `json:"acknowledged_by,omitempty"`
	Acknowledged   string          `json:"acknowledgement,omitempty" doc:"What they had to say."`
	MutedUntil     *time.Time      `json:"muted_until"`
	MutedBy        string          `json:"muted_by,omitempty"`
	ResolvedAt     *time.Time      `json:"resolved_at"`
	Resolution     string          `json:"resolution,omitempty" doc:"How it ended."`
	ResolvedBy     string          `json:"resolved_by,omitempty" doc:"Who ended it; absent when it ended by itself."`
	Response       *string         `json:"response_excerpt,omitempty" doc:"The receiver's answer to the last failure, of one alert only."`

	Failed []notify.FailedEvent `json:"failed_events,omitempty" doc:"The events that failed last, newest first, of one alert only."`
}

// alertDetailJSON is an alert's detail with the words of the API for its rates.
type alertDetailJSON struct {
	models.AlertDetail
	Rate *ratesJSON `json:"rate,omitempty" doc:"Within the rule's window."`
}

func alertDetailToJSON(d models.AlertDetail) alertDetailJSON {
	j := alertDetailJSON{AlertDetail: d}
	if d.Rate != nil {
		rate := ratesToJSON(*d.Rate)
		j.Rate = &rate
	}
	return j
}

func alertToJSON(x *models.Alert) alertJSON {
	j := alertJSON{ID: x.ID(), RuleID: x.RuleID, RuleName: x.RuleName, TenantID: x.TenantID, DestinationID: x.DestinationID,
		Status: x.Status, Severity: x.Severity,
		Summary: x.Summary, Detail: alertDetailToJSON(x.Detail), OpenedAt: x.OpenedAt, UpdatedAt: x.UpdatedAt,
		AcknowledgedAt: x.AcknowledgedAt, AcknowledgedBy: x.AcknowledgedBy, Acknowledged: x.Acknowledged,
		MutedUntil: x.MutedUntil, MutedBy: x.MutedBy, ResolvedAt: x.ResolvedAt, Resolution: x.Resolution, ResolvedBy: x.ResolvedBy}
	if x.Step > 0 {
		j.Step = &x.Step
	}
	return j
}

type ListAlertsRequest struct {
	Tenant string `path:"tenant"`
	models.AlertQuery
	pageParams
}

func (a *API) FindAlerts(ctx context.Context, c *Call, req *ListAlertsRequest, limit, most int) (*models.Page[*models.Alert], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindAlerts)
	}
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.Alerts(ctx, scope, req.Tenant, req.AlertQuery)
}

// OpenAlerts counts the open alerts of whom a call is about, up to limit; those of the operators in all cells that answer.
func (a *API) OpenAlerts(ctx context.Context, c *Call, limit int) (int, error) {
	scope := c.Actor.Scope
	if !scope.All() || a.Cells() == nil {
		return a.Store.OpenAlerts(ctx, scope, limit)
	}
	var sum atomic.Int64
	_, err := a.eachCell(ctx, a.allCells(), func(ctx context.Context, _ int, x *API) error {
		n, err := x.Store.OpenAlerts(ctx, scope, limit)
		sum.Add(int64(n))
		return err
	})
	return min(int(sum.Load()), limit), err
}

func (a *API) listAlerts(ctx context.Context, c *Call, req *ListAlertsRequest) (*Reply, error) {
	page, err := a.FindAlerts(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(page, alertToJSON)}, nil
}

type alertRequest struct {
	Tenant string `path:"tenant"`
	Alert  string `path:"alert"`
}

func (a *API) getAlert(ctx context.Context, c *Call, req *alertRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.Alert(ctx, scope, req.Tenant, req.Alert)
	if err != nil {
		return nil, err
	}
	j := alertToJSON(x)
	answer, err := a.Store.AlertResponse(ctx, x)
	if err != nil {
		return nil, err
	}
	if answer != "" {
		j.Response = &answer
	}
	if j.Failed, err = a.Store.AlertFailures(ctx, x); err != nil {
		return nil, err
	}
	for i, f := range j.Failed {
		j.Failed[i].URL = a.Cfg.BaseURL + views.AttemptURL(x.TenantID, f.AttemptID)
	}
	return &Reply{Body: j}, nil
}

// MessageRequest does something to an alert.
type MessageRequest struct {
	Tenant string `path:"tenant"`
	Alert  string `path:"alert"`
	Body   struct {
		Message string `json:"message" doc:"Why; may be empty."`
	} `body:"json"`
}

func (a *API) AcknowledgeAlert(ctx context.Context, c *Call, req *MessageRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.AcknowledgeAlert(ctx, scope, req.Tenant, req.Alert, c.Actor.Name, req.Body.Message)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: alertToJSON(x)}, nil
}

// ResolveAlert ends an alert by hand.
func (a *API) ResolveAlert(ctx context.Context, c *Call, req *MessageRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.ResolveAlert(ctx, scope, req.Tenant, req.Alert, c.Actor.Name, req.Body.Message)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: alertToJSON(x)}, nil
}

type MuteRequest struct {
	Tenant string `path:"tenant"`
	Alert  string `path:"alert"`
	Body   struct {
		For   *models.Duration `json:"for" doc:"How long; '0s' lifts it."`
		Until *time.Time       `json:"until" doc:"Or until when."`
	} `body:"json"`
}

func (a *API) MuteAlert(ctx context.Context, c *Call, req *MuteRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	var until time.Time
	switch {
	case req.Body.For != nil && req.Body.Until == nil && *req.Body.For >= 0:
		until = time.Now().Add(time.Duration(*req.Body.For))
	case req.Body.Until != nil && req.Body.For == nil:
		until = *req.Body.Until
	default:
		return nil, models.Invalid("for", `must be a duration like "4h", or give until instead`)
	}
	x, err := a.Store.MuteAlert(ctx, scope, req.Tenant, req.Alert, c.Actor.Name, until)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: alertToJSON(x)}, nil
}

type ruleJSON struct {
	ID             string           `json:"id"`
	TenantID       string           `json:"tenant_id,omitempty" doc:"Absent for the operators' rules."`
	Name           string           `json:"name"`
	When           models.Condition `json:"when"`
	Sentence       string           `json:"sentence" doc:"The condition in words."`
	DestinationIDs []string         `json:"destination_ids" api:"null" doc:"null for all."`
	Topics         []string         `json:"topics" api:"null" doc:"Destinations that subscribe to one of these; null for all."`
	ChannelIDs     []string         `json:"channel_ids" api:"null" doc:"null for all of the owner's channels, empty for none."`
	Every          models.Duration  `json:"every" doc:"How often reminders of an open alert are sent."`
	Resolve        bool             `json:"resolve" doc:"Whether its end is notified, too."`
	Disabled       bool             `json:"disabled"`
	CreatedAt      time.Time        `json:"created_at"`
	UpdatedAt      time.Time        `json:"updated_at"`
}

func ruleToJSON(tenant string, r *models.AlertRule) ruleJSON {
	return ruleJSON{ID: r.ID, TenantID: tenant, Name: r.Name, When: r.Condition, Sentence: "When " + r.Condition.Sentence(),
		DestinationIDs: r.DestinationIDs, Topics: r.Topics,
		ChannelIDs: r.ChannelIDs, Every: models.Duration(r.Every()), Resolve: r.Resolve, Disabled: r.Disabled, CreatedAt: r.CreatedAt,
		UpdatedAt: r.UpdatedAt}
}

type ownerRequest struct {
	Tenant string `path:"tenant"`
}

func (a *API) listRules(ctx context.Context, c *Call, req *ownerRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.AlertRules(ctx, scope, req.Tenant)
	if err != nil {
		return nil, err
	}
	out := make([]ruleJSON, len(list))
	for i, r := range list {
		out[i] = ruleToJSON(req.Tenant, r)
	}
	return &Reply{Body: listJSON[ruleJSON]{out}}, nil
}

type NewRuleRequest struct {
	Tenant string                `path:"tenant"`
	Body   models.AlertRuleInput `body:"json"`
}

func (a *API) CreateRule(ctx context.Context, c *Call, req *NewRuleRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	r, err := a.Store.CreateAlertRule(ctx, scope, req.Tenant, req.Body)
	if err != nil {
		return nil, err
	}
	return &Reply{Status: http.StatusCreated, Body: ruleToJSON(req.Tenant, r), Location: OwnerPath(req.Tenant, "alert-rules", r.ID)}, nil
}

type previewTimeJSON struct {
	At            time.Time `json:"at"`
	TenantID      string    `json:"tenant_id"`
	DestinationID string    `json:"destination_id"`
}

type rulePreviewJSON struct {
	Since time.Time         `json:"since"`
	Until time.Time         `json:"until"`
	Count int               `json:"count" doc:"How often it would have fired."`
	Times []previewTimeJSON `json:"times" doc:"The latest of them."`
	Note  string            `json:"note,omitempty" doc:"What the count leaves out."`
}

// PreviewRule says how often a rule would have fired, of the operators' in all cells.
func (a *API) PreviewRule(ctx context.Context, c *Call, scope models.Scope, req *NewRuleRequest) (*models.Preview, error) {
	r, err := a.Store.NewAlertRule(ctx, scope, req.Tenant, req.Body)
	if err != nil {
		return nil, err
	}
	if req.Tenant != "" || a.Cells() == nil {
		return a.Store.PreviewRule(ctx, r)
	}
	var list []*models.Preview
	var mu sync.Mutex
	missing, err := a.eachCell(ctx, a.allCells(), func(ctx context.Context, _ int, x *API) error {
		p, err := x.Store.PreviewRule(ctx, r)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.miss(missing)
	return r.MergePreviews(list), nil
}

// previewRule says how often a rule would have fired. Nothing is stored.
func (a *API) previewRule(ctx context.Context, c *Call, req *NewRuleRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.PreviewRule(ctx, c, scope, req)
	if err != nil {
		return nil, err
	}
	times := make([]previewTimeJSON, len(p.Times))
	for i, t := range p.Times {
		times[i] = previewTimeJSON{t.At, t.TenantID, t.DestinationID}
	}
	return &Reply{Body: rulePreviewJSON{p.Since, p.Until, p.Count, times, p.Note}}, nil
}

type RuleRequest struct {
	Tenant string `path:"tenant"`
	Rule   string `path:"rule"`
}

func (a *API) getRule(ctx context.Context, c *Call, req *RuleRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	r, err := a.Store.AlertRule(ctx, scope, req.Tenant, req.Rule)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: ruleToJSON(req.Tenant, r)}, nil
}

type UpdateRuleRequest struct {
	Tenant string                `path:"tenant"`
	Rule   string                `path:"rule"`
	Body   models.AlertRuleInput `body:"json"`
}

func (a *API) UpdateRule(ctx context.Context, c *Call, req *UpdateRuleRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	r, err := a.Store.UpdateAlertRule(ctx, scope, req.Tenant, req.Rule, req.Body)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: ruleToJSON(req.Tenant, r)}, nil
}

func (a *API) DeleteRule(ctx context.Context, c *Call, req *RuleRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	if err := a.Store.DeleteAlertRule(ctx, scope, req.Tenant, req.Rule); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
