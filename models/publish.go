package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// PublishInput is an event as its publisher gives it.
type PublishInput struct {
	ID               string            `json:"id" doc:"Yours, unique per tenant: publishing it again sends nothing. Made up when missing."`
	TenantID         string            `json:"tenant_id" doc:"Whose destinations it goes to. Needed unless the key is a tenant's."`
	Topic            string            `json:"topic" doc:"One of the catalogue, if that has any."`
	DestinationID    string            `json:"destination_id" doc:"Only to this destination, if it subscribes to the topic and its filter agrees."`
	EligibleForRetry *bool             `json:"eligible_for_retry" api:"default=true" doc:"false means one attempt."`
	Time             *time.Time        `json:"time" doc:"When it happened; now when missing."`
	Metadata         map[string]string `json:"metadata" doc:"Goes out as headers."`
	// OrderingKey groups events that must arrive in the order in which they were accepted, at destinations that ask for
	// it. "$.customer.id" stands for that field of the payload.
	OrderingKey string          `json:"ordering_key" doc:"For destinations with 'ordered': a text, or '$.customer.id' for that field of the payload."`
	Data        json.RawMessage `json:"data" api:"required,schema=Payload"` // a JSON object, kept byte for byte

	// The checked W3C trace context that the event belongs to; empty for none.
	TraceParent string `json:"-"`
	TraceState  string `json:"-"`

	Claim *Claim `json:"-"` // of the request's Idempotency-Key; nil for none

	Ours    bool   `json:"-"` // the server's own event, which alone may have a reserved topic
	Named   bool   `json:"-"` // only to destinations that name topics of the server's own in their subscriptions
	Trigger string `json:"-"` // TriggerTest for a test event
	Actor   string `json:"-"` // who sent a test event
}

// ownOverhead is how much larger than what others publish twice the server's own events may be.
const ownOverhead = 128 << 10

// PublishResult says what became of an event.
type PublishResult struct {
	ID             string   `json:"id"`
	Duplicate      bool     `json:"duplicate" doc:"Whether it had been published before, so that nothing is sent."`
	DestinationIDs []string `json:"destination_ids" doc:"Destinations to which it goes."`
	Mismatches     []string `json:"schema_errors,omitempty" doc:"Where the payload is not as its topic's schema asks, which this topic only warns of."`
}

// check reports what is wrong with the input as far as it can be told without the database.
func (in *PublishInput) check(maxPayload int) error {
	bad := problems{}
	if in.ID != "" {
		checkID("id", in.ID, bad)
		if _, ours := parseEventID(in.ID); ours {
			bad.add("id", "must not look like an id that the server makes ("+eventPrefix+" and 32 hexadecimal digits)")
		}
	}
	if in.TenantID != OperatorTenant {
		checkID("tenant_id", in.TenantID, bad)
	} else if !in.Ours && in.Trigger != TriggerTest {
		bad.add("tenant_id", "takes the server's own events only")
	}
	if in.Topic != "" {
		checkTopic("topic", in.Topic, bad)
		if OwnTopic(in.Topic) && !in.Ours && in.Trigger != TriggerTest {
			bad.add("topic", `must not begin with "waybill.", which is for the server's own events`)
		}
	}
	if in.DestinationID != "" {
		checkID("destination_id", in.DestinationID, bad)
	}
	if in.Time != nil && (in.Time.UTC().Year() < 1 || in.Time.UTC().Year() > 9999) {
		bad.add("time", "must be between the years 1 and 9999 (UTC)")
	}
	checkMetadata("metadata", in.Metadata, bad)
	switch data := in.Data; {
	case len(data) == 0 || string(data) == "null":
		bad.add("data", "is required: a JSON object")
	case data[0] != '{':
		bad.add("data", "must be a JSON object")
	case !utf8.Valid(data):
		bad.add("data", "must be valid UTF-8")
	case in.Ours && len(data) <= 2*maxPayload+ownOverhead: // it may hold an event's data, and what was answered
	case len(data) > maxPayload:
		return &Error{Kind: KindTooLarge, Message: fmt.Sprintf("The event's data is %d bytes long; at most %d are accepted.", len(data),
			maxPayload),
			Fields: map[string]string{"data": fmt.Sprintf("must be at most %d bytes long", maxPayload)}}
	}
	return bad.err()
}

