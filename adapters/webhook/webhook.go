// Package webhook posts events to an HTTP address of the customer's, signed as Standard Webhooks
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) describes, or as Hookdeck
// Outpost does for receivers that moved over.
package webhook

import (
	"context"
	"crypto/ed25519"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/httpevent"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// signatureField says how requests are signed. Before types had settings of their own it was a field of destinations, and
// this is how the API still has it.
const signatureField = "signature"

// Values of signatureField. Empty is schemeStandard.
const (
	schemeStandard = "standard"
	schemeOutpost  = "outpost"
	schemeEd25519  = "v1a" // Standard Webhooks' asymmetric signature, by its identifier
	schemeCustom   = "custom"
)

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type.
type Type struct {
	now func() time.Time // the clock; nil for the system's
}

func (t Type) clock() func() time.Time {
	if t.now != nil {
		return t.now
	}
	return time.Now
}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "webhook",
		Label:        "Webhook",
		Description:  "Posts each event to an HTTP address of yours, signed so that you can tell where it comes from.",
		Needs:        "an HTTPS URL",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   10,
		Config: append([]adapters.Field{
			{Key: "url", Label: "URL", Type: adapters.FieldText, Required: true, MaxLength: outbound.MaxURL,
				Help:        "The address that events are posted to, with https:// in front.",
				Placeholder: "https://hooks.example.com/waybill",
				Pattern:     `https?://.+`, PatternHelp: "must begin with https:// or http://"},
			{Key: "custom_headers", Label: "Custom headers", Type: adapters.FieldMap, MaxLength: 8192, Sensitive: true,
				Help: "Sent with every event, for example the token that your gateway asks for. Headers of the protocol and " +
					"those that begin with webhook-, waybill- or ce- cannot be set. Receipts mask values that look like credentials.",
				Placeholder: `{"X-Team": "billing"}`},
			{Key: awaitField, Label: "Wait for completion", Type: adapters.FieldCheckbox, Beside: true,
				Doc: "For webhooks: a 202 with a Location acknowledges only once that status resource says so.",
				Help: "A receiver that answers 202 with a Location has not acknowledged the event until that address, which is asked within the " +
					"timeout, answers 303 or a final 2xx."},
		}, schemeFields()...),
		Beside: []adapters.Field{
			{Key: signatureField, Label: "Signature", Type: adapters.FieldSelect, Help: "How requests are signed.",
				Doc: "How webhooks are signed: empty and `standard` as Standard Webhooks says, `v1a` the same with ed25519, `outpost` with " +
					"Outpost's header, `custom` as the config fields `signature_…` say.",
				Options: []adapters.Option{{Value: schemeStandard, Label: "Standard Webhooks (webhook-signature)"},
					{Value: schemeEd25519, Label: "Standard Webhooks, asymmetric (v1a, ed25519)"},
					{Value: schemeOutpost, Label: "Outpost (x-outpost-signature)"},
					{Value: schemeCustom, Label: "Custom: set it up in the fields below"}},
				PatternHelp: `must be "standard", "v1a", "outpost" or "custom"`},
		},
		Credentials: []adapters.Field{
			{Key: "secret", Label: "Signing secret", Type: adapters.FieldText, Sensitive: true, Shared: true, MaxLength: 256,
				Help:        "Verifies that events come from here: whsec_ followed by base64. Leave it empty to have one made.",
				Placeholder: "whsec_…"},
			{Key: "previous_secret", Label: "Previous signing secret", Type: adapters.FieldText, Sensitive: true, MaxLength: 256,
				Hidden: true, Shared: true, Help: "Signs besides the current secret during a rotation."},
			{Key: "previous_secret_invalid_at", Label: "Previous secret ends", Type: adapters.FieldText, MaxLength: 40,
				Hidden: true, Help: "When the previous secret stops signing: a time like 2026-05-03T12:00:00Z."},
			{Key: publicKeyField, Label: "Public key", Type: adapters.FieldText, Hidden: true, Shared: true, MaxLength: 256,
				Help: "With the signature v1a: verifies signatures of the current secret. It is derived from the secret; what is given here is not taken."},
			{Key: secondSecret, Label: "Secret of the second signature", Type: adapters.FieldText, Sensitive: true, Shared: true,
				MaxLength: 256, Advanced: true,
				Help: "When it is another than the first's. It does not take part in rotations."},
			{Key: adapters.RotateField, Label: "Rotate the secret", Type: adapters.FieldCheckbox, Hidden: true,
				Help: "Makes a new signing secret; the present one becomes the previous one."},
		},
	}
}

