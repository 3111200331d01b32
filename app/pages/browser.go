package pages

import (
	"crypto/rand"
	"net/netip"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waybill-dev/waybill/internal/clientip"
)

// A browser from which somebody has logged in keeps a signed cookie, also after a logout. Its tries of that account's password
// are counted apart from everybody else's, so that strangers who try passwords cannot keep the account's owner out (OWASP,
// "Slow Down Online Guessing Attacks with Device Cookies").

// BrowserCookie holds the token of a browser that has logged in before.
const BrowserCookie = "waybill_browser"

// browserMemory is how long a browser counts as known after a login.
const browserMemory = 180 * 24 * time.Hour

const browserIssuer = "waybill browser"

// rememberBrowser makes this browser known for an account, under a new id.
func (p *pageCtx) rememberBrowser(email string) error {
	now := time.Now()
	claims := jwt.RegisteredClaims{Issuer: browserIssuer, Subject: strings.ToLower(email), ID: rand.Text(),
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(browserMemory))}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(p.app.Store.Keys.Derive(browserIssuer))
	if err != nil {
		return err
	}
	p.setCookie(BrowserCookie, token, browserMemory)
	return nil
}

// knownBrowser is the id of this browser where the account has logged in from it before; empty where not.
func (p *pageCtx) knownBrowser(email string) string {
	token := p.Cookies(BrowserCookie)
	if token == "" {
		return ""
	}
	keys := func(*jwt.Token) (any, error) {
		var all jwt.VerificationKeySet
		for _, key := range p.app.Store.Keys.DeriveAll(browserIssuer) {
			all.Keys = append(all.Keys, key)
		}
		return all, nil
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, keys, jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(), jwt.WithIssuer(browserIssuer), jwt.WithSubject(strings.ToLower(email)))
	if err != nil {
		return ""
	}
	return claims.ID
}

// network is where a request came from, as tries are counted.
func (p *pageCtx) network() netip.Prefix { return clientip.Network(p.app.Client(p.Ctx)) }
