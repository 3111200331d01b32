package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestProxies runs Waybill behind the proxies of deploy/proxy as they stand there, but for ports and certificates: with
// TLS, below a path that the proxy passes on or takes off.
func TestProxies(t *testing.T) {
	waybillPort, dir := freePort(t), t.TempDir()
	upstream := fmt.Sprintf("127.0.0.1:%d", waybillPort)
	start(t, dir, []string{"DATA_DIR=" + filepath.Join(waybillHome(t), "data"), "PORT=" + fmt.Sprint(waybillPort), "API_KEY=" + apiKey,
		"BASE_URL=https://example.com/waybill", "TRUSTED_PROXIES=127.0.0.1", "HOME=" + dir}, waybill(t), "serve")
	await(t, "Waybill", func() bool { return answers(http.DefaultClient, "http://"+upstream+"/readyz") })

	cert, key, roots := certificate(t, dir)
	nginx, caddy := read(t, "deploy/proxy/nginx.conf"), read(t, "deploy/proxy/Caddyfile")
	for name, config := range map[string]string{
		"nginx passes the path on": nginx,
		"nginx takes it off":       replace(t, nginx, "127.0.0.1:3000;", "127.0.0.1:3000/;"),
		"Caddy passes the path on": caddy,
		"Caddy takes it off":       replace(t, caddy, "handle /waybill/*", "handle_path /waybill/*"),
	} {
		t.Run(name, func(t *testing.T) {
			port, home := freePort(t), t.TempDir()
			address := fmt.Sprintf("127.0.0.1:%d", port)
			config = replace(t, config, "127.0.0.1:3000", upstream)
			if strings.HasPrefix(name, "nginx") {
				config = replace(t, config, "listen 443", "listen "+address)
				config = replace(t, config, "/etc/nginx/example.com.pem", cert)
				config = replace(t, config, "/etc/nginx/example.com.key", key)
				write(t, home, "nginx.conf",
					"daemon off; pid nginx.pid; error_log stderr;\nevents {}\nhttp { access_log off;\n"+config+"}\n")
				start(t, home, nil, "nginx", "-p", home, "-c", "nginx.conf", "-e", "stderr")
			} else {
				config = replace(t, config, "example.com {", fmt.Sprintf("https://example.com:%d {\n\tbind 127.0.0.1\n\ttls %s %s", port,
					cert, key))
				write(t, home, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n"+config)
				start(t, home, []string{"HOME=" + home}, "caddy", "run", "--config", "Caddyfile")
			}
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com",
				MinVersion: tls.VersionTLS12}}
			transport.DialContext = dialTo(address)
			t.Cleanup(transport.CloseIdleConnections)
			p := proxied{t: t, client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
				base:   fmt.Sprintf("https://example.com:%d/waybill", port),
				tenant: regexp.MustCompile(`[^a-z]+`).ReplaceAllString(strings.ToLower(name), "-")}
			await(t, name, func() bool { return answers(p.client, p.base+"/readyz") })
			p.pages()
			p.publish()
			p.longPoll()
			p.stream()
			p.callersAddress()
		})
	}
}

// proxied is a client that reaches Waybill through a proxy.
type proxied struct {
	t            *testing.T
	client       *http.Client
	base, tenant string
}

func (p proxied) request(ctx context.Context, method, path, body string, header ...string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// call makes a request and reads its answer, which must have a status in the 200s.
func (p proxied) call(method, path, body string, header ...string) string {
	p.t.Helper()
	resp := p.request(p.t.Context(), method, path, body, header...)
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		p.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, b, err)
	}
	return string(b)
}

// pages: the path without a slash leads to the page, and its stylesheet is found.
func (p proxied) pages() {
	p.t.Helper()
	resp := p.request(p.t.Context(), "GET", "", "")
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Request.URL.Path, "/waybill/") {
		p.t.Fatalf("the page below %s is %s at %s: %v", p.base, resp.Status, resp.Request.URL, err)
	}
	style := regexp.MustCompile(`href="/waybill(/static/[^"]+\.css)"`).FindSubmatch(page)
	if style == nil {
		p.t.Fatalf("no stylesheet below /waybill in %.600s", page)
	}
	p.call("GET", string(style[1]), "")
}

