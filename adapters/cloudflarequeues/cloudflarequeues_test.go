package cloudflarequeues

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const (
	account = "023e105f4ecef8ad9ca31a8372d0c353"
	token   = "cafe-0123456789-api-token"
)

// queues is what each queue of the tests does, by id; each test has ids of its own.
var queues sync.Map

type queue struct{ base, does string }

var typ = Type{base: func(id string) string {
	q, ok := queues.Load(id)
	if !ok {
		return "http://127.0.0.1:1"
	}
	return q.(queue).base
}}

// at is the settings of a new queue.
func at(base, does string) *adapters.Settings {
	var b [16]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	queues.Store(id, queue{base, does})
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config: map[string]string{"account_id": account, "queue_id": id}, Credentials: map[string]string{"api_token": token}}
}

// fake is Cloudflare's API, written from its documentation. It refuses what is not described there.
type fake struct {
	*adaptertest.Sink
	release chan struct{}
	first   chan bool

	mu       sync.Mutex
	messages []message
	batches  []int
	culprit  string // a batch with a message that holds this is refused
}

type message struct {
	ContentType string          `json:"content_type"`
	Body        json.RawMessage `json:"body"`
}

func newFake(t testing.TB) *fake {
	f := &fake{Sink: adaptertest.NewSink(t), release: make(chan struct{}), first: make(chan bool, 1)}
	f.first <- true
	f.AnswerWith(func(*adaptertest.SinkRequest) adaptertest.Answer { return adaptertest.Answer{Read: f.answer} })
	return f
}

func (f *fake) at(does string) *adapters.Settings {
	return at(strings.TrimSuffix(f.URL("/"), "/"), does)
}

func problem(status, code int, message string) adaptertest.Answer {
	return adaptertest.Answer{Status: status, Header: []string{"Content-Type: application/json"},
		Body: fmt.Sprintf(`{"result":null,"success":false,"errors":[{"code":%d,"message":%q}],"messages":[]}`, code, message)}
}

func (f *fake) answer(r *adaptertest.SinkRequest) adaptertest.Answer {
	id, method, _ := strings.Cut(strings.TrimPrefix(r.Target, "/client/v4/accounts/"+account+"/queues/"), "/")
	q, ok := queues.Load(id)
	if !ok {
		return problem(404, 7003, "No route for the URI")
	}
	does := q.(queue).does
	if does == "repeat" {
		return adaptertest.Answer{Repeat: true, Status: 500}
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		return problem(401, 10000, "Authentication error")
	}
	if r.Method == "GET" && method == "" {
		if does == "gone" {
			return problem(404, 10104, "Queue not found")
		}
		return adaptertest.Answer{Body: `{"success":true,"errors":[],"messages":[],"result":{"queue_id":"` + id +
			`","queue_name":"orders"}}`}
	}
	got, err := read(r, method)
	if err != nil {
		return problem(400, 10026, err.Error())
	}
	f.mu.Lock()
	f.messages = append(f.messages, got...)
	f.batches = append(f.batches, len(got))
	culprit := f.culprit
	f.mu.Unlock()
	if culprit != "" && slices.ContainsFunc(got, func(m message) bool { return strings.Contains(string(m.Body), culprit) }) {
		return problem(400, 10207, "Message is not good")
	}
	good := adaptertest.Answer{Body: `{"success":true,"errors":[],"messages":[],"result":{"metadata":{"metrics":{"backlog_count":1,"backlog_bytes":26}}}}`}
	switch does {
	case "good":
	case "hang":
		good.Hang = true
	case "late":
		select {
		case <-f.first:
			good.Wait = f.release
		default:
		}
	case "hold":
		good.Wait = f.release
	case "html":
		good.Body = "<html>"
	case "unsuccessful":
		return problem(200, 10250, "Try again")
	default:
		var status, code int
		fmt.Sscanf(does, "%d %d", &status, &code)
		return problem(status, code, "So it is")
	}
	return good
}

