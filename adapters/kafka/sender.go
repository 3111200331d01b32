package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// sender implements adapters.Sender and adapters.Checker.
type sender struct {
	cluster  *cluster
	settings adapters.Settings
	template bool // records have a key, which comes from an expression
	batch    atomic.Int32

	sessions *outbound.Shared[*session]
	// A batch that is too large for its topic is refused as a whole, and does not say which of its records is to blame.
	// So each of them is sent again, alone, by a client that has only one record at a time.
	alone *outbound.Shared[*session]
	turn  chan struct{} // holds one token: the right to use alone
}

func newSender(c *cluster, s adapters.Settings) *sender {
	snd := &sender{cluster: c, settings: s, template: s.Config["partition_key_template"] != "", turn: make(chan struct{}, 1)}
	snd.batch.Store(maxBatch)
	snd.turn <- struct{}{}
	always := func(*session) bool { return true }
	snd.sessions = outbound.NewShared(dialLimit, func(ctx context.Context) (*session, error) { return c.open(ctx, snd.batch.Load()) },
		always)
	snd.alone = outbound.NewShared(dialLimit, func(ctx context.Context) (*session, error) { return c.open(ctx, maxRecord) }, always)
	return snd
}

// Send implements adapters.Sender.
func (s *sender) Send(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Limit())
	defer cancel()
	if err := ctx.Err(); err != nil {
		return adapters.Receipt{}, s.cluster.ended(err, "before it began")
	}
	rec, size, head := s.record(m)
	if size > maxRecord/2 {
		return adapters.Receipt{}, tooLarge(s.cluster, size)
	}
	limit := s.batch.Load()
	if size+1024 < int(limit) { // what frames a record in a batch is far less than this
		r, err, refused := s.produce(ctx, s.sessions, rec, head)
		if !errors.Is(refused, kerr.MessageTooLarge) {
			return r, err
		}
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return adapters.Receipt{}, s.cluster.ended(ctx.Err(), "before the message's turn came")
	}
	r, err, refused := s.produce(ctx, s.alone, rec, head)
	switch {
	case errors.Is(refused, kerr.MessageTooLarge):
		return r, tooLarge(s.cluster, size)
	case err == nil && limit > leastBatch && size+1024 < int(limit) && s.batch.CompareAndSwap(limit, max(limit/2, leastBatch)):
		// Alone it went through, so the batch was too large. The next client makes smaller ones.
		if sess := s.sessions.Take(); sess != nil {
			sess.retire()
		}
	}
	return r, err
}

// produce sends rec with a session of from. refused is the cluster's error behind err, or nil.
func (s *sender) produce(ctx context.Context, from *outbound.Shared[*session], rec *kgo.Record,
	head string) (r adapters.Receipt, err, refused error) {
	defer func() { r.CertificateEnds = s.cluster.certificates.Take() }()
	r.Method, r.URL, r.ReqHeader, r.NotSent = "Produce", "kafka://"+s.cluster.seeds[0]+"/"+s.cluster.topic, head, true
	var sess *session
	for {
		var fresh bool
		sess, fresh, err = from.Get(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return r, s.cluster.ended(ctx.Err(), "before there was a connection"), nil
		case err != nil:
			return r, err, nil
		}
		if sess.use() {
			if fresh {
				r.Timing = sess.timing
			}
			break
		}
		from.Drop(sess)
	}
	defer sess.done()
	out := *rec // A record belongs to the client that it was given to.
	result := make(chan error, 1)
	begun := time.Now()
	sess.client.Produce(ctx, &out, func(_ *kgo.Record, err error) { result <- err })
	r.NotSent = false
	var said error
	select {
	case said = <-result:
	case <-ctx.Done():
		said = ctx.Err()
	}
	if said == nil {
		r.Timing.FirstByte = time.Since(begun)
		r.Body, _ = json.Marshal(struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
		}{s.cluster.topic, out.Partition, out.Offset})
		return r, nil, nil
	}
	var answer *kerr.Error
	if errors.As(said, &answer) {
		r.Body, _ = json.Marshal(struct {
			Topic string `json:"topic"`
			Error string `json:"error"`
			Code  int16  `json:"code"`
			Text  string `json:"text"`
		}{s.cluster.topic, answer.Message, answer.Code, answer.Description})
	}
	var e *adapters.Error
	timeOver := !errors.Is(ctx.Err(), context.Canceled) && (errors.Is(said, context.DeadlineExceeded) ||
		errors.Is(said, kgo.ErrRecordTimeout))
	switch {
	case timeOver && s.cluster.throttledSince(begun):
		e = s.cluster.throttledError()
	case ctx.Err() != nil:
		e = s.cluster.ended(ctx.Err(), "before the cluster had confirmed the message")
	case errors.Is(said, context.Canceled), errors.Is(said, context.DeadlineExceeded):
		e = &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout, Raw: said.Error(),
			Message: "The message was given up together with an earlier one of its partition, whose time was over.", Advice: adviceRetried}
	default:
		e = s.cluster.explain(said)
	}
	switch e.Class {
	case adapters.ClassInternal, adapters.ClassTooLarge, adapters.ClassRejected, adapters.ClassThrottled:
	default:
		// The next session tells soon what is wrong, where this one would try until the deadline.
		from.Drop(sess)
		sess.retire()
	}
	return r, e, said
}

