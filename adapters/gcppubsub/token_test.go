package gcppubsub

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	edit := func(key, value string) string {
		m := map[string]string{}
		json.Unmarshal([]byte(keyFile()), &m)
		m[key] = value
		b, _ := json.Marshal(m)
		return string(b)
	}
	const kept, opens = 1, 2 // it may be saved, and it can be used
	for name, c := range map[string]struct {
		text string
		good int
		want string // what is said where it is used
	}{
		"good": {keyFile(), opens, ""}, "spaces around it": {"\n " + keyFile() + "\n", opens, ""},
		"not JSON": {"AIza…", 0, "whole JSON key file"},
		"a list":   {"[]", 0, "whole JSON key file"}, "a user's": {edit("type", "authorized_user"), 0, "service_account"},
		"federated":  {edit("type", "external_account"), 0, "service_account"},
		"no address": {edit("client_email", ""), kept, "client_email"}, "no key": {edit("private_key", ""), kept, "private_key"},
		"broken key":     {edit("private_key", privateKey()[:200]), kept, "not an RSA key"},
		"its type alone": {`{"type":"service_account"}`, kept, "client_email"},
	} {
		for _, endpoint := range []string{"", "pubsub.googleapis.com:443", "https://pubsub.example.com"} {
			s := at(endpoint, "orders")
			s.Credentials["service_account_json"] = c.text
			// In front of an endpoint that is not Google's nothing is known of what it takes.
			if errs := typ.Validate(s); (len(errs) == 0) != (c.good >= kept || strings.HasSuffix(endpoint, "example.com")) ||
				len(errs) > 0 && errs[0].Key != "credentials.service_account_json" {
				t.Errorf("%s at %q: %+v", name, endpoint, errs)
			}
			if snd, err := typ.Open(adaptertest.Env(), *s); (err == nil) != (c.good == opens) {
				t.Errorf("%s at %q: %v", name, endpoint, err)
			} else if err == nil {
				snd.Close()
			} else if e := adapters.AsError(err); e.Class != adapters.ClassConfig || !strings.Contains(e.Message, c.want) ||
				e.Advice == "" {
				t.Errorf("%s at %q: %+v", name, endpoint, e)
			}
		}
	}
}

// An endpoint stays as it was written, and leads where it says.
func TestEndpointIsKept(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"pubsub.googleapis.com:443":          "https://pubsub.googleapis.com",
		"europe-west1-pubsub.googleapis.com": "https://europe-west1-pubsub.googleapis.com",
		"https://pubsub.googleapis.com/":     "https://pubsub.googleapis.com", "localhost:8085": "http://localhost:8085",
		"http://localhost:8085/": "http://localhost:8085",
	} {
		s := at(endpoint, "orders")
		if errs := typ.Validate(s); len(errs) > 0 || s.Config["endpoint"] != endpoint {
			t.Errorf("%q became %q: %+v", endpoint, s.Config["endpoint"], errs)
		}
		snd := open(t, s).(*sender)
		e, _ := outbound.ParseURL(address(endpoint))
		if got := strings.TrimSuffix(e.Label(), "/"); got != want || snd.host != e.Host {
			t.Errorf("%q leads to %q at %q", endpoint, got, snd.host)
		}
		if _, clear := snd.tokens.(none); clear != strings.HasPrefix(want, "http:") {
			t.Errorf("%q: credentials and encryption do not go together", endpoint)
		}
	}
}

// A token is used until shortly before its end.
func TestTokensAreKept(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, err := parseAccount(keyFile())
	if err != nil {
		t.Fatal(err)
	}
	s := &signed{account: a, now: func() time.Time { return now }}
	get := func() string {
		tok, err := s.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tok.value
	}
	first := get()
	now = now.Add(lifetime - early - time.Second)
	if get() != first {
		t.Error("a token that is good for four minutes more was replaced")
	}
	now = now.Add(2 * time.Second)
	second := get()
	if second == first {
		t.Error("a token that is about to end was used")
	}
	now = now.Add(time.Second)
	if s.drop(); get() == second {
		t.Error("a token that was refused was used again")
	}
}

