package pages

import (
	"context"

	"github.com/waybill-dev/waybill/app/api"
)

// findNames tells a page's script what a text leads to, as it is typed: in the tenant, or everywhere for operators.
func (a *Pages) findNames(ctx context.Context, p *pageCtx) error {
	return p.answer(a.Find(ctx, p.call, &api.FindRequest{Text: p.Query("q"), Tenant: p.tenantID()}))
}