// record makes the record, its size without framing, and the lines that a receipt shows.
func (s *sender) record(m *adapters.Message) (rec *kgo.Record, size int, head string) {
	e := m.Encode(&s.settings, "ce_")
	rec = &kgo.Record{Topic: s.cluster.topic, Value: e.Body, Headers: make([]kgo.RecordHeader, 0, len(e.Attributes)+1)}
	var lines strings.Builder
	if key := m.Computed["partition_key_template"]; s.template && key != "" {
		rec.Key = []byte(key)
		lines.WriteString("key: " + oneLine(key) + "\n")
	}
	size = len(rec.Key) + len(rec.Value)
	add := func(name, value string) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		size += len(name) + len(value) + 10
		lines.WriteString(oneLine(name) + ": " + oneLine(value) + "\n")
	}
	add("content-type", e.ContentType)
	for _, a := range e.Attributes {
		if !strings.EqualFold(a.Name, "content-type") {
			add(strings.ToValidUTF8(a.Name, "\ufffd"), a.Value) // the protocol's names are text, its values bytes
		}
	}
	return rec, size, s.cluster.redact.Text(lines.String())
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// Close implements adapters.Sender.
func (s *sender) Close() error {
	for _, shared := range [...]*outbound.Shared[*session]{s.sessions, s.alone} {
		if sess := shared.Close(); sess != nil {
			sess.retire()
		}
	}
	return nil
}

// Check implements adapters.Checker. It uses connections of its own.
func (s *sender) Check(ctx context.Context) (stages []adapters.Stage) {
	defer func() {
		for i := range stages {
			if !stages[i].CertificateEnds.IsZero() {
				stages[i].CertificateEnds = s.cluster.certificates.Take() // of all brokers that were connected to
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, min(s.settings.Limit(), dialLimit))
	defer cancel()
	stages = s.cluster.bootstrap(ctx)
	if !stages[len(stages)-1].OK {
		return stages
	}
	begun := time.Now()
	auth := adapters.Stage{Name: "auth", OK: true, Message: "The cluster answers; it asks for no user name."}
	if s.cluster.sasl != nil {
		auth.Message = fmt.Sprintf("The cluster lets %s in.", s.cluster.user)
	}
	client, err := kgo.NewClient(s.cluster.options(maxBatch, &firstTiming{})...)
	if err != nil {
		return append(stages, failed(auth, adapters.ConfigError("A Kafka client cannot use the destination's settings.")))
	}
	defer client.Close()
	err = client.Ping(ctx)
	auth.Took = time.Since(begun)
	if err != nil {
		return append(stages, failed(auth, s.cluster.checkError(ctx, err)))
	}
	begun = time.Now()
	publish := adapters.Stage{Name: "publish", OK: true}
	info, err := s.cluster.inspect(ctx, client)
	if err == nil {
		err = info.reach(ctx, client, true)
	}
	publish.Took = time.Since(begun)
	switch {
	case err != nil:
		publish = failed(publish, s.cluster.checkError(ctx, err))
	case info.operations != noOperations && info.operations&operationWrite == 0:
		publish = failed(publish, s.cluster.explain(kerr.TopicAuthorizationFailed))
	default:
		publish.Message = fmt.Sprintf("Nothing was produced: the topic %s has %d partitions, and the brokers that lead them can be reached.",
			s.cluster.topic, info.partitions)
	}
	return append(stages, auth, publish)
}

// bootstrap connects to the brokers of the list, one after the other, and tells about the first one that answers, or
// about the last one.
func (c *cluster) bootstrap(ctx context.Context) (stages []adapters.Stage) {
	for _, seed := range c.seeds {
		service, _ := outbound.ParseService(seed) // was read when the sender was opened
		service.TLS = c.tls
		nc, opened, err := c.dialer.Open(ctx, service)
		stages = opened.Stages
		c.certificates.Saw(service.String(), opened.CertificateEnds)
		if err == nil {
			nc.Close()
			return stages
		}
	}
	return stages
}

func failed(st adapters.Stage, e *adapters.Error) adapters.Stage {
	st.OK, st.Message, st.Advice = false, e.Message, e.Advice
	return st
}
