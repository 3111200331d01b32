package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/clientip"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/models"
)

// tokenLength is how long a tenant's token is valid.
const tokenLength = 24 * time.Hour

// APICall finds out who calls the API and whether they may.
func (a *API) APICall(ctx context.Context, c *fiber.Ctx, perm models.Permission) (*Call, error) {
	if call, ok := c.Locals(callLocal).(*Call); ok {
		return call, nil // found out before its Idempotency-Key was looked at
	}
	client := a.Client(c)
	call := &Call{RequestID: RequestID(c), IP: client.String(), Prefer: parsePrefer(headers(c, "Prefer")...),
		IfMatch: strings.Trim(c.Get(fiber.HeaderIfMatch), `" `),
		Trace:   traces.Context(c.Get("traceparent")), IfNoneMatch: c.Get(fiber.HeaderIfNoneMatch)}
	if call.Prefer.wait > 0 {
		call.gone = callerGone(c)
	}
	if perm != models.MayPublish { // whose answers name no destination's type
		call.Schema = schemaOf(c.Get(fiber.HeaderUserAgent), c.Get(schemaHeader))
	}
	if call.Trace != "" {
		call.TraceState = traces.State(call.Trace, headers(c, "tracestate")...)
	}
	scheme, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if key = strings.TrimSpace(key); !strings.EqualFold(scheme, "Bearer") || key == "" {
		return nil, &models.Error{Kind: models.KindUnauthorized,
			Message: "Give an API key or a tenant's token: Authorization: Bearer <key>."}
	}
	actor, err := a.identify(ctx, key, client)
	if err != nil {
		return nil, err
	}
	call.Actor = actor
	if err := actor.CheckAddress(client); err != nil {
		return nil, err
	}
	if err := Allow(actor, perm); err != nil {
		return nil, err
	}
	if call.Wrote, err = a.Since(c, call); err != nil {
		return nil, err
	}
	return call, a.limitRequest(c, actor)
}

// headers are the values of a header that may be there several times.
func headers(c *fiber.Ctx, name string) (values []string) {
	for _, h := range c.Request().Header.PeekAll(name) {
		values = append(values, string(h))
	}
	return values
}

// Allow returns an error unless the actor has the permission. What asks for none is for everybody.
func Allow(actor *models.Actor, perm models.Permission) error {
	if perm == "" || actor.Can(perm) {
		return nil
	}
	if actor.Kind == models.ActorUser {
		return &models.Error{Kind: models.KindForbidden, Message: "This needs the role " + string(models.RoleFor(perm)) +
			" or a higher one here, which " + actor.Name + " does not have. Ask an administrator."}
	}
	return &models.Error{Kind: models.KindForbidden, Message: "This needs the permission " + string(perm) + ", which " + actor.Name +
		" does not have."}
}

// identify is whoIs for a caller that may be guessing.
func (a *API) identify(ctx context.Context, key string, client netip.Addr) (*models.Actor, error) {
	network, now := clientip.Network(client), time.Now()
	tried := a.badKeys.refused(network, now)
	if tried != nil && !a.isBootstrapKey(key) && !isToken(key) && !a.Store.KnowsKey(key) {
		return nil, tried
	}
	actor, err := a.whoIs(ctx, key)
	if models.IsKind(err, models.KindUnauthorized) {
		if tried != nil {
			return nil, tried
		}
		a.badKeys.failed(network, now)
	}
	return actor, err
}

func (a *API) whoIs(ctx context.Context, key string) (*models.Actor, error) {
	if a.isBootstrapKey(key) {
		return a.Bootstrap, nil
	}
	if isToken(key) {
		return a.tokenActor(ctx, key)
	}
	return a.Store.Authenticate(ctx, key)
}

// isToken tells a tenant's token from an API key. A forged one is refused before the database is asked.
func isToken(key string) bool { return strings.Count(key, ".") == 2 }

// isBootstrapKey compares hashes, so that neither time nor length tells anything of the key.
func (a *API) isBootstrapKey(key string) bool {
	h := sha256.Sum256([]byte(key))
	own := a.root().BootstrapHash.Load()
	return own != nil && subtle.ConstantTimeCompare(h[:], own[:]) == 1
}