// Validate implements adapters.Type. It makes a secret when there is none, and carries out a rotation that was asked
// for.
func (t Type) Validate(s *adapters.Settings) (errs []adapters.FieldError) {
	if _, err := outbound.ParseURL(s.Config["url"]); err != nil {
		errs = append(errs, adapters.FieldError{Key: "config.url", Message: err.Error()})
	}
	if _, err := parseCustomHeaders(s.Config["custom_headers"]); err != nil {
		errs = append(errs, adapters.FieldError{Key: "config.custom_headers", Message: err.Error()})
	}
	switch s.Beside[signatureField] {
	case "", schemeStandard, schemeOutpost, schemeEd25519, schemeCustom:
	default:
		errs = append(errs, adapters.FieldError{Key: signatureField, Message: "must be standard, v1a, outpost or custom"})
	}
	named, wrong := newPrefixed(s)
	if errs = append(errs, wrong...); named != nil && len(errs) == 0 {
		custom, _ := parseCustomHeaders(s.Config["custom_headers"])
		for _, h := range custom {
			if named.sends(h.name) {
				errs = append(errs, adapters.FieldError{Key: "config.custom_headers",
					Message: fmt.Sprintf("must not set %.60q, which this server sets itself", h.name)})
			}
		}
	}
	if len(errs) > 0 {
		// A rotation must not happen halfway, and a secret is not made for what is not stored.
		return errs
	}
	if s.Credentials == nil {
		s.Credentials = map[string]string{}
	}
	return settleSecrets(s, t.clock()())
}

// Target implements adapters.Type.
func (Type) Target(s adapters.Settings) (label, url string) {
	e, err := outbound.ParseURL(s.Config["url"])
	if err != nil {
		return "POST", ""
	}
	return "POST " + e.Label(), ""
}

// Open implements adapters.Type.
func (t Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	endpoint, err := outbound.ParseURL(s.Config["url"])
	if err != nil {
		return nil, adapters.ConfigError("The destination's URL " + err.Error() + ".")
	}
	custom, err := parseCustomHeaders(s.Config["custom_headers"])
	if err != nil {
		return nil, adapters.ConfigError("The destination's field custom_headers " + err.Error() + ".")
	}
	named, wrong := newPrefixed(&s)
	if len(wrong) > 0 {
		return nil, adapters.ConfigError("The destination's field " + strings.TrimPrefix(wrong[0].Key,
			"config.") + " " + wrong[0].Message + ".")
	}
	snd := &sender{endpoint: endpoint, settings: s, named: named, await: s.Config[awaitField] == "true", timeout: s.Limit(), now: t.clock()}
	own := prefixOr(&s, ownPrefix)
	snd.topic, snd.attempt, snd.meta = own+"topic", own+"attempt", own+"meta-"
	if err := snd.addSigners(&s); err != nil {
		return nil, adapters.ConfigError("The destination's signing secret " + err.Error() + ".")
	}
	opt := outbound.Options{Egress: env.Egress, Certificate: true}
	opt.Redact = snd.addHeaders(env, custom)
	snd.client = outbound.New(endpoint, opt)
	return snd, nil
}

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	endpoint *outbound.Endpoint
	client   *outbound.Client
	settings adapters.Settings
	base     outbound.Header // the lines that every request has
	signers  []signer        // of Standard Webhooks, the current secret's first; none with other signatures only
	named    *prefixed       // of the other signatures; nil for none

	topic, attempt, meta string // names of headers beside those of Standard Webhooks

	await    bool // for the completion that a 202 announces
	ownTrace bool // the destination's custom headers have a trace context
	timeout  time.Duration
	now      func() time.Time
}

// addSigners gives each scheme of the destination its keys.
func (s *sender) addSigners(set *adapters.Settings) error {
	c := set.Credentials
	until, _ := time.Parse(time.RFC3339, c["previous_secret_invalid_at"])
	for n, scheme := range schemes(set) {
		form := secretForm(scheme, set.Config)
		secret := c["secret"]
		if n == 1 && c[secondSecret] != "" {
			secret = c[secondSecret]
		}
		key, err := signingKey(secret, form)
		if err != nil {
			return err
		}
		s.addSigner(scheme, key, time.Time{})
		// Without an end the previous secret is not in force: one that was given up must not sign for ever.
		if previous := c["previous_secret"]; previous != "" && !until.IsZero() && (n == 0 || c[secondSecret] == "") {
			switch key, err = signingKey(previous, form); {
			case err == nil:
				s.addSigner(scheme, key, until)
			case n == 0:
				return err
			}
		}
	}
	return nil
}

