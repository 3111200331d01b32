package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
)

type ChannelJSON struct {
	ID       string            `json:"id"`
	TenantID string            `json:"tenant_id,omitempty" doc:"Absent for the operators' channels."`
	Name     string            `json:"name"`
	Type     string            `json:"type" api:"schema=ChannelType"`
	Config   map[string]string `json:"config" doc:"Settings of the type, by key. Secrets are masked."`
	Target   string            `json:"target" doc:"Where notices go, in words."`

	Unsubscribed []unsubscribedJSON `json:"unsubscribed,omitempty" doc:"Addresses that are sent nothing, because they have asked for that."`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type unsubscribedJSON struct {
	Address string    `json:"address"`
	At      time.Time `json:"at"`
}

func (a *API) channelToJSON(c *models.Channel, secrets bool) ChannelJSON {
	j := ChannelJSON{ID: c.ID, TenantID: c.OwnerID, Name: c.Name, Type: c.Type, Config: c.Shown(secrets), Target: c.Target,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
	for _, u := range c.Unsubscribed {
		j.Unsubscribed = append(j.Unsubscribed, unsubscribedJSON{u.Address, u.CreatedAt})
	}
	return j
}

func (a *API) listChannels(ctx context.Context, c *Call, req *ownerRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Channels(ctx, scope, req.Tenant)
	if err != nil {
		return nil, err
	}
	out, secrets := make([]ChannelJSON, len(list)), c.Actor.SeesSecrets()
	for i, x := range list {
		out[i] = a.channelToJSON(x, secrets)
	}
	return &Reply{Body: listJSON[ChannelJSON]{out}, NoStore: secrets && slices.ContainsFunc(list, (*models.Channel).HasSharedSecret)}, nil
}

type NewChannelRequest struct {
	Tenant string              `path:"tenant"`
	Body   models.ChannelInput `body:"json"`
}

func (a *API) CreateChannel(ctx context.Context, c *Call, req *NewChannelRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.CreateChannel(ctx, scope, req.Tenant, req.Body)
	if err != nil {
		return nil, err
	}
	// Whoever creates a channel sees the secret that was made for it, this once.
	return &Reply{Status: http.StatusCreated, Body: a.channelToJSON(x, true), Location: OwnerPath(req.Tenant, "channels", x.ID),
		NoStore: x.HasSharedSecret()}, nil
}

type ChannelRequest struct {
	Tenant  string `path:"tenant"`
	Channel string `path:"channel"`
}

func (a *API) getChannel(ctx context.Context, c *Call, req *ChannelRequest) (*Reply, error) {
	x, err := a.channel(ctx, c, req)
	if err != nil {
		return nil, err
	}
	return a.channelReply(c, x), nil
}

func (a *API) channelReply(c *Call, x *models.Channel) *Reply {
	secrets := c.Actor.SeesSecrets()
	return &Reply{Body: a.channelToJSON(x, secrets), NoStore: secrets && x.HasSharedSecret()}
}

func (a *API) channel(ctx context.Context, c *Call, req *ChannelRequest) (*models.Channel, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	return a.Store.Channel(ctx, scope, req.Tenant, req.Channel)
}

type UpdateChannelRequest struct {
	Tenant  string              `path:"tenant"`
	Channel string              `path:"channel"`
	Body    models.ChannelInput `body:"json"`
}

func (a *API) UpdateChannel(ctx context.Context, c *Call, req *UpdateChannelRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.UpdateChannel(ctx, scope, req.Tenant, req.Channel, req.Body)
	if err != nil {
		return nil, err
	}
	return a.channelReply(c, x), nil
}

func (a *API) DeleteChannel(ctx context.Context, c *Call, req *ChannelRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	if err := a.Store.DeleteChannel(ctx, scope, req.Tenant, req.Channel); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}

type SubscribeRequest struct {
	Tenant  string `path:"tenant"`
	Channel string `path:"channel"`
	Body    struct {
		Address string `json:"address" api:"required"`
	} `body:"json"`
}

// Subscribe sends a channel's notices again to an address that had unsubscribed.
func (a *API) Subscribe(ctx context.Context, c *Call, req *SubscribeRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.Store.Subscribe(ctx, scope, req.Tenant, req.Channel, req.Body.Address)
	if err != nil {
		return nil, err
	}
	return a.channelReply(c, x), nil
}

type ChannelTestJSON struct {
	OK             bool   `json:"ok"`
	NotificationID string `json:"notification_id"`
	Code           int    `json:"code" doc:"HTTP or SMTP status; 0 where there was none."`
	Answer         string `json:"answer" doc:"What the other side said."`
	Error          string `json:"error,omitempty"`
	Advice         string `json:"advice,omitempty"`
	Note           string `json:"note,omitempty" doc:"Who was left out."`
	MS             int64  `json:"ms"`
}

// TestChannel sends a test over a channel and answers with what the other side said.
func (a *API) TestChannel(ctx context.Context, c *Call, req *ChannelRequest) (*Reply, error) {
	x, err := a.channel(ctx, c, req)
	if err != nil {
		return nil, err
	}
	n := a.Store.TestNotice(x, c.Actor.Name)
	n.Notice.Try, n.Notice.At = 1, n.CreatedAt
	began := time.Now()
	// A little less than the request has, so that its outcome can be told.
	sending, cancel := context.WithTimeout(ctx, requestTimeout-5*time.Second)
	defer cancel()
	res, err := a.Notices.Send(sending, x, &n.Notice)
	out := ChannelTestJSON{OK: err == nil, NotificationID: n.ID(), Code: res.Code, Answer: res.Answer, MS: time.Since(began).Milliseconds()}
	n.Status, n.Code, n.Answer = models.NotificationSent, res.Code, res.Answer
	if err != nil {
		e := adapters.AsError(err)
		out.Error, out.Advice = e.Message, e.Advice
		n.Status, n.Error, n.Advice = models.NotificationFailed, e.Message, e.Advice
	} else {
		now := time.Now()
		n.SentAt, n.Reason = &now, x.SilentNote()
		out.Note = n.Reason
	}
	if err := a.Store.LogTest(ctx, x, n); err != nil {
		return nil, err
	}
	return &Reply{Body: out}, nil
}

type channelTypeJSON struct {
	Type         string      `json:"type" api:"schema=ChannelType"`
	Label        string      `json:"label"`
	Description  string      `json:"description"`
	Instructions string      `json:"instructions" doc:"In Markdown."`
	ConfigFields []fieldJSON `json:"config_fields"`
}

// listChannelTypes describes the kinds of channels. Their secrets are part of config.
func (a *API) listChannelTypes(context.Context, *Call, *noRequest) (*Reply, error) {
	var out []channelTypeJSON
	for _, t := range notify.Types() {
		out = append(out, channelTypeJSON{t.Name, t.Label, t.Description, t.Instructions, fieldsToJSON(t.Fields())})
	}
	return &Reply{Body: out, Fresh: typesFresh}, nil
}

type NotificationJSON struct {
	ID            string        `json:"id"`
	ChannelID     string        `json:"channel_id"`
	ChannelType   string        `json:"channel_type" api:"schema=ChannelType"`
	AlertID       string        `json:"alert_id,omitempty"`
	RuleID        string        `json:"rule_id,omitempty"`
	TenantID      string        `json:"tenant_id,omitempty" doc:"Whose destination it is about."`
	DestinationID string        `json:"destination_id,omitempty"`
	Kind          string        `json:"kind" api:"schema=NotificationKind"`
	Status        string        `json:"status" api:"schema=NotificationStatus"`
	Reason        string        `json:"reason,omitempty" doc:"Why it was suppressed, or who was left out."`
	DigestID      string        `json:"digest_id,omitempty" doc:"The notification that told it together with others."`
	Others        int           `json:"others,omitempty" doc:"Further alerts that it stands for."`
	Summary       string        `json:"summary"`
	Tries         int           `json:"tries"`
	Code          int           `json:"code,omitempty" doc:"HTTP or SMTP status."`
	Answer        string        `json:"answer,omitempty" doc:"What the other side said."`
	Error         string        `json:"error,omitempty"`
	Advice        string        `json:"advice,omitempty"`
	Actor         string        `json:"actor,omitempty" doc:"Who asked for it."`
	CreatedAt     time.Time     `json:"created_at"`
	DueAt         *time.Time    `json:"next_try_at" doc:"null when none is due."`
	SentAt        *time.Time    `json:"sent_at" doc:"null until it is."`
	Notice        notify.Notice `json:"notice"`
}

func notificationToJSON(n *models.Notification) NotificationJSON {
	j := NotificationJSON{ID: n.ID(), ChannelID: n.ChannelID, ChannelType: n.ChannelType, RuleID: n.RuleID, TenantID: n.Notice.TenantID,
		DestinationID: n.Notice.DestinationID,
		Kind:          n.Kind, Status: n.Status, Reason: n.Reason, Others: n.Notice.Others,
		Summary: n.Notice.Summary, Tries: n.Tries, Code: n.Code,
		Answer: n.Answer, Error: n.Error,
		Advice: n.Advice, Actor: n.Actor, CreatedAt: n.CreatedAt, DueAt: n.DueAt, SentAt: n.SentAt, Notice: n.Notice}
	if n.AlertKey != nil {
		j.AlertID = (&models.Alert{Key: *n.AlertKey}).ID()
	}
	if n.DigestKey != nil {
		j.DigestID = (&models.Notification{Key: *n.DigestKey}).ID()
	}
	return j
}

type ListNotificationsRequest struct {
	Tenant string `path:"tenant"`
	models.NotificationQuery
	pageParams
}

func (a *API) FindNotifications(ctx context.Context, c *Call, req *ListNotificationsRequest,
	limit, most int) (*models.Page[*models.Notification], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindNotifications)
	}
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.Notifications(ctx, scope, req.Tenant, req.NotificationQuery)
}

func (a *API) listNotifications(ctx context.Context, c *Call, req *ListNotificationsRequest) (*Reply, error) {
	page, err := a.FindNotifications(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(page, notificationToJSON)}, nil
}

type NotificationRequest struct {
	Tenant       string `path:"tenant"`
	Notification string `path:"notification"`
}

func (a *API) getNotification(ctx context.Context, c *Call, req *NotificationRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	n, err := a.Store.Notification(ctx, scope, req.Tenant, req.Notification)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: notificationToJSON(n)}, nil
}

// Resend sends a notification once more, as a new one.
func (a *API) Resend(ctx context.Context, c *Call, req *NotificationRequest) (*Reply, error) {
	scope, err := ownedBy(ctx, a, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	n, err := a.Store.Resend(ctx, scope, req.Tenant, req.Notification, c.Actor.Name)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: notificationToJSON(n), Monitor: OwnerPath(req.Tenant, "notifications", n.ID()), Shown: true}, nil
}
