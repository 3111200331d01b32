package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/models"
)

// maxBatchPublish is how many events one request may publish.
const maxBatchPublish = 1000

// publishRequest and publishBatchRequest tell the description of the API what the two take.
type (
	publishRequest struct {
		Body models.PublishInput `body:"json"`
	}
	publishBatchRequest struct {
		Body []models.PublishInput `body:"json"`
	}
)

// publish accepts one event. It is mounted by hand because of its rate: the usual way reads bodies field by field.
func (a *API) publish(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	call, err := a.APICall(ctx, c, models.MayPublish)
	if err != nil {
		return err
	}
	b, err := body(c)
	if err != nil {
		return err
	}
	in := &models.PublishInput{}
	if err := decodePublish(b, in, call.Prefer.strict); err != nil {
		return err
	}
	ctx, cancelWait := call.within(ctx)
	defer cancelWait()
	if err := scopePublish(call, in); err != nil {
		return err
	}
	if err := a.limitEvent(c, call.Actor, in.TenantID, len(b)); err != nil {
		return err
	}
	reply, err := a.publishOne(ctx, call, in)
	if err != nil {
		return err
	}
	return sendJSON(c, call, reply)
}

// quickly reads JSON as encoding/json does, in one pass and a fifth of the time. It refuses more: names that are not just
// those of the fields, or come twice, and text that is not UTF-8. What it refuses is read again by encoding/json, which decides.
var quickly = jsonv2.RejectUnknownMembers(true)

// decodePublish reads an event. The quick way is tried first; when it fails, or unknown fields matter, the thorough way
// says what is wrong with which field.
func decodePublish(b []byte, in *models.PublishInput, strict bool) error {
	if !strict && jsonv2.Unmarshal(b, in, quickly) == nil && !bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		return nil
	}
	*in = models.PublishInput{}
	if len(bytes.TrimSpace(b)) == 0 {
		return &models.Error{Kind: models.KindMalformed, Message: "The body must be a JSON object with tenant_id and data."}
	}
	return DecodeJSON(b, reflect.ValueOf(in).Elem(), strict)
}

// publishResult is the answer to a publish.
type PublishJSON struct {
	models.PublishResult
	Status     string         `json:"status" api:"schema=WorkStatus"`
	Links      linksJSON      `json:"links"`
	Deliveries []deliveryJSON `json:"deliveries,omitempty" doc:"With 'Prefer: wait', once every one has had its first outcome."`
}

func (a *API) publishOne(ctx context.Context, call *Call, in *models.PublishInput) (*Reply, error) {
	a.keepPublished(call, in.TenantID)
	res, err := a.acceptTraced(ctx, call, in)
	if err != nil {
		return nil, err
	}
	r := a.publishReply(call, in.TenantID, res)
	if call.Prefer.wait == 0 {
		return r, nil
	}
	x, err := a.Of(ctx, in.TenantID)
	if err != nil {
		return nil, err
	}
	scope, err := x.Store.Of(ctx, call.Scope(), in.TenantID)
	if err != nil {
		return nil, err
	}
	considered, settled, err := x.waitForOutcomes(ctx, call, scope, res.ID, call.Prefer.wait)
	if err != nil || !settled {
		return r, err
	}
	out := r.Body.(PublishJSON)
	out.Status, out.Deliveries = workDone, []deliveryJSON{}
	for _, d := range considered.Deliveries {
		out.Deliveries = append(out.Deliveries, a.deliveryToJSON(d))
	}
	r.Status, r.Body = http.StatusOK, out
	return r, nil
}

func (a *API) publishReply(call *Call, tenantID string, res *models.PublishResult) *Reply {
	links := publishedLinks(res.ID, tenantID).under(a.Base)
	return &Reply{Body: PublishJSON{PublishResult: *res, Status: workAccepted, Links: links}, Applied: call.Prefer.waitApplied(),
		Monitor: links.Monitor}
}

// acceptTraced accepts an event within a span, to which its attempts will belong.
func (a *API) acceptTraced(ctx context.Context, call *Call, in *models.PublishInput) (*models.PublishResult, error) {
	span := a.Traces.Publish(call.Trace, call.TraceState, in.TenantID, 1)
	in.TraceParent, in.TraceState, in.Claim = span.Parent, span.State, call.claim
	all, errs := a.Accept(ctx, []*models.PublishInput{in})
	res, err := &all[0], errs[0]
	if err != nil {
		e := models.AsError(err)
		span.Failed(e.Code(), e.Message)
		span.End(e.Status(), "")
		return nil, err
	}
	span.Event(res.ID)
	span.End(http.StatusAccepted, "")
	return res, nil
}

// scopePublish keeps a caller with one tenant to that tenant.
func scopePublish(call *Call, in *models.PublishInput) error {
	if t := call.Actor.TenantID; t != "" {
		if in.TenantID == "" {
			in.TenantID = t
		}
		if in.TenantID != t {
			return &models.Error{Kind: models.KindNotFound, Message: "There is no tenant of this id.",
				Fields: map[string]string{"tenant_id": "is unknown"}}
		}
	}
	return nil
}

