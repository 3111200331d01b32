package pages

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
)

// exportPage sends what a page with a list shows, and all pages after it, as a file.
func exportPage[Req any](a *Pages, send func(ctx context.Context, c *fiber.Ctx, call *api.Call, req *Req,
	still func() bool) error) pageHandler {
	return func(ctx context.Context, p *pageCtx) error {
		q := p.listQuery()
		q.Del("limit") // the page's own
		q.Del("next")
		q.Del("prev")
		var req Req
		if err := bindQuery(q, &req); err != nil {
			return err
		}
		token := p.Cookies(SessionCookie)
		return send(models.OnPrimary(ctx), p.Ctx, p.call, &req, func() bool { return a.mayStillLook(token, p.tenant) })
	}
}
