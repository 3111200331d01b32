package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// maxAnswer is how much of an answer a Result keeps, in bytes.
const maxAnswer = 500

// postTimeout bounds one exchange with a service, besides the context.
const postTimeout = 20 * time.Second

// service posts to the HTTP API of somebody who takes notices.
type service struct {
	name     string // "Slack"
	env      Env
	endpoint *outbound.Endpoint
	secrets  []string // that its answers and errors must not show

	// words picks what the answer says out of its body; nil takes the body as it is.
	words func(body []byte) string
	// known says what a refusal means, by a word that its answer holds. The first that is found counts.
	known []refusal
}

// refusal is a documented answer.
type refusal struct {
	word   string
	kind   adapters.Kind
	class  adapters.Class
	advice string
}

func newService(env Env, name, address string, secrets ...string) (*service, error) {
	e, err := outbound.ParseURL(address)
	if err != nil {
		// The address may be the secret, so only what is wrong with it is told.
		return nil, configError(fmt.Sprintf("The address of the %s channel %s.", name, err), "Correct the channel's settings.")
	}
	return &service{name: name, env: env, endpoint: e, secrets: secrets}, nil
}

// post sends body once. target is a path on the service's host, or empty for the endpoint's own.
func (s *service) post(ctx context.Context, target, contentType, authorization string, body []byte) (Result, error) {
	client := outbound.New(s.endpoint, outbound.Options{Egress: s.env.Egress, RootCAs: s.env.RootCAs})
	defer client.Close() //nolint:errcheck // closing idle connections tells nothing about the notice
	h := outbound.AcquireHeader(nil)
	defer outbound.ReleaseHeader(h)
	h.AddPublic("Content-Type", contentType)
	if s.env.UserAgent != "" {
		h.AddPublic("User-Agent", s.env.UserAgent)
	}
	if authorization != "" {
		h.AddSecret("Authorization", authorization)
	}
	resp, err := client.Do(ctx, outbound.Request{Target: target, Header: h, Body: body, Timeout: postTimeout})
	redact := redactor(s.secrets...)
	result := Result{Code: resp.Code, Answer: s.answer(resp.Body, redact)}
	if err != nil && resp.Code < 300 {
		// No status, or one of success whose answer broke off: whether the notice was taken is not known.
		e := adapters.AsError(err)
		if e.Class == adapters.ClassTimeout || e.Class == adapters.ClassConnect {
			e.Advice = fmt.Sprintf("Check that this server can reach %s; the status page of %s may say more.", s.endpoint.Host, s.name)
		}
		return result, clean(e, redact)
	}
	if e := s.verdict(&resp, result.Answer); e != nil {
		return result, clean(e, redact)
	}
	return result, nil
}

// answer is what the body says. Secrets are cut out of what was decoded, before it is cut to its length.
func (s *service) answer(body []byte, redact func(string) string) string {
	text := string(body)
	if s.words != nil {
		if w := s.words(body); w != "" {
			text = w
		}
	}
	return answerLine(redact(text))
}

// answerLine is what somebody said in one line of at most maxAnswer bytes.
func answerLine(text string) string {
	text = oneLine(text, maxAnswer)
	if len(text) > maxAnswer {
		const ellipsis = "…"
		text = strings.ToValidUTF8(text[:maxAnswer-len(ellipsis)], "") + ellipsis
	}
	return text
}

// verdict says what an answer means. The kinds are those of webhooks (outbound.Verdict) unless the service has documented
// the answer.
func (s *service) verdict(resp *outbound.Response, answer string) *adapters.Error {
	e := outbound.Verdict(resp)
	if e == nil {
		return nil
	}
	said := fmt.Sprintf("%d", resp.Code)
	if answer != "" {
		said += ": " + clip(answer, 200)
	}
	e.Message = fmt.Sprintf("%s refused the notice (%s).", s.name, said)
	e.Advice = "Correct the channel's settings; what was answered says what is wrong."
	switch {
	case e.Kind == adapters.KindThrottled && e.Class == adapters.ClassThrottled:
		e.Message = fmt.Sprintf("%s asked to slow down (%s).", s.name, said)
		e.Advice = "It will be retried; send fewer notices over this channel if it stays."
	case resp.Code >= 500:
		e.Message = fmt.Sprintf("%s failed (%s).", s.name, said)
		e.Advice = fmt.Sprintf("It will be retried; the status page of %s may say more.", s.name)
	case e.Class == adapters.ClassRedirect:
		e.Message = fmt.Sprintf("%s answered with a redirect (%d), which is not followed.", s.name, resp.Code)
		e.Advice = "Enter the address that answers itself."
	}
	for _, r := range s.known {
		if resp.Code < 500 && strings.Contains(answer, r.word) {
			e.Kind, e.Class, e.Advice = r.kind, r.class, r.advice
			break
		}
	}
	return e
}
