package pages

import (
	"context"
	"net/http"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// unsubscribePage asks whoever followed the link in a mail whether its notices shall end. Opening the page changes nothing:
// programs that scan mails open the links in them.
func (a *Pages) unsubscribePage(ctx context.Context, p *pageCtx) error {
	u, err := a.unsubscribing(func(s *models.Store) (*models.Unsubscribing, error) { return s.Unsubscribing(ctx, p.Params("token")) })
	if err != nil {
		return err
	}
	return a.showUnsubscribe(ctx, p, u)
}

// doUnsubscribe ends a channel's notices to an address, without logging in: what the link is signed for is proof enough
// that the mail was read. Mail programs make the same request by themselves when their own button is pressed (RFC 8058,
// section 3.2), with no cookies and no page to come from, and want no redirect.
func (a *Pages) doUnsubscribe(ctx context.Context, p *pageCtx) error {
	u, err := a.unsubscribing(func(s *models.Store) (*models.Unsubscribing, error) { return s.Unsubscribe(ctx, p.Params("token")) })
	if err != nil {
		return err
	}
	return a.showUnsubscribe(ctx, p, u)
}

func (a *Pages) showUnsubscribe(ctx context.Context, p *pageCtx, u *models.Unsubscribing) error {
	p.Set("Referrer-Policy", "no-referrer")
	p.Set("Cache-Control", "no-store")
	return p.render(ctx, http.StatusOK, views.UnsubscribePage(views.Unsubscribe{Page: p.frame("Unsubscribe", ""), Unsubscribing: u,
		Action: views.UnsubscribeURL(p.Params("token"))}))
}

// subscribePage sends a channel's notices again to an address that had unsubscribed.
func (a *Pages) subscribePage(ctx context.Context, p *pageCtx) error {
	req := api.SubscribeRequest{Tenant: p.tenantID(), Channel: p.Params("channel")}
	req.Body.Address = p.form().Value("address")
	if _, err := a.Subscribe(ctx, p.call, &req); err != nil {
		return err
	}
	return p.done(views.ChannelURL(p.tenantID(), req.Channel), said(req.Body.Address+" gets the channel's notices again."))
}

// unsubscribing finds the channel of a link in home or in a cell. One that there is no more is told of all the same.
func (a *Pages) unsubscribing(find func(*models.Store) (*models.Unsubscribing, error)) (found *models.Unsubscribing, err error) {
	err = a.Searched(func(x *api.API) error {
		u, err := find(x.Store)
		if err != nil {
			return err
		}
		if found = u; u.Channel == nil {
			return &models.Error{Kind: models.KindNotFound}
		}
		return nil
	})
	if found != nil && models.IsKind(err, models.KindNotFound) {
		err = nil
	}
	return found, err
}
