package rabbitmq

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestReturnWithoutExchangeNamesTheQueue(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	f.answer = func(c *fakeConn, m *fakeMessage) { c.giveBack(m); c.ack(m, false) }
	_, err := send(t, open(t, settings(f.ln.Addr().String(), "")), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `There is no queue "order.created" in the virtual host "/".`)
}

// A broker that does not know the exchange closes the channel. The sender opens another one on the same connection.
func TestClosedChannelIsReplaced(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	var mu sync.Mutex
	exists := false
	f.answer = func(c *fakeConn, m *fakeMessage) {
		mu.Lock()
		defer mu.Unlock()
		if exists {
			c.ack(m, false)
		} else {
			c.closeChannel(m, 404, "NOT_FOUND - no exchange 'events' in vhost '/'")
		}
	}
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	for range 2 {
		r, err := send(t, snd, message("evt_1"), long)
		wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `There is no exchange "events" in the virtual host "/".`)
		if !strings.Contains(string(r.Body), `"code":404`) {
			t.Errorf("the receipt says %s", r.Body)
		}
	}
	mu.Lock()
	exists = true
	mu.Unlock()
	mustSend(t, snd, message("evt_2"))
	if f.accepted != 1 {
		t.Errorf("%d connections", f.accepted)
	}
}

func TestOnlyTheTooLargeMessageIsRefusedForGood(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	both := make(chan struct{})
	f.answer = func(c *fakeConn, m *fakeMessage) {
		switch m.id {
		case "evt_small":
			close(both)
		case "evt_large":
			c.closeChannel(m, 406, fmt.Sprintf("PRECONDITION_FAILED - message size %d is larger than configured max size 100", len(m.body)))
		}
	}
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	var other sync.WaitGroup
	other.Go(func() {
		_, err := send(t, snd, message("evt_small"), long)
		wantError(t, err, adapters.KindTransient, adapters.ClassServer, "another message was too large")
	})
	<-both
	m := message("evt_large")
	m.Data = bytes.Repeat([]byte("1"), 200)
	_, err := send(t, snd, m, long)
	wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "200 bytes")
	other.Wait()
}

// While a broker is short of memory nothing is sent, until the deadline or until the broker takes messages again.
func TestBlockedConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	f.answer = func(c *fakeConn, m *fakeMessage) {
		if m.id == "evt_1" {
			c.block("low on memory")
		}
		c.ack(m, false)
	}
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	mustSend(t, snd, message("evt_1"))
	l, _, _ := snd.(*sender).links.Get(t.Context())
	adaptertest.Eventually(t, "the news that the broker takes no messages", func() bool { return l.blocked.Load() != nil })
	_, err := send(t, snd, message("evt_2"), 200*time.Millisecond)
	wantError(t, err, adapters.KindThrottled, adapters.ClassThrottled, "short of memory or disk space")
	if err != nil && !strings.Contains(err.Raw, "low on memory") {
		t.Errorf("raw: %s", err.Raw)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { mustSend(t, snd, message("evt_3")) })
	f.received()[0].conn.unblock()
	waiting.Wait()
	if got := f.received(); len(got) != 2 || got[1].id != "evt_3" || f.accepted != 1 {
		t.Errorf("%d messages arrived over %d connections", len(got), f.accepted)
	}
}

// A broker that stops reading keeps nobody beyond the deadline.
func TestStoppedReading(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	resume := make(chan struct{})
	f.answer = func(*fakeConn, *fakeMessage) { <-resume }
	defer close(resume)
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	var all sync.WaitGroup
	begun := time.Now()
	for i := range 4 {
		all.Go(func() {
			m := message(fmt.Sprintf("evt_%d", i))
			m.Data = bytes.Repeat([]byte("1"), 8<<20)
			_, err := send(t, snd, m, 300*time.Millisecond)
			wantError(t, err, adapters.KindTransient, adapters.ClassTimeout, "The time limit of this attempt was reached")
		})
	}
	all.Wait()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := snd.Close(); err != nil || time.Since(begun) > time.Minute {
		t.Errorf("closing: %v after %v", err, time.Since(begun))
	}
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	f.answer = func(c *fakeConn, m *fakeMessage) {
		if m.id == "evt_cut" {
			c.Close()
			return
		}
		c.ack(m, false)
	}
	snd := open(t, settings(f.ln.Addr().String(), "events"))
	mustSend(t, snd, message("evt_1"))
	// While nothing is on its way nobody notices.
	f.cut()
	adaptertest.Eventually(t, "the connection to be gone", func() bool { return f.open() == 0 })
	mustSend(t, snd, message("evt_2"))
	// Of a message that is on its way nobody knows.
	_, err := send(t, snd, message("evt_cut"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassConnect, "The connection to 127.0.0.1 was lost before an answer came")
	mustSend(t, snd, message("evt_3"))
	seen := map[string]int{}
	for _, m := range f.received() {
		seen[m.id]++
	}
	if fmt.Sprint(seen) != "map[evt_1:1 evt_2:1 evt_3:1 evt_cut:1]" {
		t.Errorf("arrived: %v", seen)
	}
}

func TestRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	f := newFake(t, "another password")
	_, err := send(t, open(t, settings(f.ln.Addr().String(), "events")), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, `The broker refused the user name "guest" or its password.`)

	f = newFake(t, password)
	set := settings(f.ln.Addr().String(), "events")
	set.Config["vhost"] = "/none"
	_, err = send(t, open(t, set), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, `There is no virtual host "/none".`)

	web := adaptertest.NewGreeter(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	_, err = send(t, open(t, settings(web.Addr().String(), "events")), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassProtocol, "not with AMQP 0-9-1")
}

func TestGuard(t *testing.T) {
	t.Parallel()
	f := newFake(t, password)
	snd, err := Type{}.Open(adapters.Env{}, *settings(f.ln.Addr().String(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer snd.Close()
	_, fault := send(t, snd, message("evt_1"), long)
	wantError(t, fault, adapters.KindTransient, adapters.ClassBlocked, "Blocked by this server's network rules")
	if f.accepted != 0 {
		t.Error("a forbidden address was dialled")
	}
}
