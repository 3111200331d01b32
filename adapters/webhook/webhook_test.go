package webhook

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/httpevent"
)

// The vector that the Standard Webhooks libraries are tested with.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func at(seconds int64) Type {
	return Type{now: func() time.Time { return time.Unix(seconds, 0) }}
}

// signed are the settings beside config of a webhook with this signature.
func signed(scheme string) map[string]string { return map[string]string{signatureField: scheme} }

func settings(s *adaptertest.Sink) adapters.Settings {
	return adapters.Settings{ID: "des_1", TenantID: "t", Version: 1, Timeout: 10 * time.Second,
		Config:      map[string]string{"url": s.URL("/hook")},
		Credentials: map[string]string{"secret": vectorSecret}}
}

func open(t testing.TB, typ Type, s adapters.Settings) adapters.Sender {
	t.Helper()
	snd, err := typ.Open(adaptertest.Env(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snd.Close() })
	return snd
}

func send(t testing.TB, snd adapters.Sender, m adapters.Message) (adapters.Receipt, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return snd.Send(ctx, &m)
}

func mustSend(t testing.TB, snd adapters.Sender, m adapters.Message) adapters.Receipt {
	t.Helper()
	r, err := send(t, snd, m)
	if err != nil {
		t.Fatalf("%v (%s)", err, adapters.AsError(err).Raw)
	}
	return r
}

func TestStandardVector(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	snd := open(t, at(vectorTime), settings(s))
	r := mustSend(t, snd, adapters.Message{EventID: vectorID, Topic: "test.made", Attempt: 3, Data: []byte(vectorBody)})
	want := []string{"Host: " + s.Addr().String(), "Content-Length: 20", "User-Agent: Waybill/test", "Content-Type: application/json",
		"webhook-id: " + vectorID, "webhook-timestamp: 1614265330", "webhook-signature: " + vectorSignature,
		"waybill-topic: test.made", "waybill-attempt: 3"}
	got := s.Requests()[0]
	if d := cmp.Diff(want, got.Lines); d != "" {
		t.Errorf("header lines (-want +got):\n%s", d)
	}
	if string(got.Body) != vectorBody || got.Method != "POST" || got.Target != "/hook" {
		t.Errorf("%s %s %q", got.Method, got.Target, got.Body)
	}
	if r.ReqHeader != strings.Join(want, "\n")+"\n" {
		t.Errorf("the receipt shows %q", r.ReqHeader)
	}
}

// The published library is the judge of our signatures, with one secret and with two.
func TestLibraryVerifies(t *testing.T) {
	t.Parallel()
	old, current := NewSecret(), NewSecret()
	s := adaptertest.NewSink(t)
	set := settings(s)
	set.Credentials = map[string]string{"secret": current, "previous_secret": old,
		"previous_secret_invalid_at": time.Now().Add(time.Hour).Format(time.RFC3339)}
	body := []byte("{\"a\" : 1,\n \"ü\":\"\\u00fc\"} ")
	mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "evt_1", Attempt: 1, Data: body})

	set.Credentials["previous_secret_invalid_at"] = time.Now().Add(-time.Second).Format(time.RFC3339)
	mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "evt_1", Attempt: 2, Data: body})
	delete(set.Credentials, "previous_secret_invalid_at")
	mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "evt_1", Attempt: 3, Data: body})

	verifies := func(secret string, r adaptertest.SinkRequest) bool {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		return wh.Verify(r.Body, r.Header) == nil
	}
	for i, r := range s.Requests() {
		if !verifies(current, r) {
			t.Errorf("attempt %d does not verify with the current secret", i+1)
		}
		if got, want := verifies(old, r), i == 0; got != want {
			t.Errorf("attempt %d verifies with the previous secret: %v", i+1, got)
		}
		if verifies(NewSecret(), r) {
			t.Errorf("attempt %d verifies with any secret", i+1)
		}
		if n := len(strings.Fields(r.Header.Get("webhook-signature"))); n != map[int]int{0: 2, 1: 1, 2: 1}[i] {
			t.Errorf("attempt %d has %d signatures", i+1, n)
		}
	}
}

