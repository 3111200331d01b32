package hookdeck

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const key = "cafe-0123456789-signing-key"

// bases is where the sources of tests are, by id. Each fake has ids of its own.
var (
	bases   sync.Map
	started atomic.Int64
)

var typ = Type{base: func(source string) (events, api string) {
	base, ok := bases.Load(source)
	if !ok {
		return "http://127.0.0.1:1", "http://127.0.0.1:1"
	}
	return base.(string), base.(string)
}}

// fake is Hookdeck. It knows tokens whose key is ours, refuses what does not have the form that its managed sources get from
// Outpost, and answers by the last part of the source's id.
type fake struct {
	*adaptertest.Sink
	release chan struct{}
}

func newFake(t testing.TB) *fake {
	f := &fake{Sink: adaptertest.NewSink(t), release: make(chan struct{})}
	first := make(chan bool, 1)
	first <- true
	answer := func(r *adaptertest.SinkRequest) adaptertest.Answer {
		if rest, ok := strings.CutPrefix(r.Target, "/2025-01-01/sources/"); ok {
			id, ok := strings.CutSuffix(rest, "/managed/verify")
			if !ok || r.Method != "GET" || r.Header.Get("X-Hookdeck-Source-Token") != tokenOf(id, key) {
				return adaptertest.Answer{Status: 401, Body: "no such token: " + r.Header.Get("X-Hookdeck-Source-Token")}
			}
			return adaptertest.Answer{Body: `{"name":"orders","disabled_at":null}`}
		}
		answer := adaptertest.Answer{Body: r.Header.Get("X-Outpost-Event-Id")}
		if status, why := wrong(r); why != "" {
			return adaptertest.Answer{Status: status, Body: why}
		}
		switch what := r.Target[strings.LastIndex(r.Target, "_")+1:]; what {
		case "hang":
			answer.Hang = true
		case "repeat":
			return adaptertest.Answer{Repeat: true, Status: 500}
		case "late":
			select {
			case <-first:
				answer.Wait = f.release
			default:
			}
		default:
			answer.Status, _ = strconv.Atoi(what)
		}
		return answer
	}
	f.AnswerWith(func(*adaptertest.SinkRequest) adaptertest.Answer { return adaptertest.Answer{Read: answer} }) // once the body is there
	return f
}

// wrong says what is wrong with an event's request, and how that is answered.
func wrong(r *adaptertest.SinkRequest) (status int, why string) {
	mac := hmac.New(sha256.New, []byte(tokenOf(strings.TrimPrefix(r.Target, "/"), key)))
	mac.Write(r.Body)
	at, err := strconv.ParseInt(r.Header.Get("X-Outpost-Timestamp"), 10, 64)
	contentType := r.Header.Get("Content-Type")
	switch {
	case r.Method != "POST" || strings.Contains(strings.TrimPrefix(r.Target, "/"), "/"):
		return 405, "events are posted to /<source id>"
	case !slices.Equal(r.Header.Values("X-Hookdeck-Signature"), []string{"v0=" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}):
		return 401, "the signature is not the body's"
	case contentType != "application/json" && contentType != adapters.ContentType(adapters.FormatStructured):
		return 415, "the content type is " + contentType
	case len(r.Header.Values("X-Outpost-Event-Id")) != 1 || len(r.Header.Values("X-Outpost-Timestamp")) != 1 ||
		len(r.Header.Values("X-Outpost-Topic")) > 1:
		return 400, "the event's id, topic or time is missing, or there twice"
	case err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute:
		return 400, "the time is not that of this attempt"
	}
	return 0, ""
}

func tokenOf(source, key string) string {
	return base64.StdEncoding.EncodeToString([]byte(source + ":" + key))
}

// at is the settings of a source whose id ends with what.
func at(base, what string) *adapters.Settings {
	source := fmt.Sprintf("src_%d_%s", started.Add(1), what)
	bases.Store(source, base)
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config: map[string]string{}, Credentials: map[string]string{"token": tokenOf(source, key)}}
}

func (f *fake) at(what string) *adapters.Settings {
	return at(strings.TrimSuffix(f.URL("/"), "/"), what)
}

func (f *fake) received() (out []adaptertest.Delivery) {
	for _, r := range f.Requests() {
		if r.Method != "POST" {
			continue
		}
		d := adaptertest.Delivery{EventID: strings.Join(r.Header.Values("X-Outpost-Event-Id"), ","),
			Topic: strings.Join(r.Header.Values("X-Outpost-Topic"), ","), Data: r.Body, Attributes: map[string]string{}}
		for name := range r.Header {
			d.Attributes[strings.ToLower(name)] = r.Header.Get(name)
		}
		out = append(out, d)
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: typ, Start: func(t *testing.T) adaptertest.Side {
		f := newFake(t)
		return adaptertest.Side{
			Env: adaptertest.Env(), Good: *f.at("200"), Refusing: f.at("422"), Hanging: f.at("hang"), Repeating: f.at("repeat"),
			Unreachable: at("http://"+adaptertest.ClosedPort(t), "200"), Late: f.at("late"), Release: func() { close(f.release) },
			Secrets: []string{key}, Open: f.Open, Received: f.received,
			AnswerTo: func(r adapters.Receipt) string { return string(r.Body) },
		}
	}})
}

