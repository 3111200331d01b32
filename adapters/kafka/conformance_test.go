package kafka

import (
	"crypto/tls"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// The fake asks for everything that a cluster can ask for: TLS, a client's certificate, a user name and a password.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{saslPlain, saslScram256, saslScram512} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cert := adaptertest.Certificate{ClientAuth: true}.Issue(t)
			adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
				return side(t, mechanism,
					cert)
			}})
		})
	}
}

func side(t *testing.T, mechanism string, cert adaptertest.Issued) adaptertest.Side {
	topics := []string{"good", "refuse", "hang", "repeat", "late"}
	method := map[string]string{saslPlain: "PLAIN", saslScram256: "SCRAM-SHA-256", saslScram512: "SCRAM-SHA-512"}[mechanism]
	server := cert.Config.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	f := newFake(t, topics, kfake.EnableSASL(), kfake.Superuser(method, user, password), kfake.TLS(server))
	f.onProduce("refuse", func() *kerr.Error { return kerr.PolicyViolation })
	f.onProduce("repeat", func() *kerr.Error { return kerr.InvalidRecord })
	never, released := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(never) })
	f.onProduce("hang", func() *kerr.Error {
		f.SleepControl(func() { <-never })
		return nil
	})
	var first sync.Once
	f.onProduce("late", func() *kerr.Error {
		first.Do(func() { f.SleepControl(func() { <-released }) })
		return nil
	})
	to := func(brokers, topic string) *adapters.Settings {
		set := settings(brokers, topic)
		set.Config["sasl_mechanism"], set.Config["tls"], set.Config["ca_certificate"] = mechanism, "true", cert.Authority
		set.Credentials = map[string]string{"username": user, "password": password, "client_certificate": cert.Chain,
			"client_key": cert.Key}
		return set
	}
	at := f.ListenAddrs()[0]
	return adaptertest.Side{Env: adaptertest.Env(), Good: *to(at, "good"), Refusing: to(at, "refuse"), Hanging: to(at, "hang"),
		Repeating: to(at, "repeat"), Late: to(at, "late"), Release: func() { close(released) }, Unreachable: to(closedPort(t), "good"),
		Open: f.connections,
		Received: func() (out []adaptertest.Delivery) {
			for _, r := range f.received() {
				out = append(out, delivery(r))
			}
			return out
		}}
}
