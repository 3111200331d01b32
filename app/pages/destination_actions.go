package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// otherReason is the choice of a reason that somebody writes.
const otherReason = "other"

func (a *Pages) showDisable(ctx context.Context, p *pageCtx, form views.Form) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v := views.Disable{Page: p.destinationFrame(d, "Disable destination"), Destination: d, Form: form}
	v.API = apiCallOf("PUT", `{"reason": "The receiver moves to another address"}`, destinationTail(d, "/disable"))
	v.Invalid = form.Err != nil
	return p.render(ctx, listStatus(form.Err), views.DisablePage(v))
}

func (a *Pages) disablePage(ctx context.Context, p *pageCtx) error {
	return a.showDisable(ctx, p, views.Form{})
}

func (a *Pages) doDisable(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.DisableRequest{Tenant: p.tenant.ID, Destination: p.Params("destination")}
	reason, err := disableReason(form)
	if err == nil {
		req.Body.Reason = reason
		_, err = a.DisableDestination(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showDisable(ctx, p, form)
	}
	return p.done(views.DestinationURL(p.tenant.ID, req.Destination), said("The destination is disabled. Its events are held from now on."))
}

func (a *Pages) showEnable(ctx context.Context, p *pageCtx, form views.Form) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v := views.Enable{Page: p.destinationFrame(d, "Enable destination"), Destination: d, Form: form}
	v.API = apiCallOf("PUT", `{"backlog": "deliver"}`, destinationTail(d, "/enable"))
	v.Invalid = form.Err != nil
	if v.Held, v.More, err = a.held(ctx, d); err != nil {
		return err
	}
	return p.render(ctx, listStatus(form.Err), views.EnablePage(v))
}

func (a *Pages) enablePage(ctx context.Context, p *pageCtx) error {
	return a.showEnable(ctx, p, views.Form{Values: map[string][]string{"action": {a.Store.EnableAction(p.tenant)}}})
}

func (a *Pages) doEnable(ctx context.Context, p *pageCtx) error {
	form := p.form()
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	n, more, err := a.held(ctx, d)
	if err != nil {
		return err
	}
	req := &api.EnableRequest{Tenant: p.tenant.ID, Destination: d.ID}
	req.Body.Backlog, req.Body.Probe = form.Value("action"), form.Has("probe", "true")
	if _, err := a.EnableDestination(ctx, p.call, req); err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showEnable(ctx, p, form)
	}
	if req.Body.Probe && n > 0 {
		return p.done(views.DestinationURL(p.tenant.ID, d.ID),
			said("One held delivery is being tried. The destination is enabled once it has arrived."))
	}
	flash := said(enabledText(req.Body.Backlog, n, more))
	failed, err := a.Store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Destinations: []string{d.ID},
		Statuses: []string{models.StatusFailed}, Page: models.PageQuery{Limit: 1}})
	if err == nil && len(failed.Items) > 0 && p.call.Actor.Can(models.MayRetry) {
		flash.LinkText, flash.LinkURL = "Retry what failed before", views.NewRetryURL(p.tenant.ID, url.Values{"destination_id": {d.ID}})
	}
	return p.done(views.DestinationURL(p.tenant.ID, d.ID), flash)
}

// enabledText says what enabling a destination has started.
func enabledText(backlog string, n int, more bool) string {
	held := strconv.Itoa(n)
	if more {
		held = "more than " + held
	}
	switch {
	case n == 0:
		return "The destination is enabled."
	case backlog == models.BacklogKeep:
		return "The destination is enabled. What was held stays held: " + held + "."
	case backlog == models.BacklogDrop:
		return "The destination is enabled. Held deliveries being dropped: " + held + "."
	}
	return "The destination is enabled. Held deliveries being sent: " + held + "."
}

