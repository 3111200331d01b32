package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// stream is a ledger whose events go to a broker, with a web process and one worker that is never started again: whatever
// happens to the broker, they have to get over it by themselves.
type stream struct {
	*ledger
	a      *testApp
	worker *process
	halt   func() // stops the publishers and waits for them
}

// newStream starts the processes, with these settings in their environment, and makes the destination "hook".
func newStream(t *testing.T, destination map[string]any, env ...string) *stream {
	t.Helper()
	db := "DATABASE_URL=" + modelstest.DB(t)
	s := &stream{ledger: newLedger(t)}
	s.pause = 25 * time.Millisecond
	web := startProcess(t, "web", append(env, db)...)
	s.a = &testApp{TB: t, base: web.base, key: testKey}
	s.base.Store(web.base)
	// Trying ends long after the broker is back, on a busy machine too.
	schedule := strings.Repeat("300ms,", 20) + strings.Repeat("1s,", 40) + strings.Repeat("5s,", 38) + "5s"
	body := map[string]any{"id": "hook", "topics": "*", "disable_after": 0, "timeout": "3s",
		"retry": map[string]any{"schedule": strings.Split(schedule, ",")}}
	maps.Copy(body, destination)
	s.a.want(201, "PUT", "/tenants/acme", nil)
	s.a.want(201, "POST", "/tenants/acme/destinations", body)
	s.worker = startProcess(t, "work", append(env, db)...)
	return s
}

// run publishes until halt is called.
func (s *stream) run() {
	ctx, stop := context.WithCancel(context.Background())
	publishers := s.publish(ctx, 4)
	s.halt = func() {
		stop()
		publishers.Wait()
	}
	s.t.Cleanup(s.halt)
}

// one publishes an event of its own.
func (s *stream) one(id, data string) {
	s.t.Helper()
	s.a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":%q,"data":%s}`, id, data))
	s.accept(id)
}

// failing waits until the last attempt of some delivery, which will be made again, failed with an error of this class.
func (s *stream) failing(class string) {
	s.t.Helper()
	s.a.eventually("/deliveries?limit=1&status=retrying&error_class="+class,
		func(o answer) bool { return strings.Contains(o.raw, `"status":"retrying"`) })
}

// delivery waits for the end of an event's delivery, and returns it.
func (s *stream) delivery(id string) (d streamDelivery) {
	s.t.Helper()
	s.a.eventually("/events/"+id+"/deliveries", func(o answer) bool {
		var page struct{ Models []streamDelivery }
		if json.Unmarshal([]byte(o.raw), &page) != nil || len(page.Models) != 1 {
			return false
		}
		d = page.Models[0]
		return d.Status == "delivered" || d.Status == "failed"
	})
	return d
}

type streamDelivery struct {
	Status, Reason string
	Attempts       int
	LastError      struct{ Class, Message, Advice string } `json:"last_error"`
}

// rotated holds a stream against what a change of credentials promises: while the old ones are refused deliveries wait,
// and the next message after the change uses the new ones.
func (s *stream) rotated(refuse func(), change map[string]any) {
	s.t.Helper()
	s.more(50)
	refuse()
	s.failing("auth")
	s.a.want(200, "PATCH", "/tenants/acme/destinations/hook", change)
	s.one("after-the-change", `{"n":1}`)
	if d := s.delivery("after-the-change"); d.Status != "delivered" || d.Attempts != 1 {
		s.t.Errorf("the first event after the change: %+v", d)
	}
	s.more(50)
}

// settled stops publishing, waits for the end, and says what came of it.
func (s *stream) settled() {
	s.t.Helper()
	s.halt()
	took := s.settle(s.a.base)
	accepted, _, twice := s.count()
	s.t.Logf("%d accepted, 0 lost, %d arrived twice, settled %v after the last publish", accepted, twice, took)
	select {
	case <-s.worker.gone:
		s.t.Error("the worker has ended")
	default:
	}
}

// connections are those that a listener has accepted.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

type cuttableListener struct {
	net.Listener
	c *connections
}

func (l cuttableListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.c.mu.Lock()
		l.c.open[nc] = true
		l.c.mu.Unlock()
	}
	return nc, err
}

// cut closes them all without a word.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for nc := range c.open {
		nc.Close()
		delete(c.open, nc)
	}
}

// RabbitMQ confirms many messages together, so more of them may be under way than attempts elsewhere; a destination's own
// number goes before that.
func TestMoreAtOnceForRabbitMQ(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.want(201, "PUT", "/tenants/acme", nil)
	v := a.visitor()
	for id, more := range map[string]string{"100": "", "7": `,"max_in_flight":7`} {
		a.want(201, "POST", "/tenants/acme/destinations",
			`{"id":"`+id+`","type":"rabbitmq","topics":"*","config":{"server_url":"127.0.0.1:5672"},
			"credentials":{"username":"u","password":"a password"}`+more+`}`)
		if got := v.get("/t/acme/destinations/" + id).text(`dt:contains("Concurrency") + dd`); got != id {
			t.Errorf("%s attempts at once: %q", id, got)
		}
	}
	if p := v.get("/t/acme/destinations/new?type=rabbitmq"); p.Find(`[name="max_in_flight"]`).AttrOr("placeholder", "") != "100" {
		t.Error("the form does not tell how many there are unless one says so")
	}
}

// Destinations without credentials are refused where they could only fail: at servers that do not lend their own.
func TestCredentialsOfTheHost(t *testing.T) {
	t.Parallel()
	const sqs = `{"type":"aws_sqs","topics":"*","config":{"queue_url":"https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}}`
	const topic = `{"type":"gcp_pubsub","topics":"*","config":{"project_id":"my-project","topic":"orders"}}`
	own, lent := newTestApp(t, nil), newTestApp(t, func(c *config.Config) { c.HostCreds = true })
	own.want(201, "PUT", "/tenants/acme", nil)
	lent.want(201, "PUT", "/tenants/acme", nil)
	for body, field := range map[string]string{sqs: "credentials.key", topic: "credentials.service_account_json"} {
		lent.want(201, "POST", "/tenants/acme/destinations", body)
		if o := own.want(422, "POST", "/tenants/acme/destinations", body); !strings.Contains(o.raw,
			field+" is required, because this server's operator") {
			t.Error(o.raw)
		}
	}
	own.want(201, "POST", "/tenants/acme/destinations", strings.Replace(topic, `"topic"`, `"endpoint":"localhost:8085","topic"`, 1))
	// One that has them keeps them, until they are taken away.
	own.want(201, "POST", "/tenants/acme/destinations", strings.Replace(sqs, `"topics"`,
		`"id":"q","credentials":{"key":"AKIAIOSFODNN7EXAMPLE","secret":"s"},"topics"`, 1))
	own.want(200, "PATCH", "/tenants/acme/destinations/q", `{"config":{"message_group_template":"data.customer"}}`)
	own.want(422, "PATCH", "/tenants/acme/destinations/q", `{"credentials":{"key":null,"secret":null}}`)
}