// Receivers verify the signature v1a with nothing but the public key that the API shows.
func TestAsymmetricSignature(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	set := settings(s)
	set.Beside, set.Credentials = signed(schemeEd25519), map[string]string{publicKeyField: "whpk_mine"}
	if errs := check(Type{}, &set); len(errs) > 0 || !strings.HasPrefix(set.Credentials["secret"], "whsk_") {
		t.Fatalf("%v %v", errs, set.Credentials)
	}
	first := set.Credentials[publicKeyField]
	set.Credentials["rotate_secret"] = "true"
	if errs := check(Type{}, &set); len(errs) > 0 {
		t.Fatal(errs)
	}
	second := set.Credentials[publicKeyField]
	mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "evt_1", Attempt: 1, Data: []byte(vectorBody)})
	r := s.Requests()[0]
	signatures := strings.Fields(r.Header.Get("webhook-signature"))
	if len(signatures) != 2 || first == second {
		t.Fatalf("%v with the keys %s and %s", signatures, first, second)
	}
	for i, public := range []string{second, first} {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
		if err != nil {
			t.Fatal(err)
		}
		text, is := strings.CutPrefix(signatures[i], "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !is || !ed25519.Verify(key, []byte("evt_1."+r.Header.Get("webhook-timestamp")+"."+vectorBody), signature) {
			t.Errorf("%s does not verify with %s", signatures[i], public)
		}
	}
	for secret, says := range map[string]string{vectorSecret: "whsk_", "whsk_AAAA": "32 or 64 bytes",
		"whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 64)): "do not belong together"} {
		bad := settings(s)
		bad.Beside, bad.Credentials = signed(schemeEd25519), map[string]string{"secret": secret}
		if errs := check(Type{}, &bad); len(errs) != 1 || !strings.Contains(errs["credentials.secret"], says) {
			t.Errorf("%.10s: %v", secret, errs)
		}
	}
	seed := settings(s)
	seed.Beside, seed.Credentials = signed(schemeEd25519), map[string]string{"secret": "whsk_" +
		base64.StdEncoding.EncodeToString(make([]byte, 32))}
	if errs := check(Type{}, &seed); len(errs) > 0 || seed.Credentials[publicKeyField] == "" {
		t.Errorf("a seed alone: %v", errs)
	}
}

// A sender reuses what it computes signatures with, from many goroutines.
func TestEverySignatureOfASenderVerifies(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	snd := open(t, Type{}, settings(s))
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 10 {
				body := fmt.Sprintf(`{"n":"%s"}`, strings.Repeat("x", 37*i+g))
				mustSend(t, snd, adapters.Message{EventID: fmt.Sprintf("evt_%d_%d", g, i), Attempt: 1, Data: []byte(body)})
			}
		})
	}
	all.Wait()
	wh, err := standardwebhooks.NewWebhook(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Requests() {
		if err := wh.Verify(r.Body, r.Header); err != nil {
			t.Errorf("%s: %v", r.Header.Get("webhook-id"), err)
		}
	}
}

// The overlap ends while the sender lives.
func TestPreviousSecretExpiresInOpenSender(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	set := settings(s)
	set.Credentials["previous_secret"] = NewSecret()
	set.Credentials["previous_secret_invalid_at"] = time.Unix(2000, 0).UTC().Format(time.RFC3339)
	now := int64(1999)
	snd := open(t, Type{now: func() time.Time { return time.Unix(now, 0) }}, set)
	for range 2 {
		mustSend(t, snd, adapters.Message{EventID: "e", Data: []byte("{}")})
		now++
	}
	got := s.Requests()
	if a, b := strings.Count(got[0].Header.Get("webhook-signature"), "v1,"), strings.Count(got[1].Header.Get("webhook-signature"),
		"v1,"); a != 2 || b != 1 {
		t.Errorf("%d signatures before the end, %d at it", a, b)
	}
}

