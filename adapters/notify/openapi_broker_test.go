//go:build brokers && openapi

package notify

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
)

// described is a service that Prism plays from its description. Channels speak TLS, Prism does not, so a proxy stands
// before it, which also keeps what Prism found wrong.
type described struct {
	*httptest.Server
	mu       sync.Mutex
	problems []string
}

func startDescribed(t *testing.T, variable string) *described {
	t.Helper()
	to, err := url.Parse(os.Getenv(variable))
	if err != nil || to.Host == "" {
		t.Fatalf("%s is not set; run: make test-brokers BROKERS=openapi", variable)
	}
	d := &described{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			// Prism's own word for a request that is not as described.
			if v := r.Header.Get("Sl-Violations"); v != "" {
				d.mu.Lock()
				d.problems = append(d.problems, v)
				d.mu.Unlock()
			}
			return nil
		},
	}
	d.Server = httptest.NewTLSServer(proxy)
	t.Cleanup(d.Close)
	return d
}

// wrong is what Prism found wrong since the last time.
func (d *described) wrong() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := strings.Join(d.problems, "\n")
	d.problems = nil
	return all
}

// TestBrokerTwilio sends every notice to what Twilio itself describes.
func TestBrokerTwilio(t *testing.T) {
	d := startDescribed(t, "WAYBILL_TEST_TWILIO")
	env := trust(testEnv(), d.Server)
	env.TwilioURL = d.URL
	for _, from := range []string{"+15017122661", "MG0123456789abcdef0123456789abcdef", "Waybill"} {
		channel := open(t, env, "sms", map[string]string{"account_sid": twilioSID, "from": from, "to": "+15558675310"},
			map[string]string{"auth_token": twilioToken})
		for name, n := range notices() {
			r, err := channel.Send(within(t, postTimeout), n)
			if wrong := d.wrong(); err != nil || r.Code != 201 || !strings.HasPrefix(r.Answer, "queued, SM") || wrong != "" {
				t.Errorf("%s from %s: %+v, %v, %s", name, from, r, err, wrong)
			}
		}
	}
	// Prism does refuse: an account's id that is none, which our form would not take.
	wrong := &sms{config: map[string]string{"to": "+15558675310", "from": "x"}, basic: "eDp5"}
	var err error
	if wrong.service, err = newService(env, "Twilio", d.URL+"/2010-04-01/Accounts/AC1/Messages.json"); err != nil {
		t.Fatal(err)
	}
	if r, err := wrong.Send(within(t, postTimeout), failing()); err == nil || r.Code != 422 {
		t.Errorf("a wrong account is taken: %+v", r)
	}
}

// TestBrokerPagerDuty sends every notice to what PagerDuty documents, also from a Waybill whose address nobody else can
// open.
func TestBrokerPagerDuty(t *testing.T) {
	d := startDescribed(t, "WAYBILL_TEST_PAGERDUTY")
	env := trust(testEnv(), d.Server)
	env.PagerDutyURL = d.URL
	all := notices()
	acknowledged, test, local := failing(), failing(), failing()
	acknowledged.Kind, test.Kind = Acknowledged, Test
	for _, link := range []*string{&local.AlertURL, &local.DestinationURL, &local.DeliveriesURL} {
		*link = strings.Replace(*link, "https://waybill.example.com", "http://localhost", 1)
	}
	all["acknowledged"], all["test"], all["local"] = acknowledged, test, local
	for name, n := range all {
		t.Run(name, func(t *testing.T) {
			env := env
			if n == local {
				env.BaseURL = "http://localhost"
			}
			channel := open(t, env, "pagerduty", map[string]string{"region": "us"}, map[string]string{"routing_key": pagerKey})
			r, err := channel.Send(within(t, postTimeout), n)
			if wrong := d.wrong(); err != nil || r.Code != 202 || r.Answer != "Event processed" || wrong != "" {
				t.Errorf("%+v, %v, %s", r, err, wrong)
			}
		})
	}
	channel := open(t, env, "pagerduty", map[string]string{"region": "us"}, map[string]string{"routing_key": pagerKey})
	channel.(*pagerDuty).key = "short"
	if _, err := channel.Send(within(t, postTimeout), failing()); err == nil || d.wrong() == "" ||
		adapters.AsError(err).Class != adapters.ClassRejected {
		t.Errorf("a key that is none is taken: %v", err)
	}
}

// TestBrokerSlackTypes compiles what goes to Slack against the types that Slack publishes of its blocks.
func TestBrokerSlackTypes(t *testing.T) {
	types := os.Getenv("WAYBILL_TEST_TYPES")
	if types == "" {
		t.Fatal("WAYBILL_TEST_TYPES is not set; run: make test-brokers BROKERS=openapi")
	}
	var ts strings.Builder
	ts.WriteString("import type { Block, KnownBlock, MessageAttachment } from '@slack/types';\n" +
		"// What an incoming webhook takes of a message, by Slack's documentation.\n" +
		"interface Message { text: string; blocks?: KnownBlock[]; attachments?: MessageAttachment[]; unfurl_links?: boolean; unfurl_media?: boolean }\n" +
		"export const messages: Message[] = [\n")
	for name, n := range notices() {
		f := startFake(t, func(*http.Request, []byte) (int, string) { return 200, "ok" })
		mustSend(t, open(t, trust(testEnv(), f.Server), "slack", nil, map[string]string{"url": f.URL + slackPath}), n)
		ts.WriteString("// " + name + "\n")
		ts.Write(f.got()[0])
		ts.WriteString(",\n")
	}
	ts.WriteString("];\n")
	compile := func(name, source string) (string, error) {
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(types, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{name: source,
			"tsconfig.json": `{"compilerOptions": {"noEmit": true, "strict": true, "skipLibCheck": true, "module": "node16", "types": []}}`} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), "node", filepath.Join(types, "node_modules/typescript/bin/tsc"), "--project",
			dir).CombinedOutput()
		return string(out), err
	}
	if out, err := compile("messages.ts", ts.String()); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	// The compiler does refuse: a block of a kind that does not exist.
	wrong, err := json.Marshal(map[string]any{"text": "x", "blocks": []any{map[string]any{"type": "headline"}}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := compile("wrong.ts", strings.Replace(ts.String(), "];\n", string(wrong)+",\n];\n", 1)); err == nil ||
		!strings.Contains(out, "headline") {
		t.Errorf("a block that does not exist is taken: %v\n%s", err, out)
	}
}
