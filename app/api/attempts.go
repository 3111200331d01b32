package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/traces"

	"github.com/waybill-dev/waybill/models"
)

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

type AttemptJSON struct {
	ID              string        `json:"id"`
	TenantID        string        `json:"tenant_id"`
	EventID         string        `json:"event_id"`
	DestinationID   string        `json:"destination_id"`
	DestinationType string        `json:"destination_type" api:"schema=DestinationType"`
	DeliveryID      string        `json:"delivery_id"`
	Status          string        `json:"status" api:"enum=success|failed"`
	Time            time.Time     `json:"time" doc:"When it was started."`
	Code            string        `json:"code" doc:"HTTP status, or the class of the error where there was no answer."`
	AttemptNumber   int           `json:"attempt_number" doc:"From 1."`
	Manual          bool          `json:"manual" doc:"Whether somebody asked for it, alone or in a bulk retry."`
	Trigger         string        `json:"trigger" api:"schema=Trigger"`
	Actor           string        `json:"actor,omitempty" doc:"Who asked for it."`
	RetryID         string        `json:"retry_id,omitempty" doc:"The bulk retry that asked for it."`
	StartedAt       time.Time     `json:"started_at"`
	DurationMS      float64       `json:"duration_ms"`
	LatencyMS       *int64        `json:"latency_ms" doc:"As 'duration_ms', in whole milliseconds; null where nothing was sent."`
	Timing          timingJSON    `json:"timing"`
	Request         requestJSON   `json:"request" doc:"What was sent; the body is the event's payload unless a transform made another."`
	Log             []string      `json:"log,omitempty" doc:"Of one that failed: the worker's own log lines, at most 20. Secrets are masked."`
	Response        *responseJSON `json:"response" doc:"What the other side answered; null when it did not."`
	ResponseData    *responseData `json:"response_data,omitempty" doc:"With 'include=response_data'."`
	Error           *errorJSON    `json:"error" doc:"null for a success."`
	Event           *eventJSON    `json:"event,omitempty" doc:"With 'include=event'; with its payload for 'include=event.data'."`
	ErasedAt        *time.Time    `json:"erased_at,omitempty" doc:"When its event was erased, and with it headers and bodies; absent while they are there."`
	Links           linksJSON     `json:"links"`

	Destination *DestinationJSON `json:"destination,omitempty" doc:"With 'include=destination', as it is now; absent once it is deleted."`
}

type timingJSON struct {
	DNS       float64 `json:"dns_ms"`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms"`
}

type requestJSON struct {
	Method  string            `json:"method" doc:"HTTP method, or the operation of a queue."`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers" doc:"Secrets are masked."`
	Sent    bool              `json:"sent" doc:"false when there was no connection: then this is what would have been sent."`
	Body    string            `json:"body,omitempty" doc:"What a transform made of the payload; absent for the payload as it is."`
}

type responseJSON struct {
	Status    int               `json:"status" doc:"HTTP status; 0 for systems without one."`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body" doc:"For queues, what they said as JSON."`
	Truncated bool              `json:"truncated" doc:"Whether the answer was longer than what is kept (64 KiB)."`
}

