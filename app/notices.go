package app

import (
	"context"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// noticeLinks completes a notice with the addresses of the pages about what it tells. owner is the tenant whose channel
// it goes to, empty for the operators'.
func (a *App) noticeLinks(owner string, n *notify.Notice) {
	base := a.Cfg.BaseURL
	if n.TenantID != "" && n.DestinationID != "" {
		n.DestinationURL = base + views.DestinationURL(n.TenantID, n.DestinationID)
		n.DeliveriesURL = base + views.FailingURL(n.TenantID, n.DestinationID, n.Failures == 0)
	}
	for i := range n.Failed {
		n.Failed[i].URL = base + views.AttemptURL(n.TenantID, n.Failed[i].AttemptID)
	}
	if n.Kind != notify.Test && !models.IsDigest(n) {
		n.AlertURL = base + views.AlertURL(owner, n.AlertID)
	} else {
		n.AlertURL = base + views.AlertsURL(owner)
	}
}

// unsubscribeLink is the link with which an address ends a channel's notices to it.
func (a *App) unsubscribeLink(channelID, address string) string {
	return a.Cfg.BaseURL + views.UnsubscribeURL(a.Store.UnsubscribeToken(channelID, address))
}

// publishNotice accepts a notice as an event of a tenant.
func (a *App) publishNotice(ctx context.Context, tenantID, id, topic string, metadata map[string]string, data []byte) error {
	_, errs := a.Accept(ctx, []*models.PublishInput{{TenantID: tenantID, ID: id, Topic: topic, Metadata: metadata, Data: data,
		Ours: true}})
	err := errs[0]
	if e := api.Refusal(err); err != nil && (e != nil || models.IsKind(err, models.KindNotFound)) {
		m := models.AsError(err)
		message := m.Message
		if len(m.Fields) > 0 {
			message = m.Problems()[0] + "."
		}
		return &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassConfig, Message: message,
			Advice: "Correct the channel, or the tenant that it names."}
	}
	return err
}
