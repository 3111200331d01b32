package pages

import (
	"context"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/views"
)

// endOverlap ends the previous secret before its time.
func (a *Pages) endOverlap(ctx context.Context, p *pageCtx) error {
	req := &api.DestinationRequest{Tenant: p.tenant.ID, Destination: p.Params("destination")}
	if _, err := a.EndOverlap(ctx, p.call, req); err != nil {
		e := api.Refusal(err)
		if e == nil {
			return err
		}
		return a.showSecrets(ctx, p, false, views.Form{Err: e})
	}
	return p.done(views.DestinationURL(p.tenant.ID, req.Destination, "secrets"),
		said("The previous secret has ended. Requests carry the signature of the one in force."))
}
