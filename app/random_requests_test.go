package app

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/internal/openapi"
)

var (
	randomTime = flag.Duration("random-time", 3*time.Second, "how long TestRandomRequests makes requests")
	randomSeed = flag.Uint64("random-seed", 0, "what its requests are chosen by; 0 for another each time")
)

// TestRandomRequests makes requests out of openapi.json for as long as -random-time says: their parts as the description asks, or as
// nobody expects. There is no 5xx, each refusal is a problem document, the server lives, and of the events that others publish
// meanwhile none is lost. The same -random-seed makes the same requests; a request that fails is printed in full.
func TestRandomRequests(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random-seed %d", seed)
	a := newTestApp(t, nil)
	a.old = true
	a.tenant("acme")
	a.tenant("ledger")
	g := &requests{app: a, ids: everyID(a), ops: operations(), token: a.want(200, "GET", "/tenants/acme/token", nil).str("token")}
	a.want(200, "PUT", "/topics/ledger", `{}`) // once there is a catalogue, nothing else is taken
	until := time.Now().Add(*randomTime)
	var wg sync.WaitGroup
	var made, taken atomic.Int64
	for worker := range uint64(2) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, worker))
			for time.Now().Before(until) && !t.Failed() {
				if g.one(r) {
					taken.Add(1)
				}
				made.Add(1)
			}
		})
	}
	var accepted []string
	wg.Go(func() {
		for n := 0; time.Now().Before(until) && !t.Failed(); n++ {
			out := a.do("POST", "/publish", fmt.Sprintf(`{"tenant_id":"ledger","topic":"ledger","id":"ledger-%d","data":{"n":%d}}`, n, n))
			switch out.status {
			case 202:
				accepted = append(accepted, out.str("id"))
			case 429, 503: // too much at once
			default:
				t.Errorf("an event is answered %d %s", out.status, out.raw)
			}
			<-time.After(5 * time.Millisecond)
		}
	})
	wg.Wait()
	t.Logf("%d requests, of which %d were carried out; %d events beside them", made.Load(), taken.Load(), len(accepted))
	if made.Load() < 20 || taken.Load() == 0 || len(accepted) == 0 {
		t.Error("hardly anything was asked")
	}
	if resp, err := http.Get(a.base + "/healthz"); err != nil || resp.StatusCode != 200 {
		t.Fatalf("the server does not live: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	a.until("all of them are kept", func() bool {
		return a.count(`select count(distinct e.caller_id) from events e join tenants t on t.key = e.tenant_key
			where t.id = 'ledger' and e.caller_id = any($1)`, accepted) == len(accepted)
	})
	a.until("and delivered", func() bool {
		return a.count(`select count(*) from deliveries d join tenants t on t.key = d.tenant_key
			where t.id = 'ledger' and d.status = 'delivered'`) >= len(accepted)
	})
}

// requests makes random requests.
type requests struct {
	app   *testApp
	ids   map[string]string
	ops   []operationAt
	token string // of a tenant
}

// kept are the operations that end what the others need.
var kept = []string{"DELETE /tenants/{tenant}"}

// one makes a request and reports whether it was carried out.
func (g *requests) one(r *rand.Rand) bool {
	op := pick(r, g.ops)
	path, query := op.path, url.Values{}
	header := http.Header{}
	for _, p := range op.Parameters {
		if p.Ref != "" {
			p = contract().document.Components.Parameters[openapi.RefName(p.Ref)]
		}
		place := "{" + p.Name + "}"
		switch p.In {
		case "path":
			// Mostly what there is, unless it would be gone for the others.
			if _, has := g.ids[place]; !has || r.IntN(6) == 0 || op.method == "DELETE" && (r.IntN(4) > 0 || slices.Contains(kept,
				op.method+" "+op.path)) {
				path = strings.ReplaceAll(path, place, url.PathEscape(pick(r, hostileTexts)+"x"))
			}
		case "query":
			if p.Required && r.IntN(8) > 0 || r.IntN(4) == 0 {
				for range 1 + r.IntN(2) {
					query.Add(p.Name, g.text(r, p.Schema))
				}
			}
		case "header":
			if r.IntN(3) == 0 {
				header.Set(p.Name, headerText(g.text(r, p.Schema)))
			}
		}
	}
	body := ""
	if op.RequestBody != nil {
		switch r.IntN(12) {
		case 0:
			body = pick(r, hostileBodies)
		case 1, 2, 3, 4:
			body = withIDs(string(exampleOf(op)), g.ids)
			if r.IntN(2) == 0 {
				body = g.app.spoil(r, op, body)
			}
		default:
			body = g.value(r, op.RequestBody.Content.Get("application/json").Schema, 0)
		}
	}
	path = withIDs(path, g.ids)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	for name, values := range map[string][]string{"Prefer": {"wait=1", "return=minimal", "handling=strict", "wait=99999999999999999999",
		"respond-async, wait=0"},
		"Idempotency-Key": {"k1", `"k2"`, "\"", strings.Repeat("k", 300)}, "If-Match": {"*", `"1"`, "x"}, "If-None-Match": {"*", `W/"x"`},
		"Accept":       {"text/csv", "*/*;q=nan", "text/event-stream"},
		"Content-Type": {"text/plain", "application/cloudevents+json", "multipart/form-data; boundary=x"}, "Content-Encoding": {"gzip",
			"identity"}, "Range": {"bytes=0-1"},
		"Last-Event-ID": {"x", "Ojo"}, "Waybill-Schema": {"outpost/1.0"}, "Expect": {"x"}} {
		if r.IntN(25) == 0 {
			header.Set(name, pick(r, values))
		}
	}
	return g.send(r, op, path, body, header)
}

