package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func message(id string) *adapters.Message {
	return &adapters.Message{EventID: id, Topic: "order.created", Time: time.Unix(1700000000, 5e8), Attempt: 1, Data: []byte(`{"id": 1}`)}
}

const long = 20 * time.Second

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

// place is where a receipt says that a record is.
func place(t testing.TB, r adapters.Receipt) (partition int32, offset int64) {
	t.Helper()
	var body struct {
		Topic     string
		Partition *int32
		Offset    *int64
	}
	if err := json.Unmarshal(r.Body, &body); err != nil || body.Partition == nil || body.Offset == nil || body.Topic == "" {
		t.Fatalf("the receipt says %s", r.Body)
	}
	return *body.Partition, *body.Offset
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	set := f.settings("events")
	set.Config["partition_key_template"] = "data.customer"
	snd := open(t, set)
	m := message("evt_1")
	m.Metadata = map[string]string{"team": "billing", "Content-Type": "text/html"}
	m.Computed = map[string]string{"partition_key_template": "c-17"}
	r := mustSend(t, snd, m)
	got := f.received()[0]
	if string(got.key) != "c-17" || string(got.value) != `{"id": 1}` || len(got.headers) != 5 || got.header("event-id") != "evt_1" ||
		got.header("topic") != "order.created" || got.header("timestamp") != "2023-11-14T22:13:20.5Z" || got.header("team") != "billing" ||
		got.header("content-type") != "application/json" {
		t.Errorf("%+v", got)
	}
	partition, offset := place(t, r)
	if partition != got.partition || offset != 0 || r.Method != "Produce" || r.URL != "kafka://"+f.ListenAddrs()[0]+"/events" ||
		!strings.Contains(r.ReqHeader, "key: c-17\n") || r.Timing.FirstByte == 0 {
		t.Errorf("%+v", r)
	}
	// The same key leads to the same partition, behind the first one.
	m.EventID = "evt_2"
	if p, o := place(t, mustSend(t, snd, m)); p != partition || o != 1 {
		t.Errorf("partition %d, offset %d", p, o)
	}
	m.Computed = nil
	m.EventID = "evt_3"
	mustSend(t, snd, m)
	if got := f.received()[2]; got.key != nil {
		t.Errorf("the key is %q", got.key)
	}
	// Structured and binary CloudEvents, as the binding for Kafka has them.
	set.Format = adapters.FormatBinary
	mustSend(t, open(t, set), m)
	if got := f.received()[3]; got.header("ce_id") != "evt_3" || got.header("ce_team") != "billing" ||
		got.header("content-type") != "application/json" {
		t.Errorf("%+v", got)
	}
	set.Format = adapters.FormatStructured
	mustSend(t, open(t, set), m)
	if got := f.received()[4]; got.header("content-type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("%+v", got)
	}
}

// Every receipt names the place of its own record.
func TestEachMessageGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t, []string{"events"})
	snd := open(t, f.settings("events"))
	type spot struct {
		partition int32
		offset    int64
	}
	var mu sync.Mutex
	told := map[spot]string{}
	var all sync.WaitGroup
	for g := range 100 {
		all.Go(func() {
			for i := range 10 {
				m := message(fmt.Sprintf("evt_%d_%d", g, i))
				partition, offset := place(t, mustSend(t, snd, m))
				mu.Lock()
				told[spot{partition, offset}] = m.EventID
				mu.Unlock()
			}
		})
	}
	all.Wait()
	next := map[int32]int64{}
	for _, r := range f.received() {
		s := spot{r.partition, next[r.partition]}
		next[r.partition]++
		if told[s] != r.header("event-id") {
			t.Errorf("%v holds %s, and the receipt of %q names it", s, r.header("event-id"), told[s])
		}
	}
	if len(told) != 1000 {
		t.Errorf("%d places for 1000 messages", len(told))
	}
}

