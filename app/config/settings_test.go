package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settingsOf are the settings by name that a command reads from an environment.
func settingsOf(t *testing.T, role string, env map[string]string) map[string]Setting {
	t.Helper()
	c, err := ReadConfig(role, func(n string) string { return env[n] })
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Setting{}
	for _, s := range c.Settings() {
		out[s.Name] = s
	}
	return out
}

func TestSettingsSayWhereTheyComeFrom(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"key": strings.Repeat("k", 40), credentialPrefix + "RETENTION_DAYS": "7\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := settingsOf(t, "web", map[string]string{"DATABASE_URL": "postgres://ann:hidden@db:5432/waybill?sslpassword=hidden",
		"SECRET_KEY_FILE": filepath.Join(dir, "key"), "CREDENTIALS_DIRECTORY": dir, "PORT": "4000",
		"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "500"})
	for name, want := range map[string][2]string{
		"DATABASE_URL":               {"postgres://db:5432/waybill?…", "Environment"},
		"SECRET_KEY":                 {"set", "File: SECRET_KEY_FILE"},
		"RETENTION_DAYS":             {"7", "Credential: waybill.RETENTION_DAYS"},
		"PORT":                       {"4000", "Environment"},
		"BASE_URL":                   {"http://localhost:4000", "Derived: PORT"},
		"HOST":                       {"0.0.0.0", "Derived: DATABASE_URL is given: for every address"},
		"RETRY_INITIAL":              {"10s", "Default"},
		"API_KEY":                    {"not set", "Default"},
		"OTEL_EXPORTER_OTLP_TIMEOUT": {"500", "Environment: OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"},
	} {
		if s := got[name]; s.Shown() != want[0] || s.SourceText() != want[1] || s.Help == "" {
			t.Errorf("%s: %q from %q, want %q", name, s.Shown(), s.SourceText(), want)
		}
	}
	got = settingsOf(t, "serve", map[string]string{"DATA_DIR": "/var/lib/waybill", "EGRESS_ALLOW": "10.0.0.0/8"})
	for name, want := range map[string][2]string{
		"SECRET_KEY":   {"set", "Derived: made at the first start, kept in /var/lib/waybill/secret_key"},
		"API_KEY":      {"set", "Derived: made at the first start, kept in /var/lib/waybill/api_key"},
		"DATABASE_URL": {"", "Derived: private PostgreSQL in /var/lib/waybill"},
		"EGRESS_ALLOW": {"10.0.0.0/8, 127.0.0.0/8, ::1/128",
			"Environment: EGRESS_ALLOW, and loopback because of the private PostgreSQL"},
	} {
		if s := got[name]; s.Shown() != want[0] || s.SourceText() != want[1] {
			t.Errorf("%s: %q from %q, want %q", name, s.Shown(), s.SourceText(), want)
		}
	}
}

// TestPoolerNeedsTheDirectAddress: which address a command works with, where two are given.
func TestPoolerNeedsTheDirectAddress(t *testing.T) {
	env := map[string]string{"DATABASE_URL": "postgres://pooler/waybill", "DATABASE_URL_DIRECT": "postgres://db1,db2/waybill",
		"SECRET_KEY": strings.Repeat("k", 40)}
	read := func(role string) (*Config, error) { return ReadConfig(role, func(n string) string { return env[n] }) }
	for _, role := range []string{"web", "work", "serve", "migrate", "doctor"} {
		c, err := read(role)
		if err != nil {
			t.Fatal(role, err)
		}
		if url, name := c.SessionURL(); url != env["DATABASE_URL_DIRECT"] || name != "DATABASE_URL_DIRECT" || c.Pooled() != (role == "web") {
			t.Errorf("%s: %s from %s, pooled %v", role, url, name, c.Pooled())
		}
	}
	delete(env, "DATABASE_URL")
	if _, err := read("work"); err == nil || !strings.Contains(err.Error(), "DATABASE_URL_DIRECT: give it together with DATABASE_URL") {
		t.Errorf("the direct address alone: %v", err)
	}
	env["DATABASE_URL_DIRECT"] = ""
	env["DATABASE_URL"] = "postgres://db/waybill"
	if c, err := read("web"); err != nil || c.Pooled() {
		t.Errorf("one address: %v", err)
	}
	env["DATABASE_URL_DIRECT"] = "mysql://db"
	if _, err := read("web"); err == nil || !strings.Contains(err.Error(), "DATABASE_URL_DIRECT: must be an address like postgres://") {
		t.Errorf("no address: %v", err)
	}
}

// TestSettingsHoldNoSecret gives every variable a text of its own, as far as it is taken, and looks for those that must not be seen.
func TestSettingsHoldNoSecret(t *testing.T) {
	const hidden = "hidden-hidden-hidden-hidden-hidden-hidden"
	env := map[string]string{"DATABASE_URL": "postgresql://u:" + hidden + "@db/waybill?password=" + hidden,
		"DATABASE_URL_DIRECT": "postgresql://u:" + hidden + "@db1,db2/waybill?password=" + hidden, "API_KEY": hidden, "SECRET_KEY": hidden,
		"SECRET_KEY_PREVIOUS": hidden + "," + hidden, "ADMIN_EMAIL": "ann@example.com", "ADMIN_PASSWORD": hidden,
		"SMTP_URL": "smtp://u:" + hidden + "@mail:587", "MAIL_FROM": "waybill@example.com",
		"OTEL_EXPORTER_OTLP_HEADERS": "authorization=" + hidden, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:" + hidden + "@collector:4318",
		"OPERATOR_EVENTS_TOPICS": "*", "OPERATOR_EVENTS_HTTP_URL": "https://hooks.example.com/" + hidden + "?key=" + hidden,
		"LOGS_URL": "https://logs.example.com/?q={attempt_id}"}
	secret := []string{}
	for _, v := range variables() {
		if strings.HasPrefix(v.name, "OPERATOR_EVENTS_") && secretName.MatchString(v.name) {
			env[v.name] = hidden
		}
	}
	got := settingsOf(t, "web", env)
	for name, s := range got {
		if strings.Contains(s.Value+s.From+s.SourceText()+s.Shown(), hidden) {
			t.Errorf("%s tells its secret: %+v", name, s)
		}
		if s.Secret {
			secret = append(secret, name)
		}
	}
	for _, name := range []string{"API_KEY", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "ADMIN_PASSWORD", "OTEL_EXPORTER_OTLP_HEADERS",
		"OPERATOR_EVENTS_HTTP_SIGNING_SECRET", "OPERATOR_EVENTS_AWS_SQS_SECRET_ACCESS_KEY", "OPERATOR_EVENTS_GCP_PUBSUB_CREDENTIALS"} {
		if !slices.Contains(secret, name) || got[name].Shown() != "set" {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if s := got["LOGS_URL"]; s.Value != "https://logs.example.com/?q={attempt_id}" {
		t.Errorf("LOGS_URL: %q", s.Value)
	}
	if s := got["OPERATOR_EVENTS_HTTP_URL"]; s.Value != "https://hooks.example.com/…" {
		t.Errorf("OPERATOR_EVENTS_HTTP_URL: %q", s.Value)
	}
}
