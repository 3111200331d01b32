// Package awstest is the other side of the destination types of AWS, for tests: an HTTP server that checks signatures
// as AWS does, keeps what it gets, and lets a test play the service.
package awstest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// What a server knows its caller by.
const (
	Key     = "AKIAWAYBILLTESTKEY01"
	Secret  = "sEcReT/of+the/Caller0123456789abcdefghij"
	Session = "FwoGZXIvYXdzEBYaDHTestSessionTokenOfSomeLength=="
	Region  = "eu-west-1"
)

// Ways in which a server answers. They are the first part of the path, and so of the endpoint in the settings.
const (
	Good   = "good"
	Refuse = "refuse" // AccessDenied
	Hang   = "hang"
	Repeat = "repeat" // the request itself is the message of the error
	Late   = "late"   // the first request is answered after Release
)

// Request is one request whose signature was good.
type Request struct {
	Mode      string // first part of the path
	Operation string // from the header X-Amz-Target; empty in S3
	Service   string // the request was signed for
	Key       string // it was signed with
	Method    string
	Path      string // behind the mode
	Header    http.Header
	Body      []byte
}

// JSON reads the body into v and reports unknown members.
func (r *Request) JSON(tb testing.TB, v any) {
	tb.Helper()
	dec := json.NewDecoder(bytes.NewReader(r.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		tb.Errorf("%s: %v in %.300s", r.Operation, err, r.Body)
	}
}

// Answer is what a request gets. With Error, the other members besides Status and Header are ignored.
type Answer struct {
	Status int // 0 means 200, or 400 with Error
	Header map[string]string
	Body   any // written as JSON, unless it is a string
	Error  string
	Text   string // the error's message
}

// Server is the other side.
type Server struct {
	URL     string
	service []string
	answer  func(*Request) Answer
	secrets map[string][2]string // secret and session token, by key

	mu       sync.Mutex
	requests []Request
	open     map[net.Conn]bool
	first    bool
	released chan struct{}
	release  func()
}

// Start begins to serve. service is the name that requests are signed for, or several separated by commas; answer plays
// them.
func Start(tb testing.TB, service string, answer func(*Request) Answer) *Server {
	tb.Helper()
	s := &Server{service: strings.Split(service, ","), answer: answer, open: map[net.Conn]bool{}, first: true,
		released: make(chan struct{}),
		secrets:  map[string][2]string{Key: {Secret, Session}}}
	s.release = sync.OnceFunc(func() { close(s.released) })
	h := httptest.NewUnstartedServer(s)
	h.Config.ConnState = func(nc net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if state == http.StateClosed || state == http.StateHijacked {
			delete(s.open, nc)
		} else {
			s.open[nc] = true
		}
	}
	h.Start()
	s.URL = h.URL
	tb.Cleanup(func() {
		s.release()
		h.CloseClientConnections()
		h.Close()
	})
	return s
}

// Know adds credentials that may sign.
func (s *Server) Know(key, secret, session string) {
	s.mu.Lock()
	s.secrets[key] = [2]string{secret, session}
	s.mu.Unlock()
}

// Forget removes credentials.
func (s *Server) Forget(key string) {
	s.mu.Lock()
	delete(s.secrets, key)
	s.mu.Unlock()
}

// Play replaces the function that answers.
func (s *Server) Play(answer func(*Request) Answer) {
	s.mu.Lock()
	s.answer = answer
	s.mu.Unlock()
}

// Requests returns what has come so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Open is how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Release answers what waits in the mode Late.
func (s *Server) Release() { s.release() }

// Settings lead to the server in one of the modes, with these fields of the configuration.
func (s *Server) Settings(mode string, config map[string]string) adapters.Settings {
	set := adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config:      map[string]string{"region": Region, "endpoint": s.URL + "/" + mode},
		Credentials: map[string]string{"key": Key, "secret": Secret, "session": Session}}
	for k, v := range config {
		set.Config[k] = v
	}
	return set
}

