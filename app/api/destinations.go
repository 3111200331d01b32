package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
)

// DestinationJSON is a destination as the API shows it, its fields as models.DestinationFields says.
type DestinationJSON struct {
	ID       string `json:"id"`
	TenantID string `json:"tenant_id"`
	Type     string `json:"type" api:"schema=DestinationType"`
	models.DestinationFields
	Target     string            `json:"target" doc:"Where events go, in words."`
	TargetURL  *string           `json:"target_url" doc:"A page about it, where there is one."`
	Status     destinationStatus `json:"status"`
	Version    int64             `json:"version" doc:"Rises with every change; also the ETag."`
	DisabledAt *time.Time        `json:"disabled_at" doc:"null while it is enabled."`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
	Warnings   []models.Warning  `json:"warnings,omitempty" doc:"In the answer to a change: what was done as asked and is hardly what is wanted."`
}

// MarshalJSON prints it with the fields that types have beside config.
func (j DestinationJSON) MarshalJSON() ([]byte, error) {
	type plain DestinationJSON
	return models.PrintWith(plain(j), j.BesideJSON())
}

type destinationStatus struct {
	State  string    `json:"state" api:"schema=DestinationState"`
	Reason string    `json:"reason" doc:"Why it is disabled; empty while it is not."`
	Since  time.Time `json:"since" doc:"Since when the state is as it is."`
	Actor  string    `json:"actor" doc:"Who disabled it; empty while it is not."`
	// Deliveries that failed since the last success, however often each was tried, and since when.
	Failures     int        `json:"failures_in_a_row" doc:"Deliveries that failed since the last success, however often each was tried."`
	Attempts     int        `json:"failed_attempts_in_a_row" doc:"Attempts that failed since the last success."`
	FailingSince *time.Time `json:"failing_since" doc:"null while it does not fail."`
	LastError    *errorJSON `json:"last_error" doc:"null while it does not fail."`
	// Until when the TLS certificate is valid that it showed last; null without TLS, and before the first connection.
	CertificateEnds *time.Time `json:"certificate_expires_at" doc:"Until when the TLS certificate is valid that it showed last; null without TLS, and before the first connection."`
}

func destinationToJSON(d *models.Destination, secrets bool) DestinationJSON {
	target, targetURL := d.Target()
	j := DestinationJSON{ID: d.ID, TenantID: d.TenantID, Type: d.Type, DestinationFields: d.DestinationFields, Target: target,
		Version:    d.Version,
		DisabledAt: d.DisabledAt, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
		Status: destinationStatus{State: d.State(), Reason: d.DisabledReason, Since: d.CreatedAt, Actor: d.DisabledBy}}
	j.Config, j.Credentials = d.ShownConfig(), d.Masked(secrets)
	if h := d.Health; h != nil {
		j.Status.Failures, j.Status.Attempts, j.Status.FailingSince, j.Status.CertificateEnds = h.Failures, h.Attempts, h.Since,
			h.CertificateEnds
		if h.Failures > 0 && h.ErrorClass != "" {
			j.Status.LastError = &errorJSON{h.ErrorClass, h.Error, h.Advice}
		}
	}
	if d.DisabledAt != nil {
		j.Status.Since = *d.DisabledAt
	}
	if targetURL != "" {
		j.TargetURL = &targetURL
	}
	return j
}

// versionEnd is what in the ETag of a destination that was read stands between its version, which If-Match is about, and
// what else is shown of it: how it does.
const versionEnd = "-"

func destinationReply(c *Call, d *models.Destination) *Reply {
	secrets := c.Actor.SeesSecrets()
	return &Reply{Body: c.Schema.destination(destinationToJSON(d, secrets)), ETag: strconv.FormatInt(d.Version, 10), NoStore: secrets &&
		d.HasSharedSecret()}
}

// version reads the version that the caller of a change has seen.
func (c *Call) version() (int64, error) {
	if c.IfMatch == "" || c.IfMatch == "*" {
		return 0, nil
	}
	read, _, _ := strings.Cut(c.IfMatch, versionEnd)
	v, err := strconv.ParseInt(read, 10, 64)
	if err != nil || v <= 0 {
		return 0, &models.Error{Kind: models.KindStale,
			Message: "If-Match does not name a version of it. Read it again and give its ETag."}
	}
	return v, nil
}

type CreateDestinationRequest struct {
	Tenant   string                  `path:"tenant"`
	Body     models.DestinationPatch `body:"json"`
	Disabled bool                    // save without starting to deliver
}

