package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

type destinationJSON struct {
	ID               string              `json:"id"`
	TenantID         string              `json:"tenant_id"`
	Type             string              `json:"type"`
	Name             string              `json:"name"`
	Topics           models.Topics       `json:"topics"`
	Filter           json.RawMessage     `json:"filter"`
	Transform        *string             `json:"transform"`
	Config           map[string]string   `json:"config"`
	Credentials      map[string]string   `json:"credentials"`
	DeliveryMetadata map[string]string   `json:"delivery_metadata"`
	Metadata         map[string]string   `json:"metadata"`
	Retry            *models.RetryPolicy `json:"retry"`
	Timeout          *models.Duration    `json:"timeout"`
	MaxInFlight      *int                `json:"max_in_flight"`
	DisableAfter     *int                `json:"disable_after"` // null for the server's default, 0 for never
	Signature        string              `json:"signature"`
	Format           string              `json:"format"`
	Ordered          bool                `json:"ordered"`
	OnExhausted      string              `json:"on_exhausted"`
	AwaitCompletion  bool                `json:"await_completion"`
	RateLimit        *models.RateLimit   `json:"rate_limit"`
	Target           string              `json:"target"`
	TargetURL        *string             `json:"target_url"`
	Status           destinationStatus   `json:"status"`
	Version          int64               `json:"version"`
	DisabledAt       *time.Time          `json:"disabled_at"`
	CreatedAt        time.Time           `json:"created_at"`
	UpdatedAt        time.Time           `json:"updated_at"`
}

type destinationStatus struct {
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor"`
	// Deliveries that failed since the last success, however often each was tried, and since when.
	Failures     int        `json:"failures_in_a_row"`
	Attempts     int        `json:"failed_attempts_in_a_row"`
	FailingSince *time.Time `json:"failing_since"`
	LastError    *errorJSON `json:"last_error"`
	// Until when the TLS certificate is valid that it showed last; null without TLS, and before the first connection.
	CertificateEnds *time.Time `json:"certificate_expires_at"`
}

func destinationToJSON(d *models.Destination, secrets bool) destinationJSON {
	target, targetURL := d.Target()
	j := destinationJSON{ID: d.ID, TenantID: d.TenantID, Type: d.Type, Name: d.Name, Topics: d.Topics, Filter: d.Filter, Config: d.MaskedConfig(),
		Credentials: d.Masked(secrets), DeliveryMetadata: d.DeliveryMetadata, Metadata: d.Metadata, Retry: d.Retry, MaxInFlight: d.MaxInFlight, DisableAfter: d.DisableAfter,
		Signature: d.Signature, Format: d.Format, Target: target, Version: d.Version, DisabledAt: d.DisabledAt, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
		Status: destinationStatus{State: d.State(), Reason: d.DisabledReason, Since: d.CreatedAt, Actor: d.DisabledBy}}
	if h := d.Health; h != nil {
		j.Status.Failures, j.Status.Attempts, j.Status.FailingSince, j.Status.CertificateEnds = h.Failures, h.Attempts, h.Since, h.CertificateEnds
		if h.Failures > 0 && h.ErrorClass != "" {
			j.Status.LastError = &errorJSON{h.ErrorClass, h.Error, h.Advice}
		}
	}
	j.AwaitCompletion = d.AwaitsCompletion()
	j.Ordered, j.OnExhausted = d.Ordered, models.ExhaustedSkip
	if d.OnExhausted != "" {
		j.OnExhausted = d.OnExhausted
	}
	if d.Transform != "" {
		j.Transform = &d.Transform
	}
	if d.RatePerSecond != nil {
		j.RateLimit = &models.RateLimit{PerSecond: d.RatePerSecond}
	}
	if j.Filter == nil {
		j.Filter = json.RawMessage("null")
	}
	if d.DisabledAt != nil {
		j.Status.Since = *d.DisabledAt
	}
	if targetURL != "" {
		j.TargetURL = &targetURL
	}
	if d.TimeoutMS != nil {
		t := models.Duration(time.Duration(*d.TimeoutMS) * time.Millisecond)
		j.Timeout = &t
	}
	return j
}

func destinationReply(c *Call, d *models.Destination) *Reply {
	return &Reply{Body: destinationToJSON(d, c.Actor.SeesSecrets()), ETag: strconv.FormatInt(d.Version, 10)}
}

func destinationPath(d *models.Destination) string {
	return apiPrefix + "/tenants/" + url.PathEscape(d.TenantID) + "/destinations/" + url.PathEscape(d.ID)
}

// version reads the version that the caller of a change has seen.
func (c *Call) version() (int64, error) {
	if c.IfMatch == "" || c.IfMatch == "*" {
		return 0, nil
	}
	v, err := strconv.ParseInt(c.IfMatch, 10, 64)
	if err != nil || v <= 0 {
		return 0, &models.Error{Kind: models.KindStale, Message: "If-Match does not name a version of this destination. Read it again and give its ETag."}
	}
	return v, nil
}

