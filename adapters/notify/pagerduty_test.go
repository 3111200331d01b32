package notify

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkPagerDuty is the schema of https://developer.pagerduty.com/docs/send-alert-event, and the limits named there.
func checkPagerDuty(r *http.Request, body []byte) error {
	var m map[string]any
	if r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" || r.Header.Get("Content-Type") != "application/json" ||
		len(body) > 512<<10 {
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
		if only(link, "!href", "text") != nil || !formatURL(link["href"].(string)) {
			return fmt.Errorf("link %v", link)
		}
	}
	if u, given := m["client_url"]; given && !formatURL(u.(string)) {
		return fmt.Errorf("client_url %v", u)
	}
	return nil
}

// formatURL is the format "url" of JSON Schema, as validators know it: a name with a dot or a public address.
func formatURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		return ip.To4() != nil && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast()
	}
	labels := strings.Split(u.Hostname(), ".")
	return len(labels) > 1 && !slices.Contains(labels, "") && !strings.ContainsAny(labels[len(labels)-1], "0123456789_")
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

// TestPagerDutyLinks leaves out the links that PagerDuty's schema refuses, and tells them as text.
func TestPagerDutyLinks(t *testing.T) {
	t.Parallel()
	for address, taken := range map[string]bool{"https://waybill.example.com/a": true, "http://waybill.example.com:8080/a?b=c": true,
		"http://8.8.8.8/a":        true,
		"http://localhost:3000/a": false, "https://waybill/a": false, "http://127.0.0.1/a": false, "http://10.1.2.3/a": false,
		"https://192.168.0.2/a": false,
		"http://[::1]/a":        false, "https://[2001:db8::1]/a": false, "https://a_b.example.com/a": false, "https://waybill.2/a": false,
		"": false} {
		if publicAddress(address) != taken {
			t.Errorf("%s is taken: %v", address, !taken)
		}
	}
	f := pagerDutyFake(t)
	mustSend(t, openPagerDuty(t, f.Server), local())
	var e pagerDutyEvent
	if err := json.Unmarshal(f.got()[0], &e); err != nil {
		t.Fatal(err)
	}
	if e.ClientURL != "" || e.Links != nil || e.Payload.Custom["open_the_alert"] != "http://localhost:3000/alerts/alr_01hzy2" ||
		!strings.Contains(e.Payload.Custom["failed_events"], "order-17") ||
		!strings.Contains(e.Payload.Custom["failed_events"], "trace 4bf92f3577b34da6a3ce929d0e0e4736") {
		t.Errorf("%+v %+v", e, e.Payload)
	}
}
