//go:build !darwin

// The processes are told by SSL_CERT_FILE whom to trust, which Go does not read on macOS.

package app

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// cloudService is a service over HTTPS that knows one credential at a time.
type cloudService struct {
	*httptest.Server
	ledger atomic.Pointer[ledger]
	// known reports whether a request comes from who may send; nil is for nobody.
	known atomic.Pointer[func(*http.Request) bool]
}

// newCloudService starts one. take returns the ids of the events in a request, and answers it.
func newCloudService(t *testing.T, take func(http.ResponseWriter, *http.Request) []string) *cloudService {
	s := &cloudService{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if known := s.known.Load(); known == nil || !(*known)(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for _, id := range take(w, r) {
			s.ledger.Load().arrived(id)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// trust makes a process trust the service's certificate.
func (s *cloudService) trust(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "SSL_CERT_FILE=" + path
}

// rotates holds a destination against the promise that the next message after a change uses the new credentials.
func (s *cloudService) rotates(t *testing.T, destination map[string]any, first, second func(*http.Request) bool, change map[string]any) {
	t.Helper()
	s.known.Store(&first)
	st := newStream(t, destination, s.trust(t))
	s.ledger.Store(st.ledger)
	st.run()
	st.rotated(func() { s.known.Store(&second) }, change)
	st.settled()
}

// TestPubSubKeyChangedWhileBusy renews the key of a service account whose events are under way.
func TestPubSubKeyChangedWhileBusy(t *testing.T) {
	t.Parallel()
	account := func() (file string, known func(*http.Request) bool) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "waybill@my-project.iam.gserviceaccount.com",
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
		if err != nil {
			t.Fatal(err)
		}
		return string(text), func(r *http.Request) bool {
			_, err := jwt.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
				func(*jwt.Token) (any, error) { return &key.PublicKey, nil },
				jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
			return err == nil
		}
	}
	oldKey, first := account()
	newKey, second := account()
	s := newCloudService(t, func(w http.ResponseWriter, r *http.Request) (ids []string) {
		var body struct {
			Messages []struct{ Attributes map[string]string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/projects/my-project/topics/orders:publish" {
			w.WriteHeader(http.StatusBadRequest)
			return nil
		}
		for _, m := range body.Messages {
			ids = append(ids, m.Attributes["event-id"])
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"messageIds": ids})
		return ids
	})
	s.rotates(t, map[string]any{"type": "gcp_pubsub", "config": map[string]string{"project_id": "my-project", "topic": "orders",
		"endpoint": s.URL},
		"credentials": map[string]string{"service_account_json": oldKey}}, first, second,
		map[string]any{"credentials": map[string]string{"service_account_json": newKey}})
}

// TestServiceBusKeyChangedWhileBusy renews the key of a policy whose events are under way.
func TestServiceBusKeyChangedWhileBusy(t *testing.T) {
	t.Parallel()
	s := newCloudService(t, func(w http.ResponseWriter, r *http.Request) []string {
		var properties struct{ MessageID string }
		if err := json.Unmarshal([]byte(r.Header.Get("BrokerProperties")), &properties); err != nil || r.URL.Path != "/orders/messages" {
			w.WriteHeader(http.StatusBadRequest)
			return nil
		}
		w.WriteHeader(http.StatusCreated)
		return []string{properties.MessageID}
	})
	policy := func(key string) (connection string, known func(*http.Request) bool) {
		return "Endpoint=sb://" + s.Listener.Addr().String() + "/;SharedAccessKeyName=waybill;SharedAccessKey=" + key,
			func(r *http.Request) bool {
				token, err := url.ParseQuery(strings.TrimPrefix(r.Header.Get("Authorization"), "SharedAccessSignature "))
				if err != nil {
					return false
				}
				mac := hmac.New(sha256.New, []byte(key))
				mac.Write([]byte(url.QueryEscape(token.Get("sr")) + "\n" + token.Get("se")))
				return token.Get("sig") == base64.StdEncoding.EncodeToString(mac.Sum(nil))
			}
	}
	oldKey, first := policy("b2xkIGtleSBvZiB0aGUgcG9saWN5IG9mIHRoZSB0ZXN0")
	newKey, second := policy("bmV3IGtleSBvZiB0aGUgcG9saWN5IG9mIHRoZSB0ZXN0")
	s.rotates(t, map[string]any{"type": "azure_servicebus", "config": map[string]string{"name": "orders"},
		"credentials": map[string]string{"connection_string": oldKey}},
		first, second, map[string]any{"credentials": map[string]string{"connection_string": newKey}})
}
