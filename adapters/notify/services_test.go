package notify

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const (
	slackPath   = "/services/T00000000/B00000000/pl4ntedSlackSecret"
	pagerKey    = "pl4nted0pagerduty0routing0key001"
	twilioSID   = "AC0123456789abcdef0123456789abcdef"
	twilioToken = "pl4nted-twilio-token"
)

// fake is a service that takes what its documentation describes and refuses everything else.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	bodies [][]byte
}

func startFake(t *testing.T, check func(r *http.Request, body []byte) (status int, answer string)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.bodies = append(f.bodies, body)
		f.mu.Unlock()
		status, answer := check(r, body)
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) got() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies)
}

// only reports keys of m that are not in the list, and those of the list with a ! that are missing.
func only(m map[string]any, keys ...string) error {
	known := map[string]bool{}
	for _, k := range keys {
		name, must := strings.CutPrefix(k, "!")
		known[name] = true
		if _, has := m[name]; must && !has {
			return fmt.Errorf("no %s", name)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !known[k] {
			return fmt.Errorf("unknown key %s", k)
		}
	}
	return nil
}

func length(v any, least, most int) error {
	s, ok := v.(string)
	if n := utf8.RuneCountInString(s); !ok || n < least || n > most {
		return fmt.Errorf("%T of length %d, not a text of %d to %d", v, n, least, most)
	}
	return nil
}

// TestServiceRefusals: what a refusal means, and that services which repeat secrets do not make them known.
func TestServiceRefusals(t *testing.T) {
	t.Parallel()
	slackURL := func(t *testing.T, s *adaptertest.Sink, env Env) Channel {
		return open(t, env, "slack", nil, map[string]string{"url": s.URL(slackPath)})
	}
	pager := func(t *testing.T, s *adaptertest.Sink, env Env) Channel {
		env.PagerDutyURL = s.URL("")
		return open(t, env, "pagerduty", nil, map[string]string{"routing_key": pagerKey})
	}
	twilio := func(t *testing.T, s *adaptertest.Sink, env Env) Channel {
		env.TwilioURL = s.URL("")
		return open(t, env, "sms", map[string]string{"account_sid": twilioSID, "from": "+15017122661", "to": "+15558675310"},
			map[string]string{"auth_token": twilioToken})
	}
	type opener = func(*testing.T, *adaptertest.Sink, Env) Channel
	secrets := []string{slackPath, "pl4ntedSlack", pagerKey, twilioToken,
		base64.StdEncoding.EncodeToString([]byte(twilioSID + ":" + twilioToken))}
	for _, c := range []struct {
		name   string
		open   opener
		answer adaptertest.Answer
		kind   adapters.Kind
		class  adapters.Class
		parts  []string
	}{
		{"Slack has no such webhook", slackURL, adaptertest.Answer{Status: 404, Body: "no_service"}, adapters.KindGone, adapters.ClassGone,
			[]string{"no_service", "enter its URL"}},
		{"Slack's channel is archived", slackURL, adaptertest.Answer{Status: 410, Body: "channel_is_archived"}, adapters.KindGone,
			adapters.ClassGone, []string{"archived"}},
		{"Slack does not understand", slackURL, adaptertest.Answer{Status: 400, Body: "invalid_blocks"}, adapters.KindPermanent,
			adapters.ClassRejected, []string{"invalid_blocks"}},
		{"Slack forbids", slackURL, adaptertest.Answer{Status: 403, Body: "action_prohibited"}, adapters.KindTransient, adapters.ClassAuth,
			[]string{"administrator"}},
		{"Slack slows down", slackURL, adaptertest.Answer{Status: 429, Header: []string{"Retry-After: 30"}, Body: "rate_limited"},
			adapters.KindThrottled, adapters.ClassThrottled, []string{"slow down"}},
		{"Slack fails", slackURL, adaptertest.Answer{Status: 500, Body: "invalid_server_error"}, adapters.KindTransient,
			adapters.ClassServer, []string{"Slack failed (500"}},
		{"Slack redirects", slackURL, adaptertest.Answer{Status: 302, Header: []string{"Location: https://elsewhere.example" + slackPath}},
			adapters.KindTransient, adapters.ClassRedirect, []string{"redirect"}},
		{"Slack repeats", slackURL, adaptertest.Answer{Status: 418, Repeat: true}, adapters.KindTransient, adapters.ClassRejected, nil},
		{"PagerDuty knows no such key", pager, adaptertest.Answer{Status: 400,
			Body: `{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect: ` +
				pagerKey + `"]}`},
			adapters.KindTransient, adapters.ClassAuth, []string{"routing_key", "integration key"}},
		{"PagerDuty refuses", pager,
			adaptertest.Answer{Status: 400,
				Body: `{"status":"invalid event","message":"Event object is invalid","errors":["'payload.severity' is invalid"]}`},
			adapters.KindPermanent, adapters.ClassRejected, []string{"payload.severity"}},
		{"PagerDuty writes the key otherwise", pager, adaptertest.Answer{Status: 400,
			Body: `{"message":"no \u0070l4nted0pagerduty0routing0key001"}`},
			adapters.KindPermanent, adapters.ClassRejected, []string{"no ***"}},
		{"a secret where the answer is cut", slackURL, adaptertest.Answer{Status: 400,
			Body: strings.Repeat("x", maxAnswer-15) + "pl4ntedSlackSecret and more"},
			adapters.KindPermanent, adapters.ClassRejected, nil},
		{"PagerDuty slows down", pager, adaptertest.Answer{Status: 429, Header: []string{"Retry-After: 30"}}, adapters.KindThrottled,
			adapters.ClassThrottled, nil},
		{"PagerDuty is away", pager, adaptertest.Answer{Status: 503}, adapters.KindThrottled, adapters.ClassServer,
			[]string{"PagerDuty failed (503)"}},
		{"PagerDuty repeats", pager, adaptertest.Answer{Status: 500, Repeat: true}, adapters.KindTransient, adapters.ClassServer, nil},
		{"Twilio knows no such token", twilio, adaptertest.Answer{Status: 401,
			Body: `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}`},
			adapters.KindTransient, adapters.ClassAuth, []string{"error 20003: Authenticate", "auth token"}},
		{"Twilio knows no such phone", twilio, adaptertest.Answer{Status: 400,
			Body: `{"code":21211,"message":"Invalid 'To' Phone Number: +15558675310","status":400}`},
			adapters.KindPermanent, adapters.ClassRejected, []string{"Invalid 'To'", "Correct the number"}},
		{"Twilio slows down", twilio, adaptertest.Answer{Status: 429, Header: []string{"Retry-After: 30"},
			Body: `{"code":20429,"message":"Too Many Requests","status":429}`},
			adapters.KindThrottled, adapters.ClassThrottled, []string{"Too Many Requests"}},
		{"Twilio repeats", twilio, adaptertest.Answer{Status: 500, Repeat: true}, adapters.KindTransient, adapters.ClassServer, nil},
		{"the answer breaks off", twilio, adaptertest.Answer{Raw: "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{", Close: true},
			adapters.KindTransient, adapters.ClassProtocol, nil},
		{"no answer", pager, adaptertest.Answer{Close: true}, adapters.KindTransient, adapters.ClassConnect, []string{"127.0.0.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewTLSSink(t, adaptertest.Certificate{}, c.answer)
			env := testEnv()
			env.RootCAs = s.Roots()
			r, e := refusedAs(t, c.open(t, s, env), failing(), c.kind, c.class, c.parts...)
			hides(t, r, e, secrets...)
			if c.kind == adapters.KindThrottled && len(c.answer.Header) > 0 && e.After != 30*time.Second {
				t.Errorf("waits %v", e.After)
			}
			if len(r.Answer) > maxAnswer || strings.Contains(r.Answer, "\n") {
				t.Errorf("an answer of %d bytes: %q", len(r.Answer), r.Answer)
			}
		})
	}
	t.Run("hanging", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewTLSSink(t, adaptertest.Certificate{}, adaptertest.Answer{Hang: true})
		env := testEnv()
		env.RootCAs = s.Roots()
		r, err := slackURL(t, s, env).Send(within(t, 200*time.Millisecond), failing())
		hides(t, r, wantError(t, err, adapters.KindTransient, adapters.ClassTimeout), secrets...)
	})
	t.Run("guarded", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewTLSSink(t, adaptertest.Certificate{})
		env := testEnv()
		env.RootCAs, env.Egress = s.Roots(), nil
		r, e := refusedAs(t, slackURL(t, s, env), failing(), adapters.KindTransient, adapters.ClassBlocked)
		hides(t, r, e, secrets...)
		if s.Accepted() != 0 {
			t.Error("a private address was dialled")
		}
	})
}
