package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// dialLimit bounds opening a client, and each connection: names, TLS, SASL, whatever the deadline of the attempt.
	dialLimit = 10 * time.Second
	// maxBatch is how large a batch of records may be: what Kafka accepts unless it is told otherwise
	// (message.max.bytes and max.message.bytes).
	maxBatch = 1000012
	// leastBatch is how small batches become for a topic that accepts less.
	leastBatch = 32 << 10
	// maxRecord is how large a record may be that travels alone. The topic's own limit is usually much lower.
	maxRecord = 32 << 20
)

// cluster is how to reach it, and what is known about it.
type cluster struct {
	seeds  []string
	topic  string
	tls    *tls.Config    // nil for none
	sasl   sasl.Mechanism // nil for none
	user   string
	dialer *outbound.Dialer
	limit  time.Duration // for one attempt
	name   string        // who we are, for the cluster's operators
	redact outbound.Redactor

	notIdempotent atomic.Bool  // the cluster does not let us be
	throttled     atomic.Int64 // until when brokers have asked us to send nothing, in Unix nanoseconds
	certificates  outbound.Certificates

	mu     sync.Mutex
	faults map[string]*adapters.Error // why brokers cannot be reached at present, by address
}

// session is a client with its connections. One that failed is retired: it gets no more to do, and is closed when the
// last one who uses it is done.
type session struct {
	client *kgo.Client
	timing adapters.Timing // of the first connection

	mu      sync.Mutex
	uses    int
	retired bool
}

// use returns false when the session is retired.
func (s *session) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired {
		s.uses++
	}
	return !s.retired
}

func (s *session) done() {
	s.mu.Lock()
	s.uses--
	last := s.retired && s.uses == 0
	s.mu.Unlock()
	if last {
		s.client.Close()
	}
}

func (s *session) retire() {
	s.mu.Lock()
	last := !s.retired && s.uses == 0
	s.retired = true
	s.mu.Unlock()
	if last {
		s.client.Close()
	}
}

// dial is what the client opens all of its connections with, also those to brokers that the cluster named.
func (c *cluster) dial(ctx context.Context, network, address string, timing *firstTiming) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	service, err := outbound.ParseService(address)
	if err != nil {
		err = &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConfig, Message: "Its address " + err.Error() + ".",
			Advice: "Correct advertised.listeners of the brokers."}
	}
	var nc net.Conn
	if err == nil {
		var opened outbound.Opened
		service.TLS = c.tls
		nc, opened, err = c.dialer.Open(ctx, service)
		timing.set(opened.Timing)
		c.certificates.Saw(address, opened.CertificateEnds)
	}
	if err == nil {
		c.note(address, nil)
		return nc, nil
	}
	e := *adapters.AsError(err)
	if !slices.Contains(c.seeds, address) && e.Kind != adapters.KindShortage {
		e.Message = fmt.Sprintf("The cluster's broker %s: %s", address, e.Message)
		e.Advice = "Every broker has to be reachable from here under the address that it advertises (advertised.listeners). " + e.Advice
	}
	c.note(address, &e)
	// The client goes on with other brokers when it sees this type.
	return nil, &net.OpError{Op: "dial", Net: network, Err: &e}
}

func (c *cluster) note(address string, e *adapters.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e == nil {
		delete(c.faults, address)
	} else {
		c.faults[address] = e
	}
}

// fault is why a broker cannot be reached, or nil when there is none of which that is known.
func (c *cluster) fault() *adapters.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.faults {
		return e
	}
	return nil
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle. A broker whose quota is used up confirms what it got and tells for how
// long it will take no more (KIP-219); the client then waits.
func (c *cluster) OnBrokerThrottle(_ kgo.BrokerMetadata, wait time.Duration, after bool) {
	if until := time.Now().Add(wait).UnixNano(); after && until > c.throttled.Load() {
		c.throttled.Store(until)
	}
}

// throttledSince reports whether a broker had us wait at that time or later.
func (c *cluster) throttledSince(begun time.Time) bool { return c.throttled.Load() > begun.UnixNano() }

// firstTiming keeps how long the first connection took.
type firstTiming struct {
	once  sync.Once
	value adapters.Timing
}

func (f *firstTiming) set(t adapters.Timing) { f.once.Do(func() { f.value = t }) }

