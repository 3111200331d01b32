package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verify reports whether body was signed with secret at about the time now.
func verify(secret string, h http.Header, body []byte, now time.Time) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	sent, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || now.Sub(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", h.Get("webhook-id"), sent, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	return false
}

// The page for receivers shows the code above, and the vector that it is checked with.
func TestPageForReceivers(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, tail, _ := bytes.Cut(page, []byte("```go\n"))
	code, _, ok := bytes.Cut(tail, []byte("```"))
	if !ok || !bytes.Contains(source, code) {
		t.Error("the Go code in docs/webhooks.md is not that of docs_test.go, which is tested")
	}
	for _, text := range []string{vectorSecret, vectorID, vectorBody, vectorSignature, strconv.Itoa(vectorTime)} {
		if !bytes.Contains(page, []byte("`"+text+"`")) {
			t.Errorf("docs/webhooks.md does not show %s", text)
		}
	}
	h := http.Header{}
	h.Set("webhook-id", vectorID)
	h.Set("webhook-timestamp", strconv.Itoa(vectorTime))
	h.Set("webhook-signature", "v1,AAAA v1a,x "+vectorSignature)
	now := time.Unix(vectorTime+60, 0)
	if !verify(vectorSecret, h, []byte(vectorBody), now) {
		t.Error("the code does not verify the vector")
	}
	if verify(vectorSecret, h, []byte(vectorBody+" "), now) || verify(NewSecret(), h, []byte(vectorBody), now) ||
		verify(vectorSecret, h, []byte(vectorBody), now.Add(time.Hour)) {
		t.Error("the code verifies what it must not")
	}
}
