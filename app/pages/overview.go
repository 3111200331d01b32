package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// overviewRange is the time that an overview is about, unless its address says otherwise.
const overviewRange = "24h"

// overviewBuckets are how the chart of each time is divided.
var overviewBuckets = map[string]struct {
	length time.Duration
	count  int
}{"1h": {2 * time.Minute, 30}, "24h": {time.Hour, 24}, "7d": {6 * time.Hour, 28}, "30d": {24 * time.Hour, 30}}

// overviewCount is how far the overview counts.
const overviewCount = models.MaxLimit

// chartTime is how long reading the chart's figures may take. A tenant with thousands of busy destinations has more of them
// than a page should wait for.
const chartTime = 2 * time.Second

func (a *Pages) overviewPage(ctx context.Context, p *pageCtx) error {
	span := p.Query("range")
	if overviewBuckets[span].count == 0 {
		span = overviewRange
	}
	v := views.Overview{Page: p.frame("Overview", views.SectionOverview), Period: views.RangeName(span), Range: span}
	since := time.Now().UTC().Add(-ranges[span])
	v.API = apiCallOf("GET", "", "/deliveries", queryOf[api.ListDeliveriesRequest](url.Values{"tenant_id": {p.tenant.ID},
		"status": {models.StatusFailed}, "since": {since.Format(time.RFC3339)}}))
	list, err := a.Store.Destinations(ctx, p.call.Scope(), p.tenant.ID, models.DestinationQuery{})
	if err != nil {
		return err
	}
	channels, err := a.Store.Channels(ctx, p.call.Scope(), p.tenant.ID)
	if err != nil {
		return err
	}
	v.Told = len(channels) > 0
	if v.Steps, err = a.firstSteps(ctx, p, list); err != nil {
		return err
	}
	if v.Steps != nil {
		v.Steps.Channels = len(channels)
		v.Refresh = v.Steps.EventID != ""
		if v.Steps.EventID == "" {
			return p.render(ctx, http.StatusOK, views.OverviewPage(v))
		}
	}
	if err := a.chart(ctx, p.tenant.ID, list, &v); err != nil {
		return err
	}
	failed, err := a.numbers(ctx, p, since, &v)
	if err != nil {
		return err
	}
	name(list, failed.Items)
	v.Failures = failed.Items[:min(len(failed.Items), 10)]
	v.Breakdown = breakdown(failed.Items, list)
	if err := a.attention(ctx, p.call.Scope(), p.tenant.ID, list, failed, &v); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.OverviewPage(v))
}

// chart reads how the deliveries of a tenant fared, in buckets, and in the time before.
func (a *Pages) chart(ctx context.Context, tenant string, list []*models.Destination, v *views.Overview) error {
	b := overviewBuckets[v.Range]
	keys := make([]int64, len(list))
	for i, d := range list {
		keys[i] = d.Key
	}
	begin := time.Now().UTC().Truncate(b.length).Add(-time.Duration(b.count-1) * b.length)
	bounded, cancel := context.WithTimeout(ctx, chartTime)
	defer cancel()
	history, err := a.Store.HealthHistory(bounded, begin.Add(-time.Duration(b.count)*b.length), b.length, keys...)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return nil // the page says that the figures could not be read in time
	}
	if err != nil {
		return err
	}
	now := slices.IndexFunc(history, func(x models.HealthBucket) bool { return !x.Start.Before(begin) })
	if now < 0 {
		now = len(history)
	}
	v.Before = models.Sum(history[:now])
	v.Chart = &views.Chart{ID: "deliveries", Period: v.Period, Begin: begin, Bucket: b.length, Count: b.count, History: history[now:],
		URL: func(from, until time.Time) string {
			return views.EventsURL(tenant) + "?" + url.Values{"since": {from.UTC().Format(time.RFC3339)},
				"until": {until.UTC().Format(time.RFC3339)}}.Encode()
		}}
	return nil
}

// numbers counts the deliveries by their status and returns those that have failed.
func (a *Pages) numbers(ctx context.Context, p *pageCtx, since time.Time,
	v *views.Overview) (failed *models.Page[*models.Delivery], err error) {
	for _, n := range []struct {
		status string
		limit  int
		views.Number
	}{
		{models.StatusDelivered, 100, views.Number{Label: "Delivered", Tone: views.ToneOK, Icon: "check"}},
		{models.StatusFailed, overviewCount, views.Number{Label: "Failed", Tone: views.ToneBad, Icon: "x"}},
		{models.StatusRetrying, overviewCount, views.Number{Label: "Retrying", Tone: views.ToneWarn, Icon: "rotate-ccw"}},
		{models.StatusHeld, overviewCount, views.Number{Label: "Held", Tone: views.ToneHold, Icon: "pause"}},
	} {
		page, err := a.Store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Statuses: []string{n.status},
			ReceivedSpan: models.ReceivedSpan{Since: since}, Page: models.PageQuery{Limit: n.limit}})
		if err != nil {
			return nil, err
		}
		n.Value, n.More = len(page.Items), page.Next != ""
		if n.status == models.StatusDelivered && n.More && v.Chart != nil {
			// Too many to count one by one: the attempts that succeeded are counted already.
			r := models.Sum(v.Chart.History)
			n.Value, n.More = max(n.Value, r.Attempts-r.FailedAttempts), false
		}
		n.URL = views.EventsURL(p.tenant.ID) + "?range=" + v.Range + "&status=" + n.status
		v.Numbers = append(v.Numbers, n.Number)
		if n.status == models.StatusFailed {
			failed = page
		}
	}
	return failed, nil
}

