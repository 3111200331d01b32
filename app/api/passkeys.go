package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type passkeyJSON struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"null for never."`
	Suspect    bool       `json:"suspect" doc:"Its counter went back once, as with a copy of it; it logs nobody in any more."`
	Elsewhere  bool       `json:"elsewhere" doc:"It is for another host than this server's address has now."`
}

func passkeyToJSON(k *models.Passkey) passkeyJSON {
	return passkeyJSON{k.ID(), k.Name, k.CreatedAt.UTC(), utcOrNil(k.LastUsedAt), k.SuspectAt != nil, k.Elsewhere}
}

// LoginWays are the ways to log in that the server takes.
func (a *API) LoginWays() models.LoginWays {
	w := models.LoginWays{Passwords: !a.Cfg.OIDC.Only, Passkeys: a.PasskeysOff() == ""}
	if a.Cfg.OIDC.On() {
		w.Issuer = a.Cfg.OIDC.Issuer
	}
	return w
}

// PasskeysOff says why the server takes no passkeys, in a sentence; empty where it does.
func (a *API) PasskeysOff() string {
	if a.Cfg.OIDC.Only {
		return "This server takes logins by " + a.Cfg.OIDC.Name + " only."
	}
	return models.PasskeysOff(a.Cfg.BaseURL)
}

func (a *API) listPasskeys(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Passkeys(ctx, u.Key)
	if err != nil {
		return nil, err
	}
	out := listJSON[passkeyJSON]{Models: make([]passkeyJSON, len(list))}
	for i, k := range list {
		out.Models[i] = passkeyToJSON(k)
	}
	return &Reply{Body: out}, nil
}

// PasskeyRequest names a passkey of a user.
type PasskeyRequest struct {
	User    string `path:"user"`
	Passkey string `path:"passkey"`
}

// PasskeyPatch changes a passkey of a user.
type PasskeyPatch struct {
	User    string `path:"user"`
	Passkey string `path:"passkey"`
	Body    struct {
		Name string `json:"name" api:"required"`
	} `body:"json"`
}

// RenamePasskey gives a passkey another name.
func (a *API) RenamePasskey(ctx context.Context, c *Call, req *PasskeyPatch) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	k, err := a.Store.RenamePasskey(ctx, c.Actor, u, req.Passkey, req.Body.Name)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: passkeyToJSON(k)}, nil
}

// RemovePasskey takes a passkey from a user.
func (a *API) RemovePasskey(ctx context.Context, c *Call, req *PasskeyRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if err := a.Store.RemovePasskey(ctx, c.Actor, u, req.Passkey, a.LoginWays()); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

// RemovePasskeys takes all passkeys from a user.
func (a *API) RemovePasskeys(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if err := a.Store.RemovePasskeys(ctx, c.Actor, u); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type identityJSON struct {
	ID          string    `json:"id"`
	Issuer      string    `json:"issuer" api:"format=uri"`
	Subject     string    `json:"subject" doc:"The provider's name for them."`
	Email       string    `json:"email" doc:"As the provider told it when the two were connected."`
	CreatedAt   time.Time `json:"created_at"`
	LastLoginAt time.Time `json:"last_login_at"`
}

func (a *API) listIdentities(ctx context.Context, c *Call, req *UserRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Identities(ctx, u.Key)
	if err != nil {
		return nil, err
	}
	out := listJSON[identityJSON]{Models: make([]identityJSON, len(list))}
	for i, x := range list {
		out.Models[i] = identityJSON{x.ID(), x.Issuer, x.Subject, x.Email, x.CreatedAt.UTC(), x.LastLoginAt.UTC()}
	}
	return &Reply{Body: out}, nil
}

// IdentityRequest names a user's account at a login provider.
type IdentityRequest struct {
	User     string `path:"user"`
	Identity string `path:"identity"`
}

// Disconnect parts a user from their account at a login provider.
func (a *API) Disconnect(ctx context.Context, c *Call, req *IdentityRequest) (*Reply, error) {
	u, err := a.user(ctx, c, req.User)
	if err != nil {
		return nil, err
	}
	if err := a.Store.Disconnect(ctx, c.Actor, u, req.Identity, a.LoginWays()); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
