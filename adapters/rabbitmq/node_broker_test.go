//go:build brokers

package rabbitmq

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-dev/waybill/adapters"
)

// broker is the node that scripts/test-brokers.sh starts.
type testNode struct{ address, tls, authority, ctl string }

func node(tb testing.TB) testNode {
	tb.Helper()
	need := func(name string) string {
		v := os.Getenv(name)
		if v == "" {
			tb.Fatalf("%s is not set; run: make test-brokers BROKERS=rabbitmq", name)
		}
		return v
	}
	pem, err := os.ReadFile(need("WAYBILL_TEST_RABBITMQ_CA"))
	if err != nil {
		tb.Fatal(err)
	}
	return testNode{need("WAYBILL_TEST_RABBITMQ"), need("WAYBILL_TEST_RABBITMQ_TLS"), string(pem), need("WAYBILL_TEST_RABBITMQCTL")}
}

func (n testNode) settings(exchange string) adapters.Settings {
	return adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config:      map[string]string{"server_url": n.address, "exchange": exchange, "vhost": "/"},
		Credentials: map[string]string{"username": "guest", "password": "guest"}}
}

// run runs rabbitmqctl.
func (n testNode) run(tb testing.TB, args ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, n.ctl, args...).CombinedOutput(); err != nil {
		tb.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// crash has the node end as a crash does. Whether rabbitmqctl hears of it before the node is gone is a matter of chance.
func (n testNode) crash() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_ = exec.CommandContext(ctx, n.ctl, "eval", "erlang:halt(1, [{flush, false}]).").Run()
}

// admin is a connection of the test's own; it ends with the test.
func (n testNode) admin(tb testing.TB) *amqp.Channel {
	tb.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + n.address + "/")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		tb.Fatal(err)
	}
	return ch
}

var names atomic.Int64

// name is one that no other test has.
func name(tb testing.TB) string {
	return "waybill-" + strings.ToLower(strings.Map(func(r rune) rune {
		if r == '/' || r == '#' {
			return '-'
		}
		return r
	}, tb.Name())) + "-" + time.Now().Format("150405.000") + "-" + string('a'+rune(names.Add(1)%26))
}

// queue makes a durable queue that is deleted with the test.
func (n testNode) queue(tb testing.TB, args amqp.Table) string {
	tb.Helper()
	q := name(tb)
	if _, err := n.admin(tb).QueueDeclare(q, true, false, false, false, args); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		conn, err := amqp.Dial("amqp://guest:guest@" + n.address + "/")
		if err != nil {
			tb.Error(err)
			return
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err == nil {
			_, err = ch.QueueDelete(q, false, false, false)
		}
		if err != nil {
			tb.Error(err)
		}
	})
	return q
}
