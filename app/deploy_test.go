package app

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// checkDeploy holds what deploy/ has for Prometheus and Grafana against a scrape of a server that has done a little of
// everything. With promtool (Debian's package prometheus) it also checks the rules, their tests and the metrics' names;
// scripts/test.sh says so when it is missing.
func checkDeploy(t *testing.T, scraped string) {
	t.Helper()
	has := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(scraped, -1) {
		has[m[1]] = true
		if m[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				has[m[1]+suffix] = true
			}
		}
	}
	used := map[string]bool{}
	for _, name := range []string{"../deploy/prometheus-rules.yml", "../deploy/grafana-dashboard.json"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\b(?:waybill|process)_[a-z_]+`).FindAllString(string(b), -1) {
			if used[m] = true; !has[m] {
				t.Errorf("%s asks for %s, which there is not", name, m)
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(b) {
			t.Errorf("%s is not JSON", name)
		}
	}
	docs, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range has {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "waybill_") && !strings.Contains(string(docs), "`"+base) {
			t.Errorf("docs/monitoring.md does not say what %s is", base)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		return
	}
	for _, args := range [][]string{{"check", "rules", "../deploy/prometheus-rules.yml"},
		{"test", "rules", "../deploy/prometheus-rules.test.yml"}, {"check", "metrics"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Stdin = strings.NewReader(scraped)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
