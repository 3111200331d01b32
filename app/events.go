package app

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type eventJSON struct {
	ID                    string            `json:"id"`
	TenantID              string            `json:"tenant_id"`
	Topic                 string            `json:"topic"`
	MatchedDestinationIDs []string          `json:"matched_destination_ids"`
	Time                  time.Time         `json:"time"`
	ReceivedAt            time.Time         `json:"received_at"`
	EligibleForRetry      bool              `json:"eligible_for_retry"`
	Metadata              map[string]string `json:"metadata"`
	Data                  json.RawMessage   `json:"data,omitempty"`
	Deliveries            models.Counts     `json:"deliveries,omitempty"`
}

func eventToJSON(e *models.Event) eventJSON {
	return eventJSON{e.ID, e.TenantID, e.Topic, e.Matched, e.Time, e.Received, e.Retry, e.Metadata, e.Data, e.Counts}
}

// filterParams are the parameters that lists of events, deliveries and attempts share.
type filterParams struct {
	Tenant       string    `query:"tenant_id"`
	Destinations []string  `query:"destination_id"`
	Code         int       `query:"code"`
	ErrorClass   string    `query:"error_class"`
	Since        time.Time `query:"since"`
	Until        time.Time `query:"until"`
	GTE          time.Time `query:"time[gte]"`
	GT           time.Time `query:"time[gt]"`
	LTE          time.Time `query:"time[lte]"`
	LT           time.Time `query:"time[lt]"`
	pageParams
}

// span is the time that the parameters ask for; both ends as models want them, from since until before until.
func (p filterParams) span() (since, until time.Time) {
	const grain = time.Millisecond // what event ids tell of time
	since, until = p.Since, p.Until
	if !p.GTE.IsZero() {
		since = p.GTE
	}
	if !p.GT.IsZero() {
		since = p.GT.Add(grain)
	}
	if !p.LT.IsZero() {
		until = p.LT
	}
	if !p.LTE.IsZero() {
		until = p.LTE.Add(grain)
	}
	return since, until
}

type listEventsRequest struct {
	IDs      []string `query:"id"`
	Topics   []string `query:"topic"`
	Statuses []string `query:"status"`
	Text     string   `query:"q"`
	filterParams
}

func (a *App) listEvents(ctx context.Context, c *Call, req *listEventsRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	page, err := req.query(100, 1000)
	if err != nil {
		return nil, err
	}
	since, until := req.span()
	list, err := a.store.Events(ctx, scope, models.EventQuery{IDs: req.IDs, Destinations: req.Destinations, Topics: req.Topics, Statuses: req.Statuses,
		Code: req.Code, ErrorClass: req.ErrorClass, Text: req.Text, Since: since, Until: until, Page: page})
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, eventToJSON)}, nil
}

type eventRequest struct {
	Event  string `path:"event"`
	Tenant string `query:"tenant_id"`
}

func (a *App) getEvent(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.store.Event(ctx, scope, req.Event)
	if err != nil {
		return nil, err
	}
	final := e.Counts.Final()
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode([]any{e.ID, e.Counts, e.Attempts, e.LastError})
	return &Reply{Body: eventToJSON(e), Final: &final, ETag: strconv.FormatUint(h.Sum64(), 36)}, nil
}

type skippedJSON struct {
	DestinationID string `json:"destination_id"`
	Reason        string `json:"reason"`
}

func (a *App) listEventDeliveries(ctx context.Context, c *Call, req *eventRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	con, err := a.store.EventDeliveries(ctx, scope, req.Event)
	if err != nil {
		return nil, err
	}
	page := &models.Page[*models.Delivery]{Items: con.Deliveries, OrderBy: "destination", Dir: "asc", Limit: len(con.Deliveries)}
	skipped := []skippedJSON{}
	for _, s := range con.Skipped {
		skipped = append(skipped, skippedJSON{s.Destination.ID, s.Reason})
	}
	return &Reply{Body: struct {
		pageJSON[deliveryJSON]
		Skipped []skippedJSON `json:"skipped"`
	}{pageToJSON(page, deliveryToJSON), skipped}}, nil
}