func TestOutpostScheme(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	set := settings(s)
	set.Beside = signed("outpost")
	set.Credentials = map[string]string{"secret": "not base64 at all!", "previous_secret": "key-of-old",
		"previous_secret_invalid_at": time.Unix(1700000100, 0).UTC().Format(time.RFC3339)}
	mustSend(t, open(t, at(1700000000), set), adapters.Message{EventID: "evt_1", Topic: "user.created", Attempt: 2, Data: []byte(`{"a":1}`),
		Metadata: map[string]string{"user_id": "ü\n1", "Signature": "v0=forged", "TOPIC": "forged", "event-id": "forged",
			"timestamp": "0"}})
	got := s.Requests()[0].Lines[4:]
	want := []string{"x-outpost-event-id: evt_1", "x-outpost-timestamp: 1700000000", "x-outpost-topic: user.created",
		// printf '{"a":1}' | openssl dgst -sha256 -hmac 'not base64 at all!', and 'key-of-old'
		"x-outpost-signature: v0=8dfd4c2358c28f08d3425291582f6d73a8d8941973005a4eb4c89defe6a66fbe" +
			",6995fed5cac29df3d0548cb9f026544587839bc4459bb86206175ea10cfc1781", "x-outpost-user_id: ü 1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("header lines (-want +got):\n%s", d)
	}
}

func TestMetadataHeaders(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	mustSend(t, open(t, at(1), settings(s)), adapters.Message{EventID: "evt_1", Topic: "t", Attempt: 1, Data: []byte("{}"),
		Metadata: map[string]string{"Region": "eu", "user_id": "7", "user-id": "8", "name": "Zoë 50%",
			"x\r\ny: z": "a\r\nwebhook-id: evt_2",
			"":          "nothing", "empty": "", "spaces": " a ", "api_key": "hush"},
		DeliveryMetadata: map[string]string{"region": "us", "team": "billing"}})
	r := s.Requests()[0]
	var got []string
	for _, l := range r.Lines {
		if strings.HasPrefix(l, httpevent.MetaPrefix) {
			got = append(got, strings.TrimPrefix(l, httpevent.MetaPrefix))
		}
	}
	want := []string{"region: eu", "api-key: hush", "empty: ", "name: Zo%C3%AB 50%25", "spaces: %20a%20", "user-id: 8",
		"x--y--z: a%0D%0Awebhook-id: evt_2", "team: billing"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	if ids := r.Header.Values("webhook-id"); len(ids) != 1 || ids[0] != "evt_1" {
		t.Errorf("webhook-id %q", ids)
	}
}

// TestTraceparent passes the trace context on, unless the destination's owner sets one.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	sink := adaptertest.NewSink(t)
	const sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for custom, want := range map[string]string{"": sent, `{"Traceparent":"mine"}`: "mine"} {
		for _, signature := range []string{"", "outpost"} {
			set := settings(sink)
			set.Config["custom_headers"], set.Beside = custom, signed(signature)
			receipt := mustSend(t, open(t, Type{}, set), adapters.Message{EventID: "evt_1", Data: []byte(`{}`), TraceParent: sent,
				TraceState: "rojo=1"})
			if n := strings.Count(strings.ToLower(receipt.ReqHeader), "traceparent:"); n != 1 ||
				!strings.Contains(receipt.ReqHeader, ": "+want) ||
				strings.Contains(strings.ToLower(receipt.ReqHeader), "tracestate: rojo=1") != (custom == "") {
				t.Errorf("custom headers %q: %s", custom, receipt.ReqHeader)
			}
		}
	}
}

