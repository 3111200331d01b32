package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path"
	"regexp"
	"testing"

	"github.com/andybalholm/brotli"
)

func TestURL(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^/static/[A-Za-z.]+\.[0-9a-f]{10}\.(css|js|svg|txt|woff2)$`)
	for name := range byName {
		u := URL(name)
		if !shape.MatchString(u) {
			t.Errorf("URL(%q) = %q", name, u)
		}
		f := Lookup(u)
		if f == nil || f.Type == "" {
			t.Fatalf("Lookup(%q) = %+v", u, f)
		}
		onDisk, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "app.css" { // it names the font as it is served
			onDisk = bytes.ReplaceAll(onDisk, []byte(font), []byte(path.Base(URL(font))))
		}
		if !bytes.Equal(f.Body, onDisk) {
			t.Errorf("%s is not what is on disk", name)
		}
		r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(plain, f.Body) {
			t.Errorf("%s: the compressed form is another file: %v", name, err)
		}
		plain, err = io.ReadAll(brotli.NewReader(bytes.NewReader(f.Brotli())))
		if err != nil || !bytes.Equal(plain, f.Body) || len(f.Brotli()) >= len(f.Gzip) {
			t.Errorf("%s: with brotli it is another file, or not smaller than with gzip: %v", name, err)
		}
	}
	for _, path := range []string{"/static/app.css", "/static/app.0000000000.css", "/static/", "/static/embed.go", "/static/../go.mod"} {
		if Lookup(path) != nil {
			t.Errorf("Lookup(%q) found something", path)
		}
	}
}

// TestBudgets holds what every page loads against its limits.
func TestBudgets(t *testing.T) {
	t.Parallel()
	for what, b := range map[string]struct {
		files []string
		most  int
	}{
		"stylesheet":  {[]string{"app.css"}, 12 << 10},
		"own script":  {[]string{"app.js", "passkey.js"}, 6<<10 + 512},
		"all scripts": {[]string{"app.js", "passkey.js", "htmx.min.js"}, 20 << 10},
		"icons":       {[]string{"icons.svg", "favicon.svg"}, 4 << 10},
	} {
		n := 0
		for _, name := range b.files {
			n += len(byName[name].Gzip)
		}
		if n > b.most {
			t.Errorf("%s: %d bytes compressed, at most %d are planned", what, n, b.most)
		}
	}
}