type deliveryJSON struct {
	ID            string     `json:"id"`
	TenantID      string     `json:"tenant_id"`
	EventID       string     `json:"event_id"`
	DestinationID string     `json:"destination_id"`
	Topic         string     `json:"topic"`
	Status        string     `json:"status"`
	Reason        string     `json:"reason,omitempty"`
	Attempts      int        `json:"attempts"`
	MaxAttempts   int        `json:"max_attempts"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	LastAttemptAt *time.Time `json:"last_attempt_at"`
	LastCode      *int       `json:"last_code"`
	LastError     *errorJSON `json:"last_error"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
}

type errorJSON struct {
	Class   string `json:"class"`
	Message string `json:"message"`
	Advice  string `json:"advice,omitempty"`
}

func deliveryToJSON(d *models.Delivery) deliveryJSON {
	j := deliveryJSON{ID: d.ID(), TenantID: d.TenantID, EventID: d.PublicEventID, DestinationID: d.DestinationID, Topic: d.Topic, Status: d.Status,
		Reason: d.Reason, Attempts: d.Attempts, MaxAttempts: d.MaxAttempts, NextAttemptAt: d.NextAttemptAt, LastAttemptAt: d.LastAttemptAt,
		CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}
	if d.LastCode != 0 {
		j.LastCode = &d.LastCode
	}
	if d.ErrorClass != "" {
		j.LastError = &errorJSON{d.ErrorClass, d.Error, d.Advice}
	}
	return j
}

type listDeliveriesRequest struct {
	Event    string   `query:"event_id"`
	Topics   []string `query:"topic"`
	Statuses []string `query:"status"`
	filterParams
}

func (a *App) listDeliveries(ctx context.Context, c *Call, req *listDeliveriesRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	page, err := req.query(100, 1000)
	if err != nil {
		return nil, err
	}
	since, until := req.span()
	list, err := a.store.Deliveries(ctx, scope, models.DeliveryQuery{EventID: req.Event, Destinations: req.Destinations, Topics: req.Topics,
		Statuses: req.Statuses, Code: req.Code, ErrorClass: req.ErrorClass, Since: since, Until: until, Page: page})
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(list, deliveryToJSON)}, nil
}

type deliveryRequest struct {
	Delivery string `path:"delivery"`
}

func (a *App) getDelivery(ctx context.Context, c *Call, req *deliveryRequest) (*Reply, error) {
	d, err := a.store.Delivery(ctx, c.Scope(), req.Delivery)
	if err != nil {
		return nil, err
	}
	final := d.Final()
	return &Reply{Body: deliveryToJSON(d), Final: &final, ETag: fmt.Sprintf("%d-%d-%s", d.Turn, d.Attempts, d.Status)}, nil
}

func (a *App) cancelDelivery(ctx context.Context, c *Call, req *deliveryRequest) (*Reply, error) {
	d, err := a.store.CancelDelivery(ctx, c.Scope(), req.Delivery, c.Actor.Name)
	if err != nil {
		return nil, err
	}
	a.audit(ctx, c, d.TenantScope(), "delivery.cancel", d.ID(), nil)
	return &Reply{Body: deliveryToJSON(d)}, nil
}

type retryRequest struct {
	Body struct {
		Event       string `json:"event_id"`
		Destination string `json:"destination_id"`
		Tenant      string `json:"tenant_id"` // needed only where two tenants chose the same event id
	} `body:"json"`
}

// retry queues one attempt now, of an event's delivery to a destination.
func (a *App) retry(ctx context.Context, c *Call, req *retryRequest) (*Reply, error) {
	scope, err := a.store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	d, queued, err := a.store.RetryEvent(ctx, scope, req.Body.Event, req.Body.Destination, c.Actor.Name)
	if err != nil {
		if d != nil {
			a.auditFailure(ctx, c, d.TenantScope(), "delivery.retry", d.ID(), err)
		}
		return nil, err
	}
	a.audit(ctx, c, d.TenantScope(), "delivery.retry", d.ID(), map[string]any{"event": d.PublicEventID, "destination": d.DestinationID, "queued": queued})
	location := apiPrefix + "/deliveries/" + d.ID()
	r := &Reply{Status: http.StatusAccepted, Body: success, Location: location, Applied: c.Prefer.waitApplied(), Link: []string{"<" + location + `>; rel="monitor"`}}
	if c.Prefer.wait == 0 {
		return r, nil
	}
	after, settled, err := a.waitForAttempt(ctx, c.Scope(), d, c.Prefer.wait)
	if err != nil || !settled {
		return r, err
	}
	r.Status, r.Body = http.StatusOK, map[string]any{"success": true, "deliveries": []deliveryJSON{deliveryToJSON(after)}}
	return r, nil
}

