//go:build brokers

package rabbitmq

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// exchange makes a durable topic exchange that is deleted with the test, and a queue that gets everything from it.
func (n testNode) exchange(tb testing.TB, args amqp.Table) (exchange, queue string) {
	tb.Helper()
	exchange, queue = name(tb), n.queue(tb, args)
	ch := n.admin(tb)
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		tb.Fatal(err)
	}
	if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.admin(tb).ExchangeDelete(exchange, false, false); err != nil {
			tb.Error(err)
		}
	})
	return exchange, queue
}

// read takes what is in the queue.
func read(tb testing.TB, ch *amqp.Channel, queue string) (out []amqp.Delivery) {
	tb.Helper()
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			tb.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, d)
	}
}

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		n := node(t)
		user := name(t)
		n.run(t, "add_user", user, password)
		n.run(t, "set_permissions", user, "^$", ".*", "^$")
		t.Cleanup(func() { n.run(t, "delete_user", user) })
		exchange, queue := n.exchange(t, nil)
		full, _ := n.exchange(t, amqp.Table{"x-max-length": 0, "x-overflow": "reject-publish"})
		to := func(exchange string) *adapters.Settings {
			set := n.settings(exchange)
			set.Credentials = map[string]string{"username": user, "password": password}
			return &set
		}
		unreachable := to(exchange)
		unreachable.Config["server_url"] = closedPort(t)
		ch := n.admin(t)
		var mu sync.Mutex
		var got []adaptertest.Delivery
		return adaptertest.Side{Env: adaptertest.Env(), Good: *to(exchange), Refusing: to(full), Unreachable: unreachable,
			AnswerTo: answerTo,
			Received: func() []adaptertest.Delivery {
				mu.Lock()
				defer mu.Unlock()
				for _, d := range read(t, ch, queue) {
					headers := map[string]string{}
					for name, value := range d.Headers {
						headers[name] = value.(string)
					}
					got = append(got, delivery(d.MessageId, headers, d.Body))
				}
				return append([]adaptertest.Delivery(nil), got...)
			}}
	}})
}

func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	n := node(t)
	exchange, queue := n.exchange(t, nil)
	set := n.settings(exchange)
	set.Config["server_url"], set.Config["tls"] = n.tls, "true"
	_, err := send(t, adaptertest.Open(t, Type{}, set), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassTLS, "certificate is s")
	if err != nil && !strings.Contains(err.Advice, "CA certificate") {
		t.Errorf("advice: %s", err.Advice)
	}
	set.Config["ca_certificate"] = n.authority
	r := mustSend(t, adaptertest.Open(t, Type{}, set), message("evt_2"))
	if r.Timing.TLS == 0 || !strings.HasPrefix(r.URL, "amqps://") {
		t.Errorf("%+v", r)
	}
	if got := read(t, n.admin(t), queue); len(got) != 1 || got[0].MessageId != "evt_2" {
		t.Errorf("arrived: %+v", got)
	}
	stages := adaptertest.Open(t, Type{}, set).(adapters.Checker).Check(t.Context())
	if len(stages) != 5 || stages[2].Name != "tls" || !stages[4].OK {
		t.Errorf("%+v", stages)
	}
	// One port with the other's protocol.
	set.Config["server_url"] = n.address
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_3"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassTLS, "not with TLS")
	set.Config["server_url"], set.Config["tls"], set.Config["ca_certificate"] = n.tls, "false", ""
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_4"), long)
	if err == nil || !strings.Contains(err.Advice, "port") {
		t.Errorf("%+v", err)
	}
}