// The host's service account is lent only when the operator says so, only to Google's endpoints, and never in clear text.
func TestHostCredentials(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		endpoint string
		lent     bool
		want     string
	}{
		"not lent": {"", false, "does not lend"}, "lent": {"", true, ""},
		"regional":    {"https://europe-west1-pubsub.googleapis.com", true, ""},
		"elsewhere":   {"https://pubsub.example.com", true, "Google's own endpoints"},
		"in the name": {"https://pubsub.googleapis.com.example.com", true, "Google's own endpoints"},
		"emulator":    {"http://localhost:8085", false, ""},
	} {
		s := at(c.endpoint, "orders")
		s.Credentials = nil
		snd, err := Type{}.Open(adapters.Env{HostCredentials: c.lent}, *s)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if _, clear := snd.(*sender).tokens.(none); clear != strings.HasPrefix(c.endpoint, "http:") {
				t.Errorf("%s: credentials and encryption do not go together", name)
			}
			snd.Close()
		} else if e := adapters.AsError(err); e.Class != adapters.ClassConfig {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// A key file that the operator names is used in the metadata server's place, as it is when a sender is opened, and nothing of
// it or of its path is told.
func TestKeyFileOfTheHost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.json")
	s := at("", "orders")
	s.Credentials = nil
	for text, want := range map[string]string{keyFile(): "", `{"type": "authorized_user"}`: "must be the key file of a service account",
		"": "must be the whole JSON"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		snd, err := Type{}.Open(adapters.Env{HostCredentials: true, GoogleKeyFile: path}, *s)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if own, ok := snd.(*sender).tokens.(*signed); !ok || own.account.Email == "" {
			t.Errorf("tokens come from %T", snd.(*sender).tokens)
		}
		snd.Close()
	}
	if _, err := (Type{}).Open(adapters.Env{HostCredentials: true, GoogleKeyFile: path + ".gone"}, *s); err == nil ||
		!strings.Contains(err.Error(), "GOOGLE_APPLICATION_CREDENTIALS") || strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := (Type{}).Open(adapters.Env{GoogleKeyFile: path}, *s); err == nil || !strings.Contains(err.Error(), "does not lend") {
		t.Errorf("nothing is lent: %v", err)
	}
}

// Tokens of the host come from the metadata server, once for all who want one.
func TestMetadataServer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		asked.Add(1)
		w.Write([]byte(`{"access_token":"ya29.host-token","expires_in":3599,"token_type":"Bearer"}`))
	}))
	t.Cleanup(srv.Close)
	now := time.Now()
	h, err := newHostTokens(srv.URL, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for range 3 {
		if tok, err := h.get(t.Context()); err != nil || tok.value != "ya29.host-token" {
			t.Fatalf("%+v %v", tok, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the metadata server was asked %d times", asked.Load())
	}
	now = now.Add(56 * time.Minute)
	if _, err := h.get(t.Context()); err != nil || asked.Load() != 2 {
		t.Errorf("%d questions, %v", asked.Load(), err)
	}
	srv.Config.Handler = http.NotFoundHandler()
	h.drop()
	if _, err := h.get(t.Context()); adapters.AsError(err).Class != adapters.ClassAuth {
		t.Errorf("%+v", err)
	}
}

// That this server may ask its metadata server does not let a tenant's endpoint lead there.
func TestEndpointsAreGuarded(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"http://169.254.169.254", "https://169.254.169.254", "https://10.0.0.1"} {
		snd, err := Type{}.Open(adapters.Env{HostCredentials: true}, *at(endpoint, "orders"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snd.Send(t.Context(), adaptertest.Event("evt_1")); err == nil || adapters.AsError(err).Class != adapters.ClassBlocked {
			t.Errorf("%s: %+v", endpoint, err)
		}
		snd.Close()
	}
}
