package api

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/waybill-dev/waybill/models"
)

func (a *API) listTopics(ctx context.Context, _ *Call, _ *noRequest) (*Reply, error) {
	names, err := a.Store.TopicNames(ctx)
	if err != nil {
		return nil, err
	}
	if names == nil {
		names = []string{}
	}
	return &Reply{Body: names}, nil
}

type TopicRequest struct {
	Topic string `path:"topic"`
}

type PutTopicRequest struct {
	Topic string `path:"topic"`
	Body  struct {
		Description string          `json:"description" doc:"What the topic is about."`
		Example     json.RawMessage `json:"example" doc:"A payload as an example."`
		Schema      json.RawMessage `json:"schema" api:"type=object,boolean,null" doc:"JSON Schema (2020-12) of its payloads. The example must be as it asks."`
		Enforce     string          `json:"enforce" api:"schema=Enforcement" doc:"What happens to an event that is not as the schema asks; 'warn' when missing."`
	} `body:"json"`
}

type topicJSON struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Example     json.RawMessage `json:"example" doc:"A payload as an example; null for none."`
	Schema      json.RawMessage `json:"schema" api:"type=object,boolean,null" doc:"JSON Schema of its payloads; null for none."`
	Enforce     string          `json:"enforce" api:"schema=Enforcement"`
	Mismatches  mismatchesJSON  `json:"mismatches"`
}

// mismatchesJSON tells of events that were not as the schema asks, since it was last changed.
type mismatchesJSON struct {
	Warned  int64      `json:"warned" doc:"Events that were accepted all the same."`
	Refused int64      `json:"refused"`
	LastAt  *time.Time `json:"last_at" api:"null"`
	LastWhy string     `json:"last_why" doc:"Where in the payload, and which rule."`
}

func topicToJSON(t *models.Topic) topicJSON {
	out := topicJSON{Name: t.Name, Description: t.Description, Example: t.Example, Schema: t.Schema,
		Enforce:    cmp.Or(t.Enforce, models.EnforceWarn),
		Mismatches: mismatchesJSON{Warned: t.Mismatches.Warned, Refused: t.Mismatches.Refused, LastWhy: t.Mismatches.LastWhy}}
	if t.Mismatches.Warned+t.Mismatches.Refused > 0 {
		out.Mismatches.LastAt = &t.Mismatches.LastAt
	}
	return out
}

func (a *API) getTopic(ctx context.Context, c *Call, req *TopicRequest) (*Reply, error) {
	t, err := a.Store.Topic(ctx, req.Topic)
	if err != nil {
		return nil, err
	}
	if c.Actor.TenantID != "" {
		t.Mismatches = models.Mismatches{} // of events of all tenants
	}
	return &Reply{Body: topicToJSON(t)}, nil
}

func (a *API) PutTopic(ctx context.Context, c *Call, req *PutTopicRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	t := models.Topic{Name: req.Topic, Description: req.Body.Description, Example: req.Body.Example, Schema: req.Body.Schema,
		Enforce: req.Body.Enforce}
	if err := a.Store.PutTopic(ctx, t); err != nil {
		return nil, err
	}
	put, err := a.Store.Topic(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: topicToJSON(put)}, nil
}

func (a *API) DeleteTopic(ctx context.Context, c *Call, req *TopicRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	if err := a.Store.DeleteTopic(ctx, req.Topic); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
