package gcppubsub

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const email = "waybill@my-project.iam.gserviceaccount.com"

// key is the service account's, made once: that takes a while.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func privateKey() string {
	der, err := x509.MarshalPKCS8PrivateKey(key())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// keyFile is what Google's console gives to people. Its token_uri leads to where nobody should ever ask.
func keyFile() string {
	b, _ := json.Marshal(map[string]string{"type": "service_account", "project_id": "my-project", "client_email": email,
		"private_key_id": "kid-0123456789", "private_key": privateKey(), "token_uri": "http://169.254.169.254/token"})
	return string(b)
}

var typ = Type{roots: func(e *outbound.Endpoint) *x509.CertPool { return adaptertest.RootsAt(e.Port) }}

// fake is Pub/Sub's REST interface in front of Google's own fake of its gRPC interface. JSON is read by the strict rules
// of protocol buffers, so a field that Google does not know is refused.
type fake struct {
	*adaptertest.Sink
	t         testing.TB
	publisher pb.PublisherClient
	release   chan struct{}
	first     chan bool

	mu       sync.Mutex
	messages []*pb.PubsubMessage // as they came, whatever became of them
	batches  []int
	ids      map[string]string // event ids by message id
	may      []string          // what the service account may do
	answers  map[string]func([]*pb.PubsubMessage) adaptertest.Answer
}

func newFake(t testing.TB) *fake {
	t.Helper()
	srv := pstest.NewServerWithAddress("127.0.0.1:0")
	conn, err := grpc.NewClient(srv.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Close()
	})
	f := &fake{t: t, Sink: adaptertest.NewTLSSink(t, adaptertest.Certificate{}), publisher: pb.NewPublisherClient(conn),
		release: make(chan struct{}), first: make(chan bool, 1), ids: map[string]string{}, may: []string{"pubsub.topics.publish"},
		answers: map[string]func([]*pb.PubsubMessage) adaptertest.Answer{}}
	f.first <- true
	for _, topic := range []string{"orders", "late"} {
		f.create(topic)
	}
	f.AnswerWith(func(*adaptertest.SinkRequest) adaptertest.Answer { return adaptertest.Answer{Read: f.answer} })
	return f
}