func (s *sender) addSigner(scheme string, key []byte, until time.Time) {
	switch scheme {
	case schemeCustom:
		s.named.custom.keys = append(s.named.custom.keys, customKey{key, until})
	case schemeOutpost:
		s.named.signs = append(s.named.signs, newSigner(key, scheme, until))
	default:
		s.signers = append(s.signers, newSigner(key, scheme, until))
	}
}

// addHeaders prepares the lines that are always the same. It returns the values that receipts must not show.
func (s *sender) addHeaders(env adapters.Env, custom []customHeader) (secrets []string) {
	replaced := map[string]bool{}
	for _, h := range custom {
		replaced[strings.ToLower(h.name)] = true
	}
	if !replaced["user-agent"] && env.UserAgent != "" {
		s.base.AddPublic("User-Agent", env.UserAgent)
	}
	if !replaced["content-type"] {
		s.base.AddPublic("Content-Type", adapters.ContentType(s.settings.Format))
	}
	s.ownTrace = replaced[adapters.AttributeTrace] || replaced[adapters.AttributeTraceState]
	for _, h := range custom {
		if h.secret() {
			s.base.AddSecret(h.name, h.value)
			secrets = append(secrets, h.value)
		} else {
			s.base.AddPublic(h.name, h.value)
		}
	}
	return secrets
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	h := outbound.AcquireHeader(&s.base)
	defer outbound.ReleaseHeader(h)
	m = httpevent.AddCloudEvent(h, m, &s.settings)
	now := s.now()
	if len(s.signers) > 0 {
		s.standardHeaders(h, m, now)
	}
	if s.named != nil {
		s.named.headers(h, m, now)
	}
	if !s.ownTrace {
		httpevent.AddTrace(h, m)
	}
	return s.deliver(ctx, outbound.Request{Header: h, Body: m.Data, Timeout: s.timeout})
}

// standardHeaders adds what Standard Webhooks asks for, and our own.
func (s *sender) standardHeaders(h *outbound.Header, m *adapters.Message, now time.Time) {
	var prefixBuf [384]byte
	var sigBuf [192]byte // Room for two signatures; there are seldom more.
	var sumBuf [ed25519.SignatureSize]byte
	seconds := now.Unix()
	prefix := append(prefixBuf[:0], m.EventID...)
	prefix = append(prefix, '.')
	prefix = strconv.AppendInt(prefix, seconds, 10)
	prefix = append(prefix, '.')
	sig := sigBuf[:0]
	for _, sg := range s.signers {
		if !sg.live(now) {
			continue
		}
		if len(sig) > 0 {
			sig = append(sig, ' ')
		}
		sum := sumBuf[:0]
		if sg.private != nil {
			sig = append(sig, "v1a,"...)
			signed := append(make([]byte, 0, len(prefix)+len(m.Data)), prefix...)
			sum = append(sum, ed25519.Sign(sg.private, append(signed, m.Data...))...)
		} else {
			sig = append(sig, "v1,"...)
			sum = sg.Sum(sum, prefix, m.Data)
		}
		sig = base64.StdEncoding.AppendEncode(sig, sum)
	}
	h.AddPublic("webhook-id", m.EventID)
	h.AddPublicInt("webhook-timestamp", seconds)
	h.AddPublicBytes("webhook-signature", sig)
	if m.Topic != "" {
		h.AddPublic(s.topic, m.Topic)
	}
	h.AddPublicInt(s.attempt, int64(m.Attempt))
	httpevent.AddMetadataUnder(h, m, s.meta)
}

// Check implements adapters.Checker.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	stages := s.client.Check(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	return append(stages, adapters.Stage{Name: "publish", OK: true, Message: fmt.Sprintf(
		"Nothing was posted; a test event would be sent to %s and show whether the receiver accepts it.", s.endpoint.Label())})
}

// Close implements adapters.Sender.
func (s *sender) Close() error { return s.client.Close() }
