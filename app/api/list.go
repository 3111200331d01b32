package api

import "github.com/waybill-dev/waybill/models"

// What lists have in common. A list's conditions are the fields of its query struct in models, which its request embeds: they
// are bound by their tags, for the API and for pages alike (models.Filter). A list's request has its cursorParams besides, and
// says whose rows are listed. Its Find… is what both faces answer with; limit is how many rows a page has unless the request
// says otherwise, and most how many it may ask for.

// pageParams are the parameters of a list with one order.
type pageParams struct {
	cursorParams
	Order string `query:"order_by" doc:"Accepted for compatibility; each list has one order."`
}

// cursorParams are the parameters of every list.
type cursorParams struct {
	Limit *int   `query:"limit" api:"min=1" doc:"How many rows a page has."`
	Dir   string `query:"dir" api:"enum=asc|desc,default=desc" doc:"Newest or oldest first."`
	Next  string `query:"next" doc:"Cursor of the page to show, from 'pagination.next'. The other conditions must stay as they were."`
	Prev  string `query:"prev" doc:"Cursor of the page to show, from 'pagination.prev'. Not together with 'next'."`
}

// cursor are the parameters themselves, of a request that has them.
func (p *cursorParams) cursor() *cursorParams { return p }

// part is which part of the list is wanted.
func (p cursorParams) part(dflt, most int) (models.PageQuery, error) {
	if p.Dir != "" && p.Dir != "asc" && p.Dir != "desc" {
		return models.PageQuery{}, models.Invalid("dir", "must be asc or desc")
	}
	limit := dflt
	if p.Limit != nil {
		if limit = *p.Limit; limit == 0 {
			limit = -1 // which is refused: models take 0 for a default
		}
	}
	return models.PageQuery{Limit: limit, Max: most, Asc: p.Dir == "asc", Next: p.Next, Prev: p.Prev}, nil
}

// orDefault takes a limit of 0 for none given, as Outpost does in the lists that it has in common with Waybill.
func (p cursorParams) orDefault() cursorParams {
	if p.Limit != nil && *p.Limit == 0 {
		p.Limit = nil
	}
	return p
}

// tenantParams choose whose rows are listed.
type tenantParams struct {
	Tenants []string `query:"tenant_id" doc:"Only of these tenants; a tenant's key sees its own only."`
}
