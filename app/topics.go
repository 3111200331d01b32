package app

import (
	"context"
	"encoding/json"

	"github.com/waybill-dev/waybill/models"
)

func (a *App) listTopics(ctx context.Context, _ *Call, _ *noRequest) (*Reply, error) {
	names, err := a.store.TopicNames(ctx)
	if err != nil {
		return nil, err
	}
	if names == nil {
		names = []string{}
	}
	return &Reply{Body: names}, nil
}

type topicRequest struct {
	Topic string `path:"topic"`
}

type putTopicRequest struct {
	Topic string `path:"topic"`
	Body  struct {
		Description string          `json:"description" doc:"What the topic is about."`
		Example     json.RawMessage `json:"example" doc:"A payload as an example."`
	} `body:"json"`
}

type topicJSON struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Example     json.RawMessage `json:"example" doc:"A payload as an example; null for none."`
}

func (a *App) putTopic(ctx context.Context, c *Call, req *putTopicRequest) (*Reply, error) {
	if err := operatorsOnly(c); err != nil {
		return nil, err
	}
	t := models.Topic{Name: req.Topic, Description: req.Body.Description, Example: req.Body.Example}
	changes, created, err := a.store.PutTopic(ctx, t)
	if err != nil {
		return nil, err
	}
	a.auditChanges(ctx, c, models.AllTenants(), map[bool]string{true: "topic.create", false: "topic.update"}[created], t.Name, changes, nil)
	return &Reply{Body: topicJSON{t.Name, t.Description, t.Example}}, nil
}

func (a *App) deleteTopic(ctx context.Context, c *Call, req *topicRequest) (*Reply, error) {
	if err := operatorsOnly(c); err != nil {
		return nil, err
	}
	if err := a.store.DeleteTopic(ctx, req.Topic); err != nil {
		return nil, err
	}
	a.audit(ctx, c, models.AllTenants(), "topic.delete", req.Topic, nil)
	return &Reply{Body: success}, nil
}
