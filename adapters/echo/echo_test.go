package echo

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func settings(answer, delay string) *adapters.Settings {
	return &adapters.Settings{ID: "des_1", Timeout: 20 * time.Second, Config: map[string]string{"answer": answer, "delay_ms": delay}}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(*testing.T) adaptertest.Side {
		return adaptertest.Side{Good: *settings("200", "1"), Refusing: settings("500", ""), Hanging: settings("timeout", ""),
			AnswerTo: func(r adapters.Receipt) string {
				_, tail, _ := strings.Cut(string(r.Body), `"event_id":"`)
				id, _, _ := strings.Cut(tail, `"`)
				return id
			}}
	}})
}

func send(t *testing.T, ctx context.Context, set *adapters.Settings, m adapters.Message) (adapters.Receipt, error) {
	t.Helper()
	snd, err := Type{}.Open(adapters.Env{}, *set)
	if err != nil {
		t.Fatal(err)
	}
	defer snd.Close()
	return snd.Send(ctx, &m)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	m := adapters.Message{EventID: "evt_1", Topic: "order.created", Attempt: 2, Data: []byte(`{"a": "b"}`)}
	const body = `{"event_id":"evt_1","topic":"order.created","attempt":2,"bytes":10}`
	for answer, want := range map[string]struct {
		code  int
		kind  adapters.Kind
		class adapters.Class
		retry time.Duration
	}{
		"": {code: 200}, "200": {code: 200}, "slow": {code: 200},
		"500": {500, adapters.KindTransient, adapters.ClassServer, 0},
		"429": {429, adapters.KindThrottled, adapters.ClassThrottled, 30 * time.Second},
	} {
		r, err := send(t, context.Background(), settings(answer, "1"), m)
		if (err != nil) != (want.class != "") || err != nil && (adapters.AsError(err).Class != want.class ||
			adapters.AsError(err).Kind != want.kind || adapters.AsError(err).After != want.retry) {
			t.Errorf("%q: %+v", answer, err)
		}
		if r.Code != want.code || string(r.Body) != body || r.Method != "POST" || r.URL != "echo:" || r.Retry != want.retry ||
			!strings.Contains(r.ReqHeader, "webhook-id: evt_1\n") {
			t.Errorf("%q: %+v %s", answer, r, r.Body)
		}
	}
}

func TestSlowAndNever(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	if _, err := send(t, context.Background(), settings("slow", "40"), adapters.Message{}); err != nil ||
		time.Since(begun) < 40*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	for _, answer := range []string{"slow", "timeout"} {
		set := settings(answer, "60000")
		set.Timeout = 30 * time.Millisecond
		r, err := send(t, context.Background(), set, adapters.Message{})
		if e := adapters.AsError(err); e.Class != adapters.ClassTimeout || !strings.Contains(e.Message, "No answer within 0.03 s") ||
			r.Code != 0 || r.Method != "POST" {
			t.Errorf("%s: %+v %+v", answer, e, r)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	reg := adapters.Lookup("echo")
	for delay, ok := range map[string]bool{"": true, "0": true, "60000": true, "60001": false, "-1": false, "1.5": false, "soon": false} {
		s := settings("slow", delay)
		if errs := reg.Check(s); (len(errs) == 0) != ok {
			t.Errorf("%q: %+v", delay, errs)
		}
	}
	if errs := reg.Check(settings("418", "")); len(errs) != 1 {
		t.Errorf("%+v", errs)
	}
	s := &adapters.Settings{}
	if errs := reg.Check(s); len(errs) != 0 || s.Config["answer"] != "200" || s.Config["delay_ms"] != "3000" {
		t.Errorf("%+v %v", errs, s.Config)
	}
}
