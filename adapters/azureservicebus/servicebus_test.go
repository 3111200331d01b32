package azureservicebus

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: typ, Start: func(t *testing.T) adaptertest.Side {
		f := newFake(t)
		return adaptertest.Side{
			Env: adaptertest.Env(), Good: *f.at("orders"), Refusing: f.at("refuse"), Hanging: f.at("hang"), Repeating: f.at("repeat"),
			Unreachable: at(adaptertest.ClosedPort(t), "orders"), Late: f.at("late"), Release: func() { close(f.release) },
			Secrets: []string{secret}, Open: f.Open, Received: f.received,
		}
	}})
}

// No receipt or error shows the signature, though the other side repeats it.
func TestSignatureIsMasked(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r, err := open(t, f.at("repeat")).Send(t.Context(), adaptertest.Event("evt_1"))
	if err == nil {
		t.Fatal("a failing answer counts as sent")
	}
	shown := fmt.Sprintf("%+v %s %+v", r, r.Body, adapters.AsError(err))
	for _, s := range newToken(f.Requests()[0].Header.Get("Authorization"), time.Time{}).secrets {
		if len(s) < 40 || strings.Contains(shown, s) {
			t.Errorf("the signature is shown: %s", shown)
		}
	}
}

// A consumer finds every property where Service Bus has a place for it.
func TestWire(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	m := adaptertest.Event("evt_1")
	m.Topic = "order/created"
	m.Computed = map[string]string{"session_id_template": `Zoë "😀"`}
	m.Metadata = map[string]string{"region": "eu", "Host": "a", "Team Name": `Zoë "50%" \`, "EVENT-ID": "forged", "x-ms-retrypolicy": "b",
		"": "none"}
	m.DeliveryMetadata = map[string]string{"Region": "us", "team": ""}
	s := f.at("area/orders")
	if r, err := open(t, s).Send(t.Context(), m); err != nil || r.Code != 201 || r.Method != "SendMessage" ||
		!strings.HasSuffix(r.URL, "/area/orders/messages") {
		t.Fatalf("%+v %v", r, err)
	}
	want := message{queue: "area/orders", contentType: "application/json", body: m.Data,
		broker: map[string]string{"MessageId": "evt_1", "Label": "order/created", "SessionId": `Zoë "😀"`},
		properties: map[string]string{"event-id": "evt_1", "topic": "order/created", "timestamp": "2023-11-14T22:13:20Z",
			"region": "eu", "meta-Host": "a", "Team-Name": `Zoë "50%" \`, "meta-x-ms-retrypolicy": "b", "team": ""}}
	if d := cmp.Diff(want, f.messages[0], cmp.AllowUnexported(message{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	s.Format = adapters.FormatStructured
	m.EventID, m.Computed = strings.Repeat("i", 255), nil
	if _, err := open(t, s).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := f.messages[1]; got.contentType != adapters.ContentType(adapters.FormatStructured) || len(got.broker["MessageId"]) != 64 ||
		got.properties["event-id"] != m.EventID || got.broker["SessionId"] != "" {
		t.Errorf("%+v", got)
	}
}

// Metadata that is too much for a header is left out, ours never.
func TestMuchMetadata(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	m := adaptertest.Event("evt_1")
	m.Metadata = map[string]string{"a": strings.Repeat("x", 20000), "z": "small"}
	for i := range 300 {
		m.Metadata[fmt.Sprintf("key%03d", i)] = strings.Repeat("ü", 10)
	}
	if _, err := open(t, f.at("orders")).Send(t.Context(), m); err != nil {
		t.Fatalf("%+v", adapters.AsError(err))
	}
	got := f.messages[0].properties
	if got["event-id"] != "evt_1" || got["topic"] == "" || got["timestamp"] == "" || got["key000"] != strings.Repeat("ü", 10) ||
		len(got) < 100 {
		t.Errorf("%d properties: %v", len(got), got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for _, c := range []struct {
		answer adaptertest.Answer
		kind   adapters.Kind
		class  adapters.Class
		says   string
		after  time.Duration
	}{
		{problem(400, "The message is malformed."), adapters.KindPermanent, adapters.ClassRejected, "malformed", 0},
		{problem(400, "The SessionId was not set on a message."), adapters.KindTransient, adapters.ClassConfig, "requires sessions", 0},
		{problem(401, "ExpiredToken."), adapters.KindTransient, adapters.ClassAuth, `"waybill"`, 0},
		{problem(403, "40301: The quota has been exceeded."), adapters.KindThrottled, adapters.ClassThrottled, "is full", 0},
		{problem(403, "The message is too large."), adapters.KindPermanent, adapters.ClassTooLarge, "256 KB", 0},
		{problem(403, "Entity is disabled."), adapters.KindTransient, adapters.ClassAuth, "disabled", 0},
		{problem(404, "40400."), adapters.KindTransient, adapters.ClassNotFound, "scripted", 0},
		{problem(410, "Gone."), adapters.KindTransient, adapters.ClassNotFound, "scripted", 0},
		{problem(413, "Too large."), adapters.KindPermanent, adapters.ClassTooLarge, "256 KB", 0},
		{problem(429, "50009: throttled."), adapters.KindThrottled, adapters.ClassThrottled, "10 s", busyWait},
		{problem(503, "50002: ServerBusy."), adapters.KindThrottled, adapters.ClassThrottled, "10 s", busyWait},
		{adaptertest.Answer{Status: 503, Header: []string{"Retry-After: 33"}}, adapters.KindThrottled, adapters.ClassThrottled, "33 s",
			33 * time.Second},
		{problem(500, "Internal."), adapters.KindTransient, adapters.ClassServer, "status page", 0},
		{adaptertest.Answer{Status: 200, Body: "<html>"}, adapters.KindTransient, adapters.ClassProtocol, "201", 0},
		{adaptertest.Answer{Status: 302, Header: []string{"Location: https://elsewhere.test/"}}, adapters.KindTransient,
			adapters.ClassRedirect, "endpoint", 0},
		{adaptertest.Answer{Close: true}, adapters.KindTransient, adapters.ClassConnect, "closed the connection", 0},
	} {
		f.mu.Lock()
		f.answers["scripted"] = c.answer
		f.mu.Unlock()
		r, err := open(t, f.at("scripted")).Send(t.Context(), adaptertest.Event("evt_1"))
		if err == nil {
			t.Errorf("%d counts as sent", c.answer.Status)
			continue
		}
		e := adapters.AsError(err)
		if e.Kind != c.kind || e.Class != c.class || e.After != c.after || !strings.Contains(e.Message+e.Advice+e.Raw, c.says) ||
			strings.Contains(e.Message+e.Advice, "URL") || r.Code != c.answer.Status {
			t.Errorf("%d: %+v, receipt %+v", c.answer.Status, e, r)
		}
	}
	n := len(f.Requests())
	for what, m := range map[string]*adapters.Message{"too large": {EventID: "e", Data: make([]byte, maxBody+1)},
		"session": {EventID: "e", Data: []byte("{}"), Computed: map[string]string{sessionField: strings.Repeat("ü", 129)}}} {
		if r, err := open(t, f.at("orders")).Send(t.Context(), m); err == nil || adapters.AsError(err).Kind != adapters.KindPermanent ||
			r.Method != "" {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	if len(f.Requests()) != n {
		t.Error("a message that cannot be accepted was sent")
	}
}

// A queue that is deleted and made anew, a cut connection, and a key that is changed.
func TestRecovery(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.at("orders")
	snd := open(t, s)
	send := func(snd adapters.Sender) *adapters.Error {
		if _, err := snd.Send(t.Context(), adaptertest.Event("evt_1")); err != nil {
			return adapters.AsError(err)
		}
		return nil
	}
	set := func(exists bool, key string) {
		f.mu.Lock()
		f.queues["orders"], f.key = exists, key
		f.mu.Unlock()
	}
	set(false, secret)
	if e := send(snd); e == nil || e.Class != adapters.ClassNotFound {
		t.Errorf("there is no queue: %+v", e)
	}
	set(true, secret)
	f.CloseIdle()
	if e := send(snd); e != nil {
		t.Errorf("the queue is back: %+v", e)
	}
	set(true, "another-key")
	if e := send(snd); e == nil || e.Class != adapters.ClassAuth {
		t.Errorf("the key was changed: %+v", e)
	}
	s.Credentials["connection_string"] = strings.Replace(s.Credentials["connection_string"], secret, "another-key", 1)
	if e := send(open(t, s)); e != nil {
		t.Errorf("with the new key: %+v", e)
	}
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	const good = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=k+/="
	for text, key := range map[string]string{
		good: "", " " + good + ";\r\n": "", good + ";EntityPath=orders": "", good + ";EntityPath=Orders;TransportType=Amqp": "",
		strings.ToLower(good[:9]) + good[9:]: "",
		"Endpoint=sb://ns.servicebus.windows.net;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1&skn=p": "",
		good + ";EntityPath=others": "config.name",
		"":                          "credentials.connection_string", "sb://ns.servicebus.windows.net/": "credentials.connection_string",
		"Endpoint=sb://ns.servicebus.windows.net/":                                   "credentials.connection_string",
		"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p":             "credentials.connection_string",
		"SharedAccessKeyName=p;SharedAccessKey=k":                                    "credentials.connection_string",
		"Endpoint=sb://ns/path;SharedAccessKeyName=p;SharedAccessKey=k":              "credentials.connection_string",
		"Endpoint=ns.servicebus.windows.net;SharedAccessKeyName=p;SharedAccessKey=k": "credentials.connection_string",
		good + ";SharedAccessSignature=SharedAccessSignature sr=a":                   "credentials.connection_string",
		good + ";UseDevelopmentEmulator=true":                                        "credentials.connection_string",
	} {
		s := at("", "orders")
		s.Credentials["connection_string"] = text
		errs := Type{}.Validate(s)
		if key == "" && len(errs) > 0 || key != "" && (len(errs) != 1 || errs[0].Key != key) {
			t.Errorf("%q: %+v", text, errs)
		}
		if label, _ := (Type{}).Target(*s); key == "" && label != "orders on ns.servicebus.windows.net" {
			t.Errorf("the target is %q", label)
		}
	}
}

// A signature is used until shortly before its end, and the one of a connection string as it is.
func TestTokensAreKept(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 0)
	c, err := parseConnection("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=k")
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(c, "https://ns.servicebus.windows.net/Orders", func() time.Time { return now })
	first := tokens.get().value
	// Computed with: printf 'https%%3A%%2F%%2Fns.servicebus.windows.net%%2Forders\n1700003600' | openssl dgst -sha256 -hmac k -binary | base64
	const want = "SharedAccessSignature sr=https%3A%2F%2Fns.servicebus.windows.net%2Forders&sig=qthzJCTEzSmRNhr2SNnAFuB57go8jLSw0I%2BzxVvB6xs%3D&se=1700003600&skn=p"
	if first != want {
		t.Errorf("the token is %s", first)
	}
	now = now.Add(lifetime - early - time.Second)
	if tokens.get().value != first {
		t.Error("a good token was replaced")
	}
	now = now.Add(time.Second)
	if tokens.get().value == first {
		t.Error("a token that is about to end was used")
	}
	c, err = parseConnection("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessSignature=" + want)
	if err != nil || newTokens(c, "", time.Now).get().value != want {
		t.Errorf("%v", err)
	}
}

// BenchmarkSend is one event of 1 KiB with 20 under way, to another side in the same process that only answers, over TLS.
func BenchmarkSend(b *testing.B) {
	issued := adaptertest.Certificate{}.Issue(b)
	ln, err := tls.Listen("tcp4", "127.0.0.1:0", issued.Config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(201) }}
	go srv.Serve(ln)
	trusting := Type{roots: func(*outbound.Endpoint) *x509.CertPool { return issued.Roots }}
	m := adaptertest.Event("evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f")
	m.Data = []byte(`{"a":"` + strings.Repeat("x", 1016) + `"}`)
	adaptertest.Bench(b, adaptertest.Open(b, trusting, *at(ln.Addr().String(), "orders")), m)
}
