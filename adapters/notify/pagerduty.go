package notify

import (
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Where events go, by the region of the account (https://developer.pagerduty.com/docs/events-api-v2-overview).
const (
	pagerDutyUS = "https://events.pagerduty.com"
	pagerDutyEU = "https://events.eu.pagerduty.com"
)

func init() {
	Register(Type{
		Name: "pagerduty", Label: "PagerDuty",
		Description: "Opens an incident for whoever is on call, and acknowledges and resolves it with the alert.",
		Instructions: "1. In PagerDuty, open the service to alert, then **Integrations**, **Add an integration**, and choose **Events API V2**.\n" +
			"2. Copy the **Integration Key** and enter it as **Integration key**.\n" +
			"3. Choose the region that your PagerDuty address shows: `eu` if it ends in `eu.pagerduty.com`.\n\n" +
			"All notices of one alert carry the same deduplication key (the alert's id), so they end up in one incident. " +
			"The test opens an alert of severity info and resolves it at once. PagerDuty takes links to public addresses only: those of a server " +
			"without one (`http://localhost:3000`) are among the details, as text.",
		Config: []adapters.Field{{Key: "region", Label: "Region", Type: adapters.FieldSelect, Default: "us",
			Help:    "Where your PagerDuty account is: Europe if its address ends in eu.pagerduty.com.",
			Options: []adapters.Option{{Value: "us", Label: "United States"}, {Value: "eu", Label: "Europe"}}}},
		Secrets: []adapters.Field{{Key: "routing_key", Label: "Integration key", Type: adapters.FieldText, Required: true, Sensitive: true,
			MaxLength:   64,
			Help:        "32 letters and digits, on the page of the Events API V2 integration of your service.",
			Placeholder: "0123456789abcdef0123456789abcdef",
			Pattern:     `[0-9A-Za-z]{32}`, PatternHelp: "must be the 32 letters and digits of an Events API V2 integration"}},
		Order:  30,
		Target: func(map[string]string) string { return "PagerDuty" },
		Open: func(env Env, config, secrets map[string]string) (Channel, error) {
			base := pagerDutyUS
			if config["region"] == "eu" {
				base = pagerDutyEU
			}
			if env.PagerDutyURL != "" {
				base = env.PagerDutyURL
			}
			s, err := newService(env, "PagerDuty", base+"/v2/enqueue", secrets["routing_key"])
			if err != nil {
				return nil, err
			}
			s.words = pagerDutyWords
			s.known = []refusal{{"routing_key", adapters.KindTransient, adapters.ClassAuth,
				"Copy the integration key of an Events API V2 integration again, and check the region."}}
			return &pagerDuty{service: s, key: secrets["routing_key"]}, nil
		},
	})
}

type pagerDuty struct {
	*service
	key string
}

// pagerDutyEvent is the body of POST /v2/enqueue (https://developer.pagerduty.com/docs/send-alert-event). To acknowledge
// and to resolve takes the first three fields alone.
type pagerDutyEvent struct {
	RoutingKey string           `json:"routing_key"`
	Action     string           `json:"event_action"`
	DedupKey   string           `json:"dedup_key"`
	Payload    *pagerDutyDetail `json:"payload,omitempty"`
	Client     string           `json:"client,omitempty"`
	ClientURL  string           `json:"client_url,omitempty"`
	Links      []pagerDutyLink  `json:"links,omitempty"`
}

type pagerDutyDetail struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Custom    map[string]string `json:"custom_details,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// Send implements Channel.
func (p *pagerDuty) Send(ctx context.Context, n *Notice) (Result, error) {
	switch n.Kind {
	case Acknowledged:
		return p.event(ctx, pagerDutyEvent{Action: "acknowledge", DedupKey: dedupKey(n)})
	case Resolved:
		return p.event(ctx, pagerDutyEvent{Action: "resolve", DedupKey: dedupKey(n)})
	}
	result, err := p.event(ctx, p.trigger(n))
	if err != nil || n.Kind != Test {
		return result, err
	}
	// The incident of a test must not keep somebody awake.
	if after, err := p.event(ctx, pagerDutyEvent{Action: "resolve", DedupKey: dedupKey(n)}); err != nil {
		e := adapters.AsError(err)
		e.Message = "The test arrived, but resolving its alert did not work: " + e.Message
		e.Advice = "Resolve the alert in PagerDuty by hand."
		return after, e
	}
	return result, nil
}

func (p *pagerDuty) event(ctx context.Context, ev pagerDutyEvent) (Result, error) {
	ev.RoutingKey = p.key
	body, err := json.Marshal(ev)
	if err != nil {
		return Result{}, adapters.AsError(err)
	}
	return p.post(ctx, "", "application/json", "", body)
}

// dedupKey is the same for all notices of an alert. PagerDuty takes up to 255 characters.
func dedupKey(n *Notice) string {
	if n.AlertID != "" && n.Kind != Test {
		return clip(n.AlertID, 255)
	}
	return clip("waybill-"+n.Kind+"-"+n.ID, 255)
}

func (p *pagerDuty) trigger(n *Notice) pagerDutyEvent {
	d := &pagerDutyDetail{Summary: clip(n.headline(), 1024), Severity: n.Severity, Component: oneLine(n.DestinationType, 255),
		Group: oneLine(n.TenantID, 255), Class: oneLine(n.ErrorClass, 255), Custom: map[string]string{}}
	if n.Kind == Test {
		d.Severity = Info
	}
	switch d.Severity {
	case Critical, ErrorSev, Warning, Info:
	default:
		d.Severity = Warning
	}
	for _, source := range []string{n.Target, n.DestinationName, n.DestinationID, p.env.BaseURL, "Waybill"} {
		if d.Source = oneLine(source, 255); d.Source != "" {
			break
		}
	}
	for _, at := range []time.Time{n.LastFailure, n.OpenedAt, n.At} {
		if !at.IsZero() {
			d.Timestamp = at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
			break
		}
	}
	for _, f := range n.facts() {
		d.Custom[detailKey(f.label)] = f.value
	}
	for _, f := range []fact{{"error", oneLine(n.Error, 1000)}, {"advice", oneLine(n.Advice, 1000)},
		{"response_excerpt", block(n.ResponseExcerpt, 2000)}, {"others", n.others()}} {
		if f.value != "" {
			d.Custom[f.label] = f.value
		}
	}
	ev := pagerDutyEvent{Action: "trigger", DedupKey: dedupKey(n), Payload: d, Client: "Waybill"}
	if to := link(n.AlertURL); publicAddress(to) {
		ev.ClientURL = to
	}
	for _, l := range n.links() {
		if publicAddress(l.value) {
			ev.Links = append(ev.Links, pagerDutyLink{Href: l.value, Text: l.label})
		} else {
			d.Custom[detailKey(l.label)] = l.value
		}
	}
	var failed []string
	for _, l := range n.failedLines() {
		failed = append(failed, strings.TrimSpace(l.event+": "+l.about+" "+l.url))
	}
	if len(failed) > 0 {
		d.Custom["failed_events"] = strings.Join(failed, "\n")
	}
	return ev
}

func detailKey(label string) string { return strings.ReplaceAll(strings.ToLower(label), " ", "_") }

// publicAddress reports whether PagerDuty takes an address as a link. Its schema asks for the format "url", by which hosts
// are names with a dot or public IPv4 addresses; an event with any other is refused as a whole.
func publicAddress(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Is4() && ip.IsGlobalUnicast() && !ip.IsPrivate()
	}
	return publicName.MatchString(host)
}

// publicName is a name with a dot, like "waybill.example.com".
var publicName = regexp.MustCompile(`(?i)^([a-z0-9]+(-+[a-z0-9]+)*\.)+[a-z]{2,}$`)

// pagerDutyWords reads {"status", "message", "errors": […]}.
func pagerDutyWords(body []byte) string {
	var a struct {
		Message string
		Errors  []string
	}
	if json.Unmarshal(body, &a) != nil {
		return ""
	}
	parts := a.Errors
	if a.Message != "" {
		parts = append([]string{a.Message}, parts...)
	}
	return strings.Join(parts, "; ")
}
