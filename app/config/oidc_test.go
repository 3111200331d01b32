package config

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

func oidcOf(more map[string]string) (*Config, error) {
	env := map[string]string{"OIDC_ISSUER": "https://id.example.com/realms/x", "OIDC_CLIENT_ID": "waybill", "OIDC_CLIENT_SECRET": "hidden",
		"BASE_URL": "https://waybill.example.com"}
	for name, v := range more {
		env[name] = v
	}
	return ReadConfig("serve", func(n string) string { return env[n] })
}

func TestOIDCConfig(t *testing.T) {
	c, err := oidcOf(map[string]string{"OIDC_ROLES": "platform-admins=admin, cn=devs=developer,*=viewer"})
	if err != nil {
		t.Fatal(err)
	}
	if o := c.OIDC; !o.On() || o.Name != "id.example.com" || strings.Join(o.Scopes, " ") != "openid email profile" || o.GroupsClaim != "groups" ||
		o.Only || o.TrustEmail || len(c.Warnings()) != 0 {
		t.Errorf("%+v %v", o, c.Warnings())
	}
	for _, s := range c.Settings() {
		if strings.Contains(s.Value, "hidden") || s.Name == "OIDC_NAME" && s.SourceText() != "Derived: OIDC_ISSUER" {
			t.Errorf("%+v", s)
		}
	}
	for want, groups := range map[models.Role][]string{models.RoleAdmin: {"cn=devs", "platform-admins"}, models.RoleDeveloper: {"x", "cn=devs"},
		models.RoleViewer: {"x", "*"}} {
		if got := c.OIDC.Roles.Role(groups); got != want {
			t.Errorf("%v: %s, want %s", groups, got, want)
		}
	}
	if got := (GroupRoles{"a": models.RoleAdmin}).Role([]string{"b"}); got != models.RoleNone {
		t.Errorf("no group gives %s", got)
	}
	for name, bad := range map[string]map[string]string{
		"must begin with https://":                 {"OIDC_ISSUER": "http://id.example.com"},
		"without /.well-known":                     {"OIDC_ISSUER": "https://id.example.com/.well-known/openid-configuration"},
		"without user, query and fragment":         {"OIDC_ISSUER": "https://u:p@id.example.com"},
		"OIDC_CLIENT_SECRET: are required":         {"OIDC_CLIENT_SECRET": ""},
		"OIDC_ISSUER: is required with":            {"OIDC_ISSUER": ""},
		"OIDC_SCOPES: must contain openid":         {"OIDC_SCOPES": "email"},
		`OIDC_ROLES: must be a list like`:          {"OIDC_ROLES": "admins"},
		`OIDC_ROLES: the role of "admins" must be`: {"OIDC_ROLES": "admins=root"},
		`OIDC_ROLES: names "a" twice`:              {"OIDC_ROLES": "a=admin,a=viewer"},
		"OIDC_ONLY: must be true or false":         {"OIDC_ONLY": "perhaps"},
	} {
		if _, err := oidcOf(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v, want %q", bad, err, name)
		}
	}
	if _, err := oidcOf(map[string]string{"OIDC_ISSUER": "http://127.0.0.1:5556/dex"}); err != nil {
		t.Error(err)
	}
	c, err = oidcOf(map[string]string{"OIDC_ISSUER": "", "OIDC_CLIENT_ID": "", "OIDC_CLIENT_SECRET": "", "OIDC_ONLY": "true"})
	if err != nil || len(c.Warnings()) != 1 || !strings.Contains(c.Warnings()[0], "nobody can log in") {
		t.Errorf("%v %v", c, err)
	}
}
