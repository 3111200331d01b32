package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Claims are what the provider says of somebody.
type Claims struct {
	Subject  string // names them for ever, at this issuer
	Email    string // empty where it is not told
	Verified *bool  // whether the provider has verified the address; nil where it does not say
	Name     string
	Groups   []string
	AuthTime time.Time // when they proved last who they are; zero where it is not told
	SID      string    // of the session there, which a logout names (OpenID Connect Back-Channel Logout 1.0, section 2.1); may be empty
}

// maxSID bounds what is kept of a session's name at the provider, in bytes.
const maxSID = 1000

// claims reads the ID token, and the UserInfo endpoint for what is not in it.
func (p *Provider) claims(ctx context.Context, found *oidc.Provider, token *oidc.IDToken, tokens *oauth2.Token) (*Claims, error) {
	all := map[string]any{}
	if err := token.Claims(&all); err != nil {
		return nil, refuse("What the login provider says could not be read.", err)
	}
	// Section 2: what names somebody is at most 255 ASCII characters. All whom it does not name would be one person.
	if s := token.Subject; s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, refuse("The login provider did not say who you are.", fmt.Errorf("the ID token's sub is %.300q", s))
	}
	if azp, _ := all["azp"].(string); azp != "" && azp != p.ClientID {
		return nil, refuse("What the login provider says could not be verified. Try again.", errors.New("the ID token is for "+azp))
	}
	if p.tooMany(all) {
		return nil, refuse("The login provider leaves your groups out because you are in too many; let it name only those of this application.",
			nil)
	}
	if p.lacking(all) && found.UserInfoEndpoint() != "" {
		info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		if err != nil {
			return nil, away(err)
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil || info.Subject != token.Subject { // section 5.3.2
			return nil, refuse("What the login provider says could not be verified. Try again.", errors.Join(err, errors.New("UserInfo is about somebody else")))
		}
		for name, v := range more {
			if _, has := all[name]; !has {
				all[name] = v
			}
		}
	}
	c := &Claims{Subject: token.Subject, Email: text(all, "email"), Name: text(all, "name"), Groups: list(look(all, p.GroupsClaim))}
	if c.SID = text(all, "sid"); len(c.SID) > maxSID || strings.ContainsRune(c.SID, 0) {
		c.SID = ""
	}
	switch v := all["email_verified"].(type) {
	case bool:
		c.Verified = &v
	case string: // some say it so
		yes := v == "true"
		c.Verified = &yes
	}
	if at, ok := all["auth_time"].(float64); ok && at > 0 && at < lastTime {
		c.AuthTime = time.Unix(int64(at), 0)
	}
	return c, nil
}

// lastTime is the end of the year 9999, in Unix seconds. What is later is no time.
const lastTime = 253_402_300_800

// lacking reports whether claims that are needed are not there.
func (p *Provider) lacking(all map[string]any) bool {
	return all["email"] == nil || all["email_verified"] == nil || p.NeedGroups && look(all, p.GroupsClaim) == nil
}

// tooMany reports whether the groups are elsewhere, which is what Entra does with more than 200 (section 5.6.2).
func (p *Provider) tooMany(all map[string]any) bool {
	elsewhere, _ := all["_claim_names"].(map[string]any)
	return p.NeedGroups && elsewhere[p.GroupsClaim] != nil && look(all, p.GroupsClaim) == nil
}

// look finds a claim by its name, or by a path of names with dots: realm_access.roles.
func look(all map[string]any, name string) any {
	if v, has := all[name]; has {
		return v
	}
	first, rest, more := strings.Cut(name, ".")
	if within, ok := all[first].(map[string]any); ok && more {
		return look(within, rest)
	}
	return nil
}

// text is a claim that is a text. One with a NUL character, which no database keeps, says nothing.
func text(all map[string]any, name string) string {
	s, _ := all[name].(string)
	if strings.ContainsRune(s, 0) {
		return ""
	}
	return strings.TrimSpace(s)
}

// list is a claim of several words, or of one.
func list(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			switch x := x.(type) {
			case string:
				out = append(out, x)
			case json.Number:
				out = append(out, x.String())
			}
		}
	}
	return out
}
