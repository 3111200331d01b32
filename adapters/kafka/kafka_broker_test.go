//go:build brokers

package kafka

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		n := node(t)
		good := n.create(t, name(t), nil)
		compacted := n.create(t, name(t), map[string]string{"cleanup.policy": "compact"})
		to := func(topic string) *adapters.Settings {
			set := settings(n.tls, topic)
			set.Config["sasl_mechanism"], set.Config["tls"], set.Config["ca_certificate"] = saslPlain, "true", n.ca
			set.Credentials = map[string]string{"username": "admin", "password": "admin-secret", "client_certificate": n.cert,
				"client_key": n.key}
			return set
		}
		unreachable := to(good)
		unreachable.Config["brokers"] = closedPort(t)
		var mu sync.Mutex
		var r *reader
		return adaptertest.Side{Env: adaptertest.Env(), Good: *to(good), Refusing: to(compacted), Unreachable: unreachable,
			Received: func() (out []adaptertest.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				if r == nil {
					r = n.reader(t, good)
				}
				for _, rec := range r.read(300 * time.Millisecond) {
					arrived := record{value: rec.Value}
					for _, h := range rec.Headers {
						arrived.headers = append(arrived.headers, kmsg.Header{Key: h.Key, Value: h.Value})
					}
					out = append(out, delivery(arrived))
				}
				return out
			}}
	}})
}

// scram gives a user a password, for both kinds of SCRAM.
func (n testNode) scram(t *testing.T, user, password string) {
	t.Helper()
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	salt := []byte("some salt of a test")
	key, err := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = user, 1, 4096, salt, key
	req.Upsertions = append(req.Upsertions, up)
	resp, err := req.RequestWith(deadline(t), n.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBrokerWhoMayWhat(t *testing.T) {
	t.Parallel()
	n := node(t)
	topic := n.create(t, name(t), nil)
	user := name(t)
	n.scram(t, user, "first-password")
	set := n.settings(topic)
	set.Config["brokers"], set.Config["sasl_mechanism"] = n.sasl, saslScram256
	set.Credentials = map[string]string{"username": user, "password": "first-password"}
	_, err := send(t, adaptertest.Open(t, Type{}, set), message("evt_1"), long)
	if err == nil || err.Class != adapters.ClassAuth && err.Class != adapters.ClassNotFound {
		t.Errorf("without any permission: %+v", err)
	}
	n.allow(t, user, topic, kmsg.ACLOperationDescribe)
	last := func() adapters.Stage {
		stages := adaptertest.Open(t, Type{}, set).(adapters.Checker).Check(context.Background())
		return stages[len(stages)-1]
	}
	adaptertest.Eventually(t, "the permission to describe", func() bool { return strings.Contains(last().Message, "may not write") })
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_2"), long)
	if err == nil || err.Class != adapters.ClassAuth {
		t.Errorf("without permission to write: %+v", err)
	}
	n.allow(t, user, topic, kmsg.ACLOperationWrite)
	adaptertest.Eventually(t, "the permission to write", func() bool { return last().OK })
	snd := adaptertest.Open(t, Type{}, set)
	mustSend(t, snd, message("evt_3"))
	// A changed password holds for new connections. The destination's next version has the new one.
	n.scram(t, user, "second-password")
	next := set
	next.Credentials = map[string]string{"username": user, "password": "second-password"}
	adaptertest.Eventually(t, "the new password", func() bool {
		_, err := send(t, open(t, &next), message("evt_4"), long)
		return err == nil
	})
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_5"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "refused the user name or the password")
	mustSend(t, snd, message("evt_6"))

	set.Config["sasl_mechanism"], set.Credentials["username"], set.Credentials["password"] = saslPlain, "plain", "wrong-password"
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_7"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "refused the user name or the password")
	set.Config["sasl_mechanism"], set.Credentials = saslNone, nil
	_, err = send(t, adaptertest.Open(t, Type{}, set), message("evt_8"), long)
	if err == nil || err.Class != adapters.ClassAuth {
		t.Errorf("without a name: %+v", err)
	}
}

func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	n := node(t)
	topic := n.create(t, name(t), nil)
	set := settings(n.mtls, topic)
	set.Config["tls"] = "true"
	_, err := send(t, open(t, set), message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassTLS, "certificate is s")
	set.Config["ca_certificate"] = n.ca
	_, err = send(t, open(t, set), message("evt_2"), long)
	if err == nil || err.Class != adapters.ClassTLS {
		t.Errorf("without a client certificate: %+v", err)
	}
	set.Credentials = map[string]string{"client_certificate": n.cert, "client_key": n.key}
	r := mustSend(t, open(t, set), message("evt_3"))
	if r.Timing.TLS == 0 {
		t.Errorf("%+v", r.Timing)
	}
	stages := open(t, set).(adapters.Checker).Check(context.Background())
	if len(stages) != 5 || !stages[4].OK {
		t.Errorf("%+v", stages)
	}
	// One port with the other's protocol.
	set.Config["brokers"] = n.plain
	_, err = send(t, open(t, set), message("evt_4"), long)
	if err == nil || err.Class != adapters.ClassTLS {
		t.Errorf("TLS to the plain port: %+v", err)
	}
	plain := settings(n.mtls, topic)
	_, err = send(t, open(t, plain), message("evt_5"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassTLS, "as brokers do that speak TLS")
}

func TestBrokerTopicDeletedAndRecreated(t *testing.T) {
	t.Parallel()
	n := node(t)
	topic := name(t)
	set := n.settings(topic)
	snd := adaptertest.Open(t, Type{}, set)
	_, err := send(t, snd, message("evt_1"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassNotFound, "There is no topic")
	n.create(t, topic, nil)
	adaptertest.Eventually(t, "the topic", func() bool { _, err := send(t, snd, message("evt_2"), long); return err == nil })
	n.remove(t, topic)
	_, err = send(t, snd, message("evt_3"), long)
	if err == nil || err.Class != adapters.ClassNotFound {
		t.Errorf("a deleted topic: %+v", err)
	}
	adaptertest.Eventually(t, "the topic to be gone", func() bool { _, err := send(t, snd, message("evt_4"), long); return err != nil })
	n.create(t, topic, nil)
	adaptertest.Eventually(t, "the topic to be back", func() bool { _, err := send(t, snd, message("evt_5"), long); return err == nil })
}

func TestBrokerRefusesLargeMessages(t *testing.T) {
	t.Parallel()
	n := node(t)
	set := n.settings(n.create(t, name(t), map[string]string{"max.message.bytes": "100000"}))
	snd := adaptertest.Open(t, Type{}, set)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			m := message(fmt.Sprintf("evt_%d", i))
			m.Data = bytes.Repeat([]byte("1"), 40000)
			if i == 7 {
				m.Data = bytes.Repeat([]byte("1"), 100001)
			}
			_, err := send(t, snd, m, long)
			if i == 7 {
				wantError(t, err, adapters.KindPermanent, adapters.ClassTooLarge, "larger than the topic")
			} else if err != nil {
				t.Errorf("%s: %+v", m.EventID, err)
			}
		})
	}
	all.Wait()
}

