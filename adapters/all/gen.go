//go:build ignore

// Gen writes all.go. It imports no destination type, so that it works also when all.go names a folder that is gone.
package main

import (
	"log"
	"os"

	"github.com/waybill-dev/waybill/adapters/all/internal/generate"
)

func main() {
	src, err := generate.Imports("..")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("all.go", src, 0o644); err != nil {
		log.Fatal(err)
	}
}
