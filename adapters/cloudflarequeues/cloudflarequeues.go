// Package cloudflarequeues sends events to Cloudflare Queues, over the REST interface of Cloudflare's API: one message at a
// time while there is time for that, and up to a hundred in a request when many wait. A message is JSON with the payload
// and its metadata, {"data": …, "metadata": {…}}, in the way in which Hookdeck Outpost sends it.
//
// https://developers.cloudflare.com/api/resources/queues/subresources/messages/
package cloudflarequeues

import (
	"context"
	_ "embed"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/gather"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const apiBase = "https://api.cloudflare.com"

// Limits of Queues (https://developers.cloudflare.com/queues/platform/limits/). A kilobyte is 1000 bytes there, and about
// 100 bytes of each message are Cloudflare's own.
const (
	maxMessage  = 128_000 - 100
	maxMessages = 100 // of a request
	maxRequest  = 256_000 - 2*maxMessages
)

// calls is how many requests are under way at the same time.
const calls = 4

//go:embed instructions.md
var instructions string

//go:embed icon.svg
var icon string

func init() { adapters.Register(Type{}) }

// Type is the destination type. The zero value leads to Cloudflare.
type Type struct {
	base func(queue string) string // where the API of a queue is, instead of apiBase; nil but in tests
}

// Spec implements adapters.Type.
func (Type) Spec() adapters.Spec {
	return adapters.Spec{
		Name:         "cloudflare_queues",
		Label:        "Cloudflare Queues",
		Description:  "Sends each event as a message to a queue of Cloudflare Queues.",
		Needs:        "a queue, and an API token that may write to it",
		Icon:         icon,
		Instructions: instructions,
		FieldOrder:   85,
		Config: []adapters.Field{
			{Key: "account_id", Label: "Account ID", Type: adapters.FieldText, Required: true, MaxLength: 32,
				Help:        "The id of the Cloudflare account that the queue is in.",
				Placeholder: "023e105f4ecef8ad9ca31a8372d0c353",
				Pattern:     `[0-9a-f]{32}`, PatternHelp: "must be an account's id: 32 digits and letters from a to f"},
			{Key: "queue_id", Label: "Queue ID", Type: adapters.FieldText, Required: true, MaxLength: 32,
				Help:        "The id of the queue, not its name.",
				Placeholder: "9d7d4cf8a3a14d9aaeb50c3e74e2f4b1",
				Pattern:     `[0-9a-f]{32}`, PatternHelp: "must be a queue's id, not its name: 32 digits and letters from a to f"},
		},
		Credentials: []adapters.Field{
			{Key: "api_token", Label: "API token", Type: adapters.FieldText, Required: true, Sensitive: true, MaxLength: 1024,
				Help:    "An API token of Cloudflare's with the permission Queues Edit for the account.",
				Pattern: `[!-~]+`, PatternHelp: "must be a token without spaces"},
		},
	}
}

// Validate implements adapters.Type. What it has to check, the patterns do.
func (Type) Validate(*adapters.Settings) []adapters.FieldError { return nil }

// Target implements adapters.Type. Cloudflare's page of a queue goes by its name, so the link leads to the list.
func (Type) Target(s adapters.Settings) (label, page string) {
	account, queue := s.Config["account_id"], s.Config["queue_id"]
	if account == "" || queue == "" {
		return "Cloudflare Queues", ""
	}
	return queue, "https://dash.cloudflare.com/" + account + "/workers/queues"
}

// Open implements adapters.Type.
func (t Type) Open(env adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	account, queue, token := s.Config["account_id"], s.Config["queue_id"], s.Credentials["api_token"]
	if !isID(account) || !isID(queue) || token == "" {
		return nil, adapters.ConfigError("The destination has no account ID, queue ID or API token.")
	}
	base := apiBase
	if t.base != nil {
		base = t.base(queue)
	}
	endpoint, err := outbound.ParseURL(base + "/client/v4/accounts/" + account + "/queues/" + queue)
	if err != nil {
		return nil, adapters.ConfigError("The address of Cloudflare's API " + err.Error() + ".")
	}
	snd := &sender{settings: s, queue: queue, host: endpoint.Host, path: endpoint.Target,
		client: outbound.New(endpoint, outbound.Options{Egress: env.Egress, Redact: []string{token}})}
	snd.base.AddPublic("Content-Type", "application/json")
	if env.UserAgent != "" {
		snd.base.AddPublic("User-Agent", env.UserAgent)
	}
	snd.base.AddSecret("Authorization", "Bearer "+token)
	snd.gatherer = gather.New(gather.Config[[]byte, adapters.Receipt]{Items: maxMessages, Calls: calls, Bytes: maxRequest,
		Size: func(item []byte) int { return len(item) + 1 }, Call: snd.push, Divide: outbound.Refused})
	return snd, nil
}

// isID says whether an id can stand in a path.
func isID(id string) bool {
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return false
		}
	}
	return len(id) == 32
}

// Check implements adapters.Checker: Cloudflare describes the queue to whoever may use it.
func (s *sender) Check(ctx context.Context) []adapters.Stage {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	stages := s.client.Check(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	begun := time.Now()
	_, answer, err := s.request(ctx, "GET", "", nil)
	auth := adapters.Stage{Name: "auth", OK: err == nil, Took: time.Since(begun)}
	if err != nil {
		auth.Message, auth.Advice = err.Message, err.Advice
		return append(stages, auth)
	}
	auth.Message = "Cloudflare knows the queue and the token."
	if answer.Result.Name != "" {
		auth.Message = "Cloudflare knows the queue " + outbound.OneLine(answer.Result.Name) + " and the token."
	}
	return append(stages, auth, adapters.Stage{Name: "publish", OK: true,
		Message: "Nothing was sent; a test event shows whether the token may write."})
}
