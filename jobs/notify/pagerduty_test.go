package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"
)

// checkPagerDuty is the schema of https://developer.pagerduty.com/docs/send-alert-event, and the limits named there.
func checkPagerDuty(r *http.Request, body []byte) error {
	var m map[string]any
	if r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" || r.Header.Get("Content-Type") != "application/json" || len(body) > 512<<10 {
		return fmt.Errorf("%s %s %s, %d bytes", r.Method, r.URL, r.Header.Get("Content-Type"), len(body))
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if m["routing_key"] != pagerKey {
		return fmt.Errorf("routing_key %v", m["routing_key"])
	}
	if err := length(m["dedup_key"], 1, 255); err != nil {
		return err
	}
	switch m["event_action"] {
	case "acknowledge", "resolve":
		return only(m, "!routing_key", "!event_action", "!dedup_key")
	case "trigger":
	default:
		return fmt.Errorf("event_action %v", m["event_action"])
	}
	if err := only(m, "!routing_key", "!event_action", "!dedup_key", "!payload", "client", "client_url", "links", "images"); err != nil {
		return err
	}
	p := m["payload"].(map[string]any)
	if err := only(p, "!summary", "!source", "!severity", "timestamp", "component", "group", "class", "custom_details"); err != nil {
		return err
	}
	if err := length(p["summary"], 1, 1024); err != nil {
		return err
	}
	if err := length(p["source"], 1, 255); err != nil {
		return err
	}
	if !slices.Contains([]any{"critical", "error", "warning", "info"}, p["severity"]) {
		return fmt.Errorf("severity %v", p["severity"])
	}
	if at, ok := p["timestamp"]; ok {
		if _, err := time.Parse(time.RFC3339, at.(string)); err != nil {
			return err
		}
	}
	links, _ := m["links"].([]any)
	for _, l := range links {
		link := l.(map[string]any)
		u, err := url.Parse(link["href"].(string))
		if err != nil || u.Scheme != "https" || only(link, "!href", "text") != nil {
			return fmt.Errorf("link %v", link)
		}
	}
	return nil
}

func pagerDutyFake(t *testing.T) *fake {
	return startFake(t, func(r *http.Request, body []byte) (int, string) {
		if err := checkPagerDuty(r, body); err != nil {
			t.Errorf("%v in %s", err, body)
			return 400, fmt.Sprintf(`{"status":"invalid event","message":"Event object is invalid","errors":[%q]}`, err)
		}
		return 202, `{"status":"success","message":"Event processed","dedup_key":"x"}`
	})
}

func openPagerDuty(t *testing.T, srv *httptest.Server) Channel {
	env := trust(testEnv(), srv)
	env.PagerDutyURL = srv.URL
	return open(t, env, "pagerduty", map[string]string{"region": "us"}, map[string]string{"routing_key": pagerKey})
}

func TestPagerDuty(t *testing.T) {
	t.Parallel()
	acknowledged := failing()
	acknowledged.Kind = Acknowledged
	all := notices()
	all["acknowledged"] = acknowledged
	for name, n := range all {
		f := pagerDutyFake(t)
		if r := mustSend(t, openPagerDuty(t, f.Server), n); r.Code != 202 || r.Answer != "Event processed" {
			t.Errorf("%s: %+v", name, r)
		}
		golden(t, name+".pagerduty.json", indented(t, f.got()[0]))
	}
}

// TestPagerDutyTest: a test shows that events arrive and leaves no incident open, and one of another key than alerts have.
func TestPagerDutyTest(t *testing.T) {
	t.Parallel()
	f := pagerDutyFake(t)
	n := failing()
	n.Kind = Test
	mustSend(t, openPagerDuty(t, f.Server), n)
	var events []pagerDutyEvent
	for _, b := range f.got() {
		var e pagerDutyEvent
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if len(events) != 2 || events[0].Action != "trigger" || events[0].Payload.Severity != Info || events[1].Action != "resolve" ||
		events[0].DedupKey != events[1].DedupKey || events[0].DedupKey == n.AlertID {
		t.Errorf("%+v", events)
	}
}
