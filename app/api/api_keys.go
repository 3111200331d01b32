package api

import (
	"context"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type apiKeyJSON struct {
	ID         string              `json:"id" api:"format=uuid"`
	Name       string              `json:"name" doc:"For people."`
	Hint       string              `json:"hint" doc:"The first characters, to recognise the key by."`
	Scopes     []models.Permission `json:"scopes"`
	TenantID   string              `json:"tenant_id,omitempty" doc:"The only tenant that it sees; absent for all."`
	CreatedBy  string              `json:"created_by" doc:"Who made it."`
	CreatedAt  time.Time           `json:"created_at"`
	ExpiresAt  *time.Time          `json:"expires_at" doc:"null for never."`
	LastUsedAt *time.Time          `json:"last_used_at" doc:"null for never, to within a minute."`
	RevokedAt  *time.Time          `json:"revoked_at" doc:"null while it is in force."`
	Key        string              `json:"key,omitempty" doc:"The key itself. It is told when it is created, and never again."`
}

func apiKeyToJSON(k *models.APIKey) apiKeyJSON {
	return apiKeyJSON{ID: k.ID.String(), Name: k.Name, Hint: k.Hint, Scopes: k.Scopes, TenantID: k.TenantID, CreatedBy: k.CreatedBy,
		CreatedAt: k.CreatedAt,
		ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, RevokedAt: k.RevokedAt}
}

func (a *API) listAPIKeys(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	list, err := a.Store.APIKeys(ctx, c.Scope())
	if err != nil {
		return nil, err
	}
	out := make([]apiKeyJSON, len(list))
	for i, k := range list {
		out[i] = apiKeyToJSON(k)
	}
	return &Reply{Body: listJSON[apiKeyJSON]{out}}, nil
}

type createAPIKeyRequest struct {
	Body models.APIKeyInput `body:"json"`
}

func (a *API) createAPIKey(ctx context.Context, c *Call, req *createAPIKeyRequest) (*Reply, error) {
	k, secret, err := a.Store.CreateAPIKey(ctx, c.Actor, req.Body)
	if err != nil {
		return nil, err
	}
	j := apiKeyToJSON(k)
	j.Key = secret
	return &Reply{Status: http.StatusCreated, Body: j, Location: APIPrefix + "/api-keys", Secret: true}, nil
}

type APIKeyRequest struct {
	Key string `path:"key"`
}

func (a *API) RevokeAPIKey(ctx context.Context, c *Call, req *APIKeyRequest) (*Reply, error) {
	if _, err := a.Store.RevokeAPIKey(ctx, c.Scope(), req.Key); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
