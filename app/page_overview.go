package app

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// overviewPeriod is the time that an overview is about.
const overviewPeriod = 24 * time.Hour

// overviewCount is how far the overview counts.
const overviewCount = models.MaxLimit

func (a *App) overviewPage(ctx context.Context, p *pageCtx) error {
	v := views.Overview{Page: p.frame("Overview", views.SectionOverview), Period: "the last 24 hours"}
	since := time.Now().UTC().Add(-overviewPeriod)
	v.API = apiCallOf("GET", "", "/deliveries", queryOf(url.Values{"tenant_id": {p.tenant.ID}, "status": {models.StatusFailed}, "since": {since.Format(time.RFC3339)}}, "tenant_id", "status", "since"))
	list, err := a.store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
	if err != nil {
		return err
	}
	if v.Steps, err = a.firstSteps(ctx, p, list); err != nil {
		return err
	}
	if v.Steps != nil {
		v.Refresh = v.Steps.EventID != ""
		if v.Steps.EventID == "" {
			return p.render(ctx, http.StatusOK, views.OverviewPage(v))
		}
	}
	byStatus := map[string]*models.Page[*models.Delivery]{}
	for _, n := range []views.Number{
		{Label: "Delivered", Tone: views.ToneOK, Icon: "check"}, {Label: "Failed", Tone: views.ToneBad, Icon: "x"},
		{Label: "Retrying", Tone: views.ToneWarn, Icon: "rotate-ccw"}, {Label: "Held", Tone: views.ToneHold, Icon: "pause"},
	} {
		status := map[string]string{"Delivered": models.StatusDelivered, "Failed": models.StatusFailed, "Retrying": models.StatusRetrying, "Held": models.StatusHeld}[n.Label]
		page, err := a.store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Statuses: []string{status}, Since: since, Page: models.PageQuery{Limit: overviewCount}})
		if err != nil {
			return err
		}
		byStatus[status] = page
		n.Value, n.More = len(page.Items), page.Next != ""
		n.URL = views.EventsURL(p.tenant.ID) + "?range=24h&status=" + status
		v.Numbers = append(v.Numbers, n)
	}
	failed := byStatus[models.StatusFailed].Items
	name(list, failed)
	v.Failures = failed[:min(len(failed), 10)]
	v.Attention, err = a.attention(ctx, p.call.Scope(), p.tenant.ID, list, failed, byStatus[models.StatusFailed].Next != "")
	if err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.OverviewPage(v))
}

// name gives deliveries their destinations. Those of deleted ones stay without.
func name(list []*models.Destination, deliveries []*models.Delivery) {
	byKey := map[int64]*models.Destination{}
	for _, d := range list {
		byKey[d.Key] = d
	}
	for _, d := range deliveries {
		d.Destination = byKey[d.DeliveryKey.Destination]
	}
}

// attentionFailures is after how many failing deliveries in a row a destination needs attention.
const attentionFailures = 3

// attention lists the destinations that somebody should look at: the disabled ones, then those with failures, the most
// first.
func (a *App) attention(ctx context.Context, scope models.Scope, tenantID string, list []*models.Destination, failed []*models.Delivery, more bool) ([]views.Attention, error) {
	var out []views.Attention
	for _, d := range list {
		if d.DisabledAt == nil {
			continue
		}
		n, err := a.store.Held(ctx, d.Key, heldCount+1)
		if err != nil {
			return nil, err
		}
		out = append(out, views.Attention{Destination: d, Held: min(n, heldCount), More: n > heldCount})
	}
	var failing []views.Attention
	for _, d := range failed { // newest first
		if d.Destination == nil || d.Destination.DisabledAt != nil {
			continue
		}
		i := slices.IndexFunc(failing, func(x views.Attention) bool { return x.Destination == d.Destination })
		if i < 0 {
			failing = append(failing, views.Attention{Destination: d.Destination, LastError: d.Error, More: more})
			i = len(failing) - 1
		}
		failing[i].Failed++
	}
	for _, d := range list { // those that fail, and will be tried again
		if d.DisabledAt == nil && d.Health.Failures >= attentionFailures && !slices.ContainsFunc(failing, func(x views.Attention) bool { return x.Destination == d }) {
			failing = append(failing, views.Attention{Destination: d, LastError: d.Health.Error})
		}
	}
	slices.SortStableFunc(failing, func(x, y views.Attention) int {
		return cmp.Or(y.Failed-x.Failed, y.Destination.Health.Failures-x.Destination.Health.Failures)
	})
	out = append(out, failing...)
	open, err := a.store.Alerts(ctx, scope, tenantID, models.AlertQuery{Statuses: []string{models.AlertOpen}, Page: models.PageQuery{Limit: overviewCount}})
	if err != nil {
		return nil, err
	}
	for _, x := range open.Items {
		if i := slices.IndexFunc(out, func(y views.Attention) bool { return y.Destination.Key == x.DestinationKey }); i >= 0 {
			out[i].Alerts++
		}
	}
	return out, nil
}

// heldCount is how far held deliveries are counted for a page.
const heldCount = 1000

// firstSteps says how far a tenant has come; nil when something was delivered already.
func (a *App) firstSteps(ctx context.Context, p *pageCtx, list []*models.Destination) (*views.Onboarding, error) {
	one := models.PageQuery{Limit: 1}
	delivered, err := a.store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Statuses: []string{models.StatusDelivered}, Page: one})
	if err != nil || len(delivered.Items) > 0 {
		return nil, err
	}
	o := &views.Onboarding{Destinations: len(list), Echo: adapters.Lookup("echo") != nil, Publish: publishCall(p.tenant.ID, "order.created", []byte(`{"hello": "world"}`))}
	if len(list) > 0 && p.call.Actor.Can(models.MayWrite) {
		o.First = list[0]
	}
	events, err := a.store.Events(ctx, p.call.Scope(), models.EventQuery{Page: one})
	if err != nil {
		return nil, err
	}
	if len(events.Items) > 0 {
		o.EventID = events.Items[0].ID
		o.EventURL = views.EventURL(p.tenant.ID, o.EventID)
	}
	return o, nil
}
