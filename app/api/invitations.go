package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

type invitationJSON struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	Role      string    `json:"role" api:"enum=owner|admin|developer|viewer"`
	TenantID  *string   `json:"tenant_id" doc:"Where the role is; null for the whole server."`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

type newInvitationJSON struct {
	invitationJSON
	URL  string   `json:"url" api:"format=uri" doc:"Accepts the invitation. It is told this once."`
	Mail mailJSON `json:"mail" doc:"What became of the mail with the link."`
}

type mailJSON struct {
	Sent  bool    `json:"sent" doc:"Whether the mail server took it."`
	Error *string `json:"error" doc:"Why not; null when it was sent."`
}

func invitationToJSON(i *models.Invitation) invitationJSON {
	j := invitationJSON{ID: i.ID(), Email: i.Email, Role: string(i.Role), CreatedBy: i.CreatedBy, CreatedAt: i.CreatedAt.UTC(),
		ExpiresAt: i.ExpiresAt.UTC()}
	if i.TenantID != "" {
		j.TenantID = &i.TenantID
	}
	return j
}

func (a *API) listInvitations(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	list, err := a.Store.Invitations(ctx, c.Scope())
	if err != nil {
		return nil, err
	}
	out := listJSON[invitationJSON]{Models: make([]invitationJSON, len(list))}
	for i, x := range list {
		out.Models[i] = invitationToJSON(x)
	}
	return &Reply{Body: out}, nil
}

type createInvitationRequest struct {
	Body models.InvitationInput `body:"json"`
}

func (a *API) createInvitation(ctx context.Context, c *Call, req *createInvitationRequest) (*Reply, error) {
	made, err := a.Invite(ctx, c, req.Body)
	if err != nil {
		return nil, err
	}
	j := newInvitationJSON{invitationJSON: invitationToJSON(made.Invitation), URL: made.URL, Mail: mailJSON{Sent: made.MailError == ""}}
	if made.MailError != "" {
		j.Mail.Error = &made.MailError
	}
	return &Reply{Status: http.StatusCreated, Body: j, Location: APIPrefix + "/invitations", Secret: true}, nil
}

// Invited is a new invitation.
type Invited struct {
	*models.Invitation
	URL       string // of the page where it is accepted
	MailError string // why no mail was sent; empty when one was
}

// inviteTimeout bounds how long the mail server may take, for whoever invites waits for it.
const inviteTimeout = 20 * time.Second

// Invite makes an invitation and sends its link by mail. That no mail could be sent does not undo it: whoever invites has the link.
func (a *API) Invite(ctx context.Context, c *Call, in models.InvitationInput) (*Invited, error) {
	i, token, err := a.Store.Invite(ctx, c.Actor, in)
	if err != nil {
		return nil, err
	}
	made := &Invited{Invitation: i, URL: a.Cfg.BaseURL + views.InviteURL(url.PathEscape(token))}
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	if err := notify.SendLetter(ctx, a.Notices.EnvNow(), invitationLetter(i, made.URL)); err != nil {
		e := adapters.AsError(err)
		made.MailError = e.Message
		a.Log.Warn("an invitation could not be sent by mail", "invitation", i.ID(), "error", e.Message)
	}
	return made, nil
}

func invitationLetter(i *models.Invitation, link string) notify.Letter {
	return notify.Letter{ID: i.ID(), To: i.Email, At: i.CreatedAt, Subject: i.CreatedBy + " invites you to Waybill",
		Mail: notify.Mail{State: "Invitation", Tone: notify.Calm,
			Summary: i.CreatedBy + " invites you to Waybill, as " + string(i.Role) + " of " + i.Place() + ".",
			Advice:  "Open the link and choose a password. It can be used once.",
			Facts:   []notify.MailFact{{Label: "Valid until", Value: i.ExpiresAt.UTC().Format("2 January 2006, 15:04") + " UTC"}},
			Links:   []notify.MailLink{{Label: "Accept the invitation", URL: link}},
			Why:     "because somebody there entered this address"}}
}

// InvitationRequest names an invitation.
type InvitationRequest struct {
	Invitation string `path:"invitation"`
}

// RevokeInvitation ends an invitation.
func (a *API) RevokeInvitation(ctx context.Context, c *Call, req *InvitationRequest) (*Reply, error) {
	if err := a.Store.RevokeInvitation(ctx, c.Actor, req.Invitation); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
