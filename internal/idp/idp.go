// Package idp logs people in at an identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).
package idp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// How long the provider may take for an answer, and for how long it counts as away after it did not answer.
const (
	answerWait = 4 * time.Second
	awayFor    = 3 * time.Second
)

// Options are what a server knows of its provider.
type Options struct {
	Issuer       string // URL, exactly as the provider writes it
	ClientID     string
	ClientSecret string
	RedirectURL  string // where the provider leads back to
	Scopes       []string
	GroupsClaim  string // name of the claim with somebody's groups; in it, dots lead into objects
	NeedGroups   bool   // ask the UserInfo endpoint for groups that the ID token does not have
}

// Provider is an identity provider. Its addresses are looked up when they are needed first, and again until it answers.
type Provider struct {
	Options
	client *http.Client

	mu     sync.Mutex
	oidc   *oidc.Provider // nil until it was found
	style  oauth2.AuthStyle
	away   error
	awayAt time.Time
}

// New makes a provider. It asks nobody for anything.
func New(o Options) *Provider {
	return &Provider{Options: o, client: &http.Client{Timeout: answerWait}}
}

// Error is why somebody could not log in: a sentence for them, and what an operator wants to know beside it.
type Error struct {
	Message string
	Away    bool // the provider does not answer, or not as one
	Err     error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

func refuse(message string, err error) error { return &Error{Message: message, Err: err} }

func away(err error) error {
	return &Error{Message: "The login provider does not answer. Try again in a moment.", Away: true, Err: err}
}

// Ready returns an *Error while the provider is away.
func (p *Provider) Ready(ctx context.Context) error {
	_, _, err := p.discover(ctx)
	return err
}

// SetSecret has the provider asked with another client secret from now on.
func (p *Provider) SetSecret(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ClientSecret = secret
}

// discover reads the provider's addresses (OpenID Connect Discovery 1.0), once.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oidc == nil {
		if p.away != nil && time.Since(p.awayAt) < awayFor {
			return nil, nil, p.away
		}
		if err := p.find(ctx); err != nil {
			if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
				p.away, p.awayAt = away(err), time.Now()
			}
			return nil, nil, away(err)
		}
	}
	endpoint := p.oidc.Endpoint()
	endpoint.AuthStyle = p.style
	return p.oidc, &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: endpoint, RedirectURL: p.RedirectURL,
		Scopes: p.Scopes}, nil
}

func (p *Provider) find(ctx context.Context) error {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.Issuer)
	if err != nil {
		return err
	}
	var more struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return err
	}
	p.style = oauth2.AuthStyleInHeader // what it is where a provider says nothing
	if len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		p.style = oauth2.AuthStyleInParams
	}
	p.oidc, p.away = found, nil
	return nil
}

// Attempt is a login under way. The browser that began it keeps it, sealed.
type Attempt struct {
	State    string `json:"state"`    // comes back with the answer: it is one to this browser (RFC 6749, section 10.12)
	Nonce    string `json:"nonce"`    // is in the ID token: that is for this login
	Verifier string `json:"verifier"` // of PKCE: whoever reads the code cannot use it
}

// Begin starts a login, and returns where to send the browser. With again the provider asks who is there even of somebody who is
// logged in there.
func (p *Provider) Begin(ctx context.Context, again bool) (url string, a Attempt, err error) {
	_, config, err := p.discover(ctx)
	if err != nil {
		return "", a, err
	}
	a = Attempt{rand.Text(), rand.Text(), oauth2.GenerateVerifier()}
	opts := []oauth2.AuthCodeOption{oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	if again {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return config.AuthCodeURL(a.State, opts...), a, nil
}

// Answer is what the provider's answer says in the address that it leads to.
type Answer struct {
	State, Code, Issuer     string
	Problem, ProblemDetails string // error and error_description
}

// Finish ends a login: it exchanges the code, and checks signature, issuer, audience, expiry and nonce of the ID token (OpenID Connect
// Core 1.0, section 3.1.3.7). Its errors are of *Error.
func (p *Provider) Finish(ctx context.Context, a Attempt, got Answer) (*Claims, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(a.State), []byte(got.State)) != 1 {
		return nil, refuse("This login was begun in another browser or tab, or too long ago. Try again.", nil)
	}
	if got.Issuer != "" && got.Issuer != p.Issuer { // RFC 9207
		return nil, refuse("The answer is not from the login provider of this server.", errors.New("the answer's iss is "+got.Issuer))
	}
	if got.Problem != "" {
		return nil, refuse(problemText(got.Problem), errors.New(got.Problem+": "+got.ProblemDetails))
	}
	found, config, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	tokens, err := config.Exchange(ctx, got.Code, oauth2.VerifierOption(a.Verifier))
	var answered *oauth2.RetrieveError
	switch {
	case errors.As(err, &answered) && answered.Response.StatusCode < 500:
		return nil, refuse("The login provider has not taken the answer that it gave: it may be used or too old. Try again.", err)
	case err != nil:
		return nil, away(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return nil, refuse("The login provider did not say who you are.", errors.New("no id_token in its answer; is openid in OIDC_SCOPES?"))
	}
	token, err := found.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, refuse("What the login provider says could not be verified. Try again.", err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(a.Nonce)) != 1 {
		return nil, refuse("What the login provider says is about another login. Try again.", errors.New("the nonce is not the one that was sent"))
	}
	return p.claims(ctx, found, token, tokens)
}

// problemText is what an error of the provider means to somebody (RFC 6749, section 4.1.2.1).
func problemText(code string) string {
	switch code {
	case "access_denied":
		return "The login provider did not let you in, or you did not go on there."
	case "temporarily_unavailable", "server_error":
		return "The login provider has a problem. Try again in a moment."
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return "The login provider needs you to log in there first. Try again."
	}
	return "The login provider has refused the login; the server's log says why."
}
