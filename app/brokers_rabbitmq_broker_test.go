//go:build brokers && rabbitmq

package app

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbit is a virtual host of the node that scripts/test-brokers.sh starts, with a user that may only publish there.
type rabbit struct {
	*testing.T
	address, ctl string
	vhost, queue string
}

func newRabbit(t *testing.T) *rabbit {
	t.Helper()
	r := &rabbit{T: t, address: os.Getenv("WAYBILL_TEST_RABBITMQ"), ctl: os.Getenv("WAYBILL_TEST_RABBITMQCTL"), queue: "events"}
	if r.address == "" || r.ctl == "" {
		t.Fatal("WAYBILL_TEST_RABBITMQ is not set; run: make test-brokers BROKERS=rabbitmq")
	}
	r.vhost = fmt.Sprintf("waybill-%s-%d", strings.ToLower(t.Name()), time.Now().UnixNano())
	r.run("add_vhost", r.vhost)
	t.Cleanup(func() {
		r.run("delete_vhost", r.vhost)
		r.run("delete_user", r.vhost)
	})
	r.run("add_user", r.vhost, "first-password")
	r.run("set_permissions", "-p", r.vhost, r.vhost, "^$", "^amq\\.default$", "^$")
	r.run("set_permissions", "-p", r.vhost, "guest", ".*", ".*", ".*")
	r.declare()
	return r
}

// run runs rabbitmqctl.
func (r *rabbit) run(args ...string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, r.ctl, args...).CombinedOutput(); err != nil {
		r.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// channel is one of the test's own. It ends with the connection.
func (r *rabbit) channel() (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.DialConfig("amqp://guest:guest@"+r.address, amqp.Config{Vhost: r.vhost, Dial: amqp.DefaultDial(patience)})
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	return conn, ch, err
}

func (r *rabbit) declare() {
	r.Helper()
	conn, ch, err := r.channel()
	if err == nil {
		defer conn.Close()
		_, err = ch.QueueDeclare(r.queue, true, false, false, false, nil)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// delete deletes the queue.
func (r *rabbit) delete() {
	r.Helper()
	conn, ch, err := r.channel()
	if err == nil {
		defer conn.Close()
		_, err = ch.QueueDelete(r.queue, false, false, false)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// consume tells the ledger of what comes into the queue. It connects again whenever it has to.
func (r *rabbit) consume(l *ledger) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ; ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
			conn, ch, err := r.channel()
			if err != nil {
				continue
			}
			messages, err := ch.ConsumeWithContext(ctx, r.queue, "", false, false, false, false, nil)
			for err == nil {
				m, ok := <-messages
				if !ok {
					break
				}
				l.arrived(m.MessageId)
				err = m.Ack(false)
			}
			conn.Close()
		}
	})
	r.Cleanup(func() {
		stop()
		running.Wait()
	})
}

func (r *rabbit) stream() *stream {
	r.Helper()
	s := newStream(r.T, map[string]any{"type": "rabbitmq",
		"config":      map[string]string{"server_url": r.address, "vhost": r.vhost, "routing_key_template": `"` + r.queue + `"`},
		"credentials": map[string]string{"username": r.vhost, "password": "first-password"}})
	r.consume(s.ledger)
	return s
}

// TestBrokerRabbitMQFaults lets a real node do under load all that nodes do. Every accepted event arrives, each delivery says
// why it waits, and the worker is not started again. It is not parallel to others, for it stops the node.
func TestBrokerRabbitMQFaults(t *testing.T) {
	r := newRabbit(t)
	s := r.stream()
	s.run()
	s.more(100)

	r.run("close_all_connections", "-p", r.vhost, "a test")
	s.more(100)

	r.run("stop_app")
	s.failing("connect")
	r.run("start_app")
	s.more(100)

	// What is in a queue goes with it, so it is deleted when all has been seen.
	s.settled()
	r.delete()
	s.run()
	s.failing("not_found")
	r.declare()
	s.more(100)

	r.run("set_vm_memory_high_watermark", "absolute", "1")
	relieve := sync.OnceFunc(func() { r.run("set_vm_memory_high_watermark", "0.4") })
	t.Cleanup(relieve)
	s.failing("throttled")
	relieve()
	s.more(100)

	// One that is too large fails for good, and none of those beside it.
	r.run("eval", "application:set_env(rabbit, max_message_size, 50000).")
	t.Cleanup(func() { r.run("eval", "application:set_env(rabbit, max_message_size, 134217728).") })
	r.run("close_all_connections", "-p", r.vhost, "a test") // the limit is read when a channel is opened
	s.more(20)
	s.a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"too-large","data":{"pad":"`+strings.Repeat("x", 60_000)+`"}}`)
	if d := s.delivery("too-large"); d.Status != "failed" || d.LastError.Class != "too_large" || d.Reason == "" ||
		d.LastError.Advice == "" {
		t.Errorf("the large one: %+v", d)
	}
	s.more(20)
	s.halt()
	s.await(func() bool { return s.open(s.a.base) == 1 })
	accepted, received, twice := s.count()
	t.Logf("%d accepted, %d arrived, %d of them twice", accepted, received, twice)
	if received != accepted || s.received("too-large") > 0 {
		t.Errorf("%d of %d accepted events arrived, the large one %d times", received, accepted, s.received("too-large"))
	}
}

// TestBrokerRabbitMQCredentialsChangedWhileBusy changes the password of a user whose events are under way.
func TestBrokerRabbitMQCredentialsChangedWhileBusy(t *testing.T) {
	r := newRabbit(t)
	s := r.stream()
	s.run()
	s.rotated(func() {
		r.run("change_password", r.vhost, "second-password")
		r.run("close_all_connections", "-p", r.vhost, "a test")
	}, map[string]any{"credentials": map[string]string{"password": "second-password"}})
	s.settled()
}
