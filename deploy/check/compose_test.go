package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads Compose files as docker compose does: schema, interpolation, merging, what refers to what.
func load(t *testing.T, env []string, files ...string) (*types.Project, error) {
	t.Helper()
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join(root, f))
	}
	opts, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(root), cli.WithEnv(env), cli.WithInterpolation(true),
		cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

var composeEnv = []string{"DB_PASSWORD=x", "SECRET_KEY=0123456789abcdefghij", "API_KEY=wb_0123456789abcdef", "GRAFANA_PASSWORD=y"}

func TestCompose(t *testing.T) {
	p, err := load(t, composeEnv, "compose.yaml", "compose.monitoring.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"alertmanager", "db", "grafana", "migrate", "prometheus", "web", "work"}
	if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, want) {
		t.Errorf("services are %v", got)
	}
	for name, s := range p.Services {
		if !pinned(s.Image) {
			t.Errorf("%s: %s is no version", name, s.Image)
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s mounts what there is not: %v", name, err)
			}
		}
	}
	for _, name := range []string{"web", "work", "migrate"} {
		s := p.Services[name]
		if wrong := unknown(t, slices.Collect(maps.Keys(s.Environment))); len(wrong) > 0 {
			t.Errorf("%s sets %v, which Waybill does not read", name, wrong)
		}
		if !slices.Equal(s.Command, []string{name}) {
			t.Errorf("%s runs %v", name, s.Command)
		}
		for variable, path := range s.Environment {
			if secret, ok := strings.CutPrefix(*path, "/run/secrets/"); ok &&
				!slices.ContainsFunc(s.Secrets, func(m types.ServiceSecretConfig) bool { return m.Source == secret }) {
				t.Errorf("%s: %s is not mounted for %s", name, secret, variable)
			}
		}
		after, condition := "migrate", types.ServiceConditionCompletedSuccessfully
		if name == "migrate" {
			after, condition = "db", types.ServiceConditionHealthy
		}
		if s.DependsOn[after].Condition != condition {
			t.Errorf("%s waits for %v", name, s.DependsOn)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s may do more than it needs", name)
		}
	}
}

// TestComposeAsksForSecrets: nobody starts with a secret that everybody knows.
func TestComposeAsksForSecrets(t *testing.T) {
	if _, err := load(t, composeEnv[1:], "compose.yaml"); err == nil || !strings.Contains(err.Error(), "give it in .env") {
		t.Errorf("without DB_PASSWORD: %v", err)
	}
	if p, err := load(t, composeEnv, "compose.yaml"); err != nil || p.Secrets["secret_key"].Environment != "SECRET_KEY" {
		t.Errorf("%+v, %v", p, err)
	}
}
