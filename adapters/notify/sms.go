package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
)

const twilioAPI = "https://api.twilio.com"

func init() {
	Register(Type{
		Name: "sms", Label: "SMS", Description: "Sends a text message through your Twilio account.",
		Instructions: "1. In the Twilio console, copy the **Account SID** and the **Auth Token** from the account's start page.\n" +
			"2. Under **Phone Numbers**, choose a number of yours that can send SMS and enter it as **From**; a Messaging Service (`MG…`) will do as well.\n" +
			"3. Enter the phone to alert as **To**, with + and the country's code. A trial account sends to verified numbers only.\n\n" +
			"Twilio charges by segments. A notice has at most 459 characters, which are three of them, or up to seven if it holds letters that " +
			"the GSM alphabet does not have. Twilio takes every request for a new message, so a notice whose answer was lost may arrive twice.",
		Config: []adapters.Field{
			{Key: "account_sid", Label: "Account SID", Type: adapters.FieldText, Required: true,
				Help: "On the start page of the Twilio console.", Placeholder: "AC0123456789abcdef0123456789abcdef",
				Pattern: `AC[0-9a-fA-F]{32}`, PatternHelp: "must be AC followed by 32 hexadecimal digits"},
			{Key: "from", Label: "From", Type: adapters.FieldText, Required: true,
				Help:        "A number of your account in international form, a Messaging Service (MG…), or a sender name of up to 11 letters and digits.",
				Placeholder: "+15017122661",
				Pattern:     `\+[1-9][0-9]{6,14}|MG[0-9a-fA-F]{32}|[0-9 ]{0,10}[A-Za-z][A-Za-z0-9 ]{0,10}`,
				PatternHelp: "must be a number like +15017122661, a Messaging Service (MG…), or a sender name"},
			{Key: "to", Label: "To", Type: adapters.FieldText, Required: true,
				Help: "The phone to alert, in international form.", Placeholder: "+15558675310",
				Pattern: `\+[1-9][0-9]{6,14}`, PatternHelp: "must be a number like +15558675310"},
		},
		Secrets: []adapters.Field{{Key: "auth_token", Label: "Auth token", Type: adapters.FieldText, Required: true, Sensitive: true,
			MaxLength: 256,
			Help:      "Beside the Account SID in the Twilio console.", Placeholder: "32 hexadecimal digits",
			Pattern: `[!-~]{16,}`, PatternHelp: "must be the token of the Twilio console, without spaces"}},
		Order:  40,
		Target: func(config map[string]string) string { return config["to"] },
		Open: func(env Env, config, secrets map[string]string) (Channel, error) {
			base := twilioAPI
			if env.TwilioURL != "" {
				base = env.TwilioURL
			}
			basic := base64.StdEncoding.EncodeToString([]byte(config["account_sid"] + ":" + secrets["auth_token"]))
			s, err := newService(env, "Twilio", base+"/2010-04-01/Accounts/"+url.PathEscape(config["account_sid"])+"/Messages.json",
				secrets["auth_token"], basic)
			if err != nil {
				return nil, err
			}
			s.words, s.known = twilioWords, twilioRefusals
			return &sms{service: s, basic: basic, config: config}, nil
		},
	})
}

// Refusals by Twilio's error codes (https://www.twilio.com/docs/api/errors), as twilioWords writes them.
var twilioRefusals = []refusal{
	{"error 20003:", adapters.KindTransient, adapters.ClassAuth, "Copy the Account SID and the auth token from the Twilio console again."},
	{"error 20404:", adapters.KindTransient, adapters.ClassNotFound, "Check the Account SID."},
	{"error 21211:", adapters.KindPermanent, adapters.ClassRejected, "Correct the number in To."},
	{"error 21408:", adapters.KindPermanent, adapters.ClassRejected,
		"Allow messages to that country in the Twilio console, under Geo permissions."},
	{"error 21606:", adapters.KindPermanent, adapters.ClassRejected, "Choose a number in From that can send SMS to that country."},
	{"error 21608:", adapters.KindPermanent, adapters.ClassRejected,
		"Verify the number in To in the Twilio console; trial accounts send to verified numbers only."},
	{"error 21610:", adapters.KindPermanent, adapters.ClassRejected,
		"The phone's owner answered STOP; they must answer START to get messages again."},
	{"error 21659:", adapters.KindPermanent, adapters.ClassRejected, "Enter a number in From that belongs to this Twilio account."},
}

type sms struct {
	*service
	basic  string
	config map[string]string
}

// Send implements Channel.
func (s *sms) Send(ctx context.Context, n *Notice) (Result, error) {
	form := url.Values{"To": {s.config["to"]}, "Body": {smsText(n)}}
	if from := s.config["from"]; strings.HasPrefix(from, "MG") && len(from) == 34 {
		form.Set("MessagingServiceSid", from)
	} else {
		form.Set("From", from)
	}
	return s.post(ctx, "", "application/x-www-form-urlencoded", "Basic "+s.basic, []byte(form.Encode()))
}

// smsMost is three segments of 153 characters, which is what 160 leave when a message has several.
const smsMost = 3 * 153

// smsText is the title, the error when it fits, and the address of the alert, which is never cut.
func smsText(n *Notice) string {
	text := "Waybill " + n.title(smsMost)
	tail := link(n.AlertURL)
	if utf8.RuneCountInString(tail) > smsMost/2 {
		tail = ""
	}
	if n.Others > 0 {
		tail = strings.TrimSpace(fmt.Sprintf("(+%d more) %s", n.Others, tail))
	}
	room := smsMost
	if tail != "" {
		room -= utf8.RuneCountInString(tail) + 1
	}
	add := func(more string) {
		if longer := strings.TrimRight(text, ".") + ". " + more; utf8.RuneCountInString(longer) <= room {
			text = longer
		}
	}
	if failure := oneLine(n.Error, smsMost); failure != "" && n.Kind != Resolved &&
		!strings.Contains(n.headline(), strings.TrimRight(failure, ".")) {
		add(failure)
	}
	if n.Kind != Resolved && len(n.Failed) > 0 && n.Failed[0].EventID != "" {
		add("Last event: " + oneLine(n.Failed[0].EventID, 100) + ".")
	}
	// An ellipsis is not in the GSM alphabet, and would more than halve what a segment holds.
	text = strings.ReplaceAll(text, "…", "...")
	if r := []rune(text); len(r) > room {
		text = strings.TrimSpace(string(r[:room-3])) + "..."
	}
	return strings.TrimSpace(text + " " + tail)
}

// twilioWords reads a message that was taken ({"sid", "status"}) and an error ({"code", "message"}).
func twilioWords(body []byte) string {
	var a struct {
		SID     string `json:"sid"`
		Status  any    `json:"status"` // a word, or in errors the number of the HTTP status
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &a) != nil {
		return ""
	}
	if a.Code != 0 || a.Message != "" {
		return fmt.Sprintf("error %d: %s", a.Code, a.Message)
	}
	if word, ok := a.Status.(string); ok && a.SID != "" {
		return word + ", " + a.SID
	}
	return ""
}