func (a *API) CreateDestination(ctx context.Context, c *Call, req *CreateDestinationRequest) (*Reply, error) {
	if err := sinceByOperators(c, req.Body.Since()); err != nil {
		return nil, err
	}
	d, err := a.Store.CreateDestination(ctx, c.Scope(), req.Tenant, models.DestinationInput{Patch: req.Body, Actor: c.Actor.Name,
		Disabled: req.Disabled})
	if err != nil {
		return nil, err
	}
	r := destinationReply(c, d)
	r.Status, r.Location, r.Secret = http.StatusCreated, destinationPath(d.TenantID, d.ID), true
	// Whoever creates a destination sees the secret that was made for it, this once.
	j := destinationToJSON(d, true)
	j.Warnings = a.doubts(ctx, c, req.Body, d)
	r.Body = c.Schema.destination(j)
	return r, nil
}

// doubts says what is odd about a filter that was just given, in the light of recent events.
func (a *API) doubts(ctx context.Context, c *Call, patch models.DestinationPatch, d *models.Destination) []models.Warning {
	if _, given := patch["filter"]; !given || len(d.Filter) == 0 {
		return nil
	}
	f, err := filter.Parse(d.Filter)
	if err != nil {
		return nil // it was checked before it was stored
	}
	scope, err := a.Store.Of(ctx, c.Scope(), d.TenantID)
	if err != nil {
		return nil // the change is made, whatever became of the tenant since
	}
	return a.Store.Doubts(ctx, scope, "filter", f, d.Topics)
}

type DestinationRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
}

func (a *API) getDestination(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	if err := c.Schema.refuse(d); err != nil {
		return nil, err
	}
	r := destinationReply(c, d)
	tag, err := tagOfJSON(r.Body)
	r.ETag += versionEnd + tag
	return r, err
}

type ListDestinationsRequest struct {
	Tenant string `path:"tenant"`
	models.DestinationQuery
}

func (a *API) listDestinations(ctx context.Context, c *Call, req *ListDestinationsRequest) (*Reply, error) {
	list, err := a.Store.Destinations(ctx, c.Scope(), req.Tenant, req.DestinationQuery)
	if err != nil {
		return nil, err
	}
	list, omitted := c.Schema.readable(list)
	out, secrets := make([]DestinationJSON, len(list)), c.Actor.SeesSecrets()
	for i, d := range list {
		out[i] = c.Schema.destination(destinationToJSON(d, secrets))
	}
	return &Reply{Body: out, Omitted: omitted, NoStore: secrets && slices.ContainsFunc(list, (*models.Destination).HasSharedSecret)}, nil
}

type UpdateDestinationRequest struct {
	Tenant      string                  `path:"tenant"`
	Destination string                  `path:"destination"`
	Body        models.DestinationPatch `body:"json"`
}

func (a *API) UpdateDestination(ctx context.Context, c *Call, req *UpdateDestinationRequest) (*Reply, error) {
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	if err := a.answerable(ctx, c, req.Tenant, req.Destination); err != nil {
		return nil, err
	}
	d, err := a.Store.UpdateDestination(ctx, c.Scope(), req.Tenant, req.Destination, version,
		models.DestinationInput{Patch: req.Body, Actor: c.Actor.Name})
	if err != nil {
		return nil, err
	}
	r := destinationReply(c, d)
	if list := a.doubts(ctx, c, req.Body, d); list != nil {
		j := destinationToJSON(d, c.Actor.SeesSecrets())
		j.Warnings = list
		r.Body = c.Schema.destination(j)
	}
	return r, nil
}

func (a *API) DeleteDestination(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	if _, err := a.Store.DeleteDestination(ctx, c.Scope(), req.Tenant, req.Destination, version); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type EnableRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Backlog string     `json:"backlog" api:"schema=BacklogAction" doc:"What happens to the events that were held."`
		Since   *time.Time `json:"since" doc:"Only to those received from then on; the others stay held."`
		Until   *time.Time `json:"until" doc:"Only to those received before; the others stay held."`
		Probe   bool       `json:"probe" doc:"Send one held delivery first, and enable when it has arrived (202)."`
	} `body:"json"`
}

