package pages

import (
	"context"

	"github.com/waybill-dev/waybill/app/api"
)

// eventData sends the payload of an event as a file.
func (a *Pages) eventData(ctx context.Context, p *pageCtx) error {
	e, err := a.Store.Event(ctx, p.call.Scope(), p.Params("event"))
	if err != nil {
		return err
	}
	return api.SendPayload(p.Ctx, e)
}
