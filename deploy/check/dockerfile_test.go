package check

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stages parses the Dockerfile as BuildKit does.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	warn := func(rule, description, _, message string, _ []parser.Range) {
		t.Errorf("%s: %s (%s)", rule, message, description)
	}
	all, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{Warn: warn}))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDockerfile(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the image begins with %s", last.BaseName)
	}
	user := ""
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.RunCommand:
			t.Error("the image has no shell to run anything with")
		case *instructions.CopyCommand:
			if !slices.ContainsFunc(all, func(s instructions.Stage) bool { return s.Name == c.From }) {
				t.Errorf("it copies from %q", c.From)
			}
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
	goVersion := ""
	for line := range strings.Lines(read(t, "go.mod")) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			goVersion = strings.TrimSpace(v)
		}
	}
	if want := "golang:" + goVersion + "-bookworm"; all[0].BaseName != want {
		t.Errorf("it is built with %s, and go.mod says %s", all[0].BaseName, want)
	}
}

// TestImage does what the Dockerfile does, without a container: it takes what .dockerignore lets through, runs the build,
// and starts the program with nothing but the image around it.
func TestImage(t *testing.T) {
	ignored, err := ignorefile.ReadAll(strings.NewReader(read(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignore, err := patternmatcher.New(ignored)
	if err != nil {
		t.Fatal(err)
	}
	src, image := t.TempDir(), t.TempDir()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		if out, err := ignore.MatchesOrParentMatches(name); err != nil || out {
			if d.IsDir() && !strings.Contains(filepath.ToSlash(name), "/") {
				return fs.SkipDir
			}
			return err
		}
		to := filepath.Join(src, name)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	run := ""
	for _, c := range stages(t)[0].Commands {
		if r, ok := c.(*instructions.RunCommand); ok {
			run = strings.Join(r.CmdLine, " ")
		}
	}
	build := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(run, "/image", image))
	build.Dir = src
	build.Env = append(os.Environ(), "VERSION=v9.8.7", "TARGETOS=", "TARGETARCH=", "GOFLAGS=-mod=readonly")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if os.Getuid() != 0 {
		t.Log("the program was built, and not started: chroot needs root")
		return
	}
	if err := os.Chmod(image, 0o755); err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "chroot", append([]string{"--userspec=65532:65532", image, "/usr/bin/waybill"}, args...)...)
		cmd.Env = []string{"DATABASE_URL=postgres://x@127.0.0.1:1/x", "SECRET_KEY_FILE=/none"}
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	if out := program("version"); out != "v9.8.7" {
		t.Errorf("it says %q", out)
	}
	if out := program("web"); !strings.Contains(out, "SECRET_KEY: SECRET_KEY_FILE: stat /none: no such file") {
		t.Errorf("it says %q", out)
	}
}
