package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
)

// TestCommandLine asks for help and mistypes: nothing starts, and the answer says what to do.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		code     int
		out, err string
	}{
		"":             {0, "Usage: waybill <command>", ""},
		"help":         {0, "Usage: waybill <command>", ""},
		"help serve":   {0, "Usage: waybill <command>", ""},
		"serve -h":     {0, "Usage: waybill <command>", ""},
		"work --help":  {0, "Usage: waybill <command>", ""},
		"migrate down": {2, "", `migrate takes no arguments, and "down" is one`},
		"web -p 80":    {2, "", `web takes no arguments, and "-p" is one`},
		"server":       {2, "", `there is no command "server"`},
		"version":      {0, config.Version, ""},
	} {
		var out, err bytes.Buffer
		if code := Main(strings.Fields(line), &out, &err); code != want.code || !strings.Contains(out.String(), want.out) ||
			!strings.Contains(err.String(), want.err) {
			t.Errorf("waybill %s: %d\n%s%s", line, code, &out, &err)
		}
	}
}
