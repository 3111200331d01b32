package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
)

// lockedBuffer is a log that is written and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// planted is a destination with secrets that can be told from everything else.
type planted struct {
	config, credentials map[string]any
	secrets             []string // and what of them may not be seen alone
}

// plantedDestinations makes one for every type. mirror is a server that repeats all that it is sent, closed an address
// on which nobody listens.
func plantedDestinations(t *testing.T, mirror, closed string) map[string]planted {
	keyOf := func(der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	google := keyOf(x509.MarshalPKCS8PrivateKey(rsaKey))
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := keyOf(x509.MarshalPKCS8PrivateKey(ecKey))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now(),
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ecKey.PublicKey, ecKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	account, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "my-project",
		"client_email":   "waybill@my-project.iam.gserviceaccount.com",
		"private_key_id": "0123456789abcdef", "private_key": google, "token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	line := func(pemText string) string { return strings.Split(pemText, "\n")[3] }
	const key, secret, session = "AKIAPLANTED0KEY00000", "planted/Secret+Access0Key", "planted-session-token"
	aws := func(config map[string]any) planted {
		config["endpoint"] = mirror
		return planted{config, map[string]any{"key": key, "secret": secret, "session": session}, []string{key, secret, session}}
	}
	whsec := base64.StdEncoding.EncodeToString([]byte("planted signing secret of 32 b.."))
	token := base64.StdEncoding.EncodeToString([]byte("src_planted:planted-hookdeck-key"))
	return map[string]planted{
		"webhook": {map[string]any{"url": mirror + "/hook?token=planted-url-token&x=1",
			"custom_headers": map[string]string{"X-Token": "planted-header"}}, map[string]any{"secret": "whsec_" + whsec},
			[]string{"planted-header", "planted-url-token", whsec}},
		"hookdeck": {map[string]any{}, map[string]any{"token": token}, []string{token, "planted-hookdeck-key"}},
		"cloudflare_queues": {map[string]any{"account_id": "023e105f4ecef8ad9ca31a8372d0c353",
			"queue_id": "9d7d4cf8a3a14d9aaeb50c3e74e2f4b1"},
			map[string]any{"api_token": "planted-cloudflare-token"}, []string{"planted-cloudflare-token"}},
		"aws_sqs":         aws(map[string]any{"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}),
		"aws_eventbridge": aws(map[string]any{"event_bus": "orders", "region": "eu-west-1", "source": "com.example"}),
		"aws_kinesis":     aws(map[string]any{"stream_name": "orders", "region": "eu-west-1"}),
		"aws_s3":          aws(map[string]any{"bucket": "orders", "region": "eu-west-1"}),
		"gcp_pubsub": {map[string]any{"project_id": "my-project", "topic": "orders", "endpoint": mirror},
			map[string]any{"service_account_json": string(account)}, []string{line(google)}},
		"azure_servicebus": {map[string]any{"name": "orders"}, map[string]any{"connection_string": "Endpoint=sb://" + closed +
			"/;SharedAccessKeyName=waybill;SharedAccessKey=planted0Access+Key="}, []string{"planted0Access+Key"}},
		"rabbitmq": {map[string]any{"server_url": closed, "exchange": "orders"},
			map[string]any{"username": "waybill", "password": "planted-rabbit-password"},
			[]string{"planted-rabbit-password"}},
		"kafka": {map[string]any{"brokers": closed, "topic": "orders", "tls": "true", "sasl_mechanism": "plain"},
			map[string]any{"username": "waybill",
				"password": "planted-kafka-password", "client_certificate": certificate, "client_key": client},
			[]string{"planted-kafka-password", line(client)}},
	}
}

// plantedChannels makes a channel of every type, with a secret in it or to be made up by the server.
func plantedChannels(mirror string) map[string]planted {
	const slack, routing, twilio = "planted/slack/hook", "plantedpagerdutyroutingkey012345", "planted-twilio-token-of-32-letters"
	return map[string]planted{
		"email":     {config: map[string]any{"to": "ops@example.com"}},
		"slack":     {config: map[string]any{"url": "https://hooks.slack.com/services/" + slack}, secrets: []string{slack}},
		"pagerduty": {config: map[string]any{"routing_key": routing}, secrets: []string{routing}},
		"sms": {config: map[string]any{"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": twilio,
			"from": "+15005550006", "to": "+15005550009"}, secrets: []string{twilio}},
		"webhook": {config: map[string]any{"url": mirror + "/?token=planted-channel-url-token"},
			secrets: []string{"planted-channel-url-token"}},
		"destination": {config: map[string]any{}},
	}
}

// plantedByExample makes a channel of a type that plantedChannels does not have, out of the examples in its fields. Where
// they do not make one, the type belongs there.
func plantedByExample(kind *notify.Type) planted {
	p := planted{config: map[string]any{}}
	for _, f := range kind.Fields() {
		if f.Placeholder == "" || !f.Required {
			continue
		}
		p.config[f.Key] = f.Placeholder
		if kind.Secret(f.Key) != nil {
			p.secrets = append(p.secrets, f.Placeholder)
		}
	}
	return p
}

// lookInAudit looks for secrets in the audit log: in the table itself, in every answer of the API and on the pages.
func (a *testApp) lookInAudit(v *visitor, look func(where, text string), objects ...string) {
	a.Helper()
	var table string
	if err := a.db.QueryRow(a.Context(), "select coalesce(string_agg(a::text, E'\n'), '') from audit a").Scan(&table); err != nil {
		a.Fatal(err)
	}
	look("the table of the audit log", table)
	for _, path := range []string{"/audit?limit=1000", "/audit/export?format=csv", "/audit/export?format=jsonl"} {
		look(path, a.want(200, "GET", path, nil).raw)
	}
	look("the page of the audit log", v.get("/audit").source())
	for _, object := range objects {
		for _, e := range a.entries("object=" + object) {
			look("GET /audit/"+e.ID, a.want(200, "GET", "/audit/"+e.ID, nil).raw)
			look("the page of "+e.Action, v.get("/audit/"+e.ID).source())
		}
	}
}

// TestSecretsOfChannelsAreNotInTheAuditLog makes, changes, tests and deletes a channel of every type.
func TestSecretsOfChannelsAreNotInTheAuditLog(t *testing.T) {
	t.Parallel()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(mirror.Close)
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	plants := plantedChannels(mirror.URL)
	for _, kind := range notify.Types() {
		p, ok := plants[kind.Name]
		if !ok {
			p = plantedByExample(kind)
		}
		made := a.want(201, "POST", "/tenants/acme/channels", map[string]any{"type": kind.Name, "config": p.config})
		id, secrets := made.str("id"), p.secrets
		if s := made.str("config", "secret"); s != "" { // made up by the server, and shown this once
			secrets = append(secrets, strings.TrimPrefix(s, "whsec_"))
		}
		if len(secrets) == 0 && len(kind.Secrets) > 0 {
			t.Errorf("%s: no secret was planted", kind.Name)
		}
		other := map[string]any{"name": "Another name"}
		if len(p.secrets) > 0 {
			for k, value := range p.config {
				if s, _ := value.(string); strings.Contains(s, p.secrets[0]) {
					changed := s[:len(s)-4] + "0000"
					other["config"] = map[string]any{k: changed}
					secrets = append(secrets, changed[len(changed)-len(p.secrets[0]):])
				}
			}
		}
		a.want(200, "PATCH", "/tenants/acme/channels/"+id, other)
		if kind.Name == "webhook" { // the others would ask services that a test must leave alone
			a.want(200, "POST", "/tenants/acme/channels/"+id+"/test", nil)
		}
		a.want(200, "DELETE", "/tenants/acme/channels/"+id, nil)
		if n := len(a.entries("object=" + id)); n < 3 {
			t.Errorf("%s: %d entries", kind.Name, n)
		}
		a.lookInAudit(v, func(where, text string) {
			t.Helper()
			for _, s := range secrets {
				if strings.Contains(text, s) {
					t.Errorf("%s: %s shows %q: %.1500s", kind.Name, where, s, text)
				}
			}
		}, id)
	}
}

// TestSecretsAreSeenNowhere makes a destination of every type, lets it fail, and looks for its secrets in every answer of
// the API, on every page, in the log and in the audit log.
func TestSecretsAreSeenNowhere(t *testing.T) {
	t.Parallel()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Repeated", strings.Join(r.Header.Values("X-Token"), ""))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "%s %s %v %s", r.Method, r.URL, r.Header, body)
	}))
	t.Cleanup(mirror.Close)
	gone := httptest.NewServer(nil)
	closed := gone.Listener.Addr().String()
	gone.Close()

	log := &lockedBuffer{}
	a := newLoggedApp(t, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	a.want(201, "PUT", "/tenants/acme", nil)
	token := a.as(a.want(200, "GET", "/tenants/acme/token", nil).str("token"))
	v := a.visitor()
	plants := plantedDestinations(t, mirror.URL, closed)
	for _, reg := range adapters.All() {
		name := reg.Spec.Name
		if name == "echo" {
			continue // has no secrets
		}
		p, ok := plants[name]
		if !ok {
			t.Errorf("there is no destination of the type %s in plantedDestinations", name)
			continue
		}
		look := func(where, text string) {
			t.Helper()
			for _, s := range p.secrets {
				quoted, _ := json.Marshal(s)
				for _, form := range []string{s, strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(s))} {
					if strings.Contains(text, form) {
						t.Errorf("%s: %s shows %q: %.1500s", name, where, s, text)
					}
				}
			}
		}
		path := "/tenants/acme/destinations/" + name
		body := map[string]any{"id": name, "type": name, "topics": []string{name + ".tried"}, "config": p.config,
			"credentials": p.credentials,
			"timeout":     "2s", "retry": map[string]any{"max_attempts": 1}}
		fixed := name == "hookdeck" || name == "cloudflare_queues"
		if fixed {
			body["disabled_at"] = "2026-01-01T00:00:00Z" // it has but one address, which is not to be asked by a test
		}
		out := a.want(201, "POST", "/tenants/acme/destinations", body)
		if name != "webhook" { // whoever creates a webhook sees the secret that receivers need
			look("the answer to creating it", out.raw)
		}
		body["timeout"] = "no time at all"
		look("a refused change", a.want(422, "PATCH", path, body).raw)
		event := a.want(202, "POST", "/publish", map[string]any{"tenant_id": "acme", "topic": name + ".tried",
			"data": map[string]int{"n": 1}}).str("id")
		wanted := `"status":"failed"`
		if fixed {
			wanted = `"status":"held"`
		}
		deliveries := a.eventually("/events/"+event+"/deliveries", func(o answer) bool { return strings.Contains(o.raw, wanted) })
		look("its delivery", deliveries.raw)
		for _, who := range []*testApp{a, token} {
			if who == token || name != "webhook" { // operators see the secret of a webhook
				look("GET "+path, who.want(200, "GET", path, nil).raw)
				look("the list", who.want(200, "GET", "/tenants/acme/destinations?type="+name, nil).raw)
			}
			look("its attempts", who.want(200, "GET", path+"/attempts?include=response_data&include=destination", nil).raw)
			look("its deliveries", who.want(200, "GET", "/deliveries?tenant_id=acme&destination_id="+name, nil).raw)
		}
		const dir = "/t/acme/destinations/"
		pages := []string{dir + name, dir + name + "/settings", dir + name + "/test", "/t/acme/destinations", "/t/acme/events/" + event,
			"/t/acme"}
		if attempt := a.want(200, "GET", path+"/attempts", nil).str("models", "0", "id"); attempt != "" {
			pages = append(pages, "/t/acme/attempts/"+attempt)
			var row string // with the log that is kept of it
			if err := a.db.QueryRow(a.Context(),
				"select string_agg(t::text, E'\n') from attempts t where log is not null and method is not null").Scan(&row); err != nil ||
				row == "" {
				t.Errorf("%s: no attempt keeps a log (%v)", name, err)
			}
			look("the table of attempts", row)
			look("its attempt", a.want(200, "GET", "/attempts/"+attempt+"?include=response_data&include=destination", nil).raw)
		} else if !fixed {
			t.Errorf("%s: no attempt was made", name)
		}
		if !fixed {
			look("the check", a.want(200, "POST", path+"/check", nil).raw)
			check := v.post(dir + name + "/check")
			look("the page of the check", check.source())
		}
		for _, page := range pages {
			look(page, v.get(page).source())
		}
		// Everything that is written about it into the audit log: also what was there before a change of its secrets, and after.
		patch := map[string]any{"name": "Another name", "credentials": p.credentials}
		if p.config["custom_headers"] != nil {
			patch["config"] = map[string]any{"custom_headers": map[string]string{"X-Token": "planted-header",
				"X-Other": "planted-header too"}}
		}
		a.want(200, "PATCH", path, patch)
		for field := range p.credentials {
			a.do("PATCH", path, map[string]any{"credentials": map[string]any{field: nil}}) // refused where it is required
		}
		for _, secretly := range []string{"reveal", "rotate"} {
			a.do("POST", path+"/secrets/"+secretly, nil) // rotating is refused for most types
		}
		a.want(200, "PUT", path+"/disable", map[string]string{"reason": "tried"})
		a.want(200, "DELETE", path, nil)
		a.lookInAudit(v, look, name)
		look("the log", log.String())
	}
}

// source is the page's HTML.
func (p page) source() string {
	html, err := p.Html()
	if err != nil {
		p.t.Fatal(err)
	}
	return html
}