// Side is the server as the conformance suite wants it. received turns what came into messages.
func (s *Server) Side(tb testing.TB, config map[string]string, received func(Request) []adaptertest.Delivery) adaptertest.Side {
	to := func(mode string) *adapters.Settings {
		set := s.Settings(mode, config)
		return &set
	}
	nobody := to(Good)
	nobody.Config["endpoint"] = "http://" + adaptertest.ClosedPort(tb)
	return adaptertest.Side{
		Env: adaptertest.Env(), Good: *to(Good), Refusing: to(Refuse), Hanging: to(Hang), Repeating: to(Repeat), Unreachable: nobody,
		Late: to(Late), Release: s.Release, Open: s.Open,
		Received: func() (out []adaptertest.Delivery) {
			for _, r := range s.Requests() {
				out = append(out, received(r)...)
			}
			return out
		},
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	body, err := io.ReadAll(hr.Body)
	if err != nil {
		return
	}
	w.Header().Set("X-Amzn-Requestid", "req-1")
	r := Request{Method: hr.Method, Header: hr.Header, Body: body}
	_, r.Operation, _ = strings.Cut(hr.Header.Get("X-Amz-Target"), ".")
	r.Mode, r.Path, _ = strings.Cut(strings.TrimPrefix(hr.URL.Path, "/"), "/")
	if code, text := s.verify(hr, body, &r); code != "" {
		s.write(w, &r, Answer{Status: http.StatusForbidden, Error: code, Text: text})
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, r)
	first := s.first
	if r.Mode == Late {
		s.first = false
	}
	answer := s.answer
	s.mu.Unlock()
	switch r.Mode {
	case Hang:
		<-hr.Context().Done()
		return
	case Refuse:
		s.write(w, &r, Answer{Status: http.StatusForbidden, Error: "AccessDeniedException", Text: "User is not authorized to perform this"})
		return
	case Repeat:
		var all bytes.Buffer
		hr.Header.Write(&all)
		s.write(w, &r, Answer{Error: "ValidationException", Text: all.String() + string(body)})
		return
	case Late:
		if first {
			select {
			case <-s.released:
			case <-hr.Context().Done():
				return
			}
		}
	}
	s.write(w, &r, answer(&r))
}

func (s *Server) write(w http.ResponseWriter, r *Request, a Answer) {
	for k, v := range a.Header {
		w.Header().Set(k, v)
	}
	if a.Error != "" {
		if a.Status == 0 {
			a.Status = http.StatusBadRequest
		}
		a.Body = map[string]string{"__type": a.Error, "message": a.Text}
		if r.Service == "s3" || r.Service == "sts" {
			a.Body = fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message></Error>", a.Error, escapeXML(a.Text))
			if r.Service == "sts" {
				a.Body = "<ErrorResponse>" + a.Body.(string) + "</ErrorResponse>"
			}
		}
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	if text, ok := a.Body.(string); ok {
		io.WriteString(w, text)
	} else if a.Body != nil {
		json.NewEncoder(w).Encode(a.Body)
	}
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;").Replace(s)
}

// verify checks the signature (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
// and returns AWS's code for what is wrong with it.
func (s *Server) verify(hr *http.Request, body []byte, r *Request) (code, text string) {
	auth, ok := strings.CutPrefix(hr.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "MissingAuthenticationTokenException", "there is no signature"
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(auth, ", ") {
		k, v, _ := strings.Cut(part, "=")
		parts[k] = v
	}
	scope := strings.Split(parts["Credential"], "/")
	if len(scope) != 5 {
		return "IncompleteSignatureException", "the credential is " + parts["Credential"]
	}
	r.Key, r.Service = scope[0], scope[3]
	s.mu.Lock()
	known, ok := s.secrets[scope[0]]
	s.mu.Unlock()
	switch {
	case !ok:
		return "UnrecognizedClientException", "The security token included in the request is invalid."
	case hr.Header.Get("X-Amz-Security-Token") != known[1]:
		return "InvalidClientTokenId", "The security token included in the request is invalid."
	case scope[2] != Region || !slices.Contains(s.service, scope[3]):
		return "SignatureDoesNotMatch", fmt.Sprintf("Credential should be scoped to a valid region and service, not %v", scope)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if given := hr.Header.Get("X-Amz-Content-Sha256"); given != "" && given != hash {
		return "XAmzContentSHA256Mismatch", "the hash of the body is another"
	}
	names := strings.Split(parts["SignedHeaders"], ";")
	if !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") {
		return "SignatureDoesNotMatch", "host and x-amz-date must be signed"
	}
	canonical := []string{hr.Method, hr.URL.EscapedPath(), strings.ReplaceAll(hr.URL.Query().Encode(), "+", "%20")}
	for _, name := range names {
		value := strings.Join(hr.Header.Values(name), ",")
		switch name {
		case "host":
			value = hr.Host
		case "content-length":
			value = fmt.Sprint(hr.ContentLength)
		}
		canonical = append(canonical, name+":"+strings.Join(strings.Fields(value), " "))
	}
	canonical = append(canonical, "", parts["SignedHeaders"], hash)
	sum = sha256.Sum256([]byte(strings.Join(canonical, "\n")))
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", hr.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"),
		hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + known[0])
	for _, part := range append(scope[1:], toSign) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if hex.EncodeToString(key) != parts["Signature"] {
		return "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."
	}
	return "", ""
}

// First returns the value of the first of the names that m has.
func First(m map[string]string, names ...string) string {
	for _, name := range names {
		if v, ok := m[name]; ok {
			return v
		}
	}
	return ""
}

// SendAll hands messages over at the same time and returns what became of each.
func SendAll(tb testing.TB, snd adapters.Sender, messages []*adapters.Message) ([]adapters.Receipt, []*adapters.Error) {
	receipts, errs := make([]adapters.Receipt, len(messages)), make([]*adapters.Error, len(messages))
	var all sync.WaitGroup
	for i, m := range messages {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			var err error
			if receipts[i], err = snd.Send(ctx, m); err != nil {
				errs[i] = adapters.AsError(err)
			}
		})
	}
	all.Wait()
	return receipts, errs
}

// Messages makes n messages of which every third has the text bad in its payload, and reports which.
func Messages(n int, bad string) (messages []*adapters.Message, isBad func(i int) bool) {
	isBad = func(i int) bool { return i%3 == 1 }
	for i := range n {
		data := fmt.Sprintf(`{"n":%d}`, i)
		if isBad(i) {
			data = fmt.Sprintf(`{"n":%d,"is":%q}`, i, bad)
		}
		messages = append(messages, &adapters.Message{EventID: fmt.Sprintf("evt-%d", i), Topic: "order.created",
			Time: time.Unix(1700000000, 0),
			Data: []byte(data), Attempt: 1})
	}
	return messages, isBad
}

// Open opens a sender for a test.
func Open(tb testing.TB, typ adapters.Type, set adapters.Settings) adapters.Sender {
	tb.Helper()
	snd, err := typ.Open(adaptertest.Env(), set)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { snd.Close() })
	return snd
}
