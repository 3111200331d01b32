package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// secretFiles are files of settings in a directory as Kubernetes mounts it: each is a symbolic link into a directory that is exchanged
// as a whole.
type secretFiles struct {
	t      *testing.T
	dir    string
	values map[string]string
	n      int
}

func newSecretFiles(t *testing.T, values map[string]string) *secretFiles {
	t.Helper()
	s := &secretFiles{t: t, dir: t.TempDir(), values: map[string]string{}}
	for name := range values {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.change(values)
	return s
}

// change exchanges all files at once.
func (s *secretFiles) change(values map[string]string) {
	s.t.Helper()
	s.n++
	version := fmt.Sprintf("..%d", s.n)
	if err := os.Mkdir(filepath.Join(s.dir, version), 0o700); err != nil {
		s.t.Fatal(err)
	}
	for name, v := range values {
		s.values[name] = v
	}
	for name, v := range s.values {
		if err := os.WriteFile(filepath.Join(s.dir, version, name), []byte(v+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	link := filepath.Join(s.dir, "..new")
	if err := os.Symlink(version, link); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(s.dir, "..data")); err != nil {
		s.t.Fatal(err)
	}
}

// env names the files, in place of the values that processes of tests have.
func (s *secretFiles) env() (env []string) {
	for name := range s.values {
		env = append(env, name+"=", name+"_FILE="+filepath.Join(s.dir, name))
	}
	return env
}

// newRole makes a database and a role with the password "before". exec runs a statement there, as is the address of that role with a
// password.
func newRole(t *testing.T, role string) (address string, exec func(sql string), as func(password string) string) {
	t.Helper()
	address = modelstest.DB(t)
	db := modelstest.Connect(t, address)
	exec = func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("drop role if exists " + role)
	exec("create role " + role + " superuser login password 'before'")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return address, exec, func(password string) string {
		to := *u
		to.User = url.UserPassword(role, password)
		return to.String()
	}
}

// TestDatabasePasswordChanged: the password of the database's role is changed while web and work run, its file is after that, and all
// connections are cut. Both go on.
func TestDatabasePasswordChanged(t *testing.T) {
	t.Parallel()
	const role = "waybill_reload"
	address, exec, as := newRole(t, role)
	files := newSecretFiles(t, map[string]string{"DATABASE_URL": as("before")})
	// The keys of payloads have connections of their own, which are opened when the first event comes.
	env := append(files.env(), "LOG_LEVEL=info", "PAYLOAD_ENCRYPTION=on")
	web, work := startProcess(t, "web", env...), startProcess(t, "work", env...)
	work.says(t, "the worker runs")
	a := web.apiOf(address)
	a.tenant("acme")

	// First the file: the new password is not right yet, so the old one stays, and connections are opened with it.
	files.change(map[string]string{"DATABASE_URL": as("after")})
	web.says(t, `a connection could not be opened`)
	cut := func() {
		exec("select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + role + "'")
	}
	cut()
	a.eventually("/tenants/acme", func(o answer) bool { return o.status == 200 })
	// Then the role: it is tried again.
	exec("alter role " + role + " password 'after'")
	for _, p := range []*process{web, work} {
		p.says(t, "taken_over=DATABASE_URL")
	}
	cut()
	a.eventually("/tenants/acme", func(o answer) bool { return o.status == 200 })
	id := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`).str("id")
	a.eventually("/deliveries?event_id="+id, func(o answer) bool { return o.str("models", "0", "status") == "delivered" })

	// Another database is not taken for the same one.
	other, err := url.Parse(as("after"))
	if err != nil {
		t.Fatal(err)
	}
	other.Path += "_other"
	files.change(map[string]string{"DATABASE_URL": other.String()})
	web.says(t, "this is the address of another database")
	a.want(200, "GET", "/tenants/acme", nil)
	web.kill()
	work.kill()
	exec("drop owned by " + role) // the schema of the keys
	exec("drop role " + role)
}

// says waits until a process's log has a text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	(&testApp{TB: t}).follows(func() bool {
		b, err := os.ReadFile(p.log)
		said := err == nil && strings.Contains(string(b), text)
		select {
		case <-p.gone:
			if !said {
				t.Fatalf("the process ended without saying %q:\n%s", text, b)
			}
		default:
		}
		return said
	})
}

// TestSecretsReloaded: keys are taken from their files when these change, also for SIGHUP; what is wrong with one is told, and the value
// of before stays.
func TestSecretsReloaded(t *testing.T) {
	t.Parallel()
	address := modelstest.DB(t)
	const first, second, third = "the first key of this test", "the second key of this test", "the third key of this test"
	files := newSecretFiles(t, map[string]string{"API_KEY": first, "SECRET_KEY": first, "SECRET_KEY_PREVIOUS": third, "OIDC_NAME": "Acme",
		"SMTP_URL": "smtp://ann:before@127.0.0.1:2525", "MAIL_FROM": "Waybill <a@example.com>"})
	p := startProcess(t, "web", append(files.env(), "DATABASE_URL="+address, "LOG_LEVEL=info")...)
	a := p.apiOf(address).as(first)
	a.tenant("acme")
	token := a.want(200, "GET", "/tenants/acme/token", nil).str("token")
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"sealed","type":"webhook","topics":"*","config":{"url":"https://example.com/"}}`)
	problem := func(key *testApp, name string) string {
		return key.want(200, "GET", "/server/settings?q="+name, nil).str("models", "0", "problem")
	}

	// A key that is too short is not taken.
	files.change(map[string]string{"API_KEY": "short"})
	a.follows(func() bool { return problem(a, "API_KEY") != "" })
	if s := problem(a, "API_KEY"); !strings.Contains(s, "at least 16 characters") || !strings.Contains(s, "the value of before stays") {
		t.Errorf("the page says %q", s)
	}
	p.says(t, "at least 16 characters")
	if n := p.metric(t, first, "waybill_config_reload_failed"); n != "1" {
		t.Errorf("waybill_config_reload_failed is %s", n)
	}
	files.change(map[string]string{"API_KEY": second})
	b := a.as(second)
	p.says(t, "taken_over=API_KEY")
	b.want(200, "GET", "/tenants", nil)
	a.want(401, "GET", "/tenants", nil)
	if s := problem(b, "API_KEY"); s != "" {
		t.Errorf("and still %q", s)
	}

	// SECRET_KEY: not while what it sealed could not be opened, and then with what it signed.
	files.change(map[string]string{"SECRET_KEY": second})
	a.follows(func() bool { return strings.Contains(problem(b, "SECRET_KEY"), "SECRET_KEY_PREVIOUS") })
	b.want(200, "GET", "/tenants/acme/destinations/sealed", nil)
	files.change(map[string]string{"SECRET_KEY_PREVIOUS": third + "," + first})
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.follows(func() bool { return problem(b, "SECRET_KEY") == "" && b.tokenKey() != keyOf(token) })
	b.as(token).want(200, "GET", "/tenants/acme", nil)
	b.want(200, "GET", "/tenants/acme/destinations/sealed", nil)

	// What only a restart takes over is named, and what else is new is taken.
	files.change(map[string]string{"OIDC_NAME": "Other", "SMTP_URL": "smtp://ann:after@127.0.0.1:2525"})
	p.says(t, "taken_over=SMTP_URL")
	p.says(t, "setting=OIDC_NAME")
	if s := problem(b, "OIDC_NAME"); !strings.Contains(s, "only a restart") {
		t.Errorf("OIDC_NAME: %q", s)
	}
	// Without anything new, SIGHUP is answered in the log, and the process runs.
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.says(t, "because=SIGHUP")
	b.want(200, "GET", "/tenants", nil)
}

// keyOf is what a token says of the key that signed it.
func keyOf(token string) string {
	head, _, _ := strings.Cut(token, ".")
	return head
}

// tokenKey is what a new token says of the key that signs.
func (a *testApp) tokenKey() string {
	return keyOf(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
}

// metric is a metric of a process, as a text.
func (p *process) metric(t *testing.T, key, name string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// TestReplicaPasswordChanged: the replica's password is changed, and its file after that. It is not left away until a restart.
func TestReplicaPasswordChanged(t *testing.T) {
	t.Parallel()
	const role = "waybill_reload_replica"
	address, exec, as := newRole(t, role)
	files := newSecretFiles(t, map[string]string{"DATABASE_URL_REPLICA": as("before")})
	web := startProcess(t, "web", append(files.env(), "DATABASE_URL="+address, "LOG_LEVEL=info")...)
	a := web.apiOf(address)
	becomes := func(state string) {
		t.Helper()
		a.follows(func() bool {
			resp, err := http.Get(a.base + "/readyz")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return err == nil && strings.Contains(string(body), `"replica":"`+state+`"`)
		})
	}
	becomes("no_standby") // it is the primary itself, which says so to whoever is let in
	exec("alter role " + role + " password 'after'")
	exec("select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + role + "'")
	becomes("away")
	files.change(map[string]string{"DATABASE_URL_REPLICA": as("wrong")})
	web.says(t, "setting=DATABASE_URL_REPLICA")
	files.change(map[string]string{"DATABASE_URL_REPLICA": as("after")})
	web.says(t, "taken_over=DATABASE_URL_REPLICA")
	becomes("no_standby")
	web.kill()
	exec("drop role " + role)
}