func (f *fake) create(topic string) {
	if _, err := f.publisher.CreateTopic(context.Background(), &pb.Topic{Name: "projects/my-project/topics/" + topic}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) remove(topic string) {
	if _, err := f.publisher.DeleteTopic(context.Background(), &pb.DeleteTopicRequest{Topic: "projects/my-project/topics/" +
		topic}); err != nil {
		f.t.Fatal(err)
	}
}

// on lets answer decide about the requests of a topic.
func (f *fake) on(topic string, answer func([]*pb.PubsubMessage) adaptertest.Answer) {
	f.mu.Lock()
	f.answers[topic] = answer
	f.mu.Unlock()
}

func problem(code int, status, message string) adaptertest.Answer {
	return adaptertest.Answer{Status: code, Header: []string{"Content-Type: application/json; charset=UTF-8"},
		Body: fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q}}`, code, message, status)}
}

func (f *fake) answer(r *adaptertest.SinkRequest) adaptertest.Answer {
	name, method, _ := strings.Cut(strings.TrimPrefix(r.Target, "/v1/"), ":")
	topic := strings.TrimPrefix(name, "projects/my-project/topics/")
	if topic == "repeat" {
		return adaptertest.Answer{Repeat: true, Status: 500}
	}
	if err := f.authenticate(r.Header.Get("Authorization")); err != nil {
		return problem(401, "UNAUTHENTICATED", "Request had invalid authentication credentials: "+err.Error())
	}
	if method == "testIamPermissions" {
		f.mu.Lock()
		defer f.mu.Unlock()
		b, _ := json.Marshal(map[string][]string{"permissions": f.may})
		return adaptertest.Answer{Body: string(b)}
	}
	req := &pb.PublishRequest{}
	if err := protojson.Unmarshal(r.Body, req); r.Method != "POST" || method != "publish" || err != nil {
		return problem(400, "INVALID_ARGUMENT", fmt.Sprintf("Invalid JSON payload received: %v", err))
	}
	f.mu.Lock()
	f.messages = append(f.messages, req.Messages...)
	f.batches = append(f.batches, len(req.Messages))
	scripted := f.answers[topic]
	f.mu.Unlock()
	switch {
	case scripted != nil:
		return scripted(req.Messages)
	case topic == "refuse":
		return problem(400, "INVALID_ARGUMENT", "The value for message is invalid.")
	case topic == "hang":
		return adaptertest.Answer{Hang: true}
	}
	if why := breaksRules(req.Messages); why != "" {
		return problem(400, "INVALID_ARGUMENT", why)
	}
	answer := f.publish(name, req)
	if topic == "late" {
		select {
		case <-f.first:
			answer.Wait = f.release
		default:
		}
	}
	return answer
}

// publish hands a request to Google's fake.
func (f *fake) publish(name string, req *pb.PublishRequest) adaptertest.Answer {
	req.Topic = name
	resp, err := f.publisher.Publish(context.Background(), req)
	if status.Code(err) == codes.NotFound {
		return problem(404, "NOT_FOUND", "Resource not found (resource="+name+").")
	}
	if err != nil {
		return problem(500, "INTERNAL", err.Error())
	}
	f.mu.Lock()
	for i, id := range resp.MessageIds {
		f.ids[id] = req.Messages[i].Attributes["event-id"]
	}
	f.mu.Unlock()
	b, _ := protojson.Marshal(resp)
	return adaptertest.Answer{Body: string(b), Header: []string{"Content-Type: application/json; charset=UTF-8"}}
}

// breaksRules says what Pub/Sub would refuse and its fake takes.
func breaksRules(messages []*pb.PubsubMessage) string {
	if len(messages) == 0 || len(messages) > 1000 {
		return "The number of messages is not between 1 and 1000."
	}
	for _, m := range messages {
		switch {
		case m.OrderingKey != messages[0].OrderingKey:
			return "All messages of a request must have the same ordering key."
		case len(m.OrderingKey) > 1024:
			return "The ordering key is too long."
		case len(m.Data) == 0 && len(m.Attributes) == 0:
			return "The message is empty."
		case len(m.Attributes) > 100:
			return "There are too many attributes."
		}
		for k, v := range m.Attributes {
			if k == "" || len(k) > 256 || len(v) > 1024 || strings.HasPrefix(k, "goog") {
				return "The attribute " + k + " is not valid."
			}
		}
	}
	return ""
}

// authenticate verifies a token that a service account signed itself, as https://google.aip.dev/auth/4111 describes it.
func (f *fake) authenticate(header string) error {
	text, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return fmt.Errorf("no bearer token")
	}
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key().Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(email), jwt.WithSubject(email), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt())
	if err != nil {
		return err
	}
	begin, _ := claims.GetIssuedAt()
	end, _ := claims.GetExpirationTime()
	if parsed.Header["kid"] != "kid-0123456789" || claims["scope"] != scope || begin == nil || end.Sub(begin.Time) > time.Hour {
		return fmt.Errorf("the claims are wrong")
	}
	return nil
}

func (f *fake) received() (out []adaptertest.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		d := adaptertest.Delivery{Data: m.Data, Attributes: map[string]string{}}
		var ids, topics []string
		for k, v := range m.Attributes {
			d.Attributes[strings.ToLower(k)] = v
			switch strings.ToLower(k) {
			case "event-id":
				ids = append(ids, v)
			case "topic":
				topics = append(topics, v)
			}
		}
		d.EventID, d.Topic = strings.Join(ids, ","), strings.Join(topics, ",")
		out = append(out, d)
	}
	return out
}

func (f *fake) at(topic string) *adapters.Settings {
	return at(strings.TrimSuffix(f.URL("/"), "/"), topic)
}

func at(endpoint, topic string) *adapters.Settings {
	return &adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config:      map[string]string{"project_id": "my-project", "topic": topic, "endpoint": endpoint},
		Credentials: map[string]string{"service_account_json": keyFile()}}
}

func open(t testing.TB, s *adapters.Settings) adapters.Sender { return adaptertest.Open(t, typ, *s) }
