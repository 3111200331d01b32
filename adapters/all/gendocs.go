//go:build ignore

// Gendocs writes the pages in docs/destinations, and removes those of types that are gone.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/adapters"
	_ "github.com/waybill-dev/waybill/adapters/all"
	"github.com/waybill-dev/waybill/adapters/all/internal/generate"
)

func main() {
	dir := filepath.Join("..", "..", "docs", "destinations")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	pages := generate.Pages(adapters.All())
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range old {
		if _, ok := pages[filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				log.Fatal(err)
			}
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