// send makes a request. Streams, which do not end by themselves, are left after their header.
func (g *requests) send(r *rand.Rand, op operationAt, path, body string, header http.Header) bool {
	a := g.app
	req, err := http.NewRequest(op.method, a.base+api.APIPrefix+path, strings.NewReader(body))
	if err != nil {
		a.Errorf("%s %q: %v", op.method, path, err)
		return false
	}
	req.Header = header
	switch r.IntN(12) {
	case 0:
		req.Header.Set("Authorization", "Bearer "+g.token)
	case 1:
		req.Header.Set("Authorization", pick(r, []string{"Bearer", "Basic eDp5", "Bearer a.b.c", "bearer " + strings.Repeat("x", 3000), ""}))
	default:
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	asked := func() string { return fmt.Sprintf("%s %.500s\n%v\n%.3000q", op.method, path, req.Header, body) }
	resp, err := http.DefaultClient.Do(req)
	switch {
	case err != nil && len(body) > 8<<10 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)):
		return false // refused before all of it was sent
	case err != nil:
		a.Errorf("%s\n%v", asked(), err)
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return true
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Errorf("%s\nthe answer breaks off: %v", asked(), err)
	}
	var problem struct {
		Status        int
		Message, Code string
		RequestID     string `json:"request_id"`
	}
	if resp.StatusCode >= 400 && (json.Unmarshal(raw, &problem) != nil || problem.Message == "" || problem.Code == "" ||
		problem.RequestID == "" ||
		problem.Status != resp.StatusCode) {
		a.Errorf("%s\nis refused with no problem document: %d %.1000s", asked(), resp.StatusCode, raw)
	}
	// Where somebody is asked to come again, as when all connections to a database are in use, nothing has gone wrong.
	if resp.StatusCode >= 500 && (resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "") {
		a.Errorf("%s\n%d %.1000s", asked(), resp.StatusCode, raw)
	}
	return resp.StatusCode < 300
}

// headerText is a text as a header may hold it, not so long that all headers are refused for it.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 4000)], "?"))
}

// text is a value of a schema as an address has it.
func (g *requests) text(r *rand.Rand, s *openapi.Schema) string {
	if r.IntN(3) == 0 {
		return pick(r, hostileTexts)
	}
	v := g.value(r, s, 0)
	var text string
	if json.Unmarshal([]byte(v), &text) == nil {
		v = text
	}
	return v[:min(len(v), 1000)] // addresses that are too long are refused before anybody looks
}

// What values are made of, beside hostileJSON. Go makes these texts no JSON by itself: lone surrogates, numbers that nothing holds.
var strangeJSON = []string{`"\udc00\ud800"`, `-0.0e-0`, strings.Repeat("9", 400), `1e-999999999`, `"99999-01-01T00:00:00Z"`,
	`"2026-13-45T99:99:99+99:99"`, `"\u0000"`,
	`"` + strings.Repeat("é", 20_000) + `"`, strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000), strings.Repeat(`{"a":`,
		1000) + `1` + strings.Repeat(`}`, 1000),
	`{"":"","":{}}`, `[` + strings.Repeat(`1,`, 5000) + `1]`}

