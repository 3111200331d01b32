package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestWebhookSecretChangedWhileBusy gives a destination another secret and other headers while its events are under way.
// The receiver, which takes nothing but the new ones from then on, gets everything without a process being started again.
func TestWebhookSecretChangedWhileBusy(t *testing.T) {
	t.Parallel()
	secret := func(letter string) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	first, second := secret("a"), secret("b")
	var accepted atomic.Value // the secret that the receiver knows
	accepted.Store(first)
	var s *stream
	var refused atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		known := accepted.Load().(string)
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(known, "whsec_"))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || r.Header.Get("X-Token") != known {
			refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.arrived(r.Header.Get("webhook-id"))
	}))
	t.Cleanup(receiver.Close)
	s = newStream(t, map[string]any{"type": "webhook", "config": map[string]any{"url": receiver.URL,
		"custom_headers": map[string]string{"X-Token": first}},
		"credentials": map[string]string{"secret": first}})
	s.run()
	s.rotated(func() { accepted.Store(second) }, map[string]any{"credentials": map[string]string{"secret": second},
		"config": map[string]any{"custom_headers": map[string]string{"X-Token": second}}})
	// Whatever is still refused was under way, or is waiting for its next attempt, since before the change.
	s.settled()
	if refused.Load() == 0 {
		t.Error("nothing was refused, so nothing was tested")
	}
}
