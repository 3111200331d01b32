package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/internal/idp"
	"github.com/waybill-dev/waybill/models"
)

// providerLogout ends sessions because the provider says that somebody has logged out there (OpenID Connect Back-Channel Logout 1.0,
// section 2.5). No browser comes here: the provider itself sends a token that it has signed. Answers are those of section 2.8.
func (a *Pages) providerLogout(ctx context.Context, p *pageCtx) error {
	p.Set(fiber.HeaderCacheControl, "no-store")
	out, err := a.provider.VerifyLogout(ctx, p.form().Value("logout_token"))
	if err != nil {
		return a.logoutRefused(p, err)
	}
	n, err := a.Store.LogoutByProvider(ctx, models.ProviderLogout{Provider: a.Cfg.OIDC.Name, Issuer: a.Cfg.OIDC.Issuer, ID: out.ID,
		Subject: out.Subject, SID: out.SID, ValidUntil: out.ValidUntil})
	if err != nil {
		return a.logoutRefused(p, err)
	}
	a.Log.Info("the login provider has ended sessions", "sessions", n)
	return p.SendStatus(http.StatusOK)
}

func (a *Pages) logoutRefused(p *pageCtx, err error) error {
	var refusal *models.Error
	var e *idp.Error
	switch {
	case errors.As(err, &e):
		a.Log.Warn("a logout of the login provider was refused", "problem", e.Message, "error", e.Err)
		if e.Away {
			return &models.Error{Kind: models.KindUnavailable, Message: e.Message}
		}
		refusal = &models.Error{Message: e.Message}
	case errors.As(err, &refusal) && refusal.Kind == models.KindInvalid:
	default:
		return err
	}
	return p.Status(http.StatusBadRequest).JSON(map[string]string{"error": "invalid_request", "error_description": refusal.Message})
}
