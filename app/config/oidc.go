package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// OIDC is the login by an identity provider (OpenID Connect). Without an Issuer there is none.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string
	Name         string // of the provider, as people see it
	Scopes       []string
	GroupsClaim  string
	Roles        GroupRoles
	TrustEmail   bool // of a provider that does not say whether it has verified it
	Only         bool // nobody logs in with a password
}

// On reports whether people can log in by the provider.
func (o OIDC) On() bool { return o.Issuer != "" }

// EveryGroup stands for people who are in no group that is named.
const EveryGroup = "*"

// GroupRoles are the roles for the whole server that the groups of a provider give.
type GroupRoles map[string]models.Role

// Role is the highest role that one of the groups gives; RoleNone where none does.
func (g GroupRoles) Role(groups []string) models.Role {
	role := models.RoleNone
	for _, name := range groups {
		if r := g[name]; name != EveryGroup && r.Over(role) {
			role = r
		}
	}
	if role == models.RoleNone {
		role = g[EveryGroup]
	}
	return role
}

// parse reads a list like platform-admins=admin,*=viewer. The name of a group may have equal signs in it.
func (g *GroupRoles) parse(v string) error {
	*g = GroupRoles{}
	for _, s := range List(v) {
		i := strings.LastIndex(s, "=")
		if i < 1 {
			return fmt.Errorf("must be a list like platform-admins=admin,devs=developer,*=viewer; %q has no role", s)
		}
		group, role := strings.TrimSpace(s[:i]), models.Role(strings.TrimSpace(s[i+1:]))
		if !slices.Contains(models.ServerRoles, role) {
			return fmt.Errorf("the role of %q must be owner, admin, developer or viewer, not %q", group, role)
		}
		if _, twice := (*g)[group]; twice {
			return fmt.Errorf("names %q twice", group)
		}
		(*g)[group] = role
	}
	return nil
}

func oidcVariables() []variable {
	text := func(dst func(r *reader) *string) func(r *reader, v string) error {
		return func(r *reader, v string) error { *dst(r) = v; return nil }
	}
	return []variable{
		{"OIDC_ISSUER", "", "identity provider by which users log in (OpenID Connect), as it writes itself: https://accounts.google.com",
			func(r *reader, v string) error { return r.OIDC.setIssuer(v) }},
		{"OIDC_CLIENT_ID", "", "what the provider calls this server; its redirect URI is BASE_URL and /login/oidc/callback",
			text(func(r *reader) *string { return &r.OIDC.ClientID })},
		{"OIDC_CLIENT_SECRET", "", "and the secret that it gave it", text(func(r *reader) *string { return &r.OIDC.ClientSecret })},
		{"OIDC_NAME", "", "what people call the provider, for the button of the login; the issuer's host",
			text(func(r *reader) *string { return &r.OIDC.Name })},
		{"OIDC_SCOPES", "openid email profile", "what is asked of it, separated by spaces", func(r *reader, v string) error {
			if r.OIDC.Scopes = strings.Fields(v); !slices.Contains(r.OIDC.Scopes, "openid") {
				return errors.New("must contain openid")
			}
			return nil
		}},
		{"OIDC_GROUPS_CLAIM", "groups", "claim with somebody's groups; a dot leads into an object: realm_access.roles",
			text(func(r *reader) *string { return &r.OIDC.GroupsClaim })},
		{"OIDC_ROLES", "",
			"roles for the whole server by group, followed at each login: platform-admins=admin,devs=developer; *=viewer for everybody else; empty: only users that there are or who are invited",
			func(r *reader, v string) error { return r.OIDC.Roles.parse(v) }},
		{"OIDC_TRUST_EMAIL", "false",
			"true takes e-mail addresses for verified where the provider does not say whether they are (Microsoft Entra); one that it calls unverified is refused all the same",
			func(r *reader, v string) error { return boolean(&r.OIDC.TrustEmail, v) }},
		{"OIDC_ONLY", "false", "true lets nobody log in with a password", func(r *reader, v string) error { return boolean(&r.OIDC.Only, v) }},
	}
}

func boolean(dst *bool, v string) (err error) {
	if *dst, err = strconv.ParseBool(v); err != nil {
		return errors.New("must be true or false")
	}
	return nil
}

func (o *OIDC) setIssuer(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#"):
		return errors.New("must be an address like https://accounts.google.com, without user, query and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !thisMachine(u.Hostname())):
		return errors.New("must begin with https:// (http:// is for a provider on this machine only)")
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/.well-known/openid-configuration"):
		return errors.New("must be the issuer itself, without /.well-known/openid-configuration")
	}
	o.Issuer = v
	return nil
}

func thisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// problems are what is wrong with the variables together. unread are those that could not be read, which are reported already.
func (o *OIDC) problems(unread map[string]error) (list []string) {
	if o.Name == "" && o.Issuer != "" {
		u, _ := url.Parse(o.Issuer)
		o.Name = u.Host
	}
	if len(o.Name) > 60 {
		list = append(list, "OIDC_NAME: must be at most 60 characters long")
	}
	if len(unread) > 0 {
		return list
	}
	if o.Issuer != "" && (o.ClientID == "" || o.ClientSecret == "") {
		list = append(list, "OIDC_CLIENT_ID, OIDC_CLIENT_SECRET: are required with OIDC_ISSUER; the provider gives them when this server is registered there")
	}
	if o.Issuer == "" && (o.ClientID != "" || o.ClientSecret != "" || len(o.Roles) > 0) {
		list = append(list, "OIDC_ISSUER: is required with OIDC_CLIENT_ID, OIDC_CLIENT_SECRET and OIDC_ROLES")
	}
	return list
}

// Warnings are what works and is hardly meant.
func (c *Config) Warnings() (list []string) {
	if c.OIDC.Only && !c.OIDC.On() {
		list = append(list, "OIDC_ONLY: nobody can log in to the dashboard, for passwords are refused and there is no OIDC_ISSUER")
	}
	if c.OIDC.On() && c.BaseURLMissing {
		list = append(list, "BASE_URL: is not given, so the login provider leads people back to "+c.BaseURL)
	}
	return list
}
