package pages

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

func (a *Pages) channelsPage(ctx context.Context, p *pageCtx) error {
	v := views.Channels{Page: p.alertFrame("Alert channels"), Last: map[string]*models.Notification{}}
	v.Crumbs = []views.Crumb{{Label: "Alerts", URL: views.AlertsURL(p.tenantID())}}
	v.API = p.ownerCall("GET", "", "", "channels")
	var err error
	if v.List, err = a.Store.Channels(ctx, p.ownerScope(), p.tenantID()); err != nil {
		return err
	}
	for _, c := range v.List {
		last, err := found(ctx, p, url.Values{"channel_id": {c.ID}, "limit": {"1"}},
			api.ListNotificationsRequest{Tenant: p.tenantID()}, a.FindNotifications)
		if err != nil {
			return err
		}
		if len(last.Items) > 0 {
			v.Last[c.ID] = last.Items[0]
		}
	}
	return p.render(ctx, http.StatusOK, views.ChannelsPage(v))
}

// channelType describes a kind of channel to a page.
func channelType(t *notify.Type) views.ChannelType {
	return views.ChannelType{Name: t.Name, Label: t.Label, Description: t.Description, Instructions: t.Instructions, Config: t.Config,
		Secrets: t.Secrets}
}

func lookupChannelType(name string) (views.ChannelType, bool) {
	t := notify.Lookup(name)
	if t == nil {
		return views.ChannelType{}, false
	}
	return channelType(t), true
}

// newChannelPage is both steps to a new channel: without a type it asks for one, with one it is the form.
func (a *Pages) newChannelPage(ctx context.Context, p *pageCtx) error {
	name := p.Query("type")
	if t, ok := lookupChannelType(name); ok {
		values := map[string][]string{}
		for _, f := range t.Config {
			if f.Default != "" {
				values["config."+f.Key] = []string{f.Default}
			}
		}
		return a.showChannel(ctx, p, t, nil, views.Form{Values: values})
	}
	v := views.NewChannel{Page: p.alertFrame("Add channel", views.Crumb{Label: "Channels", URL: views.ChannelsURL(p.tenantID())})}
	v.API = apiCallOf("GET", "", "/channel-types")
	for _, t := range notify.Types() {
		v.Types = append(v.Types, channelType(t))
	}
	if name != "" {
		v.Form.Err = models.Invalid("type", "is none of these: choose another")
	} else if p.Query("step") != "" {
		v.Form.Err = models.Invalid("type", "is required: choose one")
	}
	v.Invalid = v.Form.Err != nil
	return p.render(ctx, listStatus(v.Form.Err), views.NewChannelPage(v))
}

// showChannel is the form for a channel; c is nil for a new one.
func (a *Pages) showChannel(ctx context.Context, p *pageCtx, t views.ChannelType, c *models.Channel, form views.Form) error {
	v := views.ChannelForm{Page: p.alertFrame("Add "+t.Label+" channel",
		views.Crumb{Label: "Channels", URL: views.ChannelsURL(p.tenantID())}), Type: t, Form: form}
	config := map[string]string{}
	for _, f := range append(append([]adapters.Field(nil), t.Config...), t.Secrets...) {
		if f.Required {
			config[f.Key] = f.Placeholder
		}
	}
	v.API = p.ownerCall("POST", indented(map[string]any{"type": t.Name, "config": config}), "", "channels")
	if c != nil {
		v.Title, v.Channel, v.Shown = c.Name, c, c.Shown(false)
		v.API = p.ownerCall("PATCH", indented(map[string]any{"name": c.Name}), "", "channels", c.ID)
	}
	v.Invalid = form.Err != nil
	return p.render(ctx, listStatus(form.Err), views.ChannelPage(v))
}

// channelInput reads the form. Secrets that were left empty stay as they are.
func channelInput(form views.Form, t views.ChannelType) models.ChannelInput {
	name := strings.TrimSpace(form.Value("name"))
	in := models.ChannelInput{Name: &name, Config: models.Values{}}
	for _, f := range t.Config {
		value := tidy(form.Value("config." + f.Key))
		if f.Type == adapters.FieldCheckbox {
			value = strconv.FormatBool(form.Has("config."+f.Key, "true"))
		}
		in.Config[f.Key] = &value
		if value == "" {
			in.Config[f.Key] = nil
		}
	}
	for _, f := range t.Secrets {
		if value := tidy(form.Value("config." + f.Key)); value != "" {
			in.Config[f.Key] = &value
		}
	}
	return in
}

func (a *Pages) createChannelPage(ctx context.Context, p *pageCtx) error {
	t, ok := lookupChannelType(p.Query("type"))
	if !ok {
		return p.Redirect(views.NewChannelURL(p.tenantID()), http.StatusSeeOther)
	}
	form := p.form()
	in := channelInput(form, t)
	in.Type = &t.Name
	reply, err := a.CreateChannel(ctx, p.call, &api.NewChannelRequest{Tenant: p.tenantID(), Body: in})
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showChannel(ctx, p, t, nil, form)
	}
	created := reply.Body.(api.ChannelJSON)
	if form.Value("then") == views.ThenTestChannel {
		return a.showChannelTest(ctx, p, created.ID)
	}
	for _, f := range t.Secrets {
		if f.Shared && form.Value("config."+f.Key) == "" {
			return a.showNewSecret(ctx, p, t, created, created.Config[f.Key])
		}
	}
	return p.done(views.ChannelsURL(p.tenantID()), said("The channel was created. Send a test to see whether notices arrive."))
}

