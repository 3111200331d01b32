package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// TestAppJSON reads app.json strictly: fields that the platform does not know are mistakes, and so are variables that
// Waybill does not read and processes that the Procfile does not have.
func TestAppJSON(t *testing.T) {
	var app struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Keywords    []string `json:"keywords"`
		Repository  string   `json:"repository"`
		SuccessURL  string   `json:"success_url"`
		Env         map[string]struct {
			Description string `json:"description"`
			Generator   string `json:"generator"`
			Required    *bool  `json:"required"`
			Value       string `json:"value"`
		} `json:"env"`
		Formation map[string]struct {
			Quantity int    `json:"quantity"`
			Size     string `json:"size"`
		} `json:"formation"`
		Addons []struct {
			Plan string `json:"plan"`
			As   string `json:"as"`
		} `json:"addons"`
		Buildpacks []struct {
			URL string `json:"url"`
		} `json:"buildpacks"`
	}
	d := json.NewDecoder(strings.NewReader(read(t, "app.json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&app); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, v := range app.Env {
		names = append(names, name)
		if v.Description == "" || v.Generator != "" && v.Generator != "secret" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if wrong := unknown(t, names); len(wrong) > 0 {
		t.Errorf("Waybill does not read %v", wrong)
	}
	for process := range app.Formation {
		if !strings.Contains(read(t, "Procfile"), "\n"+process+": bin/waybill ") {
			t.Errorf("the Procfile has no %s", process)
		}
	}
	if app.Env["SECRET_KEY"].Generator != "secret" || app.Addons[0].As != "DATABASE" {
		t.Errorf("no secret of its own, or no DATABASE_URL: %+v", app)
	}
}

// TestTerraform parses the module, and looks up whatever its expressions refer to. The providers, which know their
// arguments, are not asked.
func TestTerraform(t *testing.T) {
	paths, err := filepath.Glob(root + "/deploy/terraform/aws/*.tf")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%v, %v", paths, err)
	}
	defined, used := map[string]bool{}, map[string]hcl.Range{}
	parser := hclparse.NewParser()
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(hclwrite.Format(src)) != string(src) {
			t.Errorf("%s is not formatted (terraform fmt helps)", path)
		}
		file, diags := parser.ParseHCL(src, path)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			name := ""
			switch b.Type {
			case "variable":
				name = "var." + b.Labels[0]
				if b.Body.Attributes["description"] == nil || b.Body.Attributes["type"] == nil {
					t.Errorf("%s has no description or type", name)
				}
			case "resource":
				name = strings.Join(b.Labels, ".")
			case "data":
				name = "data." + strings.Join(b.Labels, ".")
			case "locals":
				for local := range b.Body.Attributes {
					defined["local."+local] = true
				}
			}
			if defined[name] && name != "" {
				t.Errorf("%s is there twice", name)
			}
			defined[name] = true
		}
		_ = hclsyntax.VisitAll(file.Body.(*hclsyntax.Body), func(n hclsyntax.Node) hcl.Diagnostics {
			e, ok := n.(*hclsyntax.ScopeTraversalExpr)
			if !ok {
				return nil
			}
			var parts []string
			for _, step := range e.Traversal {
				switch s := step.(type) {
				case hcl.TraverseRoot:
					parts = append(parts, s.Name)
				case hcl.TraverseAttr:
					parts = append(parts, s.Name)
				}
			}
			n1 := 2
			if parts[0] == "data" {
				n1 = 3
			}
			if len(parts) >= n1 && (slices.Contains([]string{"var", "local", "data"}, parts[0]) ||
				regexp.MustCompile(`^(aws|random)_`).MatchString(parts[0])) {
				used[strings.Join(parts[:n1], ".")] = e.Range()
			}
			return nil
		})
	}
	for name, where := range used {
		if !defined[name] {
			t.Errorf("%s: there is no %s", where, name)
		}
	}
	for name := range defined {
		if _, ok := used[name]; !ok && strings.HasPrefix(name, "var.") {
			t.Errorf("%s is used nowhere", name)
		}
	}
	if len(used) < 30 {
		t.Errorf("only %d references were found", len(used))
	}
	text := read(t, "deploy/terraform/aws/containers.tf") + read(t, "deploy/terraform/aws/database.tf")
	if wrong := unknown(t,
		regexp.MustCompile(`\b(DATABASE_URL|SECRET_KEY|API_KEY|BASE_URL|TRUSTED_PROXIES|LOG_FORMAT)\b`).FindAllString(text,
			-1)); len(wrong) > 0 {
		t.Errorf("Waybill does not read %v", wrong)
	}
}
