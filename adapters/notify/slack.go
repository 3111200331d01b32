package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

func init() {
	Register(Type{
		Name: "slack", Label: "Slack", Description: "Posts into a Slack channel through an incoming webhook.",
		Instructions: "1. In Slack, open **Apps**, create or choose an app of your workspace and switch on **Incoming Webhooks**.\n" +
			"2. Choose **Add New Webhook to Workspace**, pick the channel that notices shall go to, and copy the **Webhook URL**.\n" +
			"3. Enter it as **Webhook URL**. Whoever has it can post into that channel, so it is kept as a secret.",
		Secrets: []adapters.Field{{Key: "url", Label: "Webhook URL", Type: adapters.FieldText, Required: true, Sensitive: true,
			MaxLength:   2048,
			Help:        "The address that Slack shows under Incoming Webhooks of your app.",
			Placeholder: "https://hooks.slack.com/services/T000/B000/XXXX",
			Pattern:     `https://[^\s/]+/\S+`, PatternHelp: "must be an address like https://hooks.slack.com/services/T000/B000/XXXX"}},
		Order:  20,
		Target: func(map[string]string) string { return "Slack" },
		Open: func(env Env, _, secrets map[string]string) (Channel, error) {
			// The path is all that it takes to post.
			hook := secrets["url"]
			_, path, _ := strings.Cut(strings.TrimPrefix(hook, "https://"), "/")
			s, err := newService(env, "Slack", hook, hook, path, path[strings.LastIndexByte(path, '/')+1:])
			if err != nil {
				return nil, err
			}
			s.known = slackRefusals
			return &slack{s}, nil
		},
	})
}

// The refusals that Slack documents for incoming webhooks (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
var slackRefusals = []refusal{
	{"no_service", adapters.KindGone, adapters.ClassGone,
		"The webhook was removed or switched off in Slack; make a new one and enter its URL."},
	{"no_team", adapters.KindGone, adapters.ClassGone,
		"The workspace does not exist any more; make a webhook in another one and enter its URL."},
	{"channel_not_found", adapters.KindGone, adapters.ClassGone,
		"The channel was deleted in Slack; make a webhook for another one and enter its URL."},
	{"channel_is_archived", adapters.KindGone, adapters.ClassGone,
		"The channel is archived in Slack; unarchive it, or make a webhook for another one."},
	{"invalid_token", adapters.KindTransient, adapters.ClassAuth, "Copy the webhook URL from Slack again; a part of it is wrong."},
	{"action_prohibited", adapters.KindTransient, adapters.ClassAuth,
		"An administrator of the workspace restricts who may post; ask them to allow this app."},
	{"posting_to_general_channel_denied", adapters.KindTransient, adapters.ClassAuth,
		"The workspace does not let apps post into its general channel; make a webhook for another one."},
	{"too_many_attachments", adapters.KindPermanent, adapters.ClassRejected, "This is a defect of this server; please report it."},
	{"invalid_", adapters.KindPermanent, adapters.ClassRejected,
		"Slack did not understand the message; please report it as a defect of this server."},
}

type slack struct{ *service }

// Send implements Channel.
func (s *slack) Send(ctx context.Context, n *Notice) (Result, error) {
	body, err := json.Marshal(slackMessage(n))
	if err != nil {
		return Result{}, adapters.AsError(err)
	}
	return s.post(ctx, "", "application/json; charset=utf-8", "", body)
}

// Slack's limits, in characters (https://docs.slack.dev/reference/block-kit/blocks).
const (
	slackHeader  = 150
	slackSection = 3000
	slackField   = 2000
	slackFields  = 10
)

// slackText is a text object. Verbatim keeps Slack from making links out of names and addresses by itself.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackPost struct {
	Text        string       `json:"text"` // what notifications and screen readers take
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"` // false: the links lead to a dashboard with a login
	UnfurlMedia bool         `json:"unfurl_media"`
}

// slackMessage puts the message together. Links are text and no buttons: Slack reports clicks on buttons to the app that
// posted, and warns the reader when that does not answer.
func slackMessage(n *Notice) slackPost {
	p := slackPost{Text: slackEscape(n.title(500), 1000)}
	section := func(text string) { p.Blocks = append(p.Blocks, slackBlock{Type: "section", Text: mrkdwn(text)}) }
	context := func(text string) {
		p.Blocks = append(p.Blocks, slackBlock{Type: "context", Elements: []slackText{*mrkdwn(text)}})
	}
	head := n.title(slackHeader - 2) // less the icon and a space
	p.Blocks = append(p.Blocks, slackBlock{Type: "header", Text: &slackText{Type: "plain_text", Text: slackIcon(n) + " " + head}})
	if !strings.HasSuffix(head, n.summary()) { // It did not fit.
		section(slackEscape(n.summary(), slackSection))
	}
	var fields []slackText
	for _, f := range n.facts() {
		fields = append(fields, *mrkdwn("*" + f.label + "*\n" + slackEscape(f.value, slackField-60)))
	}
	for len(fields) > 0 {
		most := min(len(fields), slackFields)
		p.Blocks = append(p.Blocks, slackBlock{Type: "section", Fields: fields[:most]})
		fields = fields[most:]
	}
	if failure := n.failure(); failure != "" {
		section("*Last error*\n" + slackEscape(failure, slackSection-100))
	}
	if excerpt := block(n.ResponseExcerpt, 1000); excerpt != "" {
		// Three backquotes would end the quotation.
		section("*Answer*\n```\n" + slackEscape(strings.ReplaceAll(excerpt, "`", "'"), slackSection-100) + "\n```")
	}
	var failed []string
	for _, l := range n.failedLines() {
		name := "*" + slackEscape(l.event, 200) + "*"
		if l.url != "" {
			name = fmt.Sprintf("<%s|%s>", slackEscaper.Replace(l.url), slackEscape(l.event, 200))
		}
		if line := "• " + name + ": " + slackEscape(l.about, 400); len([]rune(strings.Join(append(failed, line),
			"\n"))) < slackSection-100 {
			failed = append(failed, line)
		}
	}
	if len(failed) > 0 {
		section("*Events that failed last*\n" + strings.Join(failed, "\n"))
	}
	if advice := oneLine(n.Advice, 1000); advice != "" {
		section("*What to do*\n" + slackEscape(advice, slackSection-100))
	}
	var links []string
	for _, l := range n.links() {
		links = append(links, fmt.Sprintf("<%s|%s>", slackEscaper.Replace(l.value), l.label))
	}
	if text := strings.Join(links, "   "); len(text) > 0 && len(text) <= slackSection {
		section(text)
	}
	if o := n.others(); o != "" {
		context(o)
	}
	return p
}

func mrkdwn(text string) *slackText { return &slackText{Type: "mrkdwn", Text: text, Verbatim: true} }

var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackEscape makes s text that is nothing but text, of at most n characters as Slack counts them, which is after the
// escaping. It does not cut through an escape.
func slackEscape(s string, n int) string {
	for most := n; ; most = most * 9 / 10 {
		if out := slackEscaper.Replace(clip(s, most)); len([]rune(out)) <= n {
			return out
		}
	}
}

func slackIcon(n *Notice) string {
	switch {
	case n.Kind == Resolved:
		return "✅"
	case n.Kind == Acknowledged:
		return "👀"
	case n.Kind == Test || n.Severity == Info:
		return "🔔"
	case n.Severity == Critical, n.Severity == ErrorSev:
		return "🔴"
	}
	return "🟠"
}
