package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

var update = flag.Bool("update", false, "write the table of docs/settings.md")

// TestSettingsTable: the table in the documentation is made of the declarations.
func TestSettingsTable(t *testing.T) {
	const page, begin, end = "../../docs/settings.md", " writes this table -->\n", "<!-- end of settings -->"
	var b strings.Builder
	group := ""
	for _, f := range models.SettingFields() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n### %s\n\n| Setting, and its variable in capitals | Default | Tenants | |\n|---|---|---|---|\n", group)
		}
		own, dflt := "", "–"
		if f.Shared {
			own = "✓"
		}
		if f.Default != "" {
			dflt = "`" + f.Default + "`"
		}
		help := strings.ReplaceAll(f.Help, "|", `\|`)
		if bounds := f.Bounds(); bounds != "" {
			help += " (" + bounds + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, dflt, own, help)
	}
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(raw), begin)
	_, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatal("the page has no place for the table")
	}
	want := before + begin + b.String() + "\n" + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Error("docs/settings.md is not what is declared: go test ./app/config -run SettingsTable -update writes it")
	}
}

// TestSettingsOfTheEnvironment: each setting is a variable with the same bounds, and SETTINGS_LOCKED names them.
func TestSettingsOfTheEnvironment(t *testing.T) {
	read := func(env map[string]string) (*Config, error) {
		return ReadConfig("serve", func(name string) string { return env[name] })
	}
	c, err := read(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := models.DefaultRules()
	for _, f := range models.SettingFields() {
		if got := f.Rule(&c.Rules); got != f.Rule(&want) || got != f.Default {
			t.Errorf("%s is %q without a word in the environment, want %q", f.Name, got, f.Default)
		}
	}
	c, err = read(map[string]string{"RETRY_SCHEDULE": "1m, 1h", "RETENTION_DAYS": "7", "PROBE_AFTER": "30m", "ALERT_DISABLE_STEPS": "none",
		"SETTINGS_LOCKED": "RETENTION_DAYS, probe_after"})
	if err != nil || len(c.Retry.Schedule) != 2 || c.Retention.Hours() != 7*24 || c.ProbeAfter.Minutes() != 30 || c.AlertSteps != nil ||
		strings.Join(c.Locked, " ") != "retention_days probe_after" {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := read(map[string]string{"SETTINGS_LOCKED": "all"}); err != nil || len(c.Locked) != len(models.SettingFields()) {
		t.Errorf("all: %v", err)
	}
	for name, value := range map[string]string{"SETTINGS_LOCKED": "PORT", "RETRY_SCHEDULE": "1m,169h", "TENANT_BYTES_PER_SECOND": "5",
		"ALERT_EVERY": "1s", "RETENTION_DAYS": "0", "WEBHOOK_CONFIG": "[]", "MAX_PAYLOAD": "17000000", "RETRY_MULTIPLIER": "NaN"} {
		if _, err := read(map[string]string{name: value}); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
