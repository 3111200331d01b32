package pages

import (
	"net/http"
	"sync"
	"time"
	_ "time/tzdata" // small images have no zones of their own

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// Pages say times in the viewer's zone. Their script tells it by a cookie (static/app.js), so that all of a page is made in it: times,
// the hours below charts, sentences. Without the cookie, or where somebody has chosen so, times are UTC. Addresses hold absolute times
// always, and so do exports and the API.

// The cookies of it. zoneCookie is an IANA name, "Europe/Berlin", and set by the script; timesCookie is "utc" where that was chosen.
const (
	zoneCookie  = "waybill_zone"
	timesCookie = "waybill_times"
)

// location is the zone of this name, as the IANA calls it; nil when there is none. Those that exist are kept: they are a few hundred.
func location(name string) *time.Location {
	if name == "" || name == "Local" || len(name) > 64 { // "Local" would be the server's
		return nil
	}
	if l, ok := locations.Load(name); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	switch name {
	case "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "Etc/GMT", "UCT", "Universal", "Zulu", "GMT":
		l = time.UTC
	}
	locations.Store(name, l)
	return l
}

var locations sync.Map

// zone is the zone of whoever made the request.
func (p *pageCtx) zone() views.Zone {
	return views.NewZone(location(p.Cookies(zoneCookie)), p.Cookies(timesCookie) == "utc", time.Now())
}

// absolute makes the times of a filter's form, which were typed in its field "zone", absolute ones. What comes out is the query of an
// address that means the same to everybody; asked is false when the form has no such field.
func (p *pageCtx) absolute() (query string, asked bool, err error) {
	q := p.query()
	if !q.Has("zone") {
		return "", false, nil
	}
	in := location(q.Get("zone"))
	if in == nil {
		return "", false, models.Invalid("zone", "must be the name of a time zone, like Europe/Berlin")
	}
	q.Del("zone")
	for name := range views.TimeFields {
		for i, v := range q[name] {
			q[name][i] = views.ReadTime(v, in)
		}
	}
	return q.Encode(), true, nil
}

// toAbsolute leads from what a filter's form has sent to the address of the list.
func (p *pageCtx) toAbsolute(query string) error {
	to := p.Path()
	if query != "" {
		to += "?" + query
	}
	return p.Redirect(localPath(to), http.StatusSeeOther)
}
