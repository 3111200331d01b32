package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// slackMarkup is what may stand between angle brackets in our messages: links to the web, with a label.
var slackMarkup = regexp.MustCompile(`<https?://[^<>|\s]+\|[^<>|]+>`)

func checkSlackText(v any, kind string, most int) error {
	m, ok := v.(map[string]any)
	if !ok || m["type"] != kind {
		return fmt.Errorf("%v is no text object of type %s", v, kind)
	}
	if err := only(m, "!type", "!text", map[string]string{"mrkdwn": "verbatim", "plain_text": "emoji"}[kind]); err != nil {
		return err
	}
	if err := length(m["text"], 1, most); err != nil {
		return err
	}
	if kind == "mrkdwn" {
		return checkSlackEscapes(m["text"].(string))
	}
	return nil
}

func checkSlackEscapes(text string) error {
	rest := slackMarkup.ReplaceAllString(text, "")
	if strings.ContainsAny(rest, "<>") {
		return fmt.Errorf("markup that is not ours in %q", text)
	}
	for _, escape := range []string{"&amp;", "&lt;", "&gt;"} {
		rest = strings.ReplaceAll(rest, escape, "")
	}
	if strings.Contains(rest, "&") {
		return fmt.Errorf("an ampersand that is not escaped in %q", text)
	}
	return nil
}

func checkSlack(r *http.Request, body []byte) error {
	var m map[string]any
	if r.Method != http.MethodPost || r.URL.Path != slackPath || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return fmt.Errorf("%s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if err := only(m, "!text", "!blocks", "unfurl_links", "unfurl_media"); err != nil {
		return err
	}
	if err := length(m["text"], 1, 4000); err != nil {
		return err
	}
	if err := checkSlackEscapes(m["text"].(string)); err != nil {
		return err
	}
	blocks, _ := m["blocks"].([]any)
	if len(blocks) < 1 || len(blocks) > 50 {
		return fmt.Errorf("%d blocks", len(blocks))
	}
	for i, b := range blocks {
		if err := checkSlackBlock(b.(map[string]any)); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func checkSlackBlock(b map[string]any) error {
	switch b["type"] {
	case "header":
		if err := only(b, "!type", "!text"); err != nil {
			return err
		}
		return checkSlackText(b["text"], "plain_text", 150)
	case "section":
		if err := only(b, "!type", "text", "fields"); err != nil {
			return err
		}
		fields, _ := b["fields"].([]any)
		if b["text"] == nil && len(fields) == 0 || len(fields) > 10 {
			return fmt.Errorf("%d fields", len(fields))
		}
		for _, f := range fields {
			if err := checkSlackText(f, "mrkdwn", 2000); err != nil {
				return err
			}
		}
		if b["text"] != nil {
			return checkSlackText(b["text"], "mrkdwn", 3000)
		}
		return nil
	case "context":
		elements, _ := b["elements"].([]any)
		if len(elements) < 1 || len(elements) > 10 {
			return fmt.Errorf("%d elements", len(elements))
		}
		for _, e := range elements {
			if err := checkSlackText(e, "mrkdwn", 3000); err != nil {
				return err
			}
		}
		return only(b, "!type", "!elements")
	}
	return fmt.Errorf("unknown type %v", b["type"])
}

func openSlack(t *testing.T, srv *httptest.Server) Channel {
	return open(t, trust(testEnv(), srv), "slack", nil, map[string]string{"url": srv.URL + slackPath})
}

func TestSlack(t *testing.T) {
	t.Parallel()
	for name, n := range notices() {
		f := startFake(t, func(r *http.Request, body []byte) (int, string) {
			if err := checkSlack(r, body); err != nil {
				t.Errorf("%s: %v in %s", name, err, body)
				return 400, "invalid_blocks"
			}
			return 200, "ok"
		})
		if r := mustSend(t, openSlack(t, f.Server), n); r.Code != 200 || r.Answer != "ok" {
			t.Errorf("%s: %+v", name, r)
		}
		golden(t, name+".slack.json", indented(t, f.got()[0]))
	}
}
