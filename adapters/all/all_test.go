package all

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/all/internal/generate"
)

const remedy = "run: go generate ./adapters/all"

func TestImportsAreFresh(t *testing.T) {
	t.Parallel()
	want, err := generate.Imports("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("all.go is stale; %s", remedy)
	}
}

func TestPagesAreFresh(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "docs", "destinations")
	pages := generate.Pages(adapters.All())
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/destinations/%s is stale or missing (%v); %s", name, err, remedy)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[filepath.Base(f)] == nil {
			t.Errorf("%s belongs to no type; %s", f, remedy)
		}
	}
}

func TestTypesAreRegistered(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"webhook", "rabbitmq", "kafka", "echo"} {
		if adapters.Lookup(name) == nil {
			t.Errorf("%s is not registered", name)
		}
	}
	if first := adapters.All()[0].Spec.Name; first != "webhook" {
		t.Errorf("pickers begin with %s", first)
	}
}
