package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
)

func TestEnvExampleIsCurrent(t *testing.T) {
	b, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != config.EnvExample() {
		t.Error(".env.example is stale: bin/waybill check-config -example > .env.example")
	}
}

// TestConfigReportsEverything gives several wrong values: each has its line, and says what is allowed.
func TestConfigReportsEverything(t *testing.T) {
	env := map[string]string{"PORT": "eighty", "DATABASE_URL": "mysql://x", "RETRY_INITIAL": "soon", "RETRY_MAX_ATTEMPTS": "0",
		"EGRESS_ALLOW": "10.0.0.0/99",
		"BASE_URL":     "waybill", "LOG_LEVEL": "loud", "API_KEY": "short", "ADMIN_EMAIL": "ann", "SMTP_URL": "smtp://alerts:hunter2hunter2@",
		"MAIL_FROM": "ann"}
	_, err := config.ReadConfig("web", func(name string) string { return env[name] })
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"PORT: must be a whole number", "DATABASE_URL: must be an address",
		`RETRY_INITIAL: "soon" is not a duration`, "RETRY_MAX_ATTEMPTS: must be",
		"EGRESS_ALLOW:", "BASE_URL: must be", "LOG_LEVEL: must be", "API_KEY: must be at least 16", "ADMIN_EMAIL: must be",
		"SECRET_KEY: is required", "SMTP_URL: must be an address", "MAIL_FROM: must be an e-mail address"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no line says %q in:\n%v", want, err)
		}
	}
}

// TestConfigMail reads where mail goes: both variables or neither, and no credential in what is printed or refused.
func TestConfigMail(t *testing.T) {
	read := func(url, from string) (*config.Config, error) {
		return config.ReadConfig("serve", func(n string) string { return map[string]string{"SMTP_URL": url, "MAIL_FROM": from}[n] })
	}
	c, err := read("smtp://alerts:hunter2%40hunter2@mail.example.com", "Waybill <alerts@example.com>")
	if err != nil || !c.SMTP.Configured() || c.SMTP.String() != "mail.example.com:587" {
		t.Fatalf("%v %v", c, err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s", *c, *c, *c, c.SMTP); strings.Contains(all, "hunter2") {
		t.Errorf("the password is printed: %s", all)
	}
	if c, err = read("", ""); err != nil || c.SMTP.Configured() {
		t.Errorf("%v %v", c, err)
	}
	for _, half := range [][2]string{{"smtp://mail.example.com", ""}, {"", "alerts@example.com"}} {
		if _, err := read(half[0], half[1]); err == nil || !strings.Contains(err.Error(), "SMTP_URL, MAIL_FROM: give both or neither") {
			t.Errorf("%v gives %v", half, err)
		}
	}
	for _, bad := range []string{"http://mail.example.com", "smtp://u:hunter2hunter2@", "smtp://alerts@mail.example.com",
		"smtp://u:hunter2/hunter2@host", "mail.example.com:587"} {
		if _, err := read(bad, "alerts@example.com"); err == nil || !strings.HasPrefix(err.Error(), "SMTP_URL: ") ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s gives %v", bad, err)
		}
	}
}

