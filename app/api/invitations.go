package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

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
	Mail      *mailJSON `json:"mail" doc:"What became of the mail with the link; null for invitations of before that was kept."`
}

type newInvitationJSON struct {
	invitationJSON
	URL string `json:"url" api:"format=uri" doc:"Accepts the invitation. It is shown this once."`
}

type mailJSON struct {
	Sent      bool       `json:"sent" doc:"Whether the mail server took it."`
	Status    string     `json:"status" api:"enum=waiting|sent|failed" doc:"'waiting' to be tried again, 'failed' where it was given up."`
	Tries     int        `json:"tries" doc:"So far."`
	Error     *string    `json:"error" doc:"Why the last try did not succeed; null when it did, or before the first."`
	NextTryAt *time.Time `json:"next_try_at" doc:"When it waits; else null."`
	SentAt    *time.Time `json:"sent_at" doc:"null until it is sent."`
}

func mailToJSON(m *models.LetterState) *mailJSON {
	if m == nil {
		return nil
	}
	j := &mailJSON{Sent: m.Status == models.LetterSent, Status: m.Status, Tries: m.Tries, NextTryAt: utcOrNil(m.NextTry),
		SentAt: utcOrNil(m.SentAt)}
	if m.Error != "" {
		j.Error = &m.Error
	}
	return j
}

func utcOrNil(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}

func invitationToJSON(i *models.Invitation) invitationJSON {
	j := invitationJSON{ID: i.ID(), Email: i.Email, Role: string(i.Role), CreatedBy: i.CreatedBy, CreatedAt: i.CreatedAt.UTC(),
		ExpiresAt: i.ExpiresAt.UTC(), Mail: mailToJSON(i.Mail)}
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
	return invitedReply(made, http.StatusCreated), nil
}

func invitedReply(made *Invited, status int) *Reply {
	r := &Reply{Status: status, Body: newInvitationJSON{invitationToJSON(made.Invitation), made.URL}, Secret: true}
	if status == http.StatusCreated {
		r.Location = APIPrefix + "/invitations"
	}
	return r
}

// Invited is a new invitation, or one with a new link.
type Invited struct {
	*models.Invitation
	URL string // of the page where it is accepted
}

// Invite makes an invitation and sends its link by mail. That no mail could be sent does not undo it: whoever invites has the link.
func (a *API) Invite(ctx context.Context, c *Call, in models.InvitationInput) (*Invited, error) {
	made, err := a.Store.Invite(ctx, c.Actor, in)
	if err != nil {
		return nil, err
	}
	return a.invited(ctx, c, made)
}

// SendInvitation gives an invitation another link, and sends it.
func (a *API) SendInvitation(ctx context.Context, c *Call, req *InvitationRequest) (*Invited, error) {
	made, err := a.Store.ResendInvitation(ctx, c.Actor, req.Invitation)
	if err != nil {
		return nil, err
	}
	return a.invited(ctx, c, made)
}

func (a *API) sendInvitation(ctx context.Context, c *Call, req *InvitationRequest) (*Reply, error) {
	made, err := a.SendInvitation(ctx, c, req)
	if err != nil {
		return nil, err
	}
	return invitedReply(made, http.StatusOK), nil
}

// invited makes the first try to send an invitation's letter, for whoever invites wants to know. Later ones are a job's.
func (a *API) invited(ctx context.Context, c *Call, made *models.NewInvitation) (*Invited, error) {
	out := &Invited{Invitation: made.Invitation, URL: a.Cfg.BaseURL + views.InviteURL(url.PathEscape(made.Token))}
	if _, err := a.Notices.TryLetter(ctx, made.Letter); err != nil {
		a.Log.Warn("the first try to send an invitation was cut off; a job goes on", "invitation", made.ID(), "error", err)
	}
	var err error
	out.Invitation, err = a.Store.RefreshInvitation(ctx, made.Invitation)
	return out, err
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