// read takes a request apart, strictly.
func read(r *adaptertest.SinkRequest, method string) ([]message, error) {
	d := json.NewDecoder(strings.NewReader(string(r.Body)))
	d.DisallowUnknownFields()
	var batch struct {
		Messages []message `json:"messages"`
	}
	switch method {
	case "messages":
		batch.Messages = make([]message, 1)
		if err := d.Decode(&batch.Messages[0]); err != nil {
			return nil, err
		}
	case "messages/batch":
		if err := d.Decode(&batch); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("no method %s", method)
	}
	if n := len(batch.Messages); r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || n == 0 || n > 100 ||
		len(r.Body) > 256_000 {
		return nil, fmt.Errorf("%s %s: %d messages, %d bytes", r.Method, r.Header.Get("Content-Type"), n, len(r.Body))
	}
	for _, m := range batch.Messages {
		if m.ContentType != "json" || len(m.Body) > 128_000-100 {
			return nil, fmt.Errorf("a message of %q with %d bytes", m.ContentType, len(m.Body))
		}
	}
	return batch.Messages, nil
}

func (f *fake) received() (out []adaptertest.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		var body struct {
			Data     json.RawMessage
			Metadata map[string]string
		}
		if json.Unmarshal(m.Body, &body) != nil || body.Data == nil || body.Metadata == nil {
			out = append(out, adaptertest.Delivery{Data: m.Body})
			continue
		}
		// Spaces around the payload are none of JSON's business, and are sent all the same.
		raw := strings.TrimPrefix(string(m.Body), `{"data":`)
		d := adaptertest.Delivery{Data: []byte(raw[:strings.LastIndex(raw, `,"metadata":`)]), Attributes: map[string]string{}}
		for k, v := range body.Metadata {
			d.Attributes[strings.ToLower(k)] = v
		}
		d.EventID, d.Topic = body.Metadata["event-id"], body.Metadata["topic"]
		out = append(out, d)
	}
	return out
}

func open(t testing.TB, s *adapters.Settings) adapters.Sender { return adaptertest.Open(t, typ, *s) }

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: typ, Start: func(t *testing.T) adaptertest.Side {
		f := newFake(t)
		return adaptertest.Side{
			Env: adaptertest.Env(), Good: *f.at("good"), Refusing: f.at("400 10207"), Hanging: f.at("hang"), Repeating: f.at("repeat"),
			Unreachable: at("http://"+adaptertest.ClosedPort(t), "good"), Late: f.at("late"), Release: func() { close(f.release) },
			Secrets: []string{token}, Open: f.Open, Received: f.received, MaxData: 127_000,
		}
	}})
}

// A consumer that got messages of Outpost's gets the same ones.
func TestMessage(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	m := &adapters.Message{EventID: "evt_1", Topic: "order.created", Data: []byte(`{"a": 1.0}`), Attempt: 1,
		Time:     time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC),
		Metadata: map[string]string{"region": "eu", "event-id": "forged"}}
	s := f.at("good")
	if r, err := open(t, s).Send(t.Context(), m); err != nil || r.Code != 200 {
		t.Fatalf("%+v, %v", r, err)
	}
	r := f.Requests()[0]
	if want := `{"content_type":"json","body":{"data":{"a": 1.0},"metadata":{"event-id":"evt_1","timestamp":"2026-03-14T12:00:00Z","topic":"order.created","region":"eu"}}}`; string(r.Body) != want ||
		r.Target != "/client/v4/accounts/"+account+"/queues/"+s.Config["queue_id"]+"/messages" {
		t.Errorf("%s: %s", r.Target, r.Body)
	}
	m.Data = []byte(`"` + strings.Repeat("x", maxMessage) + `"`)
	if _, err := open(t, s).Send(t.Context(), m); err == nil || adapters.AsError(err).Class != adapters.ClassTooLarge ||
		len(f.Requests()) != 1 {
		t.Errorf("a message that is too large: %v", err)
	}
}

