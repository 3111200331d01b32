package rabbitmq

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func message(id string) *adapters.Message {
	return &adapters.Message{EventID: id, Topic: "order.created", Time: time.Unix(1700000000, 5e8), Attempt: 1, Data: []byte(`{"id": 1}`)}
}

// send sends within limit and returns the error as what it has to be.
func send(t testing.TB, snd adapters.Sender, m *adapters.Message, limit time.Duration) (adapters.Receipt, *adapters.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r, err := snd.Send(ctx, m)
	if err == nil {
		return r, nil
	}
	return r, adapters.AsError(err)
}

const long = 20 * time.Second

func mustSend(t testing.TB, snd adapters.Sender, m *adapters.Message) adapters.Receipt {
	t.Helper()
	r, err := send(t, snd, m, long)
	if err != nil {
		t.Fatalf("%s: %s (%s)", m.EventID, err, err.Raw)
	}
	return r
}

func wantError(t testing.TB, e *adapters.Error, kind adapters.Kind, class adapters.Class, text string) {
	t.Helper()
	if e == nil || e.Kind != kind || e.Class != class || !strings.Contains(e.Message, text) || e.Advice == "" {
		t.Errorf("want kind %d, class %s, %q; got %+v", kind, class, text, e)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	set := settings(f.ln.Addr().String(), "events")
	set.Config["routing_key_template"] = `"orders." + data.country`
	m := message("evt_1")
	m.Computed = map[string]string{"routing_key_template": "orders.nl"}
	m.Metadata = map[string]string{"team": "billing", "CC": "elsewhere", "BCC": "elsewhere", "x-death": "x", strings.Repeat("n", 256): "x"}
	r := mustSend(t, open(t, set), m)
	got := f.received()[0]
	if got.exchange != "events" || got.key != "orders.nl" || got.id != "evt_1" || got.contentType != "application/json" ||
		got.deliveryMode != 2 || got.timestamp != 1700000000 || !got.mandatory || string(got.body) != `{"id": 1}` {
		t.Errorf("%+v", got)
	}
	want := map[string]string{"event-id": "evt_1", "topic": "order.created", "timestamp": "2023-11-14T22:13:20.5Z", "team": "billing"}
	if fmt.Sprint(got.headers) != fmt.Sprint(want) {
		t.Errorf("headers %v, want %v", got.headers, want)
	}
	var body map[string]any
	if err := json.Unmarshal(r.Body, &body); err != nil || body["confirm"] != "ack" || body["delivery_tag"] != 1. ||
		body["routing_key"] != "orders.nl" {
		t.Errorf("the receipt says %s", r.Body)
	}
	if r.Method != "basic.publish" || r.URL != "amqp://"+f.ln.Addr().String()+"/%2F" ||
		!strings.Contains(r.ReqHeader, "routing-key: orders.nl\n") ||
		r.Timing.FirstByte == 0 {
		t.Errorf("the receipt is %+v", r)
	}
	// Without an expression the topic is the key.
	mustSend(t, open(t, settings(f.ln.Addr().String(), "events")), message("evt_2"))
	if got := f.received()[1]; got.key != "order.created" {
		t.Errorf("the routing key is %q", got.key)
	}
}

// Brokers confirm several messages at once, in any order, and confirm also what they return.
func TestEachMessageGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	var mu sync.Mutex
	waiting := map[*fakeConn]map[uint64][]*fakeMessage{}
	f.answer = func(c *fakeConn, m *fakeMessage) {
		mu.Lock()
		defer mu.Unlock()
		if waiting[c] == nil {
			waiting[c] = map[uint64][]*fakeMessage{}
		}
		if m.key == "lost" {
			c.giveBack(m)
		}
		list := append(waiting[c][m.channel], m)
		waiting[c][m.channel] = list
		switch {
		case m.key == "single": // before those that came earlier
			c.ack(m, false)
			waiting[c][m.channel] = list[:len(list)-1]
		case m.key == "refused":
			c.nack(m)
			waiting[c][m.channel] = list[:len(list)-1]
		case len(list) >= 3:
			c.ack(m, true)
			waiting[c][m.channel] = nil
		}
	}
	// What still waits at the end has nobody behind it that would confirm it.
	stop := make(chan struct{})
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			for c, channels := range waiting {
				for id, list := range channels {
					if len(list) > 0 {
						c.ack(list[len(list)-1], true)
						channels[id] = nil
					}
				}
			}
			mu.Unlock()
		}
	})
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	var all sync.WaitGroup
	keys := []string{"fine", "lost", "single", "fine", "refused", "lost", "fine"}
	for g := range 200 {
		all.Go(func() {
			for i := range 5 {
				m := message(fmt.Sprintf("evt_%d_%d", g, i))
				m.Topic = keys[(g+i)%len(keys)]
				r, err := send(t, snd, m, long)
				if answerTo(r) != m.EventID {
					t.Errorf("%s got the answer %s", m.EventID, r.Body)
				}
				switch m.Topic {
				case "lost":
					wantError(t, err, adapters.KindTransient, adapters.ClassNotFound,
						`No queue takes messages with the routing key "lost" from the exchange "events".`)
					if !strings.Contains(string(r.Body), `"text":"NO_ROUTE"`) {
						t.Errorf("the receipt says %s", r.Body)
					}
				case "refused":
					wantError(t, err, adapters.KindThrottled, adapters.ClassRejected, "basic.nack")
				default:
					if err != nil {
						t.Errorf("%s with the key %s: %+v", m.EventID, m.Topic, err)
					}
				}
			}
		})
	}
	all.Wait()
	close(stop)
	flusher.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	channels := map[uint64]bool{}
	for _, m := range f.messages {
		channels[m.channel] = true
	}
	if f.accepted != 1 || len(channels) < 2 || len(channels) > maxChannels {
		t.Errorf("%d connections, %d channels", f.accepted, len(channels))
	}
}

