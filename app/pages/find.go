package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// find leads from a name or an ID to a page. An ID leads there at once; with panel=1 the answer is only what was found, for
// the dialog of Ctrl K.
func (a *Pages) find(ctx context.Context, p *pageCtx) error {
	text := strings.TrimSpace(p.Query("q"))
	v := views.Find{Page: p.frame("Find", ""), Query: text}
	panel := p.Query("panel") != ""
	if text != "" {
		found, err := a.Store.Find(ctx, p.call.Scope(), text)
		if err != nil {
			return err
		}
		for _, g := range found.Groups {
			group := views.FoundGroup(p.tenantID(), g)
			if g.Group == models.FoundByID && len(group.Hits) == 1 && !panel {
				return p.Redirect(group.Hits[0].URL, http.StatusSeeOther)
			}
			v.Groups = append(v.Groups, group)
		}
	}
	group := views.HitGroup{Title: "Pages"}
	for _, h := range v.Pages() {
		if text == "" || strings.Contains(strings.ToLower(h.Label), strings.ToLower(text)) {
			group.Hits = append(group.Hits, h)
		}
	}
	if len(group.Hits) > 0 {
		v.Groups = append(v.Groups, group)
	}
	if text != "" && p.tenant != nil {
		v.Groups = append(v.Groups, views.HitGroup{Title: "Events", Hits: []views.Hit{{Label: "Search events for “" + text + "”",
			Icon: "search", URL: views.EventsURL(p.tenant.ID) + "?" + url.Values{"q": {text}}.Encode()}}})
	}
	if panel {
		return p.render(ctx, http.StatusOK, views.FindHits(v, true))
	}
	return p.render(ctx, http.StatusOK, views.FindPage(v))
}

// helpPage lists the keys, and where to read on.
func (a *Pages) helpPage(ctx context.Context, p *pageCtx) error {
	return p.render(ctx, http.StatusOK, views.HelpPage(views.Help{Page: p.frame("Help", "")}))
}
