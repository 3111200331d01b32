// Package hookdeck posts events to a source of the Hookdeck Event Gateway, in the way in which Hookdeck Outpost does: to
// https://hkdk.events/<source id>, with the event's id, topic and metadata in headers that begin with X-Outpost-, and
// signed in X-Hookdeck-Signature with "v0=" and the base64 of an HMAC-SHA256 of the body. The key of the signature is the
// text of the token, not what the token stands for.
package hookdeck

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	eventsBase = "https://hkdk.events"
	apiBase    = "https://api.hookdeck.com"
	// maxBody is what Hookdeck takes unless it was asked for more (https://hookdeck.com/docs/platform/limits, "Inbound
	// payload size"). It is not enforced here: an organization may have a higher limit, and a lower one than ours is
	// told with a 413.
	maxBody = "10 MiB"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type. The zero value leads to Hookdeck itself.
type Type struct {
	// base says where a source is, instead of eventsBase and apiBase; nil but in tests.
	base func(source string) (events, api string)
}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "hookdeck",
		Label:        "Hookdeck Event Gateway",
		Description:  "Posts each event to a source of your Hookdeck Event Gateway, signed with the source's token.",
		Needs:        "a Hookdeck account with a managed source",
		Icon:         icon,
		Instructions: instructions,
		SetupURL:     "https://dashboard.hookdeck.com/connect",
		SetupLabel:   "Generate Hookdeck Token",
		FieldOrder:   20,
		Credentials: []adapters.Field{
			{Key: "token", Label: "Token", Type: adapters.FieldText, Required: true, Sensitive: true, MaxLength: 1024,
				Help: "The token of the managed source, as Hookdeck shows it: base64 of the source's id, a colon and its key."},
		},
	}
}

// Validate implements adapters.Type. It takes off the spaces and line breaks that copying leaves around a token.
func (Type) Validate(s *adapters.Settings) []adapters.FieldError {
	text := strings.TrimSpace(s.Credentials["token"])
	if _, _, err := parseToken(text); err != nil {
		return []adapters.FieldError{{Key: "credentials.token", Message: err.Error()}}
	}
	s.Credentials["token"] = text
	return nil
}

var sourceID = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,128}\z`)

// parseToken takes a token apart. Error texts follow the field's name and repeat nothing of it.
func parseToken(text string) (source, key string, err error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", errors.New("must be base64, copied whole from Hookdeck")
	}
	source, key, ok := strings.Cut(string(b), ":")
	if !ok || key == "" || !sourceID.MatchString(source) {
		return "", "", errors.New("must stand for a source's id, a colon and a key; copy it whole from Hookdeck")
	}
	return source, key, nil
}

// addresses are where events of a source are posted, and where its token is verified.
func (t Type) addresses(source string) (events, verify string) {
	events, api := eventsBase, apiBase
	if t.base != nil {
		events, api = t.base(source)
	}
	return events + "/" + source, api + "/2025-01-01/sources/" + source + "/managed/verify"
}

// Target implements adapters.Type. The id of a source is not secret: it is the public part of its address.
func (t Type) Target(s adapters.Settings) (label, url string) {
	source, _, err := parseToken(s.Credentials["token"])
	if err != nil {
		return "Hookdeck", ""
	}
	events, _ := t.addresses(source)
	return "POST " + events, "https://dashboard.hookdeck.com/sources/" + source
}

// Open implements adapters.Type.
func (t Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	token := s.Credentials["token"]
	source, key, err := parseToken(token)
	if err != nil {
		return nil, adapters.ConfigError("The destination's token " + err.Error() + ".")
	}
	eventsURL, verifyURL := t.addresses(source)
	events, err := outbound.ParseURL(eventsURL)
	if err != nil {
		return nil, adapters.ConfigError("The source's address " + err.Error() + ".")
	}
	verify, err := outbound.ParseURL(verifyURL)
	if err != nil {
		return nil, adapters.ConfigError("The source's address " + err.Error() + ".")
	}
	opt := outbound.Options{Egress: env.Egress, Redact: []string{token, key}}
	snd := &sender{client: outbound.New(events, opt), api: outbound.New(verify, opt), settings: s, source: source,
		signer: httpevent.NewSigner([]byte(token))}
	snd.base.AddPublic("Content-Type", adapters.ContentType(s.Format))
	if env.UserAgent != "" {
		snd.base.AddPublic("User-Agent", env.UserAgent)
		snd.verify.AddPublic("User-Agent", env.UserAgent)
	}
	snd.verify.AddSecret("X-Hookdeck-Source-Token", token)
	return snd, nil
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	client   *outbound.Client
	api      *outbound.Client
	settings adapters.Settings
	source   string
	base     outbound.Header // of events
	verify   outbound.Header // of the question whether the token is good
	signer   *httpevent.Signer
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	h := outbound.AcquireHeader(&s.base)
	defer outbound.ReleaseHeader(h)
	m = httpevent.AddCloudEvent(h, m, &s.settings)
	var sigBuf [64]byte
	var sumBuf [sha256.Size]byte
	h.AddPublicBytes("x-hookdeck-signature",
		base64.StdEncoding.AppendEncode(append(sigBuf[:0], "v0="...), s.signer.Sum(sumBuf[:0], nil, m.Data)))
	httpevent.AddOutpost(h, m, time.Now())
	httpevent.AddMetadata(h, m, true)
	httpevent.AddTrace(h, m)
	r, err := s.client.Deliver(ctx, outbound.Request{Header: h, Body: m.Data, Timeout: s.settings.Limit()})
	if err != nil {
		return r, s.explain(r.Code, err)
	}
	return r, nil
}

// explain puts Hookdeck's statuses into the words of somebody who has a token and no URL.
func (s *sender) explain(code int, err error) error {
	e := adapters.AsError(err)
	switch {
	case e.Class == adapters.ClassAuth:
		e.Message = fmt.Sprintf("Hookdeck refused the token of the source %s (%d).", s.source, code)
		e.Advice = "Copy the token of the managed source from Hookdeck again."
	case e.Class == adapters.ClassNotFound, code == 410:
		e.Message = fmt.Sprintf("Hookdeck knows no source %s (%d).", s.source, code)
		e.Advice = "Check that the source still exists in Hookdeck, or enter the token of another one."
	case e.Class == adapters.ClassTooLarge:
		e.Advice = "Ask Hookdeck for more than its " + maxBody + ", send less data, or filter such events out."
	case e.Class == adapters.ClassThrottled:
		e.Advice = "Lower the destination's rate limit, or raise the throughput of your Hookdeck project."
	}
	return e
}

// Check implements adapters.Checker. Hookdeck tells whether a token is good without being sent an event.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	stages := s.client.Check(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	begun := time.Now()
	resp, err := s.api.Deliver(ctx, outbound.Request{Method: "GET", Header: &s.verify})
	auth := adapters.Stage{Name: "auth", OK: err == nil, Took: time.Since(begun),
		Message: "Hookdeck knows the source " + s.source + " and its token."}
	if err != nil {
		e := adapters.AsError(s.explain(resp.Code, err))
		auth.Message, auth.Advice = e.Message, e.Advice
		return append(stages, auth)
	}
	return append(stages, auth, adapters.Stage{Name: "publish", OK: true,
		Message: "Nothing was posted; a test event would show in Hookdeck under the source's requests."})
}

// Close implements adapters.Sender.
func (s *sender) Close() error { return errors.Join(s.api.Close(), s.client.Close()) }