// responseData is the peer's form of the answer.
type responseData struct {
	Status int    `json:"status,omitempty"`
	Body   string `json:"body"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// latency is how long the other side took; nil where it was not asked.
func latency(at *models.Attempt) *int64 {
	if at.NotSent || at.Method == "" && at.URL == "" && at.Code == 0 && !at.OK {
		return nil
	}
	n := at.Duration.Round(time.Millisecond).Milliseconds()
	return &n
}

func (a *API) attemptToJSON(at *models.Attempt, in includes) AttemptJSON {
	j := AttemptJSON{ID: at.ID(), TenantID: at.TenantID, EventID: at.PublicEventID, DestinationID: at.DestinationID,
		DestinationType: at.DestinationType,
		DeliveryID:      at.DeliveryID(), Status: at.Status(), Time: at.StartedAt, Code: string(at.ShownCode()), LatencyMS: latency(at),
		AttemptNumber: at.Number,
		Manual:        at.Trigger == models.TriggerManual || at.Trigger == models.TriggerBulk, Trigger: at.Trigger, Actor: at.Actor,
		RetryID: models.BulkRetryID(at.BulkKey), StartedAt: at.StartedAt,
		DurationMS: ms(at.Duration), Timing: timingJSON{ms(at.Timing.DNS), ms(at.Timing.Connect), ms(at.Timing.TLS),
			ms(at.Timing.FirstByte)},
		Request: requestJSON{Method: at.Method, URL: at.URL, Headers: headerMap(at.RequestHeader), Sent: at.Method != "" && !at.NotSent},
		Log:     at.Log, ErasedAt: at.ErasedAt, Links: attemptLinks(at).under(a.Base)}
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

type ListAttemptsRequest struct {
	PathTenant      string `path:"tenant"`      // of the route below a destination
	PathDestination string `path:"destination"` // of the route below a destination
	tenantParams
	models.AttemptQuery
	Include []string `query:"include" api:"schema=AttemptInclude" doc:"What to show besides."`
	Order   string   `query:"order_by" api:"enum=time" doc:"Attempts are sorted by the time they were started."`
	cursorParams
}

func (a *API) FindAttempts(ctx context.Context, c *Call, req *ListAttemptsRequest, limit, most int) (*models.Page[*models.Attempt], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindAttempts)
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.orDefault().part(limit, most); err != nil {
		return nil, err
	}
	if req.Order != "" && req.Order != "time" {
		return nil, models.Invalid("order_by", "must be time: attempts are sorted by the time they were started")
	}
	return a.Store.Attempts(ctx, scope, req.AttemptQuery)
}

func (a *API) listAttempts(ctx context.Context, c *Call, req *ListAttemptsRequest) (*Reply, error) {
	if req.PathTenant != "" {
		if _, err := a.Store.Destination(ctx, c.Scope(), req.PathTenant, req.PathDestination); err != nil {
			return nil, err
		}
		req.Tenants, req.Destinations = []string{req.PathTenant}, []string{req.PathDestination}
	}
	in, err := parseIncludes(req.Include)
	if err != nil {
		return nil, err
	}
	list, err := a.FindAttempts(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	body := pageToJSON(list, func(at *models.Attempt) AttemptJSON { return a.attemptToJSON(at, in) })
	for i, at := range list.Items {
		if err := a.include(ctx, c, at, &body.Models[i], in); err != nil {
			return nil, err
		}
	}
	return &Reply{Body: body}, nil
}

// include adds the event and the destination of an attempt where they are asked for.
func (a *API) include(ctx context.Context, c *Call, at *models.Attempt, j *AttemptJSON, in includes) error {
	if in["event"] || in["event.data"] {
		e, err := a.Store.EventOf(ctx, c.Scope(), at)
		if err != nil {
			return err
		}
		ej := a.eventToJSON(e)
		ej.DestinationID = at.DestinationID
		if !in["event.data"] {
			ej.Data = nil
		}
		j.Event = &ej
	}
	if in["destination"] {
		d, err := a.Store.Destination(ctx, c.Scope(), at.TenantID, at.DestinationID)
		if models.IsKind(err, models.KindNotFound) {
			return nil // deleted since
		}
		if err != nil {
			return err
		}
		if c.Schema.attemptShows(d) {
			shown := c.Schema.destination(destinationToJSON(d, false))
			j.Destination = &shown
		}
	}
	return nil
}

type attemptRequest struct {
	PathTenant      string   `path:"tenant"`
	PathDestination string   `path:"destination"`
	Attempt         string   `path:"attempt"`
	Include         []string `query:"include" api:"schema=AttemptInclude" doc:"What to show besides."`
	Tenant          string   `query:"tenant_id" doc:"Only of this tenant."`
}

func (a *API) getAttempt(ctx context.Context, c *Call, req *attemptRequest) (*Reply, error) {
	in, err := parseIncludes(req.Include)
	if err != nil {
		return nil, err
	}
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant+req.PathTenant)
	if err != nil {
		return nil, err
	}
	at, err := a.Store.Attempt(ctx, scope, req.Attempt)
	if err != nil {
		return nil, err
	}
	if req.PathDestination != "" && at.DestinationID != req.PathDestination {
		return nil, &models.Error{Kind: models.KindNotFound, Message: "There is no such attempt of this destination."}
	}
	j := a.attemptToJSON(at, in)
	if err := a.include(ctx, c, at, &j, in); err != nil {
		return nil, err
	}
	if j.Links.Logs, j.Links.Traces, err = a.LinksOf(ctx, c.Actor, at); err != nil {
		return nil, err
	}
	if at.TransformKey != nil && at.ErasedAt == nil {
		e, err := a.Store.EventOf(ctx, scope, at)
		if err != nil {
			return nil, err
		}
		sent, _, err := a.Store.SentBody(ctx, at, e)
		if err != nil {
			return nil, err
		}
		j.Request.Body = string(sent)
	}
	return &Reply{Body: j, Links: j.Links.header("delivery")}, nil
}

// LinksOf are where an operator finds more about an attempt; empty for tenants, and where there is none.
func (a *API) LinksOf(ctx context.Context, actor *models.Actor, at *models.Attempt) (logs, trace string, err error) {
	if actor.TenantID != "" || a.Cfg.LogsURL == "" && a.Cfg.TracesURL == "" {
		return "", "", nil
	}
	parent, err := a.Store.TraceParent(ctx, at.EventKey)
	if err != nil {
		return "", "", err
	}
	id := traces.ID(parent)
	return a.Cfg.LogsURL.Of(at, id), a.Cfg.TracesURL.Of(at, id), nil
}
