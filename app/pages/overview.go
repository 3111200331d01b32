package pages

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views"
)

// busiestShown is how many destinations the overview lists.
const busiestShown = 6

// failuresTime is how long grouping the failures may take. A tenant with very many has more of them than a page should wait for.
const failuresTime = 2 * time.Second

func (a *Pages) overviewPage(ctx context.Context, p *pageCtx) error {
	scope := p.call.Scope()
	v := views.Overview{Page: p.frame("Overview", views.SectionOverview), At: time.Now()}
	span := p.Query("range")
	if !slices.Contains(models.OverviewRanges, span) {
		span = "24h"
	}
	v.API = apiCallOf("GET", "", "/stats/overview", "?"+url.Values{"tenant_id": {p.tenant.ID}, "range": {span}}.Encode())
	list, err := a.Store.Destinations(ctx, scope, p.tenant.ID, models.DestinationQuery{})
	if err != nil {
		return err
	}
	v.Destinations = len(list)
	channels, err := a.Store.Channels(ctx, scope, p.tenant.ID)
	if err != nil {
		return err
	}
	v.Told = len(channels) > 0
	if v.Steps, err = a.firstSteps(ctx, p, list, len(channels)); err != nil {
		return err
	}
	if v.Steps != nil && v.Steps.EventID == "" {
		return p.render(ctx, http.StatusOK, views.OverviewPage(v))
	}
	v.Refresh = v.Steps != nil && !v.Steps.Delivered
	if err := a.overviewNumbers(ctx, scope, span, &v); err != nil {
		return err
	}
	return p.render(ctx, http.StatusOK, views.OverviewPage(v))
}

// overviewNumbers reads what the overview shows below the first steps, one beside the other.
func (a *Pages) overviewNumbers(ctx context.Context, scope models.Scope, span string, v *views.Overview) error {
	g, each := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if v.Now, err = a.Store.Overview(each, scope, span, v.At); err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(each, failuresTime)
		defer cancel()
		if v.Failures, err = a.Store.Failures(bounded, scope, v.Now.Since); err != nil && bounded.Err() != nil && each.Err() == nil {
			v.Failures, err = nil, nil // the page says that they could not be read in time
		}
		return err
	})
	g.Go(func() (err error) {
		v.Incidents, err = a.Store.Incidents(each, scope, models.IncidentQuery{})
		return err
	})
	g.Go(func() (err error) {
		v.Busy, _, err = a.Store.Busiest(each, scope, span, v.At, busiestShown)
		return err
	})
	return g.Wait()
}

// firstSteps says how far a tenant has come; nil when all is done, or somebody does not want to see it.
func (a *Pages) firstSteps(ctx context.Context, p *pageCtx, list []*models.Destination, channels int) (*views.Onboarding, error) {
	if p.tenant.ID == models.OperatorTenant {
		return nil, nil // nobody publishes there
	}
	shown := p.Query("steps") == "show"
	if !shown && slices.Contains(p.hiddenSteps(), p.tenant.ID) {
		return nil, nil
	}
	one := models.PageQuery{Limit: 1}
	o := &views.Onboarding{Destinations: len(list), Channels: channels, Echo: adapters.Lookup("echo") != nil,
		Publish: publishCall(p.tenant.ID, "order.created", []byte(`{"hello": "world"}`))}
	delivered, err := a.Store.Deliveries(ctx, p.call.Scope(), models.DeliveryQuery{Statuses: []string{models.StatusDelivered}, Page: one})
	if err != nil {
		return nil, err
	}
	o.Delivered = len(delivered.Items) > 0
	if o.Delivered && channels > 0 && !shown {
		return nil, nil
	}
	if i := slices.IndexFunc(list, func(d *models.Destination) bool { return d.Type == "webhook" }); i >= 0 {
		o.Webhook = list[i]
	}
	if len(list) > 0 && p.call.Actor.Can(models.MayWrite) {
		o.First = list[0]
	}
	if o.Delivered {
		o.EventID = delivered.Items[0].PublicEventID
		o.EventURL = views.EventURL(p.tenant.ID, o.EventID)
		return o, nil
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

// stepsCookie names the tenants whose first steps this browser does not show.
const stepsCookie = "waybill_steps"

// hiddenMost is how many tenants it names, the last ones.
const hiddenMost = 40

func (p *pageCtx) hiddenSteps() []string {
	text, _ := url.QueryUnescape(p.Cookies(stepsCookie)) // a broken one hides nothing
	return strings.Fields(text)
}

// hideSteps has this browser show the first steps of a tenant no more.
func (p *pageCtx) hideSteps(tenant string) {
	list := append(slices.DeleteFunc(p.hiddenSteps(), func(t string) bool { return t == tenant }), tenant)
	p.setCookie(stepsCookie, url.QueryEscape(strings.Join(list[max(0, len(list)-hiddenMost):], " ")), preferenceLength)
}