// value is JSON for a schema: as that asks in most cases.
func (g *requests) value(r *rand.Rand, s *openapi.Schema, depth int) string {
	if s == nil || depth > 8 {
		return pick(r, hostileJSON)
	}
	if s.Ref != "" {
		s = contract().document.Components.Schemas[openapi.RefName(s.Ref)]
	}
	switch r.IntN(40) {
	case 0:
		return pick(r, hostileJSON)
	case 1:
		return pick(r, strangeJSON)
	}
	literal := func(v any) string {
		b, _ := json.Marshal(v)
		return withIDs(string(b), g.ids)
	}
	if all := slices.Concat(s.OneOf, s.AnyOf); len(all) > 0 {
		return g.value(r, pick(r, all), depth+1)
	}
	switch {
	case s.Const != nil:
		return literal(s.Const)
	case len(s.Enum) > 0:
		return literal(pick(r, s.Enum))
	case len(s.Examples) > 0 && r.IntN(2) == 0:
		return literal(pick(r, s.Examples))
	}
	kind, _ := s.Type.(string)
	if list, is := s.Type.([]string); is && len(list) > 0 {
		kind = pick(r, list)
	}
	if list, is := s.Type.([]any); is && len(list) > 0 {
		kind, _ = pick(r, list).(string)
	}
	if s.Properties != nil {
		kind = "object"
	}
	switch kind {
	case "object":
		return g.object(r, s, depth)
	case "array":
		n := r.IntN(4)
		if r.IntN(30) == 0 {
			n = 1100 // more than any list may have
		}
		items := make([]string, n)
		for i := range items {
			items[i] = g.value(r, s.Items, depth+1)
		}
		return "[" + strings.Join(items, ",") + "]"
	case "integer", "number":
		return g.number(r, s)
	case "boolean":
		return fmt.Sprint(r.IntN(2) == 0)
	case "null":
		return "null"
	case "string":
		return g.string(r, s)
	}
	return pick(r, hostileJSON)
}

func (g *requests) object(r *rand.Rand, s *openapi.Schema, depth int) string {
	var members []string
	if s.Properties != nil {
		for _, name := range s.Properties.Keys() {
			if !slices.Contains(s.Required, name) && r.IntN(3) > 0 || r.IntN(30) == 0 {
				continue
			}
			key, _ := json.Marshal(name)
			value := g.value(r, s.Properties.Get(name), depth+1)
			if id := g.ids["{"+strings.TrimSuffix(name, "_id")+"}"]; id != "" && strings.HasSuffix(name, "_id") && r.IntN(3) > 0 {
				b, _ := json.Marshal(id)
				value = string(b)
			}
			members = append(members, string(key)+":"+value)
		}
	}
	if more, is := s.Additional.(*openapi.Schema); is || len(members) == 0 {
		for range r.IntN(3) {
			key, _ := json.Marshal(pick(r, hostileTexts))
			members = append(members, string(key)+":"+g.value(r, more, depth+1))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (*requests) number(r *rand.Rand, s *openapi.Schema) string {
	low, high := -3.0, 1000.0
	if s.Minimum != nil {
		low = *s.Minimum
	}
	if s.Maximum != nil {
		high = *s.Maximum
	}
	switch r.IntN(6) {
	case 0:
		return fmt.Sprintf("%.0f", low)
	case 1:
		return fmt.Sprintf("%.0f", high)
	case 2:
		return pick(r, []string{"-1", "0", "2147483647", "2147483648", "-2147483649", "9007199254740993", "1.5", "1e3"})
	}
	return fmt.Sprintf("%.0f", low+r.Float64()*min(high-low, 100))
}

func (g *requests) string(r *rand.Rand, s *openapi.Schema) string {
	var text string
	switch s.Format {
	case "date-time":
		text = pick(r, []string{"2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59.999999999Z",
			time.Now().Format(time.RFC3339Nano), "2026-02-29T00:00:00Z"})
	case "uri":
		text = pick(r, []string{"https://h.example/a?b=c", "http://127.0.0.1:1/", "javascript:1", "https://" + strings.Repeat("a.", 200) + "b/"})
	default:
		text = pick(r, []string{"acme", "a", "order.created", "10s", "1h", "2026-01-31T12:00:00Z", "data.a == 1", "a:1", "x@example.com",
			"https://h.example/", "*", "é\u202e", "\U0010ffff",
			strings.Repeat("x", max(s.MaxLength, 10)), strings.Repeat("x", max(s.MaxLength, 10)+1), "{{.Body}}", "10.0.0.0/8", "5xx", "webhook",
			"echo", "all", "1"})
		if r.IntN(8) == 0 {
			text = pick(r, hostileTexts)
		}
	}
	b, _ := json.Marshal(strings.ToValidUTF8(text, "?"))
	return string(b)
}