// showNewSecret shows the signing secret that was made for a channel, this once.
func (a *Pages) showNewSecret(ctx context.Context, p *pageCtx, t views.ChannelType, created api.ChannelJSON, secret string) error {
	c, err := a.Store.Channel(ctx, p.ownerScope(), p.tenantID(), created.ID)
	if err != nil {
		return err
	}
	v := views.ChannelForm{Page: p.alertFrame(c.Name, views.Crumb{Label: "Channels", URL: views.ChannelsURL(p.tenantID())}), Type: t,
		Channel: c, Shown: c.Shown(false),
		Form: views.Form{Values: channelValues(c)}, Signing: secret}
	v.Here = views.ChannelURL(p.tenantID(), c.ID)
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.ChannelPage(v))
}

// channelValues are what the form of an existing channel starts with.
func channelValues(c *models.Channel) map[string][]string {
	values := map[string][]string{"name": {c.Name}}
	shown := c.Shown(false)
	for k := range c.Config {
		values["config."+k] = []string{shown[k]}
	}
	return values
}

// pageChannel reads the channel that a page is about, with its kind.
func (a *Pages) pageChannel(ctx context.Context, p *pageCtx) (*models.Channel, views.ChannelType, error) {
	c, err := a.Store.Channel(ctx, p.ownerScope(), p.tenantID(), p.Params("channel"))
	if err != nil {
		return nil, views.ChannelType{}, err
	}
	t, ok := lookupChannelType(c.Type)
	if !ok {
		err = &models.Error{Kind: models.KindConflict, Message: "This build of Waybill lacks channels of type " + c.Type + "."}
	}
	return c, t, err
}

func (a *Pages) channelPage(ctx context.Context, p *pageCtx) error {
	c, t, err := a.pageChannel(ctx, p)
	if err != nil {
		return err
	}
	return a.showChannel(ctx, p, t, c, views.Form{Values: channelValues(c)})
}

func (a *Pages) updateChannelPage(ctx context.Context, p *pageCtx) error {
	c, t, err := a.pageChannel(ctx, p)
	if err != nil {
		return err
	}
	form := p.form()
	_, err = a.UpdateChannel(ctx, p.call, &api.UpdateChannelRequest{Tenant: p.tenantID(), Channel: c.ID, Body: channelInput(form, t)})
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showChannel(ctx, p, t, c, form)
	}
	if form.Value("then") == views.ThenTestChannel {
		return a.showChannelTest(ctx, p, c.ID)
	}
	return p.done(views.ChannelsURL(p.tenantID()), said("The changes are saved."))
}

func (a *Pages) testChannelPage(ctx context.Context, p *pageCtx) error {
	return a.showChannelTest(ctx, p, p.Params("channel"))
}

// showChannelTest sends a test and shows what the other side said. The result is kept in the log of notifications.
func (a *Pages) showChannelTest(ctx context.Context, p *pageCtx, id string) error {
	reply, err := a.TestChannel(ctx, p.call, &api.ChannelRequest{Tenant: p.tenantID(), Channel: id})
	if err != nil {
		return err
	}
	c, err := a.Store.Channel(ctx, p.ownerScope(), p.tenantID(), id)
	if err != nil {
		return err
	}
	r := reply.Body.(api.ChannelTestJSON)
	v := views.ChannelTest{Page: p.alertFrame("Test of "+c.Name, views.Crumb{Label: "Channels", URL: views.ChannelsURL(p.tenantID())}),
		Channel: c, OK: r.OK, Code: r.Code,
		Answer: r.Answer, Error: r.Error, Advice: r.Advice, NotificationID: r.NotificationID, Note: r.Note,
		Took: (time.Duration(r.MS) * time.Millisecond).String()}
	v.Here = views.ChannelsURL(p.tenantID())
	v.API = p.ownerCall("POST", "", "", "channels", c.ID, "test")
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.ChannelTestPage(v))
}

func (a *Pages) deleteChannelPage(ctx context.Context, p *pageCtx) error {
	c, err := a.Store.Channel(ctx, p.ownerScope(), p.tenantID(), p.Params("channel"))
	if err != nil {
		return err
	}
	v := views.Confirm{Page: p.alertFrame("Delete channel", views.Crumb{Label: "Channels", URL: views.ChannelsURL(p.tenantID())}),
		Question: "Delete the channel " + c.Name + "?",
		Effects: []string{"Nothing more is sent to it, not even what waits.", "Rules that name it notify one channel less.",
			"What was sent to it stays in the log."},
		Action: views.ChannelURL(p.tenantID(), c.ID, "delete"), Submit: "Delete channel", Back: views.ChannelURL(p.tenantID(), c.ID)}
	v.API = p.ownerCall("DELETE", "", "", "channels", c.ID)
	return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
}

func (a *Pages) doDeleteChannel(ctx context.Context, p *pageCtx) error {
	if _, err := a.DeleteChannel(ctx, p.call, &api.ChannelRequest{Tenant: p.tenantID(), Channel: p.Params("channel")}); err != nil {
		return err
	}
	return p.done(views.ChannelsURL(p.tenantID()), said("The channel was deleted."))
}
