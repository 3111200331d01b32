// Package check holds what ships against the tools that will read it: Compose's loader, BuildKit's parser, Helm, the types
// of Kubernetes, Terraform's language. It is a module of its own, so that none of them is a dependency of Waybill.
package check

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// root is the top of the checkout.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// known are the variables that Waybill reads.
func known(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#([A-Z0-9_]+)=`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		names[m[1]] = true
	}
	if len(names) < 40 {
		t.Fatalf("only %d variables in .env.example", len(names))
	}
	return names
}

// unknown are those of the names that are no variable of Waybill's, nor a file with the value of one.
func unknown(t *testing.T, names []string) (wrong []string) {
	t.Helper()
	all := known(t)
	for _, n := range names {
		if !all[n] && !all[strings.TrimSuffix(n, "_FILE")] {
			wrong = append(wrong, n)
		}
	}
	return wrong
}

// pinned reports whether an image has a version that says something.
func pinned(image string) bool {
	_, tag, ok := strings.Cut(image, ":")
	return ok && tag != "latest" && tag != ""
}

const apiKey = "wb_of_the_deployment_checks"

// replace replaces what must be there.
func replace(t *testing.T, text, what, with string) string {
	t.Helper()
	if !strings.Contains(text, what) {
		t.Fatalf("%q is not in %s", what, text)
	}
	return strings.ReplaceAll(text, what, with)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// dialTo connects to this address, whatever name is asked for.
func dialTo(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// answers reports whether an address answers with 200.
func answers(c *http.Client, url string) bool {
	resp, err := c.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come up", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// document is that of the manifests which has this line.
func document(t *testing.T, manifests, line string) string {
	t.Helper()
	for _, doc := range strings.Split(manifests, "\n---") {
		if strings.Contains(doc, "\n"+line+"\n") {
			return doc
		}
	}
	t.Fatalf("no manifest has %q", line)
	return ""
}