func (a *API) EnableDestination(ctx context.Context, c *Call, req *EnableRequest) (*Reply, error) {
	if req.Body.Backlog == "" {
		t, err := a.Store.Tenant(ctx, c.Scope(), req.Tenant)
		if err != nil {
			return nil, err
		}
		req.Body.Backlog = a.Store.EnableAction(t)
	}
	if req.Body.Probe {
		return a.probeDestination(ctx, c, req)
	}
	if err := a.answerable(ctx, c, req.Tenant, req.Destination); err != nil {
		return nil, err
	}
	d, err := a.Store.EnableDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name,
		models.Backlog{Action: req.Body.Backlog, Since: req.Body.Since, Until: req.Body.Until})
	if err != nil {
		return nil, err
	}
	return destinationReply(c, d), nil
}

// probeDestination sends one held delivery; the destination is enabled when that has arrived.
func (a *API) probeDestination(ctx context.Context, c *Call, req *EnableRequest) (*Reply, error) {
	d, probing, err := a.Store.ProbeDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Asker(),
		models.Backlog{Action: req.Body.Backlog, Since: req.Body.Since, Until: req.Body.Until})
	if err != nil {
		return nil, err
	}
	r := destinationReply(c, d)
	if probing {
		r.Monitor, r.Shown = destinationPath(d.TenantID, d.ID), true
	}
	return r, nil
}

type DisableRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Reason string `json:"reason" doc:"Why, for people."`
	} `body:"json"`
}

func (a *API) DisableDestination(ctx context.Context, c *Call, req *DisableRequest) (*Reply, error) {
	if err := a.answerable(ctx, c, req.Tenant, req.Destination); err != nil {
		return nil, err
	}
	d, err := a.Store.DisableDestination(ctx, c.Scope(), req.Tenant, req.Destination, c.Actor.Name, strings.TrimSpace(req.Body.Reason))
	if err != nil {
		return nil, err
	}
	return destinationReply(c, d), nil
}

type backlogRequest struct {
	Tenant      string         `path:"tenant"`
	Destination string         `path:"destination"`
	Body        models.Backlog `body:"json"`
}

type countJSON struct {
	Count  int       `json:"count" doc:"Deliveries that it concerned."`
	Status string    `json:"status" api:"schema=WorkStatus"`
	Links  linksJSON `json:"links"`
}

func (a *API) actOnBacklog(ctx context.Context, c *Call, req *backlogRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	n, err := a.Store.ActOnBacklog(ctx, scope, req.Tenant, req.Destination, c.Actor.Name, req.Body)
	if err != nil {
		return nil, err
	}
	links := linksJSON{Monitor: destinationDeliveriesPath(req.Tenant, req.Destination, models.StatusHeld),
		Destination: destinationPath(req.Tenant, req.Destination)}.under(a.Base)
	return &Reply{Body: countJSON{n, workAccepted, links}, Monitor: links.Monitor, Links: links.header("")}, nil
}

type RotateRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Overlap *models.Duration `json:"overlap" api:"default=24h" doc:"How long the old secret stays valid."`
		Force   bool             `json:"force" doc:"Also when that ends a previous secret that is still valid, which is 409 otherwise."`
	} `body:"json"`
}

func (a *API) RotateSecret(ctx context.Context, c *Call, req *RotateRequest) (*Reply, error) {
	overlap := 24 * time.Hour
	if req.Body.Overlap != nil {
		overlap = time.Duration(*req.Body.Overlap)
	}
	d, err := a.Store.RotateSecret(ctx, c.Scope(), req.Tenant, req.Destination, models.Rotation{Overlap: overlap, Force: req.Body.Force})
	if err != nil {
		return nil, err
	}
	r := destinationReply(c, d)
	r.Body, r.Secret = destinationToJSON(d, true), true
	return r, nil
}

