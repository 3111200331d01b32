package app

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/waybill-dev/waybill"

// mayImport lists which of our packages each folder may import, as ARCHITECTURE.md says. The longest matching folder
// decides; "" means the folder itself and what is below it.
var mayImport = map[string][]string{
	"adapters":          {"adapters"},
	"adapters/all":      {"adapters"},
	"adapters/notify":   {"adapters", "adapters/outbound"},
	"migrations":        {"migrations", "internal/dbconn"},
	"static":            {},
	"docs":              {},
	"internal/postgres": {"internal/postgres"},
	"internal/metrics":  {},
	"internal/openapi":  {},
	"internal/clientip": {},
	"internal/netlimit": {},
	"internal/traces":   {"internal/traces"},
	"internal/dbconn":   {},
	"internal/idp":      {},
	"models":            {"adapters", "migrations", "internal/metrics", "internal/dbconn", "internal/postgres", "models", "internal/traces"},
	"models/filter":     {"models/filter"},
	"models/alertrule":  {"models/alertrule", "models/units"},
	"models/queue":      {"models/pgcopy"},
	"models/seal":       {},
	"models/pgcopy":     {},
	"models/units":      {},
	"models/modelstest": {"models", "migrations", "internal/postgres"},
	"views":             {"models", "adapters", "static", "docs", "views", "internal/openapi"},
	"jobs":              {"models", "adapters", "migrations", "internal/metrics", "internal/traces", "jobs"},
	"app/config":        {"adapters/notify", "internal/clientip", "internal/traces", "models"},
	"app/api": {"app/config", "adapters", "internal/clientip", "internal/openapi", "internal/traces", "jobs", "migrations",
		"models", "views"},
	"app/pages": {"app/api", "app/config", "adapters", "internal/clientip", "internal/idp", "models", "static", "views"},
	"app/bench": {"internal/postgres", "jobs", "migrations", "models/units"},
	"app": {"adapters", "internal/clientip", "internal/netlimit", "internal/metrics", "internal/traces", "internal/postgres",
		"models", "views", "jobs", "migrations", "static", "app"},
	"tests": {},
	"":      {"app", "adapters/all"},
}

// testsMayImport lists what the tests of a folder may import besides that: channels hold their mails against files, as what
// lies above them draws them, answers of the whole server against their description, and
// the queue is tested in a database.
var testsMayImport = map[string][]string{"adapters/notify": {"views/emails"}, "app": {"internal/openapi"}, "models/queue": {"models"},
	"migrations": {"internal/postgres"}}

// onlyIn lists the folders that may import a library of others.
var onlyIn = map[string][]string{
	"gorm.io/":                      {"models"},
	"github.com/expr-lang/expr":     {"models/filter"},
	"github.com/riverqueue/":        {"jobs", "migrations"},
	"github.com/gofiber/":           {"app"},
	"github.com/go-mail/":           {"adapters/notify"},
	"github.com/emersion/":          {"adapters/notify"},
	"github.com/prometheus/":        {"internal/metrics"},
	"go.opentelemetry.io/":          {"internal/traces"},
	"github.com/a-h/templ":          {"views", "app"},
	"github.com/standard-webhooks/": {"adapters/webhook"},
	"github.com/rabbitmq/":          {"adapters/rabbitmq"},
	"github.com/twmb/":              {"adapters/kafka", "tests/kafka"},
	"github.com/sergi/go-diff":      {"views"},
	"github.com/pquerna/otp":        {"models"},
	"github.com/boombuler/barcode":  {"views"},
	"github.com/coreos/go-oidc":     {"internal/idp"},
	"github.com/go-webauthn/":       {"models"},
}

// TestImports holds the code against the rules on who may import whom.
func TestImports(t *testing.T) {
	root := ".."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "node_modules" || rel == "data" || rel == "tmp" ||
			rel == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		if dir == "." {
			dir = ""
		}
		for _, im := range f.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			checkImport(t, rel, dir, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkImport(t *testing.T, file, dir, imported string) {
	isTest := strings.HasSuffix(file, "_test.go")
	for lib, dirs := range onlyIn {
		if strings.HasPrefix(imported, lib) && !within(dir, dirs) && !isTest {
			t.Errorf("%s imports %s, which only %v may", file, imported, dirs)
		}
	}
	ours, ok := strings.CutPrefix(imported, module+"/")
	if !ok || isTest && strings.HasPrefix(ours, "models/modelstest") || isTest && strings.HasPrefix(ours, "adapters/") ||
		isTest && within(ours, testsMayImport[dir]) {
		return
	}
	rule := dir
	for {
		if allowed, has := mayImport[rule]; has {
			if !within(ours, allowed) {
				t.Errorf("%s imports %s; %q may import %v of ours", file, ours, rule, allowed)
			}
			return
		}
		if rule == "" || !strings.Contains(rule, "/") {
			t.Errorf("%s: no rule for folder %q", file, dir)
			return
		}
		rule = path.Dir(rule)
	}
}

func within(dir string, list []string) bool {
	for _, l := range list {
		if dir == l || strings.HasPrefix(dir, l+"/") {
			return true
		}
	}
	return false
}