type createDestinationRequest struct {
	Tenant string                  `path:"tenant"`
	Body   models.DestinationInput `body:"json"`
}

func (a *App) createDestination(ctx context.Context, c *Call, req *createDestinationRequest) (*Reply, error) {
	req.Body.Actor = c.Actor.Name
	d, err := a.store.CreateDestination(ctx, c.Scope(), req.Tenant, req.Body)
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.create", nil)
	r := destinationReply(c, d)
	r.Status, r.Location = http.StatusCreated, destinationPath(d)
	// Whoever creates a destination sees the secret that was made for it, this once.
	r.Body = destinationToJSON(d, true)
	return r, nil
}

type destinationRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
}

func (a *App) getDestination(ctx context.Context, c *Call, req *destinationRequest) (*Reply, error) {
	d, err := a.store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	return destinationReply(c, d), nil
}

type listDestinationsRequest struct {
	Tenant string   `path:"tenant"`
	Types  []string `query:"type"`
	Topics []string `query:"topics"`
	State  string   `query:"state"`
	Text   string   `query:"q"`
}

func (a *App) listDestinations(ctx context.Context, c *Call, req *listDestinationsRequest) (*Reply, error) {
	list, err := a.store.Destinations(ctx, c.Scope(), req.Tenant, models.DestinationQuery{Types: req.Types, Topics: req.Topics, State: req.State, Text: req.Text})
	if err != nil {
		return nil, err
	}
	out := make([]destinationJSON, len(list))
	for i, d := range list {
		out[i] = destinationToJSON(d, c.Actor.SeesSecrets())
	}
	return &Reply{Body: out}, nil
}

type updateDestinationRequest struct {
	Tenant      string                  `path:"tenant"`
	Destination string                  `path:"destination"`
	Body        models.DestinationInput `body:"json"`
}

func (a *App) updateDestination(ctx context.Context, c *Call, req *updateDestinationRequest) (*Reply, error) {
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	req.Body.Actor = c.Actor.Name
	d, err := a.store.UpdateDestination(ctx, c.Scope(), req.Tenant, req.Destination, version, req.Body)
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.update", nil)
	return destinationReply(c, d), nil
}

func (a *App) deleteDestination(ctx context.Context, c *Call, req *destinationRequest) (*Reply, error) {
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	d, err := a.store.DeleteDestination(ctx, c.Scope(), req.Tenant, req.Destination, version)
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.delete", map[string]any{"name": d.Title(), "type": d.Type})
	return &Reply{Body: success}, nil
}

type enableRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Backlog string     `json:"backlog"` // deliver (default), drop or keep
		Since   *time.Time `json:"since"`
		Until   *time.Time `json:"until"`
		Probe   bool       `json:"probe"` // send one held delivery first, and enable when it has arrived
	} `body:"json"`
}

func (a *App) enableDestination(ctx context.Context, c *Call, req *enableRequest) (*Reply, error) {
	if req.Body.Probe {
		return a.probeDestination(ctx, c, req)
	}
	d, err := a.store.EnableDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name,
		models.Backlog{Action: req.Body.Backlog, Since: req.Body.Since, Until: req.Body.Until})
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.enable", map[string]any{"backlog": req.Body.Backlog})
	return destinationReply(c, d), nil
}

// probeDestination sends one held delivery; the destination is enabled when that has arrived.
func (a *App) probeDestination(ctx context.Context, c *Call, req *enableRequest) (*Reply, error) {
	d, probing, err := a.store.ProbeDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name,
		models.Backlog{Action: req.Body.Backlog, Since: req.Body.Since, Until: req.Body.Until})
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, map[bool]string{true: "destination.probe", false: "destination.enable"}[probing], map[string]any{"backlog": req.Body.Backlog})
	r := destinationReply(c, d)
	if probing {
		r.Status = http.StatusAccepted
	}
	return r, nil
}

type disableRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Reason string `json:"reason"`
	} `body:"json"`
}

func (a *App) disableDestination(ctx context.Context, c *Call, req *disableRequest) (*Reply, error) {
	d, err := a.store.DisableDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name, strings.TrimSpace(req.Body.Reason))
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.disable", map[string]any{"reason": req.Body.Reason})
	return destinationReply(c, d), nil
}

type backlogRequest struct {
	Tenant      string         `path:"tenant"`
	Destination string         `path:"destination"`
	Body        models.Backlog `body:"json"`
}

func (a *App) actOnBacklog(ctx context.Context, c *Call, req *backlogRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	n, err := a.store.ActOnBacklog(ctx, scope, req.Tenant, req.Destination, c.Actor.Name, req.Body)
	if err != nil {
		return nil, err
	}
	a.audit(ctx, c, scope, "destination.backlog", req.Destination, map[string]any{"action": req.Body.Action, "since": req.Body.Since, "until": req.Body.Until, "count": n})
	return &Reply{Status: http.StatusAccepted, Body: map[string]int{"count": n}}, nil
}

type rotateRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Overlap *models.Duration `json:"overlap"` // default 24h
	} `body:"json"`
}

func (a *App) rotateSecret(ctx context.Context, c *Call, req *rotateRequest) (*Reply, error) {
	overlap := 24 * time.Hour
	if req.Body.Overlap != nil {
		overlap = time.Duration(*req.Body.Overlap)
	}
	d, err := a.store.RotateSecret(ctx, c.Scope(), req.Tenant, req.Destination, overlap)
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.rotate_secret", map[string]any{"overlap": models.Duration(overlap).String()})
	r := destinationReply(c, d)
	r.Body = destinationToJSON(d, true)
	return r, nil
}

func (a *App) revealSecret(ctx context.Context, c *Call, req *destinationRequest) (*Reply, error) {
	d, err := a.store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	a.auditDestination(ctx, c, d, "destination.reveal_secret", nil)
	return &Reply{Body: map[string]any{"credentials": d.Masked(true)}}, nil
}

type stageJSON struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	MS      int64  `json:"ms"`
	Message string `json:"message"`
	Advice  string `json:"advice,omitempty"`
}

func (a *App) checkDestination(ctx context.Context, c *Call, req *destinationRequest) (*Reply, error) {
	ok, stages, err := a.check(ctx, c, req)
	if err != nil {
		return nil, err
	}
	out := make([]stageJSON, len(stages))
	for i, s := range stages {
		out[i] = stageJSON{s.Name, s.OK, s.Took.Milliseconds(), s.Message, s.Advice}
	}
	return &Reply{Body: map[string]any{"ok": ok, "stages": out}}, nil
}

// check tests the connection to a destination stage by stage.
func (a *App) check(ctx context.Context, c *Call, req *destinationRequest) (ok bool, stages []adapters.Stage, err error) {
	d, err := a.store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return false, nil, err
	}
	set := d.Settings()
	sender, err := d.Registration().Open(a.env, set)
	if err != nil {
		e := adapters.AsError(err)
		return false, []adapters.Stage{{Name: "config", Message: e.Message, Advice: e.Advice}}, nil
	}
	defer func() { _ = sender.Close() }() // there is nothing to be done about it
	checker, can := sender.(adapters.Checker)
	if !can {
		return true, []adapters.Stage{{Name: "publish", OK: true, Message: "There is nothing to connect to. Send a test event to see an answer."}}, nil
	}
	began := time.Now()
	stages = checker.Check(ctx)
	for _, s := range stages {
		if err := a.store.SawCertificate(ctx, d, s.CertificateEnds, began); err != nil {
			return false, nil, err
		}
	}
	for _, s := range stages {
		if !s.OK {
			return false, stages, nil
		}
	}
	return true, stages, nil
}

type typeJSON struct {
	Type             string      `json:"type"`
	Label            string      `json:"label"`
	Description      string      `json:"description"`
	Icon             string      `json:"icon"`
	Instructions     string      `json:"instructions"`
	ConfigFields     []fieldJSON `json:"config_fields"`
	CredentialFields []fieldJSON `json:"credential_fields"`
}

type fieldJSON struct {
	Key         string            `json:"key"`
	Type        string            `json:"type"`
	Label       string            `json:"label"`
	Description string            `json:"description"`
	Required    bool              `json:"required"`
	Default     string            `json:"default,omitempty"`
	Sensitive   bool              `json:"sensitive,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	MinLength   int               `json:"minlength,omitempty"`
	MaxLength   int               `json:"maxlength,omitempty"`
	Expression  bool              `json:"expression,omitempty"`
	Options     []adapters.Option `json:"options,omitempty"`
}

func fieldsToJSON(list []adapters.Field) []fieldJSON {
	out := make([]fieldJSON, 0, len(list))
	for _, f := range list {
		out = append(out, fieldJSON{f.Key, string(f.Type), f.Label, f.Help, f.Required, f.Default, f.Sensitive, f.Pattern, f.MinLength, f.MaxLength, f.Expression, f.Options})
	}
	return out
}

func typeToJSON(r *adapters.Registration) typeJSON {
	s := r.Spec
	return typeJSON{s.Name, s.Label, s.Description, s.Icon, s.Instructions, fieldsToJSON(s.Config), fieldsToJSON(s.Credentials)}
}

type noRequest struct{}

func (a *App) listTypes(context.Context, *Call, *noRequest) (*Reply, error) {
	var out []typeJSON
	for _, r := range adapters.All() {
		out = append(out, typeToJSON(r))
	}
	return &Reply{Body: out}, nil
}

type typeRequest struct {
	Type string `path:"type"`
}

func (a *App) getType(_ context.Context, _ *Call, req *typeRequest) (*Reply, error) {
	r := adapters.Lookup(req.Type)
	if r == nil {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no such destination type."}
	}
	return &Reply{Body: typeToJSON(r)}, nil
}