func TestCustomHeaders(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Repeat: true, Status: 500})
	set := settings(s)
	set.Config["custom_headers"] = `{"x-team":"billing","Authorization":"Bearer abcdef123","X-Access-Token":"tok-123456","user-agent":"mine","Content-Type":"application/vnd.x+json","X-Odd":"Basic dXNlcjpwYXNz"}`
	r, err := send(t, open(t, at(1), set), adapters.Message{EventID: "e", Attempt: 1, Data: []byte("{}")})
	if adapters.AsError(err).Class != adapters.ClassServer {
		t.Fatal(err)
	}
	want := []string{"Authorization: Bearer abcdef123", "Content-Type: application/vnd.x+json", "X-Access-Token: tok-123456",
		"X-Odd: Basic dXNlcjpwYXNz", "user-agent: mine", "x-team: billing"}
	if d := cmp.Diff(want, s.Requests()[0].Lines[2:8]); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	for _, secret := range []string{"abcdef123", "tok-123456", "dXNlcjpwYXNz"} {
		if all := fmt.Sprintf("%+v %s %+v", r, r.Body, err); strings.Contains(all, secret) {
			t.Errorf("%s is in the receipt: %s", secret, all)
		}
	}
	for _, line := range []string{"Authorization: ***\n", "x-team: billing\n", "user-agent: mine\n", "X-Odd: ***\n"} {
		if !strings.Contains(r.ReqHeader, line) {
			t.Errorf("%q is not in %q", line, r.ReqHeader)
		}
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer adaptertest.Answer
		kind   adapters.Kind
		class  adapters.Class // empty for success
		retry  time.Duration
	}{
		{answer: adaptertest.Answer{Status: 204}},
		{answer: adaptertest.Answer{Status: 200, Header: []string{"webhook-delivery: disable"}}},
		{answer: adaptertest.Answer{Status: 302, Header: []string{"Location: /x"}}, class: adapters.ClassRedirect},
		{answer: adaptertest.Answer{Status: 400}, kind: adapters.KindPermanent, class: adapters.ClassRejected},
		{answer: adaptertest.Answer{Status: 413}, kind: adapters.KindPermanent, class: adapters.ClassTooLarge},
		{answer: adaptertest.Answer{Status: 410}, kind: adapters.KindGone, class: adapters.ClassGone},
		{answer: adaptertest.Answer{Status: 429, Header: []string{"Retry-After: 9"}}, kind: adapters.KindThrottled,
			class: adapters.ClassThrottled, retry: 9 * time.Second},
		{answer: adaptertest.Answer{Status: 500, Header: []string{"Retry-After: 9"}}, class: adapters.ClassServer, retry: 9 * time.Second},
		{answer: adaptertest.Answer{Status: 404, Header: []string{"WebHook-Delivery: Disable"}}, kind: adapters.KindGone,
			class: adapters.ClassGone},
		{answer: adaptertest.Answer{Status: 500, Header: []string{"webhook-delivery: abort-message"}}, kind: adapters.KindAbort,
			class: adapters.ClassAborted},
		// The status is known, and says more than that the body is missing.
		{answer: adaptertest.Answer{Raw: "HTTP/1.1 410 Gone\r\nContent-Length: 9\r\n\r\nab", Close: true}, kind: adapters.KindGone,
			class: adapters.ClassGone},
		// An acknowledgement that broke off is none.
		{answer: adaptertest.Answer{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", Close: true}, class: adapters.ClassProtocol},
	} {
		s := adaptertest.NewSink(t, tt.answer)
		r, err := send(t, open(t, Type{}, settings(s)), adapters.Message{EventID: "e", Data: []byte("{}")})
		if tt.class == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.answer, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%+v counts as delivered", tt.answer)
			continue
		}
		e := adapters.AsError(err)
		if e.Kind != tt.kind || e.Class != tt.class || r.Retry != tt.retry || r.Code == 0 || r.Method != "POST" {
			t.Errorf("%+v: %+v, receipt %+v", tt.answer, e, r)
		}
		if e.Kind == adapters.KindThrottled && e.After != tt.retry {
			t.Errorf("After is %v", e.After)
		}
	}
}