// TestBatches: what waits while requests are under way goes out together, and of a batch that is refused only the culprit
// fails.
func TestBatches(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.culprit = "evt_13\""
	snd := open(t, f.at("hold"))
	const n = 250
	failed := make([]error, n)
	var all sync.WaitGroup
	send := func(i int) {
		all.Go(func() {
			m := adaptertest.Event(fmt.Sprintf("evt_%d", i))
			_, failed[i] = snd.Send(t.Context(), m)
		})
	}
	for i := range calls { // they hold all requests; two that came at the same moment could share one
		send(n - calls + i)
		adaptertest.Eventually(t, "the first requests", func() bool { return len(f.Requests()) == i+1 })
	}
	for i := range n - calls {
		send(i)
	}
	adaptertest.Eventually(t, "the others to wait", func() bool { return waiting(snd) == n-calls })
	close(f.release)
	all.Wait()
	for i, err := range failed {
		if (err != nil) != (i == 13) {
			t.Errorf("message %d: %v", i, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Max(f.batches) != maxMessages || len(f.batches) > 30 {
		t.Errorf("requests of %v messages", f.batches)
	}
}

func waiting(s adapters.Sender) int { return s.(*sender).gatherer.Waiting() }

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for does, want := range map[string]adapters.Error{
		"401 10000":    {Kind: adapters.KindTransient, Class: adapters.ClassAuth, Advice: "Queues Edit"},
		"403 10106":    {Kind: adapters.KindTransient, Class: adapters.ClassAuth, Advice: "Queues Edit"},
		"400 6111":     {Kind: adapters.KindTransient, Class: adapters.ClassAuth, Advice: "Queues Edit"},
		"404 10104":    {Kind: adapters.KindTransient, Class: adapters.ClassNotFound, Advice: "queue ID"},
		"400 10107":    {Kind: adapters.KindTransient, Class: adapters.ClassNotFound, Advice: "queue ID"},
		"410 7003":     {Kind: adapters.KindTransient, Class: adapters.ClassNotFound, Advice: "queue ID"},
		"400 10207":    {Kind: adapters.KindPermanent, Class: adapters.ClassRejected, Advice: "Cloudflare's answer"},
		"413 10209":    {Kind: adapters.KindPermanent, Class: adapters.ClassTooLarge, Advice: "less data"},
		"429 10250":    {Kind: adapters.KindThrottled, Class: adapters.ClassThrottled, Advice: "rate limit"},
		"500 10001":    {Kind: adapters.KindTransient, Class: adapters.ClassServer, Advice: "status page"},
		"html":         {Kind: adapters.KindTransient, Class: adapters.ClassProtocol, Advice: "between this server"},
		"unsuccessful": {Kind: adapters.KindTransient, Class: adapters.ClassRejected, Advice: "Cloudflare's answer"},
	} {
		_, err := open(t, f.at(does)).Send(t.Context(), adaptertest.Event("evt_1"))
		e := adapters.AsError(err)
		if err == nil || e.Kind != want.Kind || e.Class != want.Class || !strings.Contains(e.Advice, want.Advice) ||
			strings.Contains(e.Advice, "URL") {
			t.Errorf("%s: %+v", does, e)
		}
		if _, code, ok := strings.Cut(does, " "); ok && !strings.Contains(e.Raw, code+" So it is") {
			t.Errorf("%s: Cloudflare's words are lost: %q", does, e.Raw)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	wrong := f.at("good")
	wrong.Credentials["api_token"] = "another-token"
	for s, last := range map[*adapters.Settings]adapters.Stage{f.at("good"): {Name: "publish", OK: true},
		wrong: {Name: "auth", Message: "API token"}, f.at("gone"): {Name: "auth", Message: "no queue"}} {
		stages := open(t, s).(adapters.Checker).Check(context.Background())
		if got := stages[len(stages)-1]; got.Name != last.Name || got.OK != last.OK || !strings.Contains(got.Message, last.Message) {
			t.Errorf("%+v", stages)
		}
	}
	if len(f.received()) > 0 {
		t.Error("the check sent a message")
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	id := "9d7d4cf8a3a14d9aaeb50c3e74e2f4b1"
	for value, good := range map[string]bool{id: true, "my-queue": false, strings.ToUpper(id): false, id + "0": false,
		"x/../../../user": false, "": false} {
		s := adapters.Settings{Config: map[string]string{"account_id": account, "queue_id": value},
			Credentials: map[string]string{"api_token": token}}
		if _, err := (Type{}).Open(adapters.Env{}, s); (err == nil) != good {
			t.Errorf("queue %q: %v", value, err)
		}
	}
	label, page := Type{}.Target(adapters.Settings{Config: map[string]string{"account_id": account, "queue_id": id}})
	if label != id || page != "https://dash.cloudflare.com/"+account+"/workers/queues" {
		t.Errorf("the target is %q, %q", label, page)
	}
}

// BenchmarkSend is one event of 1 KiB with 20 under way, to another side in the same process that only answers.
func BenchmarkSend(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"success":true}`) }}
	go srv.Serve(ln)
	m := adaptertest.Event("evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f")
	m.Data = []byte(`{"a":"` + strings.Repeat("x", 1016) + `"}`)
	adaptertest.Bench(b, open(b, at("http://"+ln.Addr().String(), "good")), m)
}
