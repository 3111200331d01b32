package gcppubsub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/gather"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// calls is how many requests without an ordering key are under way at the same time. With more of them batches become
// smaller, and each costs about as much as a message alone.
const calls = 4

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	settings adapters.Settings
	client   *outbound.Client
	tokens   tokens
	base     outbound.Header
	host     string
	topic    string // full name
	path     string // of the topic, in requests
	queues   queues
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	item, key, err := encode(m, &s.settings)
	if err != nil {
		return adapters.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	r, err := s.queues.do(ctx, key, item)
	return outbound.Gathered(r, err, s.host)
}

// publish makes one request. What it returns besides receipts is always an *outbound.BatchError.
func (s *sender) publish(ctx context.Context, items [][]byte) ([]adapters.Receipt, error) {
	size := 16
	for _, item := range items {
		size += len(item) + 1
	}
	body := make([]byte, 0, size)
	body = append(body, `{"messages":[`...)
	body = append(append(body, bytes.Join(items, []byte{','})...), "]}"...)
	resp, err := s.request(ctx, ":publish", body)
	resp.Method = operation(resp.Method, "Publish")
	if err != nil {
		return nil, &outbound.BatchError{Receipt: resp.Receipt, Err: err}
	}
	var answer struct {
		IDs []string `json:"messageIds"`
	}
	if json.Unmarshal(resp.Body, &answer) != nil || len(answer.IDs) != len(items) || slices.Contains(answer.IDs, "") {
		return nil, &outbound.BatchError{Receipt: resp.Receipt, Err: &adapters.Error{Kind: adapters.KindTransient,
			Class:   adapters.ClassProtocol,
			Message: "Pub/Sub's answer does not name an id for each message, so nothing counts as published.",
			Advice:  "Check that the destination's endpoint is one of Pub/Sub."}}
	}
	out := make([]adapters.Receipt, len(items))
	for i, id := range answer.IDs {
		out[i] = resp.Receipt
		out[i].Body, _ = json.Marshal(struct {
			ID    string `json:"messageId"`
			Batch int    `json:"messagesInRequest"`
		}{id, len(items)})
	}
	return out, nil
}

// operation names what was called, if anything was.
func operation(method, name string) string {
	if method == "" {
		return ""
	}
	return name
}

// request posts to a method of the topic.
func (s *sender) request(ctx context.Context, method string, body []byte) (outbound.Response, *adapters.Error) {
	t, err := s.tokens.get(ctx)
	if err != nil {
		return outbound.Response{}, adapters.AsError(err)
	}
	h := outbound.AcquireHeader(&s.base)
	defer outbound.ReleaseHeader(h)
	if t.value != "" {
		h.AddSecret("Authorization", "Bearer "+t.value)
	}
	resp, err := s.client.Do(ctx, outbound.Request{Target: s.path + method, Header: h, Body: body, Redact: t.redact})
	if err != nil && resp.Code < 300 {
		return resp, adapters.AsError(err)
	}
	if resp.Code == 401 {
		s.tokens.drop()
	}
	return resp, s.verdict(&resp)
}

// checkRights tells the last two stages of a check.
func (s *sender) checkRights(ctx context.Context) []adapters.Stage {
	const right = "pubsub.topics.publish"
	begun := time.Now()
	auth, publish := adapters.Stage{Name: "auth"}, adapters.Stage{Name: "publish"}
	resp, err := s.request(ctx, ":testIamPermissions", []byte(`{"permissions":["`+right+`"]}`))
	auth.Took = time.Since(begun)
	if err != nil && resp.Code != 404 && resp.Code != 501 {
		auth.Message, auth.Advice = err.Message, err.Advice
		return []adapters.Stage{auth}
	}
	var answer struct {
		Permissions []string `json:"permissions"`
	}
	auth.OK, auth.Message = true, "Google accepts the service account."
	if _, open := s.tokens.(none); open {
		auth.Message = "The endpoint is not encrypted, so no credentials are sent."
	}
	switch {
	case resp.Code == 501 || resp.Code == 404 && !ownEndpoint(s.settings.Config["endpoint"]):
		publish.OK = true
		publish.Message = "Nothing was published; this endpoint does not tell who may publish, but a test event would show it."
	case resp.Code == 200 && json.Unmarshal(resp.Body, &answer) == nil && slices.Contains(answer.Permissions, right):
		publish.OK, publish.Message = true, "The service account may publish to "+s.topic+"; nothing was published."
	default:
		// A topic that does not exist gives an empty list as well.
		publish.Message = "The topic " + s.topic + " does not exist, or the service account may not publish to it."
		publish.Advice = "Check the topic's name, and give the service account the role Pub/Sub Publisher on it."
	}
	return []adapters.Stage{auth, publish}
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	s.queues.close()
	return errors.Join(s.tokens.Close(), s.client.Close())
}

// queues gathers messages into requests. All messages of a request must have the same ordering key
// (https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage), so there is a queue for each key, as long as
// messages of it are there. Of one key there is one request at a time, or a later one might overtake.
type queues struct {
	call func(context.Context, [][]byte) ([]adapters.Receipt, error)

	mu    sync.Mutex
	byKey map[string]*queue
}

type queue struct {
	*gather.Gatherer[[]byte, adapters.Receipt]
	users int // calls of do
}

func (q *queues) do(ctx context.Context, key string, item []byte) (adapters.Receipt, error) {
	g := q.take(key)
	defer q.leave(key, g)
	return g.Do(ctx, item)
}

func (q *queues) take(key string) *queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.byKey[key]
	if g == nil {
		cfg := gather.Config[[]byte, adapters.Receipt]{Items: maxMessages, Calls: 1, Bytes: maxRequest,
			Size: func(item []byte) int { return len(item) + 1 }, Call: q.call, Divide: outbound.Refused}
		if key == "" {
			cfg.Calls = calls
		}
		g = &queue{Gatherer: gather.New(cfg)}
		if q.byKey == nil {
			q.byKey = map[string]*queue{}
		}
		q.byKey[key] = g
	}
	g.users++
	return g
}

// leave forgets a queue that nobody uses any more. The one without a key stays, for it is the usual one.
func (q *queues) leave(key string, g *queue) {
	q.mu.Lock()
	g.users--
	unused := g.users == 0 && key != ""
	if unused {
		delete(q.byKey, key)
	}
	q.mu.Unlock()
	if unused {
		g.Close() // Nobody waits, so there is at most a request that has been canceled.
	}
}

func (q *queues) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, g := range q.byKey {
		g.Close()
	}
}
