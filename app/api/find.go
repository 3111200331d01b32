package api

import (
	"context"
	"net/url"

	"github.com/waybill-dev/waybill/models"
)

type FindRequest struct {
	Text   string `query:"q" api:"required" doc:"An id of anything; part of the name or id of a tenant, destination or topic, of a tenant's metadata, or of a destination's type or host. At most 200 characters."`
	Tenant string `query:"tenant_id" doc:"Only what belongs to this tenant, and topics."`
}

type FindJSON struct {
	Groups   []foundGroupJSON `json:"groups" doc:"Those in which something was found, in this order: ids, tenants, destinations, topics."`
	Complete bool             `json:"complete" doc:"false when it took too long (2 s) to look everywhere."`
}

type foundGroupJSON struct {
	Group string      `json:"group" api:"enum=ids|tenants|destinations|topics" doc:"'ids' is what has exactly this id."`
	Items []foundJSON `json:"items" doc:"The best first, at most 5."`
	More  bool        `json:"more" doc:"Whether there are more."`
}

type foundJSON struct {
	Kind     string    `json:"kind" api:"enum=tenant|destination|topic|event|delivery|attempt|retry|alert|alert_rule|channel|notification|audit_entry"`
	ID       string    `json:"id" doc:"Of a topic its name."`
	TenantID string    `json:"tenant_id,omitempty" doc:"Absent for what belongs to the whole server."`
	Title    string    `json:"title" doc:"What people call it."`
	Detail   string    `json:"detail,omitempty" doc:"A few words beside it."`
	Links    linksJSON `json:"links"`
}

// Find says what a text leads to.
func (a *API) Find(ctx context.Context, c *Call, req *FindRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	found, err := a.Store.Find(ctx, scope, req.Text)
	if err != nil {
		return nil, err
	}
	out := FindJSON{Groups: []foundGroupJSON{}, Complete: found.Complete}
	for _, g := range found.Groups {
		j := foundGroupJSON{g.Group, make([]foundJSON, len(g.Items)), g.More}
		for i, f := range g.Items {
			j.Items[i] = foundJSON{f.Kind, f.ID, f.TenantID, f.Title, f.Detail, linksJSON{Self: foundPath(f)}.under(a.Base)}
		}
		out.Groups = append(out.Groups, j)
	}
	return &Reply{Body: out}, nil
}

// foundPath is the address of what was found.
func foundPath(f models.Found) string {
	owner := APIPrefix
	if f.TenantID != "" {
		owner += "/tenants/" + url.PathEscape(f.TenantID)
	}
	switch f.Kind {
	case models.FoundTenant:
		return owner
	case models.FoundDestination:
		return destinationPath(f.TenantID, f.ID)
	case models.FoundTopic:
		return APIPrefix + "/topics/" + url.PathEscape(f.ID)
	case models.FoundEvent:
		return eventPath(f.ID, f.TenantID)
	case models.FoundDelivery:
		return deliveryPath(f.ID)
	case models.FoundAttempt:
		return APIPrefix + "/attempts/" + f.ID
	case models.FoundRetry:
		return APIPrefix + "/retries/" + f.ID
	case models.FoundAlert:
		return owner + "/alerts/" + f.ID
	case models.FoundRule:
		return owner + "/alert-rules/" + f.ID
	case models.FoundChannel:
		return owner + "/channels/" + f.ID
	case models.FoundNotification:
		return owner + "/notifications/" + f.ID
	}
	entry := APIPrefix + "/audit/" + f.ID
	if f.TenantID != "" {
		entry += "?tenant_id=" + url.QueryEscape(f.TenantID)
	}
	return entry
}
