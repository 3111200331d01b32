package app

import (
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/static"
)

// sent is an answer as it comes over the wire.
type sent struct {
	status int
	header http.Header
	body   string
}

// wire asks for an address as a client that accepts gzip does, and leaves the answer as it is.
func (a *testApp) wire(client *http.Client, method, path, body string, header ...string) sent {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.base+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip, deflate")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatal(err)
	}
	return sent{resp.StatusCode, resp.Header, string(b)}
}

// plain is what was compressed.
func (s sent) plain(t testing.TB) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// orders is a payload of at least size bytes, as varied as payloads are.
func orders(size int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString(`{"orders":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"ord_%08x","customer":{"email":"customer%d@example.com","vip":%t},"total":%d.%02d,"currency":"EUR"}`,
			r.Uint32(), r.IntN(5000), r.IntN(2) == 0, r.IntN(900), r.IntN(100))
	}
	return b.String() + `]}`
}

// TestWhatIsReadIsCompressed: pages and JSON, with the right Vary and ETag, for those who accept it.
func TestWhatIsReadIsCompressed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v, key := a.visitor(), "Bearer "+testKey
	id := a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":`+orders(60_000)+`}`).str("id")
	page := "/t/acme/events/" + id

	whole := a.wire(v.client, "GET", page, "", "Accept-Encoding", "identity")
	small := a.wire(v.client, "GET", page, "")
	if small.header.Get("Content-Encoding") != "gzip" || len(small.body) > 20<<10 || whole.header.Get("Content-Encoding") != "" ||
		len(whole.body) < 60_000 {
		t.Errorf("the event's page: %d bytes %q, without compression %d bytes %q", len(small.body),
			small.header.Get("Content-Encoding"), len(whole.body), whole.header.Get("Content-Encoding"))
	}
	if !strings.Contains(small.plain(t), "customer1") || !strings.HasSuffix(strings.TrimSpace(small.plain(t)), "</html>") {
		t.Error("what was compressed is another page")
	}
	for _, s := range []sent{whole, small} {
		if !strings.Contains(s.header.Get("Vary"), "Accept-Encoding") || !strings.Contains(s.header.Get("Vary"), "Cookie") {
			t.Errorf("Vary: %q", s.header.Get("Vary"))
		}
	}
	for accept, want := range map[string]string{"gzip": "gzip", "gzip;q=0": "", "br": "", "": ""} {
		if got := a.wire(v.client, "GET", page, "", "Accept-Encoding", accept).header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: %q, want %q", accept, got, want)
		}
	}

	// The compressed answer is another representation: it has an ETag of its own, and both are known again.
	event := api.APIPrefix + "/events/" + id
	whole = a.wire(http.DefaultClient, "GET", event, "", "Authorization", key, "Accept-Encoding", "identity")
	small = a.wire(http.DefaultClient, "GET", event, "", "Authorization", key)
	plainTag, tag := whole.header.Get("ETag"), small.header.Get("ETag")
	if small.header.Get("Content-Encoding") != "gzip" || small.plain(t) != whole.body || tag == plainTag ||
		tag != strings.TrimSuffix(plainTag, `"`)+`-gzip"` {
		t.Errorf("the event: %q, ETag %s and %s", small.header.Get("Content-Encoding"), tag, plainTag)
	}
	for _, known := range []string{tag, plainTag, `"x", W/` + tag} {
		again := a.wire(http.DefaultClient, "GET", event, "", "Authorization", key, "If-None-Match", known)
		want := plainTag
		if strings.Contains(known, tag) {
			want = tag
		}
		if again.status != 304 || again.body != "" || again.header.Get("Content-Encoding") != "" || again.header.Get("ETag") != want ||
			again.header.Get("Vary") != small.header.Get("Vary") {
			t.Errorf("If-None-Match %s: %d %v", known, again.status, again.header)
		}
	}

	// A change is made on the version that was read, compressed or not.
	a.want(201, "PUT", "/tenants/other", nil)
	a.want(201, "POST", "/tenants/other/destinations",
		`{"id":"big","type":"echo","topics":"*","metadata":{"notes":"`+strings.Repeat("x y z ", 400)+`"}}`)
	read := a.wire(http.DefaultClient, "GET", api.APIPrefix+"/tenants/other/destinations/big", "", "Authorization", key)
	if read.header.Get("Content-Encoding") != "gzip" {
		t.Fatal(read.header)
	}
	a.want(200, "PATCH", "/tenants/other/destinations/big", `{"name":"a"}`, "If-Match", read.header.Get("ETag"))
	a.want(412, "PATCH", "/tenants/other/destinations/big", `{"name":"b"}`, "If-Match", read.header.Get("ETag"))

	// HEAD tells how GET varies.
	if head := a.wire(http.DefaultClient, "HEAD", event, "", "Authorization", key); !strings.Contains(head.header.Get("Vary"),
		"Accept-Encoding") {
		t.Errorf("HEAD: %v", head.header)
	}
	if doc := a.wire(http.DefaultClient, "GET", "/openapi.json", ""); doc.header.Get("Content-Encoding") != "gzip" ||
		!strings.HasSuffix(doc.header.Get("ETag"), `-gzip"`) {
		t.Errorf("the description: %v", doc.header)
	}
	if css := a.wire(http.DefaultClient, "GET", static.URL("app.css"), "", "Accept-Encoding",
		"gzip, br"); css.header.Get("Content-Encoding") != "br" {
		t.Errorf("the stylesheet: %v", css.header)
	}
}

