package app

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/models"
)

// canaries are secrets in use, by what they are.
type canaries map[string]string

// plantEverywhere has a server keep one secret of each kind. of is asked by the API; what has no address there is done by a.
func (a *testApp) plantEverywhere(of *testApp, mirror, closed string) canaries {
	a.Helper()
	c := canaries{"API_KEY": testKey, "SECRET_KEY": "a secret for tests that is long enough"}
	of.want(201, "PUT", "/tenants/acme", nil)
	c["a tenant's token"] = of.want(200, "GET", "/tenants/acme/token", nil).str("token")
	c["an API key"] = of.want(201, "POST", "/api-keys", `{"name":"x","scopes":["publish"]}`, "Idempotency-Key", "canary").str("key")
	for name, p := range plantedDestinations(a.TB.(*testing.T), mirror, closed) {
		body := map[string]any{"id": name, "type": name, "topics": "*", "config": p.config, "credentials": p.credentials, "timeout": "30s"}
		if adapters.Lookup(name) == nil {
			a.Fatalf("there is no type %s", name)
		}
		if name == "hookdeck" || name == "cloudflare_queues" {
			body["disabled_at"] = "2026-01-01T00:00:00Z" // it has but one address, which is not to be asked by a test
		}
		of.want(201, "POST", "/tenants/acme/destinations", body, "Idempotency-Key", "canary-"+name)
		for i, s := range p.secrets {
			if s != "planted-url-token" { // docs/security.md: the whole URL is in the database
				c[fmt.Sprintf("%s %d", name, i)] = s
			}
		}
	}
	revealed := of.want(200, "POST", "/tenants/acme/destinations/webhook/secrets/rotate", nil)
	c["a rotated signing secret"] = revealed.str("credentials", "secret")
	for name, p := range plantedChannels(mirror) {
		if notify.Lookup(name) == nil {
			a.Fatalf("there is no channel %s", name)
		}
		made := of.want(201, "POST", "/tenants/acme/channels", map[string]any{"type": name, "config": p.config})
		for i, s := range p.secrets {
			if s == "planted-channel-url-token" {
				continue // as with destinations
			}
			c[fmt.Sprintf("channel %s %d", name, i)] = s
		}
		if s := made.str("config", "secret"); s != "" {
			c["a channel's signing secret"] = strings.TrimPrefix(s, "whsec_")
		}
	}
	portal := of.want(200, "GET", "/tenants/acme/portal", nil).str("redirect_url")
	c["a portal link"] = portal[strings.LastIndex(portal, "/")+1:]

	ann, err := a.Store.CreateFirstUser(a.Context(), models.UserInput{Name: "Ann", Email: testEmail, Password: testPassword})
	if err != nil {
		a.Fatal(err)
	}
	c["a password"] = testPassword
	if c["a session"], err = a.Store.StartSession(a.Context(), ann); err != nil {
		a.Fatal(err)
	}
	v := of.stranger()
	v.setCookie(pages.SessionCookie, c["a session"])
	p := v.post("/t/acme/invitations/new", "email", "bo@example.com", "role", "developer")
	if link := regexp.MustCompile(`/invite/([\w-]{40,})`).FindStringSubmatch(p.text("#invitation-link")); link != nil {
		c["an invitation"] = link[1]
	} else {
		a.Fatalf("no invitation was made: %s", p.source())
	}
	setup, err := a.Store.SetUpFactor(a.Context(), ann)
	if err != nil {
		a.Fatal(err)
	}
	c["a second factor"] = setup.Secret
	codes, err := a.Store.EnableFactor(a.Context(), ann, a.code(setup.Secret))
	if err != nil || len(codes) == 0 {
		a.Fatal(codes, err)
	}
	c["a recovery code"] = codes[0]
	for what, s := range c {
		if len(s) < 8 {
			a.Errorf("%s is %q, too short to be looked for", what, s)
		}
	}
	return c
}

// lookIn fails the test for each secret in a text, in whatever form.
func (c canaries) lookIn(t testing.TB, where, text string) {
	t.Helper()
	for what, s := range c {
		quoted, _ := json.Marshal(s)
		for _, form := range []string{s, strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(s)),
			base64.RawURLEncoding.EncodeToString([]byte(s)),
			hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))), fmt.Sprintf("% x", s)} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s shows %s: …%.300s…", where, what, text[max(0, at-150):])
			}
		}
	}
}

// mirrors starts a server that repeats what it is sent with a refusal, and names an address on which nobody listens.
func mirrors(t *testing.T) (mirror, closed string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = r.Write(w)
	}))
	t.Cleanup(s.Close)
	gone := httptest.NewServer(nil)
	defer gone.Close()
	return s.URL, gone.Listener.Addr().String()
}