func TestSettingsTimeout(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Hang: true})
	set := settings(s)
	set.Timeout = 300 * time.Millisecond
	_, err := send(t, open(t, Type{}, set), adapters.Message{EventID: "e", Data: []byte("{}")})
	if e := adapters.AsError(err); e.Class != adapters.ClassTimeout || !strings.Contains(e.Message, "No answer within 300 ms") {
		t.Errorf("%+v", e)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://h.example/a/b?token=x": "POST https://h.example/a/b", "https://h.example": "POST https://h.example/", "junk": "POST",
	} {
		if got, page := (Type{}).Target(adapters.Settings{Config: map[string]string{"url": in}}); got != want || page != "" {
			t.Errorf("%s: %q %q", in, got, page)
		}
	}
}

func TestOpenRefusesBrokenSettings(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*adapters.Settings){
		func(s *adapters.Settings) { s.Config["url"] = "nowhere" },
		func(s *adapters.Settings) { s.Config["custom_headers"] = `{"Host":"x"}` },
		func(s *adapters.Settings) { s.Credentials["secret"] = "whsec_hush!" },
		func(s *adapters.Settings) { s.Credentials = nil },
	} {
		set := adapters.Settings{Config: map[string]string{"url": "https://h.example"},
			Credentials: map[string]string{"secret": vectorSecret}}
		change(&set)
		_, err := Type{}.Open(adaptertest.Env(), set)
		if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient || e.Class != adapters.ClassConfig ||
			strings.Contains(e.Error(), "hush") {
			t.Errorf("%+v", err)
		}
	}
}

func TestCheckSendsNothing(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	stages := open(t, Type{}, settings(s)).(adapters.Checker).Check(context.Background())
	last := stages[len(stages)-1]
	if len(stages) != 3 || last.Name != "publish" || !last.OK || !strings.Contains(last.Message, "Nothing was posted") ||
		len(s.Requests()) != 0 {
		t.Errorf("%+v", stages)
	}
	gone := settings(s)
	gone.Config["url"] = "http://10.0.0.1/"
	if stages = open(t, Type{}, gone).(adapters.Checker).Check(context.Background()); stages[len(stages)-1].Name != "connect" ||
		stages[len(stages)-1].OK {
		t.Errorf("%+v", stages)
	}
}

// BenchmarkSend is one event of 1 KiB to a sink in the same process: headers, signature, exchange and receipt.
func BenchmarkSend(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"ok":true}`) }}
	go srv.Serve(ln)
	snd := open(b, Type{}, adapters.Settings{Config: map[string]string{"url": "http://" + ln.Addr().String() + "/hook"},
		Credentials: map[string]string{"secret": vectorSecret}})
	m := &adapters.Message{EventID: "evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f", Topic: "order.created", Attempt: 1,
		Data: []byte(`{"a":"` + strings.Repeat("x", 1016) + `"}`)}
	for name, meta := range map[string]map[string]string{"bare": nil, "metadata": {"region": "eu", "user_id": "12345"}} {
		b.Run(name, func(b *testing.B) {
			m.Metadata = meta
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				if _, err := snd.Send(ctx, m); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}

// TestCertificateIsTold: also an attempt that fails because the receiver's certificate has ended tells when that was.
func TestCertificateIsTold(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(-time.Hour).Truncate(time.Second)
	sink := adaptertest.NewTLSSink(t, adaptertest.Certificate{NotAfter: ends})
	sender, err := Type{}.Open(adaptertest.Env(), adapters.Settings{ID: "des_1", Version: 1,
		Config:      map[string]string{"url": sink.URL("/")},
		Credentials: map[string]string{"secret": NewSecret()}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sender.Close() })
	r, err := sender.Send(t.Context(), &adapters.Message{EventID: "evt_1", Data: []byte("{}"), Attempt: 1})
	if err == nil || !r.CertificateEnds.Equal(ends) {
		t.Errorf("%v, want %v (%v)", r.CertificateEnds, ends, err)
	}
}