func (a *API) EndOverlap(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	d, err := a.Store.EndOverlap(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	return destinationReply(c, d), nil
}

type credentialsJSON struct {
	Credentials map[string]string `json:"credentials" doc:"By key. Those that only the server needs stay masked."`
}

func (a *API) RevealSecret(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	d, err := a.Store.RevealSecret(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: credentialsJSON{d.Masked(true)}, Secret: true}, nil
}

type stageJSON struct {
	Name    string `json:"name" api:"enum=config|dns|connect|tls|auth|publish"`
	OK      bool   `json:"ok"`
	MS      int64  `json:"ms" doc:"How long it took, in milliseconds."`
	Message string `json:"message" doc:"What was found."`
	Advice  string `json:"advice,omitempty" doc:"What to do about it."`
}

type checkJSON struct {
	OK     bool        `json:"ok"`
	Stages []stageJSON `json:"stages" doc:"In order; it ends with the first that fails."`
}

func (a *API) checkDestination(ctx context.Context, c *Call, req *DestinationRequest) (*Reply, error) {
	ok, stages, err := a.Check(ctx, c, req)
	if err != nil {
		return nil, err
	}
	out := make([]stageJSON, len(stages))
	for i, s := range stages {
		out[i] = stageJSON{s.Name, s.OK, s.Took.Milliseconds(), s.Message, s.Advice}
	}
	return &Reply{Body: checkJSON{ok, out}}, nil
}

// Check tests the connection to a destination stage by stage.
func (a *API) Check(ctx context.Context, c *Call, req *DestinationRequest) (ok bool, stages []adapters.Stage, err error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return false, nil, err
	}
	set := d.Settings()
	sender, err := d.Registration().Open(a.Env, set)
	if err != nil {
		e := adapters.AsError(err)
		return false, []adapters.Stage{{Name: "config", Message: e.Message, Advice: e.Advice}}, nil
	}
	defer func() { _ = sender.Close() }() // there is nothing to be done about it
	checker, can := sender.(adapters.Checker)
	if !can {
		return true, []adapters.Stage{{Name: "publish", OK: true,
			Message: "There is nothing to connect to. Send a test event to see an answer."}}, nil
	}
	began := time.Now()
	stages = checker.Check(ctx)
	for _, s := range stages {
		if err := a.Store.SawCertificate(ctx, d, s.CertificateEnds, began); err != nil {
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
	Type             string      `json:"type" api:"schema=DestinationType"`
	Label            string      `json:"label"`
	Description      string      `json:"description"`
	Icon             string      `json:"icon" doc:"Name of its icon."`
	Instructions     string      `json:"instructions" doc:"How to set the other side up, in Markdown."`
	ConfigFields     []fieldJSON `json:"config_fields"`
	CredentialFields []fieldJSON `json:"credential_fields"`

	SetupLink *setupLinkJSON `json:"setup_link,omitempty" doc:"A page of the other side that sets it up and gives the values, for the types that have one."`
}

type setupLinkJSON struct {
	Href string `json:"href" api:"format=uri"`
	CTA  string `json:"cta" doc:"What the link says."`
}

type fieldJSON struct {
	Key         string            `json:"key" doc:"As in 'config' or 'credentials'."`
	Type        string            `json:"type" api:"enum=text|select|checkbox|key_value_map"`
	Label       string            `json:"label"`
	Description string            `json:"description" doc:"Format, and where to find the value."`
	Required    bool              `json:"required"`
	Default     string            `json:"default,omitempty"`
	Sensitive   bool              `json:"sensitive,omitempty" doc:"Masked in every answer and sealed at rest."`
	Pattern     string            `json:"pattern,omitempty" doc:"RE2, which the whole value must match."`
	MinLength   int               `json:"minlength,omitempty"`
	MaxLength   int               `json:"maxlength,omitempty"`
	Expression  bool              `json:"expression,omitempty" doc:"The value is an expression over the event."`
	Options     []adapters.Option `json:"options,omitempty" doc:"The choices of a select."`
}

func fieldsToJSON(list []adapters.Field) []fieldJSON {
	out := make([]fieldJSON, 0, len(list))
	for _, f := range list {
		out = append(out, fieldJSON{f.Key, string(f.Type), f.Label, f.Help, f.Required, f.Default, f.Sensitive, f.Pattern, f.MinLength,
			f.MaxLength, f.Expression, f.Options})
	}
	return out
}

func typeToJSON(r *adapters.Registration) typeJSON {
	s := r.Spec
	out := typeJSON{Type: s.Name, Label: s.Label, Description: s.Description, Icon: s.Icon, Instructions: s.Instructions,
		ConfigFields: fieldsToJSON(s.Config), CredentialFields: fieldsToJSON(s.Credentials)}
	if s.SetupURL != "" {
		out.SetupLink = &setupLinkJSON{s.SetupURL, s.SetupLabel}
	}
	return out
}

type noRequest struct{}

func (a *API) listTypes(context.Context, *Call, *noRequest) (*Reply, error) {
	var out []typeJSON
	for _, r := range adapters.All() {
		out = append(out, typeToJSON(r))
	}
	return &Reply{Body: out, Fresh: typesFresh}, nil
}

type typeRequest struct {
	Type string `path:"type"`
}

func (a *API) getType(_ context.Context, _ *Call, req *typeRequest) (*Reply, error) {
	r := adapters.Lookup(req.Type)
	if r == nil {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no such destination type."}
	}
	return &Reply{Body: typeToJSON(r), Fresh: typesFresh}, nil
}