// TestSecretsAreNotInADump uses a secret of each kind, and looks for them in all that the database holds.
func TestSecretsAreNotInADump(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	mirror, closed := mirrors(t)
	c := a.plantEverywhere(a, mirror, closed)
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"a","data":{"canary":"in-the-payload"}}`)
	a.eventually("/deliveries?tenant_id=acme&destination_id=webhook&status=retrying,failed", func(o answer) bool { return len(o.list()) == 1 })
	a.do("GET", "/events", nil, "Authorization", "Bearer "+c["an API key"]) // refused, and told in the audit log
	a.stranger().post("/login", "email", testEmail, "password", c["a password"]+"x")

	dump := a.dump()
	if !strings.Contains(dump, "in-the-payload") || !strings.Contains(dump, testEmail) {
		t.Fatal("the dump is none")
	}
	c.lookIn(t, "the database", dump)
	if program := pgDump(); program == "" {
		t.Log("there is no pg_dump; the tables alone were looked at")
	} else if out, err := exec.Command(program, "--dbname", a.Cfg.DatabaseURL).Output(); err != nil {
		t.Logf("%s cannot be used with this server: %v", program, err)
	} else {
		if !bytes.Contains(out, []byte("in-the-payload")) {
			t.Error("pg_dump's output is no dump")
		}
		c.lookIn(t, "pg_dump", string(out))
	}
}

// dump is the content of every table, as pg_dump copies it.
func (a *testApp) dump() string {
	a.Helper()
	rows, err := a.db.Query(a.Context(), `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')`)
	if err != nil {
		a.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			a.Fatal(err)
		}
		tables = append(tables, name)
	}
	conn, err := a.db.Acquire(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Release()
	var out bytes.Buffer
	for _, name := range tables {
		if _, err := conn.Conn().PgConn().CopyTo(a.Context(), &out, "copy "+name+" to stdout"); err != nil {
			a.Fatalf("%s: %v", name, err)
		}
	}
	return out.String()
}

// pgDump finds PostgreSQL's program; empty when there is none.
func pgDump() string {
	if path, err := exec.LookPath("pg_dump"); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// TestSecretsAreNotInACrash ends a process in the middle of using secrets of each kind, as a panic does that nobody catches: with the
// stacks of all that was under way. Neither they nor the log before them show one.
func TestSecretsAreNotInACrash(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.Role = "web" }) // makes what has no address; the other process does the work
	silent, err := net.Listen("tcp", "127.0.0.1:0")               // accepts and says nothing: receivers, a mail server, a login provider
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	asked := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			asked <- conn
		}
	}()
	at := silent.Addr().String()
	p := startProcess(t, "serve", "DATABASE_URL="+a.Cfg.DatabaseURL, "GOTRACEBACK=system", "LOG_LEVEL=debug",
		"SMTP_URL=smtp://waybill:planted-smtp-password@"+at,
		"MAIL_FROM=alerts@example.com", "OIDC_ISSUER=http://"+at, "OIDC_CLIENT_ID=waybill", "OIDC_CLIENT_SECRET=planted-oidc-secret",
		"BASE_URL=http://localhost")
	of := *a
	of.base = p.base
	c := a.plantEverywhere(&of, "http://"+at, at)
	c["the mail server's password"], c["the login provider's secret"] = "planted-smtp-password", "planted-oidc-secret"
	c["a token in a URL"] = "planted-url-token"
	for range 3 {
		of.want(202, "POST", "/publish", `{"tenant_id":"acme","topic":"a","data":{}}`)
	}
	// Requests under way, with a body that does not end.
	for _, secret := range []string{testKey, c["an API key"], c["a tenant's token"]} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		fmt.Fprintf(conn, "POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n%s", secret,
			strings.Repeat(" ", 9000))
	}
	go func() {
		v := of.stranger()
		resp, err := v.client.Get(p.base + "/login/oidc") // asks the provider, which does not answer
		if err == nil {
			resp.Body.Close()
		}
	}()
	for n := 0; n < 6; n++ { // attempts that are under way
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("the receivers were asked %d times", n)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.gone
	out, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out); !strings.Contains(text, "SIGQUIT") || strings.Count(text, "\ngoroutine ") < 20 || !strings.Contains(text,
		"adapters/webhook") {
		t.Fatalf("it left no stacks of what was under way:\n%.3000s", text)
	}
	c.lookIn(t, "what a crash leaves", string(out))
}
