// Package outpost tests Outpost's Go client, unmodified, against a Waybill server, which the environment names. The client
// reads every answer into its types and refuses what does not fit.
package outpost

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	outpostgo "github.com/hookdeck/outpost/sdks/outpost-go"
	"github.com/hookdeck/outpost/sdks/outpost-go/models/apierrors"
	"github.com/hookdeck/outpost/sdks/outpost-go/models/components"
	"github.com/hookdeck/outpost/sdks/outpost-go/models/operations"
	"github.com/hookdeck/outpost/sdks/outpost-go/optionalnullable"
)

var (
	base     = os.Getenv("WAYBILL_URL")
	key      = os.Getenv("WAYBILL_KEY")
	receiver = os.Getenv("WAYBILL_RECEIVER")
)

func client() *outpostgo.Outpost {
	return outpostgo.New(outpostgo.WithSecurity(key), outpostgo.WithServerURL(base+"/api/v1"))
}

// api is the API without a client.
func api(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %v %v", method, path, resp.StatusCode, out, err)
	}
	return out
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func status(err error) int {
	var answered *apierrors.APIErrorResponse
	var other *apierrors.APIError
	switch {
	case errors.As(err, &answered) && answered.Status != nil:
		return int(*answered.Status)
	case errors.As(err, &other):
		return other.StatusCode
	}
	return 0
}

func webhook(id string) components.DestinationCreate {
	return components.CreateDestinationCreateWebhook(components.DestinationCreateWebhook{ID: &id, Type: components.DestinationCreateWebhookTypeWebhook,
		Topics: components.CreateTopicsTopicsEnum(components.TopicsEnumWildcard), Config: components.WebhookConfig{URL: receiver}})
}