// This test disturbs the whole node, so it is not parallel to any other.
func TestBrokerKilled(t *testing.T) {
	n := node(t)
	topic := n.create(t, name(t), nil)
	set := n.settings(topic)
	set.Timeout = 5 * time.Second
	snd := adaptertest.Open(t, Type{}, set)
	stop := make(chan struct{})
	var mu sync.Mutex
	var confirmed []string
	failures := map[adapters.Class]int{}
	var all sync.WaitGroup
	for g := range 10 {
		all.Go(func() {
			for i := 0; ; i++ {
				m := message(fmt.Sprintf("evt_%d_%d", g, i))
				for end := time.Now().Add(5 * time.Minute); ; {
					_, err := send(t, snd, m, 5*time.Second)
					mu.Lock()
					if err == nil {
						confirmed = append(confirmed, m.EventID)
					} else {
						failures[err.Class]++
					}
					mu.Unlock()
					if err == nil {
						break
					}
					if err.Kind != adapters.KindTransient || time.Now().After(end) {
						t.Errorf("%s: %+v", m.EventID, err)
						return
					}
					<-time.After(50 * time.Millisecond)
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
	adaptertest.Eventually(t, "the stream to run", func() bool { return count() > 500 })
	text, err := os.ReadFile(n.pid)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	before := count()
	for end := time.Now().Add(5 * time.Minute); count() < before+500; {
		if time.Now().After(end) {
			t.Fatal("the stream does not run again")
		}
		<-time.After(20 * time.Millisecond)
	}
	close(stop)
	all.Wait()
	seen := map[string]int{}
	r := n.reader(t, topic)
	adaptertest.Eventually(t, "all records", func() bool {
		clear(seen)
		for _, rec := range r.read(500 * time.Millisecond) {
			for _, h := range rec.Headers {
				if h.Key == "event-id" {
					seen[string(h.Value)]++
				}
			}
		}
		return len(seen) >= len(confirmed)
	})
	twice := 0
	for _, id := range confirmed {
		switch c := seen[id]; {
		case c == 0:
			t.Errorf("%s was confirmed and is not in the topic", id)
		case c > 1:
			twice++
		}
	}
	if len(failures) == 0 {
		t.Error("nothing failed, so nothing was tested")
	}
	t.Logf("%d confirmed, attempts that failed: %v, %d arrived twice", len(confirmed), failures, twice)
}

// BenchmarkBroker measures how many events of 1 KiB a second a local node confirms.
func BenchmarkBroker(b *testing.B) {
	n := node(b)
	for _, at := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("%d_at_once", at), func(b *testing.B) {
			set := n.settings(n.create(b, name(b), nil))
			benchmark(b, &set, at)
		})
	}
}
