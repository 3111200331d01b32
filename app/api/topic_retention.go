package api

import (
	"context"

	"github.com/waybill-dev/waybill/models"
)

type TopicRetentionRulesJSON struct {
	RetentionDays int                     `json:"retention_days" doc:"For how long the server keeps everything (RETENTION_DAYS)."`
	Topics        []models.TopicRetention `json:"topics" doc:"How long the data of events is kept, by topic, in all tenants."`
}

func (a *API) getTopicRetention(ctx context.Context, _ *Call, _ *noRequest) (*Reply, error) {
	rules, err := a.Store.TopicRetention(ctx)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: TopicRetentionRulesJSON{a.Store.RetentionDays(), rules}}, nil
}

// TopicRetentionRequest replaces the server's rules for topics.
type TopicRetentionRequest struct {
	Body struct {
		Topics []models.TopicRetention `json:"topics" api:"required" doc:"All rules; those that are there and not in it are taken away. At most 100."`
	} `body:"json"`
}

// PutTopicRetention replaces the server's rules for topics.
func (a *API) PutTopicRetention(ctx context.Context, c *Call, req *TopicRetentionRequest) (*Reply, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	if req.Body.Topics == nil {
		return nil, models.Invalid("topics", "is required; [] for no rule")
	}
	if err := a.Store.SetTopicRetention(ctx, req.Body.Topics); err != nil {
		a.AuditFailure(ctx, c, models.AllTenants(), "retention.update", "", err)
		return nil, err
	}
	return a.getTopicRetention(ctx, c, nil)
}
