package notify

import (
	"context"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// webhookType is the destination type that posts and signs. Notices take the same road, so that receivers verify both in
// the same way.
const webhookType = "webhook"

func init() {
	Register(Type{
		Name: "webhook", Label: "Webhook", Description: "Posts each notice as signed JSON to an HTTP address of yours.",
		Instructions: "1. Give your receiver an HTTPS address that accepts `POST` and enter it as **URL**.\n" +
			"2. Save the channel and copy its **signing secret** into your receiver.\n" +
			"3. Verify the signature as for any webhook from here, with one of the [Standard Webhooks libraries](https://www.standardwebhooks.com). " +
			"`webhook-id` is the notice's id, the same on every try: use it to drop duplicates.",
		Order:    50,
		Complete: borrowFields,
		Check: func(_ string, config, secrets map[string]string) []adapters.FieldError {
			set := adapters.Settings{Config: config, Credentials: secrets}
			errs := adapters.Lookup(webhookType).Validate(&set)
			for i := range errs {
				_, key, _ := strings.Cut(errs[i].Key, ".")
				errs[i].Key = "config." + key
			}
			return errs
		},
		Target: func(config map[string]string) string {
			e, err := outbound.ParseURL(config["url"])
			if err != nil {
				return ""
			}
			return e.Label()
		},
		Open: func(env Env, config, secrets map[string]string) (Channel, error) {
			return &webhook{reg: adapters.Lookup(webhookType), env: env, config: config, secrets: secrets}, nil
		},
	})
}

// borrowFields takes the fields from the destination type. A server that was built without it has no webhook channels.
func borrowFields(t *Type) bool {
	reg := adapters.Lookup(webhookType)
	if reg == nil {
		return false
	}
	address := fieldOf(reg.Spec.Config, "url")
	address.Help = "The address that notices are posted to, with https:// in front."
	address.Placeholder = "https://hooks.example.com/alerts"
	secret := fieldOf(reg.Spec.Credentials, "secret")
	secret.Help = "Verifies that notices come from here: whsec_ followed by base64. Leave it empty to have one made."
	t.Config, t.Secrets = []adapters.Field{address}, []adapters.Field{secret}
	return true
}

func fieldOf(fields []adapters.Field, key string) adapters.Field {
	return fields[slices.IndexFunc(fields, func(f adapters.Field) bool { return f.Key == key })]
}

// aboutNotices turns what is said of events and destinations into what holds for notices and channels.
var aboutNotices = strings.NewReplacer("events", "notices", "event", "notice", "this delivery", "this notice",
	"destination", "channel", " and the channel's custom headers", "", ", and the destination's custom headers", "")

type webhook struct {
	reg             *adapters.Registration
	env             Env
	config, secrets map[string]string
}

// Send implements Channel.
func (w *webhook) Send(ctx context.Context, n *Notice) (Result, error) {
	body, err := encode(n, w.env.Now())
	if err != nil {
		return Result{}, adapters.AsError(err)
	}
	sender, err := w.reg.Open(adapters.Env{Egress: w.env.Egress, UserAgent: w.env.UserAgent},
		adapters.Settings{TenantID: w.env.TenantID, Config: w.config, Credentials: w.secrets, Timeout: postTimeout})
	if err != nil {
		return Result{}, adapters.AsError(err)
	}
	defer sender.Close() //nolint:errcheck // closing idle connections tells nothing about the notice
	receipt, err := sender.Send(ctx, &adapters.Message{EventID: n.ID, Topic: Topic, Time: n.made(w.env.Now()), Data: body,
		Attempt: max(n.Try, 1)})
	redact := redactor(w.secrets["secret"])
	result := Result{Code: receipt.Code, Answer: answerLine(redact(string(receipt.Body)))}
	if err != nil {
		e := clean(adapters.AsError(err), redact)
		e.Message, e.Advice = aboutNotices.Replace(e.Message), aboutNotices.Replace(e.Advice)
		return result, e
	}
	return result, nil
}