// breakdown says what deliveries that have failed have in common, the most frequent first.
func breakdown(failed []*models.Delivery, list []*models.Destination) []views.Breakdown {
	if len(failed) == 0 {
		return nil
	}
	shares := func(of func(*models.Delivery) string) []models.Share {
		counts := map[string]int{}
		for _, d := range failed {
			counts[of(d)]++
		}
		var out []models.Share
		for key, n := range counts {
			out = append(out, models.Share{Key: key, Count: n})
		}
		slices.SortFunc(out, func(a, b models.Share) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Key, b.Key)) })
		return out
	}
	var names []views.Option
	for _, d := range list {
		names = append(names, views.Option{Value: d.ID, Label: d.Title()})
	}
	return []views.Breakdown{
		{Title: "By destination", Param: "destination_id", Parts: shares(func(d *models.Delivery) string { return d.DestinationID }),
			Names: names},
		{Title: "By topic", Param: "topic", Parts: shares(func(d *models.Delivery) string { return d.Topic }), None: "No topic"},
		{Title: "By last error", Param: "error_class", Parts: shares(func(d *models.Delivery) string { return d.ErrorClass }),
			Names: views.ErrorClasses, None: "No error"},
	}
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

// attentionShown is how many destinations that need attention the overview shows. The list of destinations has the others.
const attentionShown = 10

// attention finds the destinations that somebody should look at: the disabled ones, then those with failures, the most
// first.
func (a *Pages) attention(ctx context.Context, scope models.Scope, tenantID string, list []*models.Destination,
	failed *models.Page[*models.Delivery], v *views.Overview) error {
	var all []views.Attention
	for _, d := range list {
		if d.DisabledAt != nil {
			all = append(all, views.Attention{Destination: d})
		}
	}
	var failing []views.Attention
	at := map[int64]int{}            // the place in failing, by key
	for _, d := range failed.Items { // newest first
		if d.Destination == nil || d.Destination.DisabledAt != nil {
			continue
		}
		i, found := at[d.Destination.Key]
		if !found {
			i = len(failing)
			at[d.Destination.Key] = i
			failing = append(failing, views.Attention{Destination: d.Destination, LastError: d.Error, More: failed.Next != ""})
		}
		failing[i].Failed++
	}
	for _, d := range list { // those that fail, and will be tried again
		if _, found := at[d.Key]; !found && d.DisabledAt == nil && d.Health.Failures >= attentionFailures {
			failing = append(failing, views.Attention{Destination: d, LastError: d.Health.Error})
		}
	}
	slices.SortStableFunc(failing, func(x, y views.Attention) int {
		return cmp.Or(y.Failed-x.Failed, y.Destination.Health.Failures-x.Destination.Health.Failures)
	})
	all = append(all, failing...)
	out := all[:min(len(all), attentionShown)]
	for i, x := range out {
		if x.Destination.DisabledAt == nil {
			continue
		}
		var err error
		if out[i].Held, out[i].More, err = a.held(ctx, x.Destination); err != nil {
			return err
		}
	}
	open, err := a.Store.Alerts(ctx, scope, tenantID, models.AlertQuery{Statuses: []string{models.AlertOpen},
		Page: models.PageQuery{Limit: overviewCount}})
	if err != nil {
		return err
	}
	for _, x := range open.Items {
		if i := slices.IndexFunc(out, func(y views.Attention) bool { return y.Destination.Key == x.DestinationKey }); i >= 0 {
			out[i].Alerts++
		}
	}
	v.Attention, v.More = out, len(all)-len(out)
	return nil
}

// heldCount is how far held deliveries are counted for a page.
const heldCount = 1000

// firstSteps says how far a tenant has come; nil when something was delivered already.
func (a *Pages) firstSteps(ctx context.Context, p *pageCtx, list []*models.Destination) (*views.Onboarding, error) {
	if p.tenant.ID == models.OperatorTenant {
		return nil, nil // nobody publishes there
	}
	one := models.PageQuery{Limit: 1}
	delivered, err := a.Store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Statuses: []string{models.StatusDelivered}, Page: one})
	if err != nil || len(delivered.Items) > 0 {
		return nil, err
	}
	o := &views.Onboarding{Destinations: len(list), Echo: adapters.Lookup("echo") != nil,
		Publish: publishCall(p.tenant.ID, "order.created", []byte(`{"hello": "world"}`))}
	if len(list) > 0 && p.call.Actor.Can(models.MayWrite) {
		o.First = list[0]
	}
	events, err := a.Store.Events(ctx, p.call.Scope(), models.EventQuery{Page: one})
	if err != nil {
		return nil, err
	}
	if len(events.Items) > 0 {
		o.EventID = events.Items[0].ID
		o.EventURL = views.EventURL(p.tenant.ID, o.EventID)
	}
	return o, nil
}