func (a *Pages) deleteDestinationPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	effects := []string{"It receives no more events.", "Its history stays until the retention of its events ends.", "It cannot be undone."}
	n, more, err := a.held(ctx, d)
	if err != nil {
		return err
	}
	if n > 0 {
		count := strconv.Itoa(n)
		if more {
			count = "More than " + count
		}
		effects = slices.Insert(effects, 1, count+" held deliveries are cancelled.")
	}
	v := views.Confirm{Page: p.destinationFrame(d, "Delete destination"), Question: "Delete the destination " + d.Title() + "?",
		Effects: effects,
		Action:  views.DestinationURL(p.tenant.ID, d.ID, "delete"), Submit: "Delete destination",
		Back: views.DestinationURL(p.tenant.ID, d.ID)}
	v.API = apiCallOf("DELETE", "", destinationTail(d))
	return p.render(ctx, http.StatusOK, views.ConfirmPage(v))
}

func (a *Pages) doDeleteDestination(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	if _, err := a.DeleteDestination(ctx, p.call, &api.DestinationRequest{Tenant: p.tenant.ID, Destination: d.ID}); err != nil {
		return err
	}
	return p.done(views.DestinationsURL(p.tenant.ID), said("The destination "+d.Title()+" was deleted."))
}

func (a *Pages) showSecrets(ctx context.Context, p *pageCtx, revealed bool, form views.Form) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	if form.Values == nil {
		form.Values = map[string][]string{"overlap": {"24h"}}
	}
	v := views.Secrets{Page: p.destinationFrame(d, "Secrets"), Destination: d, Revealed: revealed, Now: time.Now(), Form: form}
	v.Here = views.DestinationURL(p.tenant.ID, d.ID, "secrets")
	v.API = apiCallOf("POST", "", destinationTail(d, "/secrets/reveal"))
	v.Invalid = form.Err != nil
	if v.Signatures, err = a.Signatures(ctx, p.call, &api.DestinationRequest{Tenant: p.tenant.ID, Destination: d.ID}); err != nil {
		return err
	}
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, listStatus(form.Err), views.SecretsPage(v))
}

func (a *Pages) secretsPage(ctx context.Context, p *pageCtx) error {
	return a.showSecrets(ctx, p, false, views.Form{})
}

// revealSecretPage is the answer to a form and not a page of its own, so that a secret has no address.
func (a *Pages) revealSecretPage(ctx context.Context, p *pageCtx) error {
	if _, err := a.RevealSecret(ctx, p.call, &api.DestinationRequest{Tenant: p.tenant.ID,
		Destination: p.Params("destination")}); err != nil {
		return err
	}
	return a.showSecrets(ctx, p, true, views.Form{})
}

func (a *Pages) rotateSecretPage(ctx context.Context, p *pageCtx) error {
	form := p.form()
	req := &api.RotateRequest{Tenant: p.tenant.ID, Destination: p.Params("destination")}
	overlap, err := models.ParseDuration(form.Value("overlap"))
	if err != nil {
		err = models.Invalid("overlap", err.Error())
	} else {
		req.Body.Overlap, req.Body.Force = &overlap, form.Value("force") == "true"
		_, err = a.RotateSecret(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showSecrets(ctx, p, false, form)
	}
	text := "A new secret is in force. The old one has ended."
	if overlap > 0 {
		text = "A new secret is in force. The old one is valid for another " + overlap.String() + "."
	}
	return p.done(views.DestinationURL(p.tenant.ID, req.Destination, "secrets"), said(text))
}

func (a *Pages) showTest(ctx context.Context, p *pageCtx, d *models.Destination, form views.Form) error {
	v := views.Test{Page: p.destinationFrame(d, "Send test event"), Destination: d, Form: form}
	v.API = apiCallOf("POST", `{"topic": "order.created", "data": {"hello": "world"}}`, destinationTail(d, "/test"))
	v.Invalid = form.Err != nil
	var err error
	if v.Topics, err = a.testTopics(ctx, d); err != nil {
		return err
	}
	return p.render(ctx, listStatus(form.Err), views.TestPage(v))
}

// testTopics are the topics that a test event can have: those the destination takes.
func (a *Pages) testTopics(ctx context.Context, d *models.Destination) ([]string, error) {
	if !d.TakesAll() {
		return d.Topics, nil
	}
	return a.Store.TopicNames(ctx)
}

func (a *Pages) testPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	topics, err := a.testTopics(ctx, d)
	if err != nil {
		return err
	}
	topic := p.Query("topic")
	if topic == "" && len(topics) > 0 {
		topic = topics[0]
	}
	data, err := a.samplePayload(ctx, p, topic)
	if err != nil {
		return err
	}
	return a.showTest(ctx, p, d, views.Form{Values: map[string][]string{"topic": {topic}, "data": {data}}})
}