// publish: an event, and a batch of 6 MiB.
func (p proxied) publish() {
	p.t.Helper()
	p.call("PUT", "/api/v1/tenants/"+p.tenant, "{}")
	p.call("POST", "/api/v1/tenants/"+p.tenant+"/destinations", `{"type": "echo", "topics": "*"}`)
	event := fmt.Sprintf(`{"tenant_id": %q, "topic": "order.created", "data": {"order": 1}}`, p.tenant)
	if said := p.call("POST", "/api/v1/publish", event, "Prefer", "wait=10"); !strings.Contains(said, `"status":"delivered"`) {
		p.t.Errorf("publishing says %s", said)
	}
	large := strings.Replace(event, `"order": 1`, `"text": "`+strings.Repeat("x", 200<<10)+`"`, 1)
	if said := p.call("POST", "/api/v1/publish/batch", "["+strings.Repeat(large+",", 29)+large+"]"); strings.Contains(said, `"error"`) {
		p.t.Errorf("a batch says %.500s", said)
	}
}

// longPoll: an answer that is waited for comes when there is something to tell.
func (p proxied) longPoll() {
	p.t.Helper()
	var now, then struct {
		Next    string
		Changes []struct{ Type, Action string }
	}
	p.decode(p.call("GET", "/api/v1/changes?since=now", ""), &now)
	answer := make(chan string, 1)
	began := time.Now()
	go func() {
		r, _ := http.NewRequestWithContext(p.t.Context(), "GET",
			p.base+"/api/v1/changes?types=tenant&tenant_id="+p.tenant+"&since="+now.Next, nil)
		r.Header.Set("Authorization", "Bearer "+apiKey)
		r.Header.Set("Prefer", "wait=25")
		resp, err := p.client.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	select {
	case said := <-answer:
		p.t.Fatalf("a long poll did not wait: %s", said)
	case <-time.After(1500 * time.Millisecond):
	}
	p.call("PUT", "/api/v1/tenants/"+p.tenant, `{"metadata": {"plan": "gold"}}`)
	p.decode(<-answer, &then)
	if len(then.Changes) == 0 || then.Changes[0].Type != "tenant" {
		p.t.Errorf("a long poll says %+v", then)
	}
	if took := time.Since(began); took > 10*time.Second {
		p.t.Errorf("a long poll told of a change after %s", took)
	}
}

// stream: server-sent events come one by one, while the answer is not at its end.
func (p proxied) stream() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	resp := p.request(ctx, "GET", "/api/v1/changes?since=now&types=tenant&tenant_id="+p.tenant, "", "Accept", "text/event-stream")
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		p.t.Fatalf("the stream is %s %s", resp.Status, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	for i := range 2 {
		p.call("PUT", "/api/v1/tenants/"+p.tenant, fmt.Sprintf(`{"metadata": {"turn": "%d"}}`, i))
		deadline := time.AfterFunc(10*time.Second, cancel)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "event: tenant.updated") {
		}
		deadline.Stop()
		if err := lines.Err(); err != nil {
			p.t.Fatalf("event %d of the stream: %v", i+1, err)
		}
	}
}

// callersAddress: the audit log has the address that the proxy saw, not one that the caller makes up.
func (p proxied) callersAddress() {
	p.t.Helper()
	id := "made-up-" + p.tenant
	p.call("PUT", "/api/v1/tenants/"+id, "{}", "X-Forwarded-For", "203.0.113.66")
	if said := p.call("GET", "/api/v1/audit?tenant_id="+id, ""); !strings.Contains(said, `"ip":"127.0.0.1"`) ||
		strings.Contains(said, "203.0.113.66") {
		p.t.Errorf("the audit log says %s", said)
	}
}

func (p proxied) decode(text string, to any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		p.t.Fatalf("%v: %s", err, text)
	}
}

// certificate is that of httptest, which is for example.com.
func certificate(t *testing.T, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	der, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	cert = write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	key = write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return cert, key, roots
}

// TestProxySamplesAreInTheDocs: what is documented is what was run.
func TestProxySamplesAreInTheDocs(t *testing.T) {
	page := read(t, "docs/proxy.md")
	for _, sample := range []string{"nginx.conf", "Caddyfile"} {
		if !strings.Contains(page, "\n"+read(t, "deploy/proxy/"+sample)+"```") {
			t.Errorf("docs/proxy.md does not have deploy/proxy/%s as it is", sample)
		}
	}
}

// waybill is the program to test.
func waybill(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin", "waybill"))
	if err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		t.Fatalf("make build first: %v", err)
	}
	return bin
}

// waybillHome is a directory that PostgreSQL's account can reach, for PostgreSQL does not run as root.
func waybillHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "waybill-") //nolint:usetesting // t.TempDir is for root only
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs a program until the test ends. What it says is shown when the test fails.
func start(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	var said strings.Builder
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		killed := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		killed.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &said)
		}
	})
}
