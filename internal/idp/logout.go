package idp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// logoutEvent is the member of a logout token's events that makes it one.
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutAge is how old a logout token may be, and logoutAhead by how much the provider's clock may be ahead.
	logoutAge, logoutAhead = 5 * time.Minute, time.Minute
	maxLogoutToken         = 16 << 10 // bytes
)

// Logout is a verified logout token.
type Logout struct {
	ID         string // jti
	Subject    string // may be empty beside a SID
	SID        string // of a session at the provider; empty for all of the subject's
	ValidUntil time.Time
}

// VerifyLogout checks a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6): signature, issuer, audience, expiry, when it
// was issued, that it is one (events, and no nonce), and that it says whose sessions end. Whether its jti came before is for the caller to
// look at. Its errors are of *Error.
func (p *Provider) VerifyLogout(ctx context.Context, raw string) (*Logout, error) {
	if raw == "" {
		return nil, refuse("logout_token is required", nil)
	}
	if len(raw) > maxLogoutToken {
		return nil, refuse("the logout token is too long", nil)
	}
	if err := checkLogoutType(raw); err != nil {
		return nil, err
	}
	found, _, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := found.Verifier(&oidc.Config{ClientID: p.ClientID}).VerifyLogout(oidc.ClientContext(ctx, p.client), raw)
	if err != nil {
		return nil, refuse("the logout token could not be verified", err)
	}
	var claims struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	var member map[string]any
	if err := t.Claims(&claims); err != nil || json.Unmarshal(claims.Events[logoutEvent], &member) != nil || member == nil {
		return nil, refuse("the logout token's events are not those of a logout", err)
	}
	now := time.Now()
	if t.IssuedAt.IsZero() || t.IssuedAt.Before(now.Add(-logoutAge)) || t.IssuedAt.After(now.Add(logoutAhead)) {
		return nil, refuse("the logout token was not issued just now", fmt.Errorf("its iat is %s", t.IssuedAt.UTC().Format(time.RFC3339)))
	}
	// It is refused for its age from then on, so that its jti need not be known for longer.
	until := t.IssuedAt.Add(logoutAge)
	return &Logout{ID: t.TokenID, Subject: t.Subject, SID: t.SessionID, ValidUntil: until.Add(time.Minute)}, nil
}

// checkLogoutType refuses tokens that say that they are of another type (section 2.4: logout+jwt is recommended, not required).
func checkLogoutType(raw string) error {
	head, _, _ := strings.Cut(raw, ".")
	var h struct {
		Type string `json:"typ"`
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(b, &h) != nil {
		return refuse("the logout token is no JWT", err)
	}
	switch strings.TrimPrefix(strings.ToLower(h.Type), "application/") {
	case "", "jwt", "logout+jwt":
		return nil
	}
	return refuse("the logout token is of another type", errors.New("its typ is "+h.Type))
}