// samplePayload is what a test event starts with: the last real event of the topic, its example in the catalogue, or
// something made up.
func (a *Pages) samplePayload(ctx context.Context, p *pageCtx, topic string) (string, error) {
	if topic != "" {
		last, err := a.Store.Events(ctx, p.call.Scope(), models.EventQuery{Topics: []string{topic}, Page: models.PageQuery{Limit: 1}})
		if err != nil {
			return "", err
		}
		if len(last.Items) > 0 && last.Items[0].ErasedAt == nil && len(last.Items[0].Data) <= 16<<10 {
			return indentedJSON(last.Items[0].Data), nil
		}
		catalogue, err := a.Store.TopicCatalogue(ctx)
		if err != nil {
			return "", err
		}
		for _, t := range catalogue {
			if t.Name == topic && len(t.Example) > 0 {
				return indentedJSON(t.Example), nil
			}
		}
	}
	return "{\n  \"test\": true,\n  \"message\": \"A test event from Waybill\"\n}", nil
}

// indentedJSON is JSON for people to read and change, its texts and numbers as they were written.
func indentedJSON(data []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, data, "", "  ") != nil {
		return string(data)
	}
	return b.String()
}

// sendTestPage sends a test event and goes on to its attempt, or to the event when there is none yet.
func (a *Pages) sendTestPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	form := p.form()
	req := &api.TestRequest{Tenant: p.tenant.ID, Destination: d.ID}
	req.Body.Topic = strings.TrimSpace(form.Value("topic"))
	data := []byte(strings.TrimSpace(form.Value("data")))
	var reply *api.Reply
	if !json.Valid(data) && len(data) > 0 {
		err = notJSON("data", data)
	} else {
		req.Body.Data = data
		reply, err = a.SendTest(ctx, p.call, req)
	}
	if err != nil {
		if form.Err = api.Refusal(err); form.Err == nil {
			return err
		}
		return a.showTest(ctx, p, d, form)
	}
	switch body := reply.Body.(type) {
	case api.AttemptJSON:
		return p.done(views.AttemptURL(p.tenant.ID, body.ID), nil)
	case api.PublishJSON:
		return p.done(views.EventURL(p.tenant.ID, body.ID), &views.Flash{Tone: views.ToneInfo,
			Text: "The test event was accepted and is on its way."})
	}
	return p.done(views.EventsURL(p.tenant.ID), said("The test event was accepted."))
}

// notJSON says where a text that somebody typed stops being JSON.
func notJSON(field string, text []byte) error {
	var v any
	e := models.AsError(api.JSONProblem(text, json.Unmarshal(text, &v)))
	message := "is not valid JSON"
	if e.Position != nil {
		message += " at line " + strconv.Itoa(e.Position.Line) + ", column " + strconv.Itoa(e.Position.Column)
	}
	return models.Invalid(field, message)
}

// checkPage tests the connection and shows how far it came. The result is not kept, so it has no address.
func (a *Pages) checkPage(ctx context.Context, p *pageCtx) error {
	d, err := p.destination(ctx)
	if err != nil {
		return err
	}
	v := views.Check{Page: p.destinationFrame(d, "Connection check"), Destination: d}
	v.Here = views.DestinationURL(p.tenant.ID, d.ID)
	v.API = apiCallOf("POST", "", destinationTail(d, "/check"))
	if v.OK, v.Stages, err = a.Check(ctx, p.call, &api.DestinationRequest{Tenant: p.tenant.ID, Destination: d.ID}); err != nil {
		return err
	}
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.CheckPage(v))
}