// waitForAttempt waits until a delivery has more attempts than it had.
func (a *App) waitForAttempt(ctx context.Context, scope models.Scope, before *models.Delivery, wait time.Duration) (*models.Delivery, bool, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(pause*3/2, 200*time.Millisecond) {
		d, err := a.store.Delivery(ctx, scope, before.ID())
		if err != nil || d.Attempts > before.Attempts {
			return d, err == nil, err
		}
		select {
		case <-deadline.C:
			return nil, false, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// includes are what a caller wants to see beside the attempt itself.
type includes map[string]bool

var knownIncludes = []string{"event", "event.data", "response_data", "destination", "request"}

func parseIncludes(list []string) (includes, error) {
	in := includes{}
	for _, s := range list {
		if !slices.Contains(knownIncludes, s) {
			return nil, models.Invalid("include", fmt.Sprintf("%q is not one of %s", s, strings.Join(knownIncludes, ", ")))
		}
		in[s] = true
	}
	return in, nil
}

type attemptJSON struct {
	ID              string          `json:"id"`
	TenantID        string          `json:"tenant_id"`
	EventID         string          `json:"event_id"`
	DestinationID   string          `json:"destination_id"`
	DestinationType string          `json:"destination_type"`
	DeliveryID      string          `json:"delivery_id"`
	Status          string          `json:"status"`
	Time            time.Time       `json:"time"`
	Code            string          `json:"code"`
	AttemptNumber   int             `json:"attempt_number"`
	Manual          bool            `json:"manual"`
	Trigger         string          `json:"trigger"`
	Actor           string          `json:"actor,omitempty"`
	StartedAt       time.Time       `json:"started_at"`
	DurationMS      float64         `json:"duration_ms"`
	Timing          timingJSON      `json:"timing"`
	Request         requestJSON     `json:"request"`
	Response        *responseJSON   `json:"response"`
	ResponseData    *responseData   `json:"response_data,omitempty"`
	Error           *errorJSON      `json:"error"`
	Event           *eventJSON      `json:"event,omitempty"`
	Destination     json.RawMessage `json:"destination,omitempty"`
}

type timingJSON struct {
	DNS       float64 `json:"dns_ms"`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms"`
}

type requestJSON struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
}

type responseJSON struct {
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	Truncated bool              `json:"truncated"`
}

// responseData is the peer's form of the answer.
type responseData struct {
	Status int    `json:"status,omitempty"`
	Body   string `json:"body"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func attemptToJSON(at *models.Attempt, in includes) attemptJSON {
	j := attemptJSON{ID: at.ID(), TenantID: at.TenantID, EventID: at.PublicEventID, DestinationID: at.DestinationID, DestinationType: at.DestinationType,
		DeliveryID: at.DeliveryID(), Status: at.Status(), Time: at.StartedAt, AttemptNumber: at.Number,
		Manual: at.Trigger == models.TriggerManual || at.Trigger == models.TriggerBulk, Trigger: at.Trigger, Actor: at.Actor, StartedAt: at.StartedAt,
		DurationMS: ms(at.Duration), Timing: timingJSON{ms(at.Timing.DNS), ms(at.Timing.Connect), ms(at.Timing.TLS), ms(at.Timing.FirstByte)},
		Request: requestJSON{at.Method, at.URL, headerMap(at.RequestHeader)}}
	if at.Code != 0 {
		j.Code = strconv.Itoa(at.Code)
	} else if at.ErrorClass != "" {
		j.Code = at.ErrorClass
	}
	body := strings.ToValidUTF8(string(at.ResponseBody), "\uFFFD")
	if at.Code != 0 || len(at.ResponseBody) > 0 {
		j.Response = &responseJSON{at.Code, headerMap(at.ResponseHeader), body, at.Truncated}
		if in["response_data"] {
			j.ResponseData = &responseData{at.Code, body}
		}
	}
	if at.ErrorClass != "" {
		j.Error = &errorJSON{at.ErrorClass, at.Error, at.Advice}
	}
	return j
}

// headerMap reads lines "Name: value"; values of repeated names are joined by commas (RFC 9110, section 5.3).
func headerMap(lines string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(lines) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if old, has := m[name]; has {
			value = old + ", " + value
		}
		m[name] = value
	}
	return m
}

type listAttemptsRequest struct {
	PathTenant      string   `path:"tenant"`      // of the route below a destination
	PathDestination string   `path:"destination"` // of the route below a destination
	Event           string   `query:"event_id"`
	Types           []string `query:"destination_type"`
	Status          string   `query:"status"`
	Topics          []string `query:"topic"`
	Include         []string `query:"include"`
	filterParams
}

func (a *App) listAttempts(ctx context.Context, c *Call, req *listAttemptsRequest) (*Reply, error) {
	if req.PathTenant != "" {
		if _, err := a.store.Destination(ctx, c.Scope(), req.PathTenant, req.PathDestination); err != nil {
			return nil, err
		}
		req.Tenant, req.Destinations = req.PathTenant, []string{req.PathDestination}
	}
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	page, err := req.query(100, 1000)
	if err != nil {
		return nil, err
	}
	in, err := parseIncludes(req.Include)
	if err != nil {
		return nil, err
	}
	q := models.AttemptQuery{EventID: req.Event, Destinations: req.Destinations, DestinationTypes: req.Types, Topics: req.Topics, Code: req.Code,
		ErrorClass: req.ErrorClass, Page: page}
	q.Since, q.Until = req.span()
	switch req.Status {
	case "":
	case "success", "failed":
		ok := req.Status == "success"
		q.OK = &ok
	default:
		return nil, models.Invalid("status", "must be success or failed")
	}
	list, err := a.store.Attempts(ctx, scope, q)
	if err != nil {
		return nil, err
	}
	body := pageToJSON(list, func(at *models.Attempt) attemptJSON { return attemptToJSON(at, in) })
	for i, at := range list.Items {
		if err := a.include(ctx, c, at, &body.Models[i], in); err != nil {
			return nil, err
		}
	}
	return &Reply{Body: body}, nil
}

// include adds the event and the destination of an attempt where they are asked for.
func (a *App) include(ctx context.Context, c *Call, at *models.Attempt, j *attemptJSON, in includes) error {
	if in["event"] || in["event.data"] {
		e, err := a.store.EventOf(ctx, c.Scope(), at)
		if err != nil {
			return err
		}
		ej := eventToJSON(e)
		if !in["event.data"] {
			ej.Data = nil
		}
		j.Event = &ej
	}
	if in["destination"] {
		d, err := a.store.Destination(ctx, c.Scope(), at.TenantID, at.DestinationID)
		if models.IsKind(err, models.KindNotFound) {
			return nil // deleted since
		}
		if err != nil {
			return err
		}
		j.Destination, err = json.Marshal(destinationToJSON(d, false))
		return err
	}
	return nil
}

type attemptRequest struct {
	PathTenant      string   `path:"tenant"`
	PathDestination string   `path:"destination"`
	Attempt         string   `path:"attempt"`
	Include         []string `query:"include"`
	Tenant          string   `query:"tenant_id"`
}

func (a *App) getAttempt(ctx context.Context, c *Call, req *attemptRequest) (*Reply, error) {
	in, err := parseIncludes(req.Include)
	if err != nil {
		return nil, err
	}
	scope, err := a.store.Of(ctx, c.Scope(), req.Tenant+req.PathTenant)
	if err != nil {
		return nil, err
	}
	at, err := a.store.Attempt(ctx, scope, req.Attempt)
	if err != nil {
		return nil, err
	}
	if req.PathDestination != "" && at.DestinationID != req.PathDestination {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no such attempt of this destination."}
	}
	j := attemptToJSON(at, in)
	if err := a.include(ctx, c, at, &j, in); err != nil {
		return nil, err
	}
	return &Reply{Body: j}, nil
}