func TestWhatAMQPCannotCarry(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	m := message("evt_1")
	m.Topic = strings.Repeat("t", 256)
	_, err := send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassRejected, "The routing key has 256 bytes")
	m = message(strings.Repeat("i", 256))
	_, err = send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassRejected, "The event's id has 256 bytes")
	m = message("evt_1")
	m.Metadata = map[string]string{"a": strings.Repeat("x", 121<<10)}
	_, err = send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "The metadata takes")
	m.Metadata["a"] = strings.Repeat("x", 119<<10)
	mustSend(t, snd, m)
	if f.accepted != 1 || len(f.received()) != 1 {
		t.Errorf("%d connections, %d messages", f.accepted, len(f.received()))
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	check := func(set *adapters.Settings) string {
		var names []string
		for _, s := range open(t, set).(adapters.Checker).Check(context.Background()) {
			names = append(names, fmt.Sprint(s.Name, " ", s.OK, " ", s.Message))
		}
		return strings.Join(names, "\n")
	}
	set := settings(f.ln.Addr().String(), "none")
	if got := check(set); !strings.Contains(got, "auth true guest may use") ||
		!strings.HasSuffix(got, `publish false There is no exchange "none" in the virtual host "/".`) {
		t.Errorf("a missing exchange:\n%s", got)
	}
	set.Config["exchange"] = ""
	if got := check(set); !strings.Contains(got, "publish true Nothing was published: the default exchange exists") {
		t.Errorf("the default exchange:\n%s", got)
	}
	set.Credentials["password"] = "something else"
	if got := check(set); !strings.HasSuffix(got, `auth false The broker refused the user name "guest" or its password.`) {
		t.Errorf("a wrong password:\n%s", got)
	}
	adaptertest.Eventually(t, "all connections to be closed", func() bool { return f.open() == 0 })
}

func TestValidate(t *testing.T) {
	t.Parallel()
	reg := adapters.Lookup("rabbitmq")
	for value, want := range map[string]string{
		"rabbit.example.com:5672": "", "[2001:db8::1]:5671": "", "Rabbit.Example.COM:5672": "",
		"rabbit.example.com":             "must be a host and a port",
		"amqp://rabbit.example.com:5672": "must be a host and a port", "guest:guest@rabbit:5672": "must be a host and a port",
		"rabbit:0": "has a port", "rabbit:amqp": "has a port", "0x7f.1:5672": "neither a name nor an address",
	} {
		set := settings(value, "events")
		errs := reg.Check(set)
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || errs[0].Key != "config.server_url" ||
			!strings.Contains(errs[0].Message, want)) {
			t.Errorf("%s: %+v", value, errs)
		}
		if want == "" && set.Config["server_url"] != strings.ToLower(value) {
			t.Errorf("%s became %s", value, set.Config["server_url"])
		}
	}
	set := settings("rabbit:5672", "events")
	set.Config["ca_certificate"] = "-----BEGIN CERTIFICATE-----"
	if errs := reg.Check(set); len(errs) != 1 || !strings.Contains(errs[0].Message, "only with TLS") {
		t.Errorf("a certificate without TLS: %+v", errs)
	}
	set.Config["tls"] = "true"
	if errs := reg.Check(set); len(errs) != 1 || !strings.Contains(errs[0].Message, "PEM") {
		t.Errorf("half a certificate: %+v", errs)
	}
}

func open(tb testing.TB, set *adapters.Settings) adapters.Sender {
	return adaptertest.Open(tb, Type{}, *set)
}

// TestCertificateIsTold: the first message over a connection tells until when the broker's certificate is valid.
func TestCertificateIsTold(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(5 * 24 * time.Hour).Truncate(time.Second)
	cert := adaptertest.Certificate{NotAfter: ends}.Issue(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeOn(t, tls.NewListener(ln, cert.Config), password)
	set := settings(f.ln.Addr().String(), "events")
	set.Config["tls"], set.Config["ca_certificate"] = "true", cert.Authority
	adaptertest.TellsCertificate(t, Type{}, *set, ends)
}
