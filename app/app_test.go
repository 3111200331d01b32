package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	_ "github.com/waybill-dev/waybill/adapters/all"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models/modelstest"
)

const testKey = "wb_test_key_0123456789"

// testApp is a whole process (web and worker) on a database of its own, spoken to over HTTP.
type testApp struct {
	testing.TB
	*App
	db   *pgxpool.Pool // for the test's own statements
	base string
	key  string
	old  bool // it is of an earlier build, and its answers are not held against this one's description
}

func newTestApp(t testing.TB, change func(*config.Config)) *testApp {
	t.Helper()
	return newProcessOf(t, testConfig(t, change))
}

// newLoggedApp is newTestApp with another log.
func newLoggedApp(t testing.TB, log *slog.Logger) *testApp {
	t.Helper()
	return newProcessLogging(t, testConfig(t, nil), log)
}

func testConfig(t testing.TB, change func(*config.Config)) *config.Config {
	t.Helper()
	return testConfigOf(t, nil, change)
}

// testConfigOf is testConfig with more in the environment.
func testConfigOf(t testing.TB, more map[string]string, change func(*config.Config)) *config.Config {
	t.Helper()
	env := map[string]string{"DATABASE_URL": modelstest.DB(t), "API_KEY": testKey, "SECRET_KEY": "a secret for tests that is long enough",
		"RETRY_SCHEDULE": "1ms,1ms", "HOST": "127.0.0.1", "BASE_URL": "http://localhost"}
	maps.Copy(env, more)
	cfg, err := config.ReadConfig("serve", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Port = 0
	cfg.EgressAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if change != nil {
		change(cfg)
	}
	return cfg
}

// newProcessOf starts a process with this configuration.
func newProcessOf(t testing.TB, cfg *config.Config) *testApp {
	t.Helper()
	return newProcessLogging(t, cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
}

func newProcessLogging(t testing.TB, cfg *config.Config, log *slog.Logger) *testApp {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a, err := New(ctx, cfg, log)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	addr, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- a.Run(ctx, func() { close(started) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	})
	select {
	case <-started:
	case err := <-done:
		t.Fatal(err)
	}
	return &testApp{TB: t, App: a, db: modelstest.Connect(t, cfg.DatabaseURL), base: "http://" + addr, key: testKey}
}

// as returns the same app with another key or token.
func (a *testApp) as(key string) *testApp {
	b := *a
	b.key = key
	return &b
}

// answer is a response of the API.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (a *testApp) do(method, path string, body any, header ...string) answer {
	a.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			a.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, a.base+api.APIPrefix+path, r)
	if err != nil {
		a.Fatal(err)
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatal(err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &out.body)
	if a.old {
		return out
	}
	if err := contract().check(method, path, out); err != nil {
		a.Errorf("%s %s is not as openapi.json says: %v", method, path, err)
	}
	return out
}

// want fails the test unless the answer has this status.
func (a *testApp) want(status int, method, path string, body any, header ...string) answer {
	a.Helper()
	out := a.do(method, path, body, header...)
	if out.status != status {
		a.Fatalf("%s %s: status %d, want %d: %s", method, path, out.status, status, out.raw)
	}
	return out
}

// tenant makes a tenant with an echo destination.
func (a *testApp) tenant(id string) {
	a.Helper()
	a.want(201, "PUT", "/tenants/"+id, nil)
	a.want(201, "POST", "/tenants/"+id+"/destinations", map[string]any{"id": "inbox", "type": "echo", "topics": "*"})
}

// patience is how long tests wait for something that is bound to happen: longer than a busy machine takes.
const patience = 5 * time.Minute

// eventually asks until the answer is as wanted.
func (a *testApp) eventually(path string, wanted func(answer) bool) answer {
	a.Helper()
	deadline := time.Now().Add(patience)
	for {
		out := a.do("GET", path, nil)
		if wanted(out) {
			return out
		}
		if time.Now().After(deadline) {
			a.Fatalf("GET %s did not get there: %d %s", path, out.status, out.raw)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (o answer) str(path ...string) string {
	var v any = o.body
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			var i int
			fmt.Sscan(p, &i)
			if i >= len(x) {
				return ""
			}
			v = x[i]
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