func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	allowed := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "events", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op,
			Allow: true}
	}
	f := newFake(t, []string{"events"}, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin-secret"),
		kfake.User("PLAIN", "reader", password, allowed(kmsg.ACLOperationDescribe)),
		kfake.User("PLAIN", "writer", password, allowed(kmsg.ACLOperationDescribe), allowed(kmsg.ACLOperationWrite)),
		kfake.User("PLAIN", "stranger", password))
	as := func(name, pass string) *adapters.Settings {
		set := f.settings("events")
		set.Config["sasl_mechanism"] = saslPlain
		set.Credentials["username"], set.Credentials["password"] = name, pass
		return set
	}
	mustSend(t, open(t, as("writer", password)), message("evt_1"))
	_, err := send(t, open(t, as("reader", password)), message("evt_2"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "may not write to the topic events")
	_, err = send(t, open(t, as("writer", "wrong-password")), message("evt_3"), long)
	wantError(t, err, adapters.KindTransient, adapters.ClassAuth, "writer")
	_, err = send(t, open(t, f.settings("events")), message("evt_4"), long)
	if err == nil || err.Class != adapters.ClassAuth {
		t.Errorf("without a name: %+v", err)
	}
	_, err = send(t, open(t, as("stranger", password)), message("evt_5"), long)
	if err == nil || err.Class != adapters.ClassAuth && err.Class != adapters.ClassNotFound {
		t.Errorf("without any permission: %+v", err)
	}
	check := func(set *adapters.Settings) string {
		var out []string
		for _, s := range open(t, set).(adapters.Checker).Check(context.Background()) {
			out = append(out, fmt.Sprint(s.Name, " ", s.OK, " ", s.Message))
		}
		return strings.Join(out, "\n")
	}
	if got := check(as("writer", password)); !strings.Contains(got, "auth true The cluster lets writer in.") ||
		!strings.Contains(got, "publish true Nothing was produced: the topic events has 3 partitions") {
		t.Errorf("a writer:\n%s", got)
	}
	if got := check(as("reader", password)); !strings.HasSuffix(got, "publish false The user may not write to the topic events.") {
		t.Errorf("a reader:\n%s", got)
	}
	if got := check(as("writer", "wrong-password")); !strings.Contains(got, "auth false") || strings.Contains(got, "publish") {
		t.Errorf("a wrong password:\n%s", got)
	}
	if n := len(f.received()); n != 2 { // the writer's, and the reader's that was refused
		t.Errorf("%d records arrived", n)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	reg := adapters.Lookup("kafka")
	cert := adaptertest.Certificate{}.Issue(t)
	other := adaptertest.Certificate{}.Issue(t)
	for name, c := range map[string]struct {
		change func(*adapters.Settings)
		key    string
	}{
		"good":    {func(*adapters.Settings) {}, ""},
		"several": {func(s *adapters.Settings) { s.Config["brokers"] = " a:1 , [2001:db8::1]:9093" }, ""},
		"no port": {func(s *adapters.Settings) { s.Config["brokers"] = "a:1,b" }, "config.brokers"},
		"URL":     {func(s *adapters.Settings) { s.Config["brokers"] = "kafka://a:1" }, "config.brokers"},
		"dots":    {func(s *adapters.Settings) { s.Config["topic"] = ".." }, "config.topic"},
		"slash":   {func(s *adapters.Settings) { s.Config["topic"] = "a/b" }, "config.topic"},
		"no name": {func(s *adapters.Settings) { s.Config["sasl_mechanism"] = saslPlain }, "credentials.username"},
		"no password": {func(s *adapters.Settings) { s.Config["sasl_mechanism"] = saslPlain; s.Credentials["username"] = "u" },
			"credentials.password"},
		"no mechanism": {func(s *adapters.Settings) { s.Credentials["username"] = "u"; s.Credentials["password"] = "p" },
			"config.sasl_mechanism"},
		"CA without TLS": {func(s *adapters.Settings) { s.Config["ca_certificate"] = cert.Authority }, "config.ca_certificate"},
		"CA":             {func(s *adapters.Settings) { s.Config["tls"] = "true"; s.Config["ca_certificate"] = cert.Authority }, ""},
		"no CA": {func(s *adapters.Settings) { s.Config["tls"] = "true"; s.Config["ca_certificate"] = "x" },
			"config.ca_certificate"},
		"pair": {func(s *adapters.Settings) {
			s.Config["tls"], s.Credentials["client_certificate"], s.Credentials["client_key"] = "true", cert.Chain, cert.Key
		}, ""},
		"no pair": {func(s *adapters.Settings) {
			s.Config["tls"], s.Credentials["client_certificate"], s.Credentials["client_key"] = "true", cert.Chain, other.Key
		}, "credentials.client_key"},
		"half a pair": {func(s *adapters.Settings) { s.Config["tls"], s.Credentials["client_certificate"] = "true", cert.Chain },
			"credentials.client_key"},
	} {
		set := settings("kafka.example.com:9092", "events")
		c.change(set)
		errs := reg.Check(set)
		if c.key == "" && len(errs) > 0 || c.key != "" && (len(errs) != 1 || errs[0].Key != c.key) {
			t.Errorf("%s: %+v", name, errs)
		}
		if name == "several" && set.Config["brokers"] != "a:1,[2001:db8::1]:9093" {
			t.Errorf("the list became %s", set.Config["brokers"])
		}
	}
}

func open(tb testing.TB, set *adapters.Settings) adapters.Sender {
	return adaptertest.Open(tb, Type{}, *set)
}

// TestCertificateIsTold: the first message over a connection tells until when the brokers' certificates are valid.
func TestCertificateIsTold(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(5 * 24 * time.Hour).Truncate(time.Second)
	cert := adaptertest.Certificate{NotAfter: ends}.Issue(t)
	set := newFake(t, []string{"good"}, kfake.TLS(cert.Config)).settings("good")
	set.Config["sasl_mechanism"], set.Config["tls"], set.Config["ca_certificate"] = "none", "true", cert.Authority
	adaptertest.TellsCertificate(t, Type{}, *set, ends)
}
