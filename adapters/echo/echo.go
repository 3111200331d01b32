// Package echo is a receiver inside the server: an inbox to try things out with, which answers as its settings say.
package echo

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// The answers that can be chosen.
const (
	answerOK       = "200"
	answerFails    = "500"
	answerThrottle = "429"
	answerSlow     = "slow"
	answerNever    = "timeout"
)

const (
	defaultDelay = 3000 * time.Millisecond
	maxDelay     = 60 * time.Second
	// retryAfter is what the throttling answer asks for.
	retryAfter = 30 * time.Second
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type.
type Type struct{}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "echo",
		Label:        "Echo inbox",
		Description:  "A receiver inside this server, to see events arrive and to try out failures.",
		Needs:        "nothing",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   1000,
		Config: []adapters.Field{
			{Key: "answer", Label: "Answer", Type: adapters.FieldSelect, Default: answerOK,
				Help: "How every event is answered.",
				Options: []adapters.Option{
					{Value: answerOK, Label: "Accept (200)"},
					{Value: answerFails, Label: "Fail (500)"},
					{Value: answerThrottle, Label: "Ask to slow down (429)"},
					{Value: answerSlow, Label: "Accept after a delay"},
					{Value: answerNever, Label: "Never answer"},
				}},
			{Key: "delay_ms", Label: "Delay", Type: adapters.FieldText, Default: "3000",
				Help:    "With the delayed answer: how long it takes, in milliseconds, at most 60000.",
				Pattern: `[0-9]{1,5}`, PatternHelp: "must be a number of milliseconds up to 60000"},
		},
	}
}

// Validate implements adapters.Type.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	if _, err := delay(*s); err != nil {
		return []adapters.FieldError{{Key: "config.delay_ms", Message: err.Error()}}
	}
	return nil
}

func delay(s adapters.Settings) (time.Duration, error) {
	text := s.Config["delay_ms"]
	if text == "" {
		return defaultDelay, nil
	}
	n, err := strconv.Atoi(text)
	d := time.Duration(n) * time.Millisecond
	if err != nil || n < 0 || d > maxDelay {
		return 0, fmt.Errorf("must be a number of milliseconds up to %d", maxDelay.Milliseconds())
	}
	return d, nil
}

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, url string) {
	switch a := s.Config["answer"]; a {
	case "", answerOK:
		return "Inbox of this server", ""
	case answerSlow:
		return "Inbox of this server, answers slowly", ""
	case answerNever:
		return "Inbox of this server, never answers", ""
	default:
		return "Inbox of this server, answers " + a, ""
	}
}

// Open implements adapters.Type.
func (Type) Open(_ adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	d, err := delay(s)
	if err != nil {
		return nil, adapters.ConfigError("The destination's delay " + err.Error() + ".")
	}
	snd := &sender{answer: s.Config["answer"], delay: d, timeout: s.Limit()}
	switch snd.answer {
	case "":
		snd.answer = answerOK
	case answerOK, answerFails, answerThrottle, answerSlow, answerNever:
	default:
		return nil, adapters.ConfigError("The destination's answer is not one of those that can be chosen.")
	}
	return snd, nil
}

type sender struct {
	answer  string
	delay   time.Duration
	timeout time.Duration
}

// Send implements adapters.Sender. It behaves as a receiver would that is reached over the network, but for the network.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	begun := time.Now()
	if err := ctx.Err(); err != nil {
		return adapters.Receipt{}, ended(ctx, 0)
	}
	r := adapters.Receipt{Method: "POST", URL: "echo:", ReqHeader: requestHeader(m)}
	if err := s.wait(ctx, begun); err != nil {
		return r, err
	}
	r.Timing.FirstByte = time.Since(begun)
	r.RespHeader = "Content-Type: application/json\n"
	r.Body, _ = json.Marshal(struct {
		EventID string `json:"event_id"`
		Topic   string `json:"topic"`
		Attempt int    `json:"attempt"`
		Bytes   int    `json:"bytes"`
	}{m.EventID, m.Topic, m.Attempt, len(m.Data)})
	switch s.answer {
	case answerFails:
		r.Code = 500
		return r, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassServer, Message: "The receiver answered 500.",
			Advice: "The echo inbox was told to fail; change its answer to see deliveries succeed.", Raw: "500 Internal Server Error"}
	case answerThrottle:
		r.Code, r.Retry = 429, retryAfter
		r.RespHeader += fmt.Sprintf("Retry-After: %d\n", int(retryAfter/time.Second))
		return r, &adapters.Error{Kind: adapters.KindThrottled, Class: adapters.ClassThrottled, After: retryAfter,
			Message: "Asked to slow down; next try honours Retry-After 30 s.",
			Advice:  "The echo inbox was told to ask for it; change its answer to see deliveries succeed.", Raw: "429 Too Many Requests"}
	}
	r.Code = 200
	return r, nil
}

// wait lets the time pass that the answer takes.
func (s *sender) wait(ctx context.Context, begun time.Time) *adapters.Error {
	var answer <-chan time.Time
	switch s.answer {
	case answerSlow:
		t := time.NewTimer(s.delay)
		defer t.Stop()
		answer = t.C
	case answerNever:
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		return ended(ctx, end.Sub(begun))
	}
}

// ended is the error of an attempt whose time, limit, was over before the answer came.
func ended(ctx context.Context, limit time.Duration) *adapters.Error {
	if ctx.Err() == context.Canceled {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal,
			Message: "This server stopped the attempt before the answer came.",
			Advice:  "It will be retried; nothing needs to be done.", Raw: ctx.Err().Error()}
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout,
		Message: fmt.Sprintf("No answer within %g s.", limit.Round(10*time.Millisecond).Seconds()),
		Advice:  "The echo inbox was told to answer slowly or never; change its answer or raise the timeout.", Raw: ctx.Err().Error()}
}

// requestHeader shows what a receiver would be told besides the payload.
func requestHeader(m *adapters.Message) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + strings.Map(oneLine, value) + "\n")
		}
	}
	line("Content-Type", "application/json")
	line("Content-Length", strconv.Itoa(len(m.Data)))
	line("webhook-id", m.EventID)
	line("waybill-topic", m.Topic)
	line("waybill-attempt", strconv.Itoa(m.Attempt))
	return b.String()
}

func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// Check implements adapters.Checker.
func (s *sender) Check(context.Context) []adapters.Stage {
	return []adapters.Stage{{Name: "publish", OK: true, Message: "The inbox is inside this server; nothing was sent."}}
}

// Close implements adapters.Sender.
func (*sender) Close() error { return nil }