// TestSecretsAreNotCompressed: the length of an answer must not tell what a secret in it is.
func TestSecretsAreNotCompressed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(c *config.Config) { c.BaseURL = "https://waybill.example.com" })
	a.tenant("acme")
	v, key := a.visitor(), "Bearer "+testKey
	notes := strings.Repeat("guess=whsec_ ", 300) // what somebody puts beside a secret, and enough to be worth compressing
	create := a.wire(http.DefaultClient, "POST", api.APIPrefix+"/tenants/acme/destinations",
		`{"id":"hook","type":"webhook","topics":"*","config":{"url":"https://example.com/hook"},"metadata":{"notes":"`+notes+`"}}`,
		"Authorization", key, "Content-Type", "application/json")
	same := []string{"Sec-Fetch-Site", "same-origin"}
	for what, s := range map[string]sent{
		"created": create,
		"shown": a.wire(http.DefaultClient, "GET", api.APIPrefix+"/tenants/acme/destinations/hook", "", "Authorization",
			key),
		"listed": a.wire(http.DefaultClient, "GET", api.APIPrefix+"/tenants/acme/destinations", "", "Authorization", key),
		"revealed": a.wire(http.DefaultClient, "POST", api.APIPrefix+"/tenants/acme/destinations/hook/secrets/reveal", "",
			"Authorization", key),
		"rotated": a.wire(http.DefaultClient, "POST", api.APIPrefix+"/tenants/acme/destinations/hook/secrets/rotate", "{}",
			"Authorization", key, "Content-Type", "application/json"),
		"revealed, a page": a.wire(v.client, "POST", "/t/acme/destinations/hook/secrets/reveal", "", same...),
	} {
		if !strings.Contains(s.body, "whsec_") || strings.Contains(s.body, "whsec_••") || s.header.Get("Content-Encoding") != "" ||
			len(s.body) < 1400 && what != "revealed" {
			t.Errorf("%s: Content-Encoding %q, %d bytes: %.200s", what, s.header.Get("Content-Encoding"), len(s.body), s.body)
		}
	}
	for _, path := range []string{"/token", "/portal"} {
		if s := a.wire(http.DefaultClient, "GET", api.APIPrefix+"/tenants/acme"+path, "", "Authorization", key); s.status != 200 ||
			s.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v", path, s.status, s.header)
		}
	}
	newKey := a.wire(v.client, "POST", "/api-keys/new", "name=Shop&scopes=read&tenant_id=&expires_in=0", append(same, "Content-Type",
		"application/x-www-form-urlencoded")...)
	if newKey.status != 200 || newKey.header.Get("Content-Encoding") != "" || len(newKey.body) < 1400 {
		t.Errorf("a new key: %d %v", newKey.status, newKey.header)
	}

	// What another site makes a browser ask for is not compressed either, whatever is on the page.
	for site, want := range map[string]string{"same-origin": "gzip", "none": "gzip", "cross-site": "", "same-site": "", "": ""} {
		var header []string
		if site != "" {
			header = []string{"Sec-Fetch-Site", site}
		}
		if got := a.wire(v.client, "GET", "/t/acme/events?q="+strings.Repeat("guess", 20), "",
			header...).header.Get("Content-Encoding"); got != want {
			t.Errorf("Sec-Fetch-Site %q: %q, want %q", site, got, want)
		}
	}
}

// TestStreamsAreNotCompressed: what is sent must arrive at once.
func TestStreamsAreNotCompressed(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	for range 30 {
		a.want(200, "PATCH", "/tenants/acme/destinations/inbox", `{"name":"`+strings.Repeat("x", 50)+`"}`)
	}
	s := a.stream("?since=start", "Accept-Encoding", "gzip")
	if got := s.resp.Header.Get("Content-Encoding"); got != "" {
		t.Fatalf("Content-Encoding: %s", got)
	}
	if _, _, ok := s.next(); !ok {
		t.Error("no change arrives")
	}
	export := a.wire(http.DefaultClient, "GET", api.APIPrefix+"/audit/export", "", "Authorization", "Bearer "+testKey)
	if export.status != 200 || len(export.body) < 1400 || export.header.Get("Content-Encoding") != "" {
		t.Errorf("%d, %d bytes, %v", export.status, len(export.body), export.header)
	}
}
