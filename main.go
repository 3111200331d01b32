// Command waybill is an event destinations server: it takes events in over HTTP and delivers each to every destination
// that its tenant configured, at least once.
package main

import (
	"os"

	_ "github.com/waybill-dev/waybill/adapters/all"
	"github.com/waybill-dev/waybill/app"
	"github.com/waybill-dev/waybill/app/config"
)

// version is set by the linker.
var version = "dev"

func main() {
	config.Version = version
	os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr))
}
