package pages

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) topicsPage(ctx context.Context, p *pageCtx) error {
	form := views.Form{}
	if name := p.Query("change"); name != "" {
		t, err := a.Store.Topic(ctx, name)
		if err != nil {
			return err
		}
		form.Values = map[string][]string{"name": {t.Name}, "description": {t.Description}, "example": {indentedJSON(t.Example)},
			"schema": {indentedJSON(t.Schema)}, "enforce": {t.Enforce}}
	}
	return a.showTopics(ctx, p, p.frame("Topics", views.SectionTopics), form)
}

func (a *Pages) showTopics(ctx context.Context, p *pageCtx, f views.Page, form views.Form) error {
	list, err := a.Store.TopicCatalogue(ctx)
	if err != nil {
		return err
	}
	f.API = apiCallOf("GET", "", "/topics")
	return p.render(ctx, listStatus(form.Err), views.TopicsPage(views.Topics{Page: f, List: list, Form: form}))
}

func (a *Pages) saveTopic(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.PutTopicRequest{Topic: strings.TrimSpace(form.Value("name"))}
	req.Body.Description = strings.TrimSpace(form.Value("description"))
	req.Body.Example = json.RawMessage(strings.TrimSpace(form.Value("example")))
	req.Body.Schema = json.RawMessage(strings.TrimSpace(form.Value("schema")))
	req.Body.Enforce = form.Value("enforce")
	_, err := a.PutTopic(ctx, p.call, req)
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showTopics(ctx, p, refused(p.frame("Topics", views.SectionTopics)), form)
	}
	return p.done(views.TopicsURL(p.tenantID()), said("The topic "+req.Topic+" was saved."))
}

func (a *Pages) deleteTopicPage(ctx context.Context, p *pageCtx) error {
	return a.confirmDeleteTopic(ctx, p, p.Query("name"), nil)
}

func (a *Pages) confirmDeleteTopic(ctx context.Context, p *pageCtx, name string, problem *models.Error) error {
	v := views.Confirm{Page: p.frame("Delete topic", views.SectionTopics), Question: "Delete the topic " + name + " from the catalogue?",
		Effects: []string{"Events of it are refused while the catalogue has other topics.",
			"Destinations that take it keep it; their forms show it as before."},
		Action: views.TopicURL(p.tenantID(), name, "delete"), Submit: "Delete topic", Back: views.TopicsURL(p.tenantID()),
		Hidden: []views.Label{{Name: "name", Text: name}}, Err: problem}
	v.Crumbs = []views.Crumb{{Label: "Topics", URL: v.Back}}
	v.API = apiCallOf("DELETE", "", "/topics/", url.PathEscape(name))
	return p.render(ctx, listStatus(problem), views.ConfirmPage(v))
}

func (a *Pages) doDeleteTopic(ctx context.Context, p *pageCtx) error {
	name := p.form().Value("name")
	if _, err := a.DeleteTopic(ctx, p.call, &api.TopicRequest{Topic: name}); err != nil {
		if e := api.Refusal(err); e != nil {
			return a.confirmDeleteTopic(ctx, p, name, e)
		}
		return err
	}
	return p.done(views.TopicsURL(p.tenantID()), said("The topic "+name+" was deleted from the catalogue."))
}
