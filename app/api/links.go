package api

import (
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// linksJSON is where to go on from what an answer shows: addresses on this server by what is there.
type linksJSON struct {
	Monitor     string `json:"monitor,omitempty" doc:"Tells how what was asked for goes on; also in 'Location'."`
	Self        string `json:"self,omitempty" doc:"This."`
	Event       string `json:"event,omitempty"`
	Delivery    string `json:"delivery,omitempty"`
	Deliveries  string `json:"deliveries,omitempty"`
	Attempts    string `json:"attempts,omitempty"`
	Destination string `json:"destination,omitempty"`
	Logs        string `json:"logs,omitempty" doc:"Of a single attempt, for operators: where its log is, if the server knows (LOGS_URL)."`
	Traces      string `json:"traces,omitempty" doc:"Likewise, where its trace is (TRACES_URL)."`
}

// under is the links below the path of BASE_URL, as clients outside need them: bodies are not rewritten on their way out, as
// headers and pages are.
func (l linksJSON) under(base string) linksJSON {
	if base == "" {
		return l
	}
	for _, to := range []*string{&l.Monitor, &l.Self, &l.Event, &l.Delivery, &l.Deliveries, &l.Attempts, &l.Destination} {
		if *to != "" {
			*to = WithBase(base, *to)
		}
	}
	return l
}

// States of what a request asked for.
const (
	workAccepted = "accepted" // it is committed, and goes on
	workDone     = "done"     // its outcome is known
)

// header writes the links as values of a Link header (RFC 8288). What has no registered relation of its own is related, with
// a title. up names the link to what this is a part of, empty for none.
func (l *linksJSON) header(up string) string {
	var b strings.Builder
	for _, k := range [...]struct{ title, to string }{
		{"monitor", l.Monitor}, {"event", l.Event}, {"delivery", l.Delivery}, {"deliveries", l.Deliveries}, {"attempts", l.Attempts},
		{"destination", l.Destination},
	} {
		if k.to == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString("<" + k.to + `>; rel="`)
		switch k.title {
		case "monitor":
			b.WriteString(`monitor"`)
		case up:
			b.WriteString(`up"; title="` + k.title + `"`)
		default:
			b.WriteString(`related"; title="` + k.title + `"`)
		}
	}
	return b.String()
}

// eventPaths are the addresses of an event, its deliveries and its attempts. Where a publisher chose its id they name the
// tenant, for an event of another tenant may have the same.
func eventPaths(id, tenantID string) (event, deliveries, attempts string) {
	event = APIPrefix + "/events/" + url.PathEscape(id)
	deliveries, attempts = event+"/deliveries", APIPrefix+"/attempts?event_id="+url.QueryEscape(id)
	if tenantID != "" && !models.MadeEventID(id) {
		of := "tenant_id=" + url.QueryEscape(tenantID)
		event, deliveries, attempts = event+"?"+of, deliveries+"?"+of, attempts+"&"+of
	}
	return event, deliveries, attempts
}

func eventPath(id, tenantID string) string {
	event, _, _ := eventPaths(id, tenantID)
	return event
}

func deliveryPath(id string) string { return APIPrefix + "/deliveries/" + id }

func destinationPath(tenantID, id string) string {
	return APIPrefix + "/tenants/" + url.PathEscape(tenantID) + "/destinations/" + url.PathEscape(id)
}

// destinationDeliveriesPath is the list of a destination's deliveries in a state.
func destinationDeliveriesPath(tenantID, id, status string) string {
	return APIPrefix + "/deliveries?tenant_id=" + url.QueryEscape(tenantID) + "&destination_id=" + url.QueryEscape(id) + "&status=" + status
}

// publishedLinks are those of an event that was just published.
func publishedLinks(id, tenantID string) (l linksJSON) {
	l.Monitor, l.Deliveries, l.Attempts = eventPaths(id, tenantID)
	return l
}

func eventLinks(e *models.Event) (l linksJSON) {
	l.Self, l.Deliveries, l.Attempts = eventPaths(e.ID, e.TenantID)
	return l
}

// deliveriesLinks are those of the list of an event's deliveries.
func deliveriesLinks(e *models.Event) (l linksJSON) {
	l.Event, _, l.Attempts = eventPaths(e.ID, e.TenantID)
	return l
}

func deliveryLinks(d *models.Delivery) linksJSON {
	event, _, attempts := eventPaths(d.PublicEventID, d.TenantID)
	return linksJSON{Self: deliveryPath(d.ID()), Event: event, Destination: destinationPath(d.TenantID, d.DestinationID),
		Attempts: attempts + "&destination_id=" + url.QueryEscape(d.DestinationID)}
}

func attemptLinks(at *models.Attempt) linksJSON {
	return linksJSON{Self: APIPrefix + "/attempts/" + at.ID(), Delivery: deliveryPath(at.DeliveryID()),
		Event:       eventPath(at.PublicEventID, at.TenantID),
		Destination: destinationPath(at.TenantID, at.DestinationID)}
}

// WithoutBase takes base off the beginning of an address. ok is false where it was not there.
func WithoutBase(base, uri string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, base)
	if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' {
		return uri, false
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return rest, true
}

// WithBase puts base before an address of this server; others stay as they are, and so do those that have it.
func WithBase(base, address string) string {
	if _, has := WithoutBase(base, address); has || !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") {
		return address
	}
	return base + address
}