func TestBrokerUnroutableAndMissing(t *testing.T) {
	t.Parallel()
	n := node(t)
	exchange, queue := n.exchange(t, nil)
	set := n.settings(exchange)
	snd := adaptertest.Open(t, Type{}, set)
	ch := n.admin(t)
	mustSend(t, snd, message("evt_1"))
	if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
		t.Fatal(err)
	}
	_, err := send(t, snd, message("evt_2"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `No queue takes messages with the routing key "order.created"`)
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	mustSend(t, snd, message("evt_3"))
	if err := ch.ExchangeDelete(exchange, false, false); err != nil {
		t.Fatal(err)
	}
	_, err = send(t, snd, message("evt_4"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, "There is no exchange")
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	mustSend(t, snd, message("evt_5"))

	set = n.settings("")
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_6"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `There is no queue "order.created"`)
}

func TestBrokerWhoMayWhat(t *testing.T) {
	t.Parallel()
	n := node(t)
	exchange, _ := n.exchange(t, nil)
	user := name(t)
	n.run(t, "add_user", user, "first-password")
	t.Cleanup(func() { n.run(t, "delete_user", user) })
	set := n.settings(exchange)
	set.Credentials = map[string]string{"username": user, "password": "first-password"}
	_, err := send(t, adaptertest.Open(t, Type{}, set), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, `may not use the virtual host "/"`)

	n.run(t, "set_permissions", user, "^$", "^$", "^$")
	snd := adaptertest.Open(t, Type{}, set)
	_, err = send(t, snd, message("evt_2"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "may not write to the exchange")
	n.run(t, "set_permissions", user, "^$", ".*", "^$")
	n.run(t, "set_topic_permissions", user, exchange, "^allowed", "^$")
	_, err = send(t, snd, message("evt_3"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "may not write to the exchange")
	m := message("evt_4")
	m.Topic = "allowed.topic"
	mustSend(t, snd, m)

	// A changed password holds for new connections. The destination's next version has the new one.
	n.run(t, "change_password", user, "second-password")
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_5"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "The broker refused the user name")
	set.Credentials["password"] = "second-password"
	mustSend(t, adaptertest.Open(t, Type{}, set), m)

	set.Config["vhost"] = "/nowhere"
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_6"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `There is no virtual host "/nowhere"`)
}

// The tests below disturb the whole node, so they are not parallel to any other.

func TestBrokerRefusesLargeMessages(t *testing.T) {
	n := node(t)
	n.run(t, "eval", "application:set_env(rabbit, max_message_size, 100000).")
	t.Cleanup(func() { n.run(t, "eval", "application:set_env(rabbit, max_message_size, 134217728).") })
	exchange, queue := n.exchange(t, nil)
	set := n.settings(exchange)
	snd := adaptertest.Open(t, Type{}, set)
	mustSend(t, snd, message("evt_1"))
	m := message("evt_2")
	m.Data = bytes.Repeat([]byte("1"), 100001)
	_, err := send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "100001 bytes")
	mustSend(t, snd, message("evt_3"))
	if got := read(t, n.admin(t), queue); len(got) != 2 {
		t.Errorf("%d messages arrived", len(got))
	}
}

func TestBrokerShortOfMemory(t *testing.T) {
	n := node(t)
	exchange, queue := n.exchange(t, nil)
	ch := n.admin(t)
	set := n.settings(exchange)
	snd := adaptertest.Open(t, Type{}, set)
	mustSend(t, snd, message("evt_1"))
	n.run(t, "set_vm_memory_high_watermark", "absolute", "1")
	relieve := func() { n.run(t, "set_vm_memory_high_watermark", "0.4") }
	t.Cleanup(relieve)
	// The first one finds out; whether the broker takes it later is not known.
	_, err := send(t, snd, message("evt_2"), 5*time.Second)
	wantError(t, err, adapters.KindThrottled, adapters.ClassThrottled, "short of memory or disk space")
	_, err = send(t, snd, message("evt_never"), 300*time.Millisecond)
	wantError(t, err, adapters.KindThrottled, adapters.ClassThrottled, "short of memory or disk space")
	var waiting sync.WaitGroup
	waiting.Go(func() { mustSend(t, snd, message("evt_3")) })
	relieve()
	waiting.Wait()
	seen := map[string]int{}
	for _, d := range read(t, ch, queue) {
		seen[d.MessageId]++
	}
	if seen["evt_1"] != 1 || seen["evt_3"] != 1 || seen["evt_never"] != 0 {
		t.Errorf("arrived: %v", seen)
	}
}

// disturb sends a stream of events, each again until it is confirmed, while f does something to the node, and may ask whether an attempt
// has failed. Nothing that
// was confirmed may be missing afterwards, and all of it has to be confirmed in the end.
func disturb(t *testing.T, n testNode, f func(failed func() bool)) (failures int) {
	t.Helper()
	exchange, queue := n.exchange(t, nil)
	set := n.settings(exchange)
	snd := adaptertest.Open(t, Type{}, set)
	const senders = 10
	stop := make(chan struct{})
	var mu sync.Mutex
	var confirmed []string
	var all sync.WaitGroup
	for g := range senders {
		all.Go(func() {
			for i := 0; ; i++ {
				m := message(fmt.Sprintf("evt_%d_%d", g, i))
				for end := time.Now().Add(5 * time.Minute); ; {
					_, err := send(t, snd, m, 5*time.Second)
					mu.Lock()
					if err == nil {
						confirmed = append(confirmed, m.EventID)
					} else {
						failures++
					}
					mu.Unlock()
					if err == nil {
						break
					}
					if err.Kind != adapters.KindTransient {
						t.Errorf("%s: %+v", m.EventID, err)
						return
					}
					if time.Now().After(end) {
						t.Errorf("%s is not accepted again: %+v", m.EventID, err)
						return
					}
					<-time.After(20 * time.Millisecond)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(confirmed)
	}
	adaptertest.Eventually(t, "the stream to run", func() bool { return count() > 200 })
	f(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failures > 0
	})
	before := count()
	adaptertest.Eventually(t, "the stream to run again", func() bool { return count() > before+200 })
	close(stop)
	all.Wait()
	seen := map[string]int{}
	for _, d := range read(t, n.admin(t), queue) {
		seen[d.MessageId]++
	}
	twice := 0
	for _, id := range confirmed {
		switch c := seen[id]; {
		case c == 0:
			t.Errorf("%s was confirmed and is not in the queue", id)
		case c > 1:
			twice++
		}
	}
	t.Logf("%d confirmed, %d attempts failed, %d arrived twice", len(confirmed), failures, twice)
	return failures
}

func TestBrokerRestarted(t *testing.T) {
	n := node(t)
	if failures := disturb(t, n, func(func() bool) {
		n.run(t, "stop_app")
		n.run(t, "start_app")
	}); failures == 0 {
		t.Error("nothing failed, so nothing was tested")
	}
}

func TestBrokerCrashed(t *testing.T) {
	n := node(t)
	if failures := disturb(t, n, func(func() bool) {
		n.crash()
		// It comes back by itself.
		deadline := time.Now().Add(5 * time.Minute)
		for up := 0; up < 2 && time.Now().Before(deadline); {
			conn, err := amqp.DialConfig("amqp://guest:guest@"+n.address+"/", amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
			if err == nil {
				conn.Close()
				up++
			}
			<-time.After(200 * time.Millisecond)
		}
		n.run(t, "await_startup")
	}); failures == 0 {
		t.Error("nothing failed, so nothing was tested")
	}
}

func TestBrokerKillsConnections(t *testing.T) {
	n := node(t)
	if failures := disturb(t, n, func(failed func() bool) {
		// It closes those that the broker has listed, which it does a moment after they were opened.
		adaptertest.Eventually(t, "connections to be closed", func() bool {
			n.run(t, "close_all_connections", "a test")
			return failed()
		})
	}); failures == 0 {
		t.Error("nothing failed, so nothing was tested")
	}
}