// waitForOutcomes waits until every delivery of an event has its first outcome; settled is false when the time is up
// first.
func (a *API) waitForOutcomes(ctx context.Context, call *Call, scope models.Scope, eventID string,
	wait time.Duration) (c *models.Considered, settled bool, err error) {
	key, err := a.Store.EventKey(ctx, scope, eventID)
	if err != nil {
		return nil, false, err
	}
	settled, err = a.wait(ctx, call, models.Following{Event: key}, wait, func() (bool, error) { return a.Store.HasOutcomes(ctx, key) })
	if err != nil || !settled {
		return nil, false, err
	}
	c, err = a.Store.EventDeliveries(ctx, scope, eventID)
	return c, err == nil, err
}

// batchResult is the answer for one event of a batch.
type batchResult struct {
	Status         int               `json:"status" doc:"202, or what a request of its own would have been refused with."`
	ID             string            `json:"id,omitempty"`
	Duplicate      *bool             `json:"duplicate,omitempty"`
	DestinationIDs []string          `json:"destination_ids,omitempty"`
	SchemaErrors   []string          `json:"schema_errors,omitempty" doc:"Where the payload is not as its topic's schema asks, where that is accepted."`
	Message        string            `json:"message,omitempty" doc:"Why it was refused."`
	Fields         map[string]string `json:"fields,omitempty" doc:"What is wrong, by field."`
	Links          *linksJSON        `json:"links,omitempty"`
	Deliveries     []deliveryJSON    `json:"deliveries,omitempty" doc:"What became of it, where the caller waited for the outcomes."`
}

type batchJSON struct {
	Status  string        `json:"status" api:"schema=WorkStatus"`
	Results []batchResult `json:"results" doc:"One for every event, in the order of the request."`
}

// publishBatch accepts many events, as a JSON array or as NDJSON. Each has its own result, in order. With Prefer: wait the
// answer is held until every delivery of every event has had its first outcome.
func (a *API) publishBatch(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	call, err := a.APICall(ctx, c, models.MayPublish)
	if err != nil {
		return err
	}
	b, err := body(c)
	if err != nil {
		return err
	}
	raws, err := splitBatch(b)
	if err != nil {
		return err
	}
	results := make([]batchResult, len(raws))
	ins, places, sizes := make([]*models.PublishInput, 0, len(raws)), make([]int, 0, len(raws)), make([]int, 0, len(raws))
	refuse := func(i int, err error) {
		e := models.AsError(err)
		results[i] = batchResult{Status: e.Status(), Message: e.Message, Fields: e.Fields}
	}
	for i, raw := range raws {
		in := &models.PublishInput{}
		err := decodePublish(raw, in, call.Prefer.strict)
		if err == nil {
			err = scopePublish(call, in)
		}
		if err != nil {
			refuse(i, err)
			continue
		}
		ins, places, sizes = append(ins, in), append(places, i), append(sizes, len(raw))
	}
	over, err := a.limitBatch(c, call.Actor, ins, sizes)
	if err != nil {
		return err
	}
	if over != nil {
		ins, places = withinLimits(ins, places, over, refuse)
	}
	span := a.Traces.Publish(call.Trace, call.TraceState, call.Actor.TenantID, len(ins))
	for _, in := range ins {
		in.TraceParent, in.TraceState, in.Claim = span.Parent, span.State, call.claim
	}
	res, errs := a.Accept(ctx, ins)
	span.End(http.StatusAccepted, "")
	for k, i := range places {
		if errs[k] != nil {
			refuse(i, errs[k])
			continue
		}
		results[i] = batchResult{Status: http.StatusAccepted, ID: res[k].ID, Duplicate: &res[k].Duplicate,
			DestinationIDs: res[k].DestinationIDs, SchemaErrors: res[k].Mismatches,
			Links: &linksJSON{Monitor: WithBase(a.Base, eventPath(res[k].ID, ins[k].TenantID))}}
	}
	r := &Reply{Status: http.StatusAccepted, Body: batchJSON{workAccepted, results}, Applied: call.Prefer.waitApplied()}
	if call.Prefer.wait > 0 {
		ctx, cancelWait := call.within(ctx)
		defer cancelWait()
		settled, err := a.waitForBatch(ctx, call, ins, places, results)
		if err != nil {
			return err
		}
		if settled {
			r.Status, r.Body = http.StatusOK, batchJSON{workDone, results}
		}
	}
	c.Set(fiber.HeaderVary, "Prefer")
	return sendJSON(c, call, r)
}

