package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"standard", "outpost", "custom"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side { return side(t, scheme) }})
		})
	}
}

// side is a sink whose paths answer in different ways.
func side(t *testing.T, scheme string) adaptertest.Side {
	id, topic := "Webhook-Id", "Waybill-Topic"
	switch scheme {
	case "outpost":
		id, topic = "X-Outpost-Event-Id", "X-Outpost-Topic"
	case "custom":
		id, topic = "Waybill-Event-Id", "Waybill-Topic"
	}
	sink := adaptertest.NewSink(t)
	released := make(chan struct{})
	first := make(chan bool, 1)
	first <- true
	sink.AnswerWith(func(r *adaptertest.SinkRequest) adaptertest.Answer {
		answer := adaptertest.Answer{Body: r.Header.Get(id)}
		switch r.Target {
		case "/refuse":
			answer.Status = 422
		case "/hang":
			answer.Hang = true
		case "/repeat":
			return adaptertest.Answer{Repeat: true, Status: 500}
		case "/late":
			select {
			case <-first:
				answer.Wait = released
			default:
			}
		}
		return answer
	})
	const token = "Bearer cafe-0123456789-token"
	to := func(url string) *adapters.Settings {
		return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second, Beside: signed(scheme),
			Config: map[string]string{"url": url, "custom_headers": `{"Authorization":"` + token + `","X-Plain":"seen"}`},
			Credentials: map[string]string{"secret": NewSecret(), "previous_secret": NewSecret(),
				"previous_secret_invalid_at": time.Now().Add(time.Hour).Format(time.RFC3339), "second_secret": NewSecret()}}
	}
	return adaptertest.Side{
		Env: adaptertest.Env(), Good: *to(sink.URL("/ok")), Refusing: to(sink.URL("/refuse")), Hanging: to(sink.URL("/hang")),
		Repeating: to(sink.URL("/repeat")), Unreachable: to("http://" + adaptertest.ClosedPort(t) + "/"), Late: to(sink.URL("/late")),
		Release: func() { close(released) },
		Secrets: []string{strings.TrimPrefix(token, "Bearer ")},
		Open:    sink.Open,
		Received: func() (out []adaptertest.Delivery) {
			for _, r := range sink.Requests() {
				out = append(out, adaptertest.Delivery{EventID: strings.Join(r.Header.Values(id), ","),
					Topic: strings.Join(r.Header.Values(topic), ","), Data: r.Body, Attributes: headers(r.Header)})
			}
			return out
		},
		AnswerTo: func(r adapters.Receipt) string { return string(r.Body) },
	}
}

func headers(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		out[strings.ToLower(name)] = h.Get(name)
	}
	return out
}
