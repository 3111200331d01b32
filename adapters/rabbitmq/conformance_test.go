package rabbitmq

import (
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

const password = "cr0w-b4tt3ry-staple"

func settings(server, exchange string) *adapters.Settings {
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config:      map[string]string{"server_url": server, "exchange": exchange},
		Credentials: map[string]string{"username": "guest", "password": password}}
}

// The fake does with a message what the name of its exchange says.
func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		f := newFake(t, password)
		var mu sync.Mutex
		var late *fakeMessage
		first := true
		f.answer = func(c *fakeConn, m *fakeMessage) {
			switch m.exchange {
			case "refuse":
				c.nack(m)
			case "hang":
			case "repeat":
				c.closeConnection(541, "INTERNAL_ERROR - "+password+" "+string(m.body[:min(len(m.body), 100)]))
			case "late":
				mu.Lock()
				defer mu.Unlock()
				if first {
					first, late = false, m
					return
				}
				c.ack(m, false)
			default:
				c.ack(m, false)
			}
		}
		to := func(exchange string) *adapters.Settings { return settings(f.ln.Addr().String(), exchange) }
		return adaptertest.Side{Env: adaptertest.Env(), Good: *to("events"), Refusing: to("refuse"), Hanging: to("hang"),
			Repeating: to("repeat"),
			Late:      to("late"), Unreachable: settings(closedPort(t), "events"), Open: f.open, AnswerTo: answerTo,
			Release: func() {
				mu.Lock()
				defer mu.Unlock()
				late.conn.ack(late, false)
			},
			Received: func() (out []adaptertest.Delivery) {
				for _, m := range f.received() {
					out = append(out, delivery(m.id, m.headers, m.body))
				}
				return out
			}}
	}})
}

func answerTo(r adapters.Receipt) string {
	var answer struct {
		MessageID string `json:"message_id"`
	}
	json.Unmarshal(r.Body, &answer)
	return answer.MessageID
}

// delivery is a message with these headers as a consumer reads it.
func delivery(id string, headers map[string]string, body []byte) adaptertest.Delivery {
	d := adaptertest.Delivery{EventID: id, Topic: headers["topic"], Data: body, Attributes: map[string]string{}}
	if h, ok := headers["event-id"]; ok && h != id {
		d.EventID += "," + h
	}
	for name, value := range headers {
		d.Attributes[strings.ToLower(name)] = value
	}
	return d
}

// closedPort is an address on which nothing listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