func TestMergePatch(t *testing.T) {
	ctx, c := t.Context(), client()
	must[*operations.UpsertTenantResponse](t)(c.Tenants.Upsert(ctx, "go-patch", nil))
	must[*operations.CreateTenantDestinationResponse](t)(c.Destinations.Create(ctx, "go-patch", webhook("hook")))
	change := func(metadata map[string]*string) map[string]string {
		t.Helper()
		patch := components.DestinationUpdateWebhook{Type: components.DestinationUpdateWebhookTypeWebhook}
		if metadata == nil {
			patch.Metadata = optionalnullable.From[map[string]*string](nil)
		} else {
			patch.Metadata = optionalnullable.From(&metadata)
		}
		must[*operations.UpdateTenantDestinationResponse](t)(c.Destinations.Update(ctx, "go-patch", "hook", components.CreateDestinationUpdateWebhook(patch)))
		got := must[*operations.GetTenantDestinationResponse](t)(c.Destinations.Get(ctx, "go-patch", "hook"))
		out, _ := got.Destination.DestinationWebhook.Metadata.GetOrZero()
		return out
	}
	one, two := "1", "2"
	for _, step := range []struct{ patch, want map[string]*string }{
		{map[string]*string{"a": &one, "b": &one}, map[string]*string{"a": &one, "b": &one}},
		{map[string]*string{"b": &two}, map[string]*string{"a": &one, "b": &two}},
		{map[string]*string{"a": nil, "c": &one}, map[string]*string{"b": &two, "c": &one}},
		{map[string]*string{}, map[string]*string{"b": &two, "c": &one}},
		{nil, map[string]*string{}},
	} {
		want := map[string]string{}
		for k, v := range step.want {
			want[k] = *v
		}
		if got := change(step.patch); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// One destination that the client does not know does not make it refuse the others.
func TestWhatTheClientCannotRead(t *testing.T) {
	ctx, c := t.Context(), client()
	must[*operations.UpsertTenantResponse](t)(c.Tenants.Upsert(ctx, "go-mixed", nil))
	must[*operations.CreateTenantDestinationResponse](t)(c.Destinations.Create(ctx, "go-mixed", webhook("hook")))
	const path = "/tenants/go-mixed/destinations"
	api(t, "POST", path, `{"id":"search","type":"webhook","topics":"*","config":{"url":"https://example.com/"},"filter":"total:>=10"}`)
	api(t, "POST", path, `{"id":"inbox","type":"echo","topics":"*"}`)
	api(t, "POST", path, `{"id":"plain","type":"kafka","topics":"*","config":{"brokers":"kafka.example.com:9092","topic":"orders"}}`)
	list := must[*operations.ListTenantDestinationsResponse](t)(c.Destinations.List(ctx, "go-mixed", nil, nil))
	var ids []string
	for _, d := range list.Destinations {
		ids = append(ids, d.DestinationWebhook.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"hook", "search"}) {
		t.Errorf("the client sees %v", ids)
	}
	if _, err := c.Destinations.Disable(ctx, "go-mixed", "inbox"); status(err) != http.StatusNotAcceptable {
		t.Errorf("disabling what it cannot read: %v", err)
	}
	if d := api(t, "GET", path+"/inbox", ""); d["disabled_at"] != nil {
		t.Errorf("it is disabled: %v", d)
	}
	demo := must[*operations.ListTenantDestinationsResponse](t)(c.Destinations.List(ctx, "demo", nil, nil))
	if len(demo.Destinations) != 0 {
		t.Errorf("%v", demo.Destinations)
	}
}

func TestEvents(t *testing.T) {
	ctx, c := t.Context(), client()
	tenant, topic, id := "go-events", "order.created", "go-1"
	must[*operations.UpsertTenantResponse](t)(c.Tenants.Upsert(ctx, tenant, &components.TenantUpsert{}))
	must[*operations.CreateTenantDestinationResponse](t)(c.Destinations.Create(ctx, tenant, webhook("hook")))
	for _, duplicate := range []bool{false, true} {
		sent := must[*operations.PublishEventResponse](t)(c.Publish(ctx, components.PublishRequest{ID: &id, TenantID: &tenant, Topic: &topic, Data: map[string]any{"total": 12}}))
		if p := sent.PublishResponse; p.ID != id || p.Duplicate != duplicate || !slices.Equal(p.DestinationIds, []string{"hook"}) {
			t.Errorf("%+v", p)
		}
	}
	attempts := func(n int) []components.Attempt {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(25 * time.Millisecond) {
			page := must[*operations.ListAttemptsResponse](t)(c.Attempts.List(ctx, operations.ListAttemptsRequest{}))
			var found []components.Attempt
			for _, a := range page.AttemptPaginatedResult.Models {
				if *a.EventID == id {
					found = append(found, a)
				}
			}
			if len(found) >= n {
				return found
			}
			if time.Now().After(end) {
				t.Fatalf("%d attempts", len(found))
			}
		}
	}
	first := attempts(1)[0]
	if *first.Status != components.StatusSuccess || *first.Code != "200" || *first.AttemptNumber != 1 {
		t.Errorf("%+v", first)
	}
	full := must[*operations.GetAttemptResponse](t)(c.Attempts.Get(ctx, *first.ID, nil, []string{"event.data", "response_data", "destination"})).Attempt
	event, _ := full.Event.GetOrZero()
	if event.EventFull == nil || *event.EventFull.DestinationID != "hook" || event.EventFull.Data["total"] != 12.0 || full.Destination.DestinationWebhook.ID != "hook" {
		t.Errorf("%+v", event)
	}
	must[*operations.RetryEventResponse](t)(c.Retry(ctx, components.RetryRequest{EventID: id, DestinationID: "hook"}))
	attempts(2)
	if e := must[*operations.GetEventResponse](t)(c.Events.Get(ctx, id, nil)).Event; *e.Topic != topic || !slices.Equal(e.MatchedDestinationIds, []string{"hook"}) {
		t.Errorf("%+v", e)
	}
	of := operations.CreateGetEventMetricsFiltersTenantIDStr(tenant)
	figures := must[*operations.GetEventMetricsResponse](t)(c.Metrics.GetEventMetrics(ctx, operations.GetEventMetricsRequest{
		Time:            operations.GetEventMetricsTime{Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Minute)},
		Measures:        operations.CreateGetEventMetricsMeasuresUnionGetEventMetricsMeasuresEnum1(operations.GetEventMetricsMeasuresEnum1Count),
		FiltersTenantID: &of}))
	if data := figures.MetricsResponse.Data; len(data) != 1 || data[0].Metrics["count"] != 1.0 {
		t.Errorf("%+v", data)
	}
}

func TestTheRest(t *testing.T) {
	ctx, c := context.Background(), client()
	if h, err := c.Health.Check(ctx); err != nil {
		t.Errorf("%v %v", h, err)
	}
	if types, err := c.Schemas.ListDestinationTypes(ctx); err != nil || len(types.DestinationTypeSchemas) < 9 {
		t.Errorf("%v %v", types, err)
	}
	if _, err := c.Topics.List(ctx); err != nil {
		t.Error(err)
	}
	must[*operations.UpsertTenantResponse](t)(c.Tenants.Upsert(ctx, "go-rest", nil))
	token := must[*operations.GetTenantTokenResponse](t)(c.Tenants.GetToken(ctx, "go-rest"))
	own := outpostgo.New(outpostgo.WithSecurity(*token.TenantToken.Token), outpostgo.WithServerURL(base+"/api/v1"))
	if got, err := own.Tenants.Get(ctx, "go-rest"); err != nil || *got.Tenant.ID != "go-rest" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := own.Tenants.Get(ctx, "demo"); err == nil {
		t.Error("a tenant sees another one")
	}
}
