package gcppubsub

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// scope is all that our tokens are good for (https://developers.google.com/identity/protocols/oauth2/scopes#pubsub).
	scope = "https://www.googleapis.com/auth/pubsub"
	// lifetime of a token that an account signs: the most that Google takes (https://google.aip.dev/auth/4111).
	lifetime = time.Hour
	// early is how long before its end a token is replaced. The metadata server has a new one from five minutes before
	// the end of the old.
	early = 4 * time.Minute
	// metadataBase is the metadata server of Google's machines, by the address that its documentation gives.
	metadataBase = "http://169.254.169.254"
)

// tokens is where the bearer tokens of requests come from.
type tokens interface {
	// get returns a token that is good for some minutes. Errors are *adapters.Error.
	get(ctx context.Context) (token, error)
	// drop forgets a token that was refused.
	drop()
	Close() error
}

// token is one bearer token. The zero value stands for none at all.
type token struct {
	value  string
	until  time.Time
	redact outbound.Redactor
}

func newToken(value string, until time.Time) token {
	return token{value, until, outbound.NewRedactor([]string{value})}
}

func (t token) fresh(now time.Time) bool { return t.value != "" && now.Before(t.until.Add(-early)) }

// none is for emulators.
type none struct{}

func (none) get(context.Context) (token, error) { return token{}, nil }
func (none) drop()                              {}
func (none) Close() error                       { return nil }

// account is what we need of a service account's key file. Its token_uri is not part of that.
type account struct {
	Type         string `json:"type"`
	Email        string `json:"client_email"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	key          *rsa.PrivateKey
}

// readAccount reads a key file as far as can be told without using it. Error texts follow the field's name and repeat
// nothing of it.
func readAccount(text string) (*account, error) {
	a := &account{}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		return nil, errors.New("must be the whole JSON key file of a service account")
	}
	if a.Type != "service_account" {
		return nil, errors.New(`must be the key file of a service account, with "type": "service_account"`)
	}
	return a, nil
}

// parseAccount reads a key file that is to be used.
func parseAccount(text string) (*account, error) {
	a, err := readAccount(text)
	if err != nil {
		return nil, err
	}
	if a.Email == "" || a.PrivateKey == "" {
		return nil, errors.New("must hold client_email and private_key, as Google's key files do")
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(a.PrivateKey))
	if err != nil || key.Size() < 256 {
		return nil, errors.New("holds a private_key that is not an RSA key of 2048 bits or more in PEM")
	}
	a.key = key
	return a, nil
}

// signed makes tokens that a service account signs itself.
type signed struct {
	account *account
	now     func() time.Time

	mu   sync.Mutex
	last token
}

func (s *signed) get(context.Context) (token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.last.fresh(now) {
		return s.last, nil
	}
	until := now.Add(lifetime)
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": s.account.Email, "sub": s.account.Email, "scope": scope,
		"iat": now.Unix(), "exp": until.Unix()})
	t.Header["kid"] = s.account.PrivateKeyID
	value, err := t.SignedString(s.account.key)
	if err != nil {
		return token{}, adapters.ConfigError("The service account's private key cannot sign.")
	}
	s.last = newToken(value, until)
	return s.last, nil
}

func (s *signed) drop() {
	s.mu.Lock()
	s.last = token{}
	s.mu.Unlock()
}

func (*signed) Close() error { return nil }

// hostTokens asks the metadata server of the machine for tokens of the machine's service account.
// (https://cloud.google.com/compute/docs/access/authenticate-workloads)
type hostTokens struct {
	client *outbound.Client
	header outbound.Header
	now    func() time.Time
	turn   chan struct{} // held by who looks at last or fetches it
	last   token
}

func newHostTokens(base string, now func() time.Time) (*hostTokens, error) {
	if base == "" {
		base = metadataBase
	}
	e, err := outbound.ParseURL(base + "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + scope)
	if err != nil {
		return nil, err
	}
	// The address is ours and no tenant's, so it may be reached although it is link-local; nothing else may.
	opt := outbound.Options{MaxIdle: 1}
	if addr, err := netip.ParseAddr(e.Host); err == nil {
		opt.Egress = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
	}
	h := &hostTokens{client: outbound.New(e, opt), now: now, turn: make(chan struct{}, 1)}
	h.header.AddPublic("Metadata-Flavor", "Google")
	return h, nil
}

func (h *hostTokens) get(ctx context.Context) (token, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return token{}, outbound.Explain(ctx.Err(), "this machine's metadata server")
	}
	if h.last.fresh(h.now()) {
		return h.last, nil
	}
	resp, err := h.client.Do(ctx, outbound.Request{Method: "GET", Header: &h.header})
	if short := adapters.AsShortage(err); short != nil {
		return token{}, short
	}
	var answer struct {
		Token   string `json:"access_token"`
		Seconds int64  `json:"expires_in"`
	}
	if err == nil && resp.Code == 200 {
		err = json.Unmarshal(resp.Body, &answer)
	}
	if err != nil || resp.Code != 200 || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n") {
		e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassAuth,
			Message: "This server has no service account of its own: its machine's metadata server gave no token.",
			Advice:  "Enter a service account key, or ask the operator to give the machine a service account."}
		return token{}, e
	}
	h.last = newToken(answer.Token, h.now().Add(time.Duration(answer.Seconds)*time.Second))
	return h.last, nil
}

func (h *hostTokens) drop() {
	h.turn <- struct{}{}
	h.last = token{}
	<-h.turn
}

func (h *hostTokens) Close() error { return h.client.Close() }
