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
	Hint       string              `json:"hint" doc:"The first and last characters, to recognise the key by."`
	Scopes     []models.Permission `json:"scopes"`
	TenantID   string              `json:"tenant_id,omitempty" doc:"The only tenant that it sees; absent for all."`
	CreatedBy  string              `json:"created_by" doc:"Who made it."`
	CreatedAt  time.Time           `json:"created_at"`
	ExpiresAt  *time.Time          `json:"expires_at" doc:"null for never."`
	LastUsedAt *time.Time          `json:"last_used_at" doc:"null for never, to within a minute."`
	RevokedAt  *time.Time          `json:"revoked_at" doc:"null while it is in force."`
	Addresses  []string            `json:"addresses" doc:"From which it may be used; empty for anywhere."`

	RequestsPerSecond *int             `json:"requests_per_second" doc:"null for no limit."`
	EventsPerSecond   *int             `json:"events_per_second" doc:"null for no limit."`
	BytesPerSecond    *int             `json:"bytes_per_second" doc:"null for no limit."`
	LimitBurst        *models.Duration `json:"limit_burst" doc:"null for '10s'."`

	Key string `json:"key,omitempty" doc:"The key itself, shown only when it is created."`
}

func apiKeyToJSON(k *models.APIKey) apiKeyJSON {
	return apiKeyJSON{ID: k.ID.String(), Name: k.Name, Hint: k.Hint, Scopes: k.Scopes, TenantID: k.TenantID, CreatedBy: k.CreatedBy,
		CreatedAt: k.CreatedAt,
		ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, RevokedAt: k.RevokedAt, Addresses: k.AddressTexts(),
		RequestsPerSecond: k.Limits.RequestsPerSecond, EventsPerSecond: k.Limits.EventsPerSecond, BytesPerSecond: k.Limits.BytesPerSecond,
		LimitBurst: k.Limits.LimitBurst}
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
	return &Reply{Status: http.StatusCreated, Body: j, Location: APIPrefix + "/api-keys/" + j.ID, Secret: true}, nil
}

type APIKeyRequest struct {
	Key string `path:"key"`
}

func (a *API) getAPIKey(ctx context.Context, c *Call, req *APIKeyRequest) (*Reply, error) {
	k, err := a.Store.APIKey(ctx, c.Scope(), req.Key)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: apiKeyToJSON(k)}, nil
}

type UpdateAPIKeyRequest struct {
	Key  string             `path:"key"`
	Body models.APIKeyPatch `body:"json"`
}

func (a *API) UpdateAPIKey(ctx context.Context, c *Call, req *UpdateAPIKeyRequest) (*Reply, error) {
	k, err := a.Store.UpdateAPIKey(ctx, c.Actor, req.Key, req.Body)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: apiKeyToJSON(k)}, nil
}

func (a *API) RevokeAPIKey(ctx context.Context, c *Call, req *APIKeyRequest) (*Reply, error) {
	if _, err := a.Store.RevokeAPIKey(ctx, c.Scope(), req.Key); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