func open(t testing.TB, s *adapters.Settings) adapters.Sender { return adaptertest.Open(t, typ, *s) }

// What Hookdeck gets is what it gets from Outpost, so that sources need not know who sends.
func TestWire(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.at("200")
	m := &adapters.Message{EventID: "evt_1", Topic: "order.created", Data: []byte(`{"a": 1.0}`), Attempt: 1,
		Metadata: map[string]string{"region": "eu", "event-id": "forged"}}
	for _, format := range []string{adapters.FormatPayload, adapters.FormatStructured} {
		s.Format = format
		if _, err := open(t, s).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range f.Requests() {
		mac := hmac.New(sha256.New, []byte(s.Credentials["token"]))
		mac.Write(r.Body)
		for name, want := range map[string]string{"X-Hookdeck-Signature": "v0=" + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
			"X-Outpost-Event-Id": "evt_1", "X-Outpost-Topic": "order.created", "X-Outpost-Region": "eu",
			"Content-Type": adapters.ContentType([]string{adapters.FormatPayload, adapters.FormatStructured}[i])} {
			if got := strings.Join(r.Header.Values(name), ","); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		at, err := strconv.ParseInt(r.Header.Get("X-Outpost-Timestamp"), 10, 64)
		if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
			t.Errorf("the timestamp is %q", r.Header.Get("X-Outpost-Timestamp"))
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for status, want := range map[string]adapters.Error{
		"401": {Kind: adapters.KindTransient, Class: adapters.ClassAuth, Advice: "Copy the token"},
		"404": {Kind: adapters.KindTransient, Class: adapters.ClassNotFound, Advice: "source still exists"},
		"410": {Kind: adapters.KindGone, Class: adapters.ClassGone, Advice: "source still exists"},
		"413": {Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge, Advice: "10 MiB"},
		"429": {Kind: adapters.KindThrottled, Class: adapters.ClassThrottled, Advice: "throughput"},
	} {
		_, err := open(t, f.at(status)).Send(t.Context(), &adapters.Message{EventID: "evt_1", Data: []byte("{}")})
		if e := adapters.AsError(err); err == nil || e.Kind != want.Kind || e.Class != want.Class ||
			!strings.Contains(e.Advice, want.Advice) || strings.Contains(e.Advice, "URL") {
			t.Errorf("%s: %+v", status, e)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		tokenOf("src_1", "k"): true, " " + tokenOf("src_1", "k:l") + "\r\n": true, "": false, "not base64!": false,
		tokenOf("src_1", ""): false, tokenOf("", "k"): false, tokenOf("src/../1", "k"): false, tokenOf("src 1", "k"): false,
		base64.StdEncoding.EncodeToString([]byte("src_1")): false,
	} {
		s := adapters.Settings{Credentials: map[string]string{"token": text}}
		if errs := (Type{}).Validate(&s); (len(errs) == 0) != good {
			t.Errorf("%q: %+v", text, errs)
		}
		if _, err := (Type{}).Open(adapters.Env{}, s); (err == nil) != good {
			t.Errorf("%q after validation: %v", text, err)
		}
	}
	label, page := Type{}.Target(adapters.Settings{Credentials: map[string]string{"token": tokenOf("src_1", "k")}})
	if label != "POST https://hkdk.events/src_1" || page != "https://dashboard.hookdeck.com/sources/src_1" {
		t.Errorf("the target is %q, %q", label, page)
	}
}

func TestCheckTellsBadTokens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	good := f.at("200")
	bad := f.at("200")
	source, _, _ := parseToken(bad.Credentials["token"])
	bad.Credentials["token"] = tokenOf(source, "another-signing-key")
	for s, last := range map[*adapters.Settings]adapters.Stage{good: {Name: "publish", OK: true}, bad: {Name: "auth"}} {
		stages := open(t, s).(adapters.Checker).Check(context.Background())
		if got := stages[len(stages)-1]; got.Name != last.Name || got.OK != last.OK {
			t.Errorf("%+v", stages)
		}
	}
	if len(f.received()) > 0 {
		t.Error("the check posted an event")
	}
}

// BenchmarkSend is one event of 1 KiB with 20 under way, to another side in the same process that only answers.
func BenchmarkSend(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"status":"SUCCESS"}`) }}
	go srv.Serve(ln)
	m := adaptertest.Event("evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f")
	m.Data = []byte(`{"a":"` + strings.Repeat("x", 1016) + `"}`)
	adaptertest.Bench(b, open(b, at("http://"+ln.Addr().String(), "200")), m)
}