// withinLimits leaves out the events of a batch that are over a limit, and refuses them.
func withinLimits(ins []*models.PublishInput, places []int, over []error,
	refuse func(i int, err error)) (left []*models.PublishInput, at []int) {
	for k, in := range ins {
		if over[k] != nil {
			refuse(places[k], over[k])
			continue
		}
		left, at = append(left, in), append(at, places[k])
	}
	return left, at
}

// batchWaiters is how many events of a batch are waited for at a time. Their order does not matter: the answer waits for all.
const batchWaiters = 16

// waitForBatch waits until every delivery of the accepted events has its first outcome, and adds them to the results; settled
// is false when the time is up first.
func (a *API) waitForBatch(ctx context.Context, call *Call, ins []*models.PublishInput, places []int,
	results []batchResult) (settled bool, err error) {
	deadline := time.Now().Add(call.Prefer.wait)
	var late atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(batchWaiters)
	for k, i := range places {
		if results[i].Status != http.StatusAccepted {
			continue
		}
		g.Go(func() error {
			if late.Load() {
				return nil
			}
			x, err := a.Of(ctx, ins[k].TenantID)
			if err != nil {
				return err
			}
			scope, err := x.Store.Of(ctx, call.Scope(), ins[k].TenantID)
			if err != nil {
				return err
			}
			considered, settled, err := x.waitForOutcomes(ctx, call, scope, results[i].ID, time.Until(deadline))
			if err != nil || !settled {
				late.Store(true)
				return err
			}
			for _, d := range considered.Deliveries {
				results[i].Deliveries = append(results[i].Deliveries, a.deliveryToJSON(d))
			}
			return nil
		})
	}
	err = g.Wait()
	return !late.Load() && err == nil, err
}

// splitBatch cuts a batch into its events.
func splitBatch(b []byte) ([]json.RawMessage, error) {
	b = bytes.TrimSpace(b)
	var raws []json.RawMessage
	switch {
	case len(b) == 0:
	case b[0] == '[':
		if jsonv2.Unmarshal(b, &raws, quickly) != nil {
			raws = nil
			if err := json.Unmarshal(b, &raws); err != nil {
				return nil, JSONProblem(b, err)
			}
		}
	default:
		for line := range bytes.SplitSeq(b, []byte("\n")) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				raws = append(raws, line)
			}
		}
	}
	if len(raws) == 0 || len(raws) > maxBatchPublish {
		return nil, &models.Error{Kind: models.KindMalformed,
			Message: fmt.Sprintf("The body must hold 1 to %d events, as a JSON array or one JSON object a line (NDJSON).", maxBatchPublish)}
	}
	return raws, nil
}

type TestRequest struct {
	Tenant      string `path:"tenant"`
	Destination string `path:"destination"`
	Body        struct {
		Topic string          `json:"topic"`
		Data  json.RawMessage `json:"data" api:"schema=Payload" doc:"A test payload when missing."`
	} `body:"json"`
}

// testWait is how long a test waits for its attempt when the caller does not say.
const testWait = 20 * time.Second

// SendTest sends a test event to one destination and answers with the attempt.
func (a *API) SendTest(ctx context.Context, c *Call, req *TestRequest) (*Reply, error) {
	d, err := a.Store.Destination(ctx, c.Scope(), req.Tenant, req.Destination)
	if err != nil {
		return nil, err
	}
	if d.DisabledAt != nil {
		return nil, &models.Error{Kind: models.KindConflict,
			Message: "The destination is disabled, so that the event would be held. Enable it, then test."}
	}
	in := &models.PublishInput{TenantID: req.Tenant, Topic: req.Body.Topic, DestinationID: req.Destination, Data: req.Body.Data,
		Trigger: models.TriggerTest, Actor: c.Actor.Name}
	if len(in.Data) == 0 {
		in.Data = json.RawMessage(fmt.Sprintf(`{"test":true,"message":"A test event from Waybill","sent_at":%q}`,
			time.Now().UTC().Format(time.RFC3339)))
	}
	never := false
	in.EligibleForRetry = &never
	res, err := a.acceptTraced(ctx, c, in)
	if err != nil {
		return nil, err
	}
	a.audit(ctx, c, models.AuditEntry{Scope: d.TenantScope(), Action: "destination.test", Object: d.ID,
		Detail: map[string]any{"event": res.ID}})
	r := a.publishReply(c, req.Tenant, res)
	wait := c.Prefer.wait
	if wait == 0 && c.Prefer.async {
		return r, nil
	}
	if wait == 0 {
		wait = testWait
	}
	considered, settled, err := a.waitForOutcomes(ctx, c, d.TenantScope(), res.ID, wait)
	if err != nil || !settled || len(considered.Deliveries) == 0 {
		return r, err
	}
	attempts, err := a.Store.DeliveryAttempts(ctx, c.Scope(), considered.Deliveries[0].DeliveryKey)
	if err != nil || len(attempts) == 0 {
		return r, err
	}
	r.Status, r.Body = http.StatusOK, a.attemptToJSON(attempts[0], includes{"response_data": true, "request": true})
	return r, nil
}