// open makes a client whose batches are at most so large, and finds out whether it will work: the cluster lets us in, the
// topic exists, and one of its leaders can be reached. The client alone would try until the deadline and then not say
// why.
func (c *cluster) open(ctx context.Context, batch int32) (*session, error) {
	c.mu.Lock()
	clear(c.faults)
	c.mu.Unlock()
	for {
		timing := &firstTiming{}
		client, err := kgo.NewClient(c.options(batch, timing)...)
		if err != nil {
			return nil, adapters.ConfigError("A Kafka client cannot use the destination's settings.")
		}
		info, err := c.inspect(ctx, client)
		if err == nil {
			err = info.reach(ctx, client, false)
		}
		if err == nil && !c.notIdempotent.Load() {
			if _, _, err = client.ProducerID(ctx); errors.Is(err, kerr.ClusterAuthorizationFailed) {
				// Before Kafka 2.8 that took a permission of its own.
				c.notIdempotent.Store(true)
				client.Close()
				continue
			}
		}
		if err != nil {
			client.Close()
			return nil, c.explain(err)
		}
		return &session{client: client, timing: timing.value}, nil
	}
}

func (c *cluster) options(batch int32, timing *firstTiming) []kgo.Opt {
	limit := min(max(c.limit, time.Second), time.Minute)
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.seeds...), kgo.ClientID("waybill"),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dial(ctx, network, address, timing)
		}),
		kgo.DisableClientMetrics(), kgo.WithHooks(c),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(batch),
		// Nothing is tried any more when its attempt is over: the retry policy has taken over by then. A record that was
		// on its way may be there all the same.
		kgo.RecordDeliveryTimeout(limit), kgo.ProduceRequestTimeout(limit), kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.RetryTimeout(limit), kgo.UnknownTopicRetries(1), kgo.MetadataMinAge(200 * time.Millisecond),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
	}
	if product, version, ok := strings.Cut(c.name, "/"); ok && softwareName(product) && softwareName(version) {
		opts = append(opts, kgo.SoftwareNameAndVersion(product, version))
	}
	if c.notIdempotent.Load() {
		// Then the cluster cannot tell a repeated request from a new one, so none is repeated.
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	} else {
		opts = append(opts, kgo.AllowIdempotentProduceCancellation())
	}
	if c.sasl != nil {
		opts = append(opts, kgo.SASL(c.sasl))
	}
	return opts
}

// softwareName says whether the protocol takes s for the name or the version of a client (KIP-511).
func softwareName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" &&
		!strings.ContainsAny(s[:1]+s[len(s)-1:], ".-")
}

// topicInfo is what the cluster says about the topic.
type topicInfo struct {
	cluster    *cluster
	partitions int
	leaders    []int32
	operations int32 // what we may do, a bit for each kind of operation; noOperations when the cluster does not say
}

const (
	noOperations   = -1 << 31
	operationWrite = 1 << 4 // as AclOperation.WRITE is numbered
)

func (c *cluster) inspect(ctx context.Context, client *kgo.Client) (topicInfo, error) {
	info := topicInfo{cluster: c}
	if err := client.Ping(ctx); err != nil { // asks every broker of the list once
		return info, err
	}
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(c.topic)
	req.Topics, req.IncludeTopicAuthorizedOperations = append(req.Topics, topic), true
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return info, err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return info, err
		}
		info.operations, info.partitions = t.AuthorizedOperations, len(t.Partitions)
		for _, p := range t.Partitions {
			if p.Leader >= 0 && !slices.Contains(info.leaders, p.Leader) {
				info.leaders = append(info.leaders, p.Leader)
			}
		}
	}
	if len(info.leaders) == 0 {
		return info, kerr.LeaderNotAvailable
	}
	return info, nil
}

// reach connects to the leaders of the topic's partitions. One that answers is enough, unless all have to.
func (i topicInfo) reach(ctx context.Context, client *kgo.Client, all bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(i.leaders))
	for _, id := range i.leaders {
		go func() { results <- client.EnsureProduceConnectionIsOpen(ctx, id) }()
	}
	var failed error
	for range i.leaders {
		err := <-results
		if err != nil {
			failed = err
		}
		if err == nil && !all || err != nil && all {
			return err
		}
	}
	return failed
}
