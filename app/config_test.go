package app

import (
	"os"
	"strings"
	"testing"
)

func TestEnvExampleIsCurrent(t *testing.T) {
	b, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != EnvExample() {
		t.Error(".env.example is stale: bin/waybill check-config -example > .env.example")
	}
}

// TestConfigReportsEverything gives several wrong values: each has its line, and says what is allowed.
func TestConfigReportsEverything(t *testing.T) {
	env := map[string]string{"PORT": "eighty", "DATABASE_URL": "mysql://x", "RETRY_INITIAL": "soon", "RETRY_MAX_ATTEMPTS": "0", "EGRESS_ALLOW": "10.0.0.0/99",
		"BASE_URL": "waybill", "LOG_LEVEL": "loud", "API_KEY": "short", "ADMIN_EMAIL": "ann"}
	_, err := ReadConfig("web", func(name string) string { return env[name] })
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"PORT: must be a whole number", "DATABASE_URL: must be an address", `RETRY_INITIAL: "soon" is not a duration`, "RETRY_MAX_ATTEMPTS: must be",
		"EGRESS_ALLOW:", "BASE_URL: must be", "LOG_LEVEL: must be", "API_KEY: must be at least 16", "ADMIN_EMAIL: must be", "SECRET_KEY: is required"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no line says %q in:\n%v", want, err)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := ReadConfig("serve", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "127.0.0.1" || c.Port != 3000 || c.BaseURL != "http://localhost:3000" || !c.Private() || c.Retry.Attempts() != 12 || len(c.EgressAllow) != 2 {
		t.Errorf("%+v", c)
	}
	c, err = ReadConfig("web", func(n string) string {
		return map[string]string{"DATABASE_URL": "postgres://u:p@db/x", "SECRET_KEY": strings.Repeat("x", 32)}[n]
	})
	if err != nil || c.Host != "0.0.0.0" || len(c.EgressAllow) != 0 {
		t.Errorf("%+v %v", c, err)
	}
}