// tokenPurpose is what keys of tenants' tokens are derived for.
const tokenPurpose = "tenant token"

// keyID names a key that signs tokens (RFC 7515, section 4.1.4). It is made of the key, so that all processes call it the same.
func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// tenantToken makes a token with which a tenant's developers see and change that tenant only (JWT, HS256).
func (a *API) tenantToken(tenantID string, now time.Time) (string, error) {
	claims := jwt.RegisteredClaims{Issuer: "waybill", Subject: tenantID, Audience: jwt.ClaimStrings{a.Cfg.BaseURL}, IssuedAt: jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(tokenLength))}
	key := a.Store.Keys.Derive(tokenPurpose)
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	t.Header["kid"] = keyID(key)
	return t.SignedString(key)
}

// tokenKey is what a token is verified with: the key that its kid names, of SECRET_KEY or of SECRET_KEY_PREVIOUS. Tokens of
// versions that named none may be signed with any of them.
func (a *API) tokenKey(t *jwt.Token) (any, error) {
	var all jwt.VerificationKeySet
	for _, key := range a.Store.Keys.DeriveAll(tokenPurpose) {
		if t.Header["kid"] == keyID(key) {
			return key, nil
		}
		all.Keys = append(all.Keys, key)
	}
	if _, named := t.Header["kid"]; named {
		return nil, jwt.ErrTokenUnverifiable
	}
	return all, nil
}

// tokenActor reads a tenant's token.
func (a *API) tokenActor(ctx context.Context, token string) (*models.Actor, error) {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, a.tokenKey,
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithIssuer("waybill"))
	if err != nil {
		msg := "This token is not valid. Get one with GET /tenants/{id}/token."
		if errors.Is(err, jwt.ErrTokenExpired) {
			msg = "This token has expired. Get a new one with GET /tenants/{id}/token."
		}
		return nil, &models.Error{Kind: models.KindUnauthorized, Message: msg}
	}
	// Who it is for (RFC 7519, section 4.1.3). Servers that share a SECRET_KEY are told apart by it.
	if named := len(claims.Audience) > 0; named && !slices.Contains(claims.Audience, a.Cfg.BaseURL) ||
		!named && a.Cfg.TokenAudience == config.AudienceRequired {
		return nil, &models.Error{Kind: models.KindUnauthorized,
			Message: "This token is not for this server: its audience (aud) is not " + a.Cfg.BaseURL + ". Get one with GET /tenants/{id}/token."}
	}
	if !Readable(claims.Subject) { // which the database could not be asked for
		return nil, &models.Error{Kind: models.KindUnauthorized, Message: "This token is not valid. Get one with GET /tenants/{id}/token."}
	}
	ctx, cancel := context.WithTimeout(ctx, models.AuthTimeout)
	defer cancel()
	t, err := a.Store.Tenant(ctx, models.AllTenants(), claims.Subject)
	if models.IsKind(err, models.KindNotFound) {
		return nil, &models.Error{Kind: models.KindUnauthorized, Message: "The tenant of this token does not exist any more."}
	}
	if err != nil {
		return nil, err
	}
	return &models.Actor{Name: "token of " + t.ID, Kind: models.ActorToken, Scope: t.Scope(), TenantID: t.ID,
		May: []models.Permission{models.MayRead, models.MayWrite, models.MayRetry}}, nil
}

// sinceByOperators refuses those who see one tenant only where they say since when there is something.
func sinceByOperators(c *Call, s models.Since) error {
	if c.Actor.TenantID != "" && (s.CreatedAt != nil || s.UpdatedAt != nil) {
		return &models.Error{Kind: models.KindForbidden, Message: "created_at and updated_at are for operators' keys; " + c.Actor.Name +
			" sees one tenant only. Leave them out."}
	}
	return nil
}

// OperatorsOnly refuses callers that see one tenant only, where a request concerns the whole server.
func OperatorsOnly(c *Call) error {
	if c.Actor.TenantID != "" {
		return &models.Error{Kind: models.KindForbidden, Message: "This concerns the whole server; " + c.Actor.Name +
			" sees one tenant only."}
	}
	return nil
}