// publishing is one event between its publisher and the committer.
type publishing struct {
	in       *PublishInput
	key      string // in.OrderingKey, looked up
	place    int    // in its group
	breadth  int    // destinations to which it may go, where they are many
	id       uuid.UUID
	received time.Time
	res      PublishResult
	err      error // what is wrong with this event alone
	// mismatches say where the payload is not as its topic's schema asks, where that is accepted.
	mismatches []string
	done       chan error
}

// size is roughly how much memory the event takes up while it waits.
func (p *publishing) size() int {
	n := eventOverhead + len(p.in.Data)
	for k, v := range p.in.Metadata {
		n += len(k) + len(v)
	}
	return n
}

func (p *publishing) publicID() string {
	if p.in.ID != "" {
		return p.in.ID
	}
	return eventID(p.id)
}

// Accepter takes events in. It writes them in groups: whatever has queued up while the last transaction ran goes into
// the next one. There is no timer, so that an idle server adds no wait.
type Accepter struct {
	s         *Store
	log       *slog.Logger
	routes    routeCache
	knowledge knowledge
	counts    *filterCounts
	recent    *Recent // nil where no worker runs in this process
	// events with an ordering key are handed over in turn, so that those of one request stay in their order.
	events  *batcher[*publishing]
	wide    *wideQueue
	waiting atomic.Int64 // bytes of the events that were handed over and are not answered yet

	mu     sync.RWMutex
	closed bool
	close  sync.Once
	stop   chan struct{} // closed when it closes
	runs   sync.WaitGroup
}

const (
	maxGroup       = 500      // events in one transaction
	maxGroupBytes  = 8 << 20  // and about how much of them; the last one may go past it
	maxWaiting     = 4096     // events that wait for a committer; past it the API answers 503
	maxWaitBytes   = 64 << 20 // and how much of them; more than any request may carry
	publishTimeout = 10 * time.Second
)

// NewAccepter starts to take events in. recent, which may be nil, remembers payloads for the workers of this process.
func NewAccepter(s *Store, recent *Recent, log *slog.Logger) *Accepter {
	a := &Accepter{s: s, log: log, stop: make(chan struct{}), recent: recent, counts: newFilterCounts(s, log),
		events: newBatcher(batchLimits[*publishing]{
			Waiting: maxWaiting, Group: maxGroup, Bytes: maxGroupBytes, Size: (*publishing).size,
		})}
	a.events.keepOrder()
	a.events.standBy(a.writer(false))
	a.events.start(a.writer(false))
	a.wide = newWideQueue(a.writer(true))
	if s.home == nil {
		a.runs.Go(func() { s.schemas.follow(s, log, a.stop) })
	}
	return a
}

// writer returns what commits groups, one after the other; with wide, also events that others set aside.
func (a *Accepter) writer(wide bool) func(group []*publishing) {
	w := &acceptWriter{held: map[filterCount]int64{}, alone: wide}
	return func(group []*publishing) { a.commit(group, w) }
}

// Close waits until everything that was handed over is committed.
func (a *Accepter) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.close.Do(func() {
		close(a.stop)
		a.runs.Wait()
		a.events.close()
		a.wide.close()
		a.counts.close()
	})
}

// Publish accepts one event. When it returns without an error, the event and the jobs that deliver it are committed.
// When ctx ends first the event may be accepted all the same.
func (a *Accepter) Publish(ctx context.Context, in *PublishInput) (*PublishResult, error) {
	res, errs := a.PublishAll(ctx, []*PublishInput{in})
	return &res[0], errs[0]
}

