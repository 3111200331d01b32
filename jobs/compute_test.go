package jobs_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// computed is a fake destination type with a field that is an expression.
type computed struct{ fake }

func (computed) Spec() adapters.Spec {
	return adapters.Spec{Name: "computed", Label: "Computed", Config: []adapters.Field{
		{Key: "name", Label: "Name", Type: adapters.FieldText, Required: true},
		{Key: "key", Label: "Partition key", Type: adapters.FieldText, Expression: true},
	}}
}

func init() { adapters.Register(computed{}) }

// received makes a destination's answers, and tells what arrived there.
func received() (answer, chan adapters.Message) {
	got := make(chan adapters.Message, 10)
	return func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		got <- *m
		return adapters.Receipt{Code: 200, Method: "POST", URL: "https://example.com"}, nil
	}, got
}

func withSettings(typ, key, transform string) func(models.DestinationPatch) {
	return func(in models.DestinationPatch) {
		in["type"] = typ
		if key != "" {
			in["config"].(models.Values)["key"] = &key
		}
		if transform != "" {
			in["transform"] = transform
		}
	}
}

func TestComputedFields(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	answer, got := received()
	e.destination("with", answer, withSettings("computed", `data.customer.id`, ""))
	none, plain := received()
	e.destination("without", none, withSettings("computed", "", ""))
	e.startWorker()
	e.publish(models.PublishInput{Data: json.RawMessage(`{"customer": {"id": 17}}`)})
	if m := <-got; m.Computed["key"] != "17" || string(m.Data) != `{"customer": {"id": 17}}` {
		t.Errorf("%v %s", m.Computed, m.Data)
	}
	if m := <-plain; m.Computed != nil {
		t.Errorf("computed %v without any expression", m.Computed)
	}
}

// An event on which an expression fails is not sent at all; once the expression is mended, it is.
func TestFailingExpressionSendsNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(r *models.Rules) { r.Retry = models.RetryPolicy{Schedule: []models.Duration{0}, MaxInterval: 1} })
	answer, got := received()
	e.destination("key", answer, withSettings("computed", `data.customer.id`, ""))
	e.destination("body", answer, withSettings("fake", "", `{"id": data.customer.id}`))
	e.startWorker()
	for _, c := range []struct{ destination, says string }{
		{"key", "The expression of “Partition key” failed: cannot fetch id from nothing"},
		{"body", "The transform failed: cannot fetch id from nothing"},
	} {
		event := e.publish(models.PublishInput{Data: json.RawMessage(`{"n": 1}`)}).ID
		d := e.delivery(event, c.destination, is(models.StatusFailed))
		if d.ErrorClass != "config" || !strings.HasPrefix(d.Error, c.says) || !strings.Contains(d.Advice, "Nothing was sent") ||
			d.Attempts != 2 {
			t.Errorf("%+v", d)
		}
		if _, err := e.store.UpdateDestination(t.Context(), models.AllTenants(), "acme", c.destination, 0,
			models.DestinationInput{Patch: models.DestinationPatch{"transform": `{"n": data.n}`, "config": models.Values{}}}); err != nil {
			t.Fatal(err)
		}
		if c.destination == "body" {
			if _, err := e.store.RetryDelivery(t.Context(), models.AllTenants(), d.DeliveryKey, models.TriggerManual, "Ann"); err != nil {
				t.Fatal(err)
			}
			if m := <-got; string(m.Data) != `{"n":1}` {
				t.Errorf("sent %s", m.Data)
			}
		}
	}
	select {
	case m := <-got:
		t.Errorf("sent %s", m.Data)
	default:
	}
}

// What was sent can be shown after the transform has changed.
func TestSentBodies(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	answer, got := received()
	e.destination("d", answer, withSettings("fake", "", `{"first": data.n}`))
	e.startWorker()
	event := e.publish(models.PublishInput{Data: json.RawMessage(`{"n": 12345678901234567890}`)}).ID
	if m := <-got; string(m.Data) != `{"first":12345678901234567890}` {
		t.Fatalf("sent %s", m.Data)
	}
	for i, change := range []string{`"{\"second\": data.n}"`, `null`} {
		if _, err := e.store.UpdateDestination(t.Context(), models.AllTenants(), "acme", "d", 0,
			models.DestinationInput{Patch: models.DestinationPatch{"transform": json.RawMessage(change)}}); err != nil {
			t.Fatal(err)
		}
		d := e.delivery(event, "d", is(models.StatusDelivered))
		if _, err := e.store.RetryDelivery(t.Context(), models.AllTenants(), d.DeliveryKey, models.TriggerManual, "Ann"); err != nil {
			t.Fatal(err)
		}
		<-got
		e.delivery(event, "d", func(d *models.Delivery) bool { return d.Attempts == i+2 && d.Status == models.StatusDelivered })
	}
	d := e.delivery(event, "d", is(models.StatusDelivered))
	ev, err := e.store.Event(t.Context(), models.AllTenants(), event)
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, a := range e.attempts(d) {
		body, _, err := e.store.SentBody(t.Context(), a, ev)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, string(body))
	}
	if want := `{"n": 12345678901234567890} {"second":12345678901234567890} {"first":12345678901234567890}`; strings.Join(sent,
		" ") != want {
		t.Errorf("%v, want %s", sent, want)
	}
}

func TestExpressionsAreCheckedWhenSaved(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	_, err := e.store.CreateDestination(t.Context(), models.AllTenants(), "acme",
		models.DestinationInput{Patch: models.DestinationPatch{"type": "computed", "topics": "*",
			"config": map[string]string{"name": "x", "key": "data.customer."}, "transform": `{"a": now()}`}})
	refused := models.AsError(err)
	if !strings.Contains(refused.Fields["config.key"], "(line 1, column ") ||
		!strings.Contains(refused.Fields["transform"], "an expression cannot call `now`") ||
		!strings.Contains(refused.Fields["transform"], "(line 1, column 7)") {
		t.Errorf("%v", refused.Fields)
	}
}