// TestConfigCollector reads where traces go. Of OpenTelemetry's variables the one for traces alone has precedence, and is
// named when it is wrong.
func TestConfigCollector(t *testing.T) {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
		"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
		"OTEL_EXPORTER_OTLP_TIMEOUT":        "1", "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=%20x"}
	read := func() (*config.Config, error) {
		return config.ReadConfig("serve", func(n string) string { return env[n] })
	}
	c, err := read()
	if err != nil || c.OTLP.Endpoint != "http://collector:4317" || c.OTLP.Protocol != "grpc" || c.OTLP.Timeout != 2500*time.Millisecond ||
		c.OTLP.Uncompressed || c.OTLP.Headers["b"] != "x" {
		t.Errorf("%+v, %v", c, err)
	}
	file := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env = map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "thrift",
		"OTEL_EXPORTER_OTLP_TIMEOUT":     "10s",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd", "OTEL_EXPORTER_OTLP_CERTIFICATE": file, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": file}
	_, err = read()
	for _, want := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT: must be an address like",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: must be one of http/protobuf, grpc, http/json",
		"OTEL_EXPORTER_OTLP_TIMEOUT: must be a whole number", "OTEL_EXPORTER_OTLP_COMPRESSION: must be gzip or none",
		"empty.pem holds no certificate", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: give"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no line says %q in:\n%v", want, err)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := config.ReadConfig("serve", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "127.0.0.1" || c.Port != 3000 || c.BaseURL != "http://localhost:3000" || !c.Private() || c.Retry.Attempts() != 12 ||
		len(c.EgressAllow) != 2 {
		t.Errorf("%+v", c)
	}
	c, err = config.ReadConfig("web", func(n string) string {
		return map[string]string{"DATABASE_URL": "postgres://u:p@db/x", "SECRET_KEY": strings.Repeat("x", 32)}[n]
	})
	if err != nil || c.Host != "0.0.0.0" || len(c.EgressAllow) != 0 {
		t.Errorf("%+v %v", c, err)
	}
}

// TestHostsAndTopicsAreChecked: what check-config passed over once.
func TestHostsAndTopicsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, problem string }{
		{"TOPICS", "order.created, user created", `TOPICS: "user created" may hold letters`}, {"TOPICS", "*", "TOPICS: must name topics"},
		{"TOPICS", strings.Repeat("x", 300), "must be at most 256"}, {"TOPICS", "order.created,user/created", ""},
		{"BASE_URL", "http://u:p@h", "BASE_URL: must have no user"}, {"BASE_URL", "http://h?x", "BASE_URL: must have no user, query"},
		{"BASE_URL", "http://h/#y", "BASE_URL: must have no user, query or fragment"},
		{"BASE_URL", "https://h/waybill", ""}, {"ALLOWED_HOSTS", "a.example.com, *.svc.cluster.local,waybill", ""},
		{"ALLOWED_HOSTS", "*", ""},
		{"ALLOWED_HOSTS", "https://a.example.com", "ALLOWED_HOSTS: must be names only"},
		{"ALLOWED_HOSTS", "a.example.com:443", "ALLOWED_HOSTS: must be names only"}, {"ALLOWED_HOSTS", "a b", "ALLOWED_HOSTS:"},
		{"HSTS_MAX_AGE", "soon", "HSTS_MAX_AGE:"}, {"HSTS_MAX_AGE", "0s", ""}, {"WRITE_TIMEOUT", "-1s", "WRITE_TIMEOUT:"},
	} {
		_, err := config.ReadConfig("serve", func(n string) string { return map[string]string{c.name: c.value}[n] })
		if (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) ||
			strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
	// A server that was told none of its names answers to all, unless it is for its own machine only.
	for _, c := range []struct {
		env   map[string]string
		evil  bool
		known string
	}{
		{map[string]string{"HOST": "0.0.0.0"}, true, "waybill"}, {map[string]string{"HOST": "127.0.0.1"}, false, "localhost:3000"},
		{map[string]string{"HOST": "0.0.0.0", "BASE_URL": "https://w.example.com"}, false, "W.example.com:443"},
		{map[string]string{"HOST": "0.0.0.0", "ALLOWED_HOSTS": "*.example.com"}, false, "w.example.com"},
		{map[string]string{"BASE_URL": "https://w.example.com", "ALLOWED_HOSTS": "*"}, true, "w.example.com"},
	} {
		cfg, err := config.ReadConfig("serve", func(n string) string { return c.env[n] })
		if err != nil {
			t.Fatal(err)
		}
		if cfg.AllowsHost("evil.example") != c.evil || !cfg.AllowsHost(c.known) || cfg.AllowsHost("") {
			t.Errorf("%v: evil.example is %v, %s is %v", c.env, cfg.AllowsHost("evil.example"), c.known, cfg.AllowsHost(c.known))
		}
	}
}