// PublishAll accepts several events. Each has its own result or error, in order; one bad event does not spoil the
// others. Of several with the same id the first is accepted.
func (a *Accepter) PublishAll(ctx context.Context, ins []*PublishInput) ([]PublishResult, []error) {
	res, errs := make([]PublishResult, len(ins)), make([]error, len(ins))
	todo := make([]int, len(ins))
	for i := range ins {
		todo[i] = i
	}
	for len(todo) > 0 {
		todo = a.publishRound(ctx, ins, todo, res, errs)
	}
	return res, errs
}

// publishRound accepts those of the events that have no earlier one with the same id in the round, and returns the
// others, for the next round.
func (a *Accepter) publishRound(ctx context.Context, ins []*PublishInput, todo []int, res []PublishResult, errs []error) (later []int) {
	waiting := make([]*publishing, 0, len(todo))
	places := make([]int, 0, len(todo))
	var taken map[[2]string]bool
	for _, i := range todo {
		in := ins[i]
		if len(todo) > 1 && in.ID != "" {
			id := [2]string{in.TenantID, in.ID}
			if taken[id] {
				later = append(later, i)
				continue
			}
			if taken == nil {
				taken = map[[2]string]bool{}
			}
			taken[id] = true
		}
		if errs[i] = in.check(a.s.Rules().MaxPayload); errs[i] != nil {
			a.s.meterRefused(errs[i])
			continue
		}
		var mismatches []string
		if a.s.home != nil {
			a.s.home.catalogue.look(ctx, a.s.home, in)
		}
		if mismatches, errs[i] = a.s.root().schemas.check(in); errs[i] != nil {
			a.s.meterRefused(errs[i])
			continue
		}
		p := &publishing{mismatches: mismatches, in: in, id: newEventID(), received: time.Now(), done: make(chan error, 1)}
		if in.OrderingKey != "" {
			var err error
			if p.key, err = in.orderingKey(); err != nil {
				errs[i] = Invalid("ordering_key", err.Error())
				continue
			}
		}
		if errs[i] = a.hand(p); errs[i] == nil {
			waiting, places = append(waiting, p), append(places, i)
		} else {
			a.s.meterRefused(errs[i])
		}
	}
	for k, p := range waiting {
		i := places[k]
		select {
		case errs[i] = <-p.done:
			res[i] = p.res
		case <-ctx.Done():
			errs[i] = &Error{Kind: KindUnavailable,
				Message:    "The event was not accepted in time. Publish it again with the same id: it is never accepted twice.",
				RetryAfter: time.Second, Err: ctx.Err()}
		}
	}
	return later
}

func (a *Accepter) hand(p *publishing) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return &Error{Kind: KindUnavailable, Message: "The server is stopping. Try again.", RetryAfter: time.Second}
	}
	size := int64(p.size())
	if a.waiting.Add(size) <= maxWaitBytes {
		if p.key != "" && a.events.offerInTurn(p) || p.key == "" && a.events.offer(p) {
			return nil
		}
	}
	a.waiting.Add(-size)
	return &Error{Kind: KindUnavailable, Message: "The server is taking in events as fast as it can. Try again.", RetryAfter: time.Second}
}

// commit writes a group and answers its publishers. When the database refuses a group for what is in it, each event is
// tried alone, so that one of them cannot spoil the others.
func (a *Accepter) commit(group []*publishing, w *acceptWriter) {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	began := time.Now()
	err := a.write(ctx, group, w)
	if group = a.handOver(group, w); len(group) == 0 {
		return
	}
	var pe *pgconn.PgError
	if err != nil && len(group) > 1 && errors.As(err, &pe) && (pe.Code[:2] == "22" || pe.Code[:2] == "23") {
		for _, p := range group {
			a.commit([]*publishing{p}, w)
		}
		return
	}
	a.meter(group, w, time.Since(began), err)
	if err != nil {
		a.log.Error("events were not accepted", "events", len(group), "error", err)
		err = &Error{Kind: KindUnavailable,
			Message:    "The database did not take the event. Try again; with the same id it is never accepted twice.",
			RetryAfter: time.Second, Err: err}
	}
	for _, p := range group {
		a.waiting.Add(-int64(p.size()))
		if err == nil {
			p.done <- p.err
		} else {
			p.done <- err
		}
	}
}
