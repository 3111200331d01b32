package models

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// What operator events hold, in Outpost's words.
type (
	operatorEnvelope struct {
		ID       string    `json:"id"`
		Topic    string    `json:"topic"`
		Time     time.Time `json:"time"`
		TenantID string    `json:"tenant_id,omitempty"`
		Data     any       `json:"data"`
	}
	operatorData struct {
		TenantID    string               `json:"tenant_id"`
		Event       *operatorEvent       `json:"event"`
		Attempt     *operatorAttempt     `json:"attempt"`
		Destination *operatorDestination `json:"destination"`
		DisabledAt  *time.Time           `json:"disabled_at,omitempty"`
		Reason      string               `json:"reason,omitempty"`
		Failures    *operatorFailures    `json:"consecutive_failures,omitempty"`
	}
	operatorEvent struct {
		ID             string            `json:"id"`
		TenantID       string            `json:"tenant_id"`
		DestinationID  string            `json:"destination_id"`
		DestinationIDs []string          `json:"matched_destination_ids"`
		Topic          string            `json:"topic"`
		Retry          bool              `json:"eligible_for_retry"`
		Time           time.Time         `json:"time"`
		Metadata       map[string]string `json:"metadata"`
		Data           json.RawMessage   `json:"data"`
	}
	operatorAttempt struct {
		ID              string         `json:"id"`
		TenantID        string         `json:"tenant_id"`
		EventID         string         `json:"event_id"`
		DestinationID   string         `json:"destination_id"`
		DestinationType string         `json:"destination_type"`
		Number          int            `json:"attempt_number"`
		Manual          bool           `json:"manual"`
		Status          string         `json:"status"`
		Time            time.Time      `json:"time"`
		Code            string         `json:"code"` // the status of the answer, or what went wrong before there was one
		Response        map[string]any `json:"response_data"`
	}
	operatorDestination struct {
		ID         string            `json:"id"`
		TenantID   string            `json:"tenant_id"`
		Type       string            `json:"type"`
		Topics     []string          `json:"topics"`
		Config     map[string]string `json:"config"`
		CreatedAt  time.Time         `json:"created_at"`
		DisabledAt *time.Time        `json:"disabled_at"`
	}
)

// attemptKey names an attempt.
type attemptKey struct {
	DeliveryKey
	number int // 0 for the last one that failed
}

// operatorTelling is one operator event that is to be made of a change.
type operatorTelling struct {
	e     *FeedEntry
	topic string
	key   attemptKey
	data  operatorData
	whole json.RawMessage // all of the data, where no attempt belongs to it
}

// operatorTopic says which operator event a change makes, if any, and about which attempt.
func (e *FeedEntry) operatorTopic() (t operatorTelling, ok bool, err error) {
	t.e = e
	switch e.Type {
	case feedSubscription:
		t.topic, t.whole = topicSubscription, e.Object
	case feedAttempt:
		t.topic = topicSucceeded
		if e.Action != "success" {
			t.topic = topicFailed
		}
		t.key.DeliveryKey, t.key.number, ok = parseAttemptID(e.ObjectID)
		return t, ok, nil
	case FeedDelivery:
		var st deliveryState
		if e.Action != StatusFailed {
			return t, false, nil
		}
		if err := unmarshalState(e, &st); err != nil {
			return t, false, err
		}
		t.topic = topicExhausted
		if t.key.DeliveryKey, ok = parseDeliveryID(e.ObjectID); !ok || st.Attempts == nil || *st.Attempts < 2 {
			return t, false, nil // there were no retries to use up
		}
		t.key.number = *st.Attempts
	case feedFailures:
		t.topic, t.data.Failures = topicFailures, &operatorFailures{}
		if err := unmarshalState(e, t.data.Failures); err != nil {
			return t, false, err
		}
		t.key.Destination, err = strconv.ParseInt(e.ObjectID, 10, 64)
		return t, err == nil, err
	case FeedDestination:
		var st struct {
			DisabledAt    *time.Time `json:"disabled_at"`
			DisabledCause string     `json:"disabled_cause"`
		}
		if e.Action != FeedDisabled {
			return t, false, nil
		}
		if err := unmarshalState(e, &st); err != nil || st.DisabledCause == "" {
			return t, false, err
		}
		t.topic, t.data.DisabledAt, t.data.Reason = topicDisabled, st.DisabledAt, st.DisabledCause
	default:
		return t, false, nil
	}
	return t, true, nil
}

// operatorEvents are the operator events that changes make for those who subscribe to topics.
func (s *Store) operatorEvents(ctx context.Context, list []*FeedEntry, topics []string) ([]*PublishInput, error) {
	var tellings []*operatorTelling
	for _, e := range list {
		t, ok, err := e.operatorTopic()
		if err != nil {
			return nil, err
		}
		if ok && Subscribes(topics, t.topic) {
			tellings = append(tellings, &t)
		}
	}
	if len(tellings) == 0 {
		return nil, nil
	}
	if err := s.completeTellings(ctx, tellings); err != nil {
		return nil, err
	}
	out := make([]*PublishInput, 0, len(tellings))
	for _, t := range tellings {
		in, err := t.input(s.Rules().MaxPayload)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// input is the event for the operators' destinations.
func (t *operatorTelling) input(maxPayload int) (*PublishInput, error) {
	env := operatorEnvelope{ID: t.e.ID, Topic: t.topic, Time: t.e.Time.UTC(), Data: t.data}
	if t.e.TenantID != nil {
		env.TenantID = *t.e.TenantID
	}
	if t.whole != nil {
		env.Data = t.whole
	}
	b, err := feedJSON(env)
	if err == nil && len(b) > 2*maxPayload+ownOverhead && t.data.Event != nil {
		t.data.Event.Data = json.RawMessage("{}")
		env.Data = t.data
		b, err = feedJSON(env)
	}
	if err != nil {
		return nil, err
	}
	at := env.Time
	// One change may make several events of the operators.
	return &PublishInput{ID: t.e.ID + ":" + t.topic, TenantID: OperatorTenant, Topic: t.topic, Time: &at,
		OrderingKey: t.e.Type + ":" + t.e.ObjectID, Data: []byte(b), Ours: true}, nil
}

// completeTellings reads the attempts, events and destinations that operator events tell of.
func (s *Store) completeTellings(ctx context.Context, list []*operatorTelling) error {
	destinations, err := s.tellingDestinations(ctx, list)
	if err != nil {
		return err
	}
	attempts, err := s.tellingAttempts(ctx, list)
	if err != nil {
		return err
	}
	events, matched := map[uuid.UUID]*Event{}, map[uuid.UUID][]string{}
	for _, a := range attempts {
		events[a.EventKey] = nil
	}
	if ids := slices.Collect(maps.Keys(events)); len(ids) > 0 {
		if _, err := s.readEvents(ctx, ids, events); err != nil {
			return err
		}
		if matched, err = s.matchedDestinations(ctx, ids); err != nil {
			return err
		}
	}
	for _, t := range list {
		if t.whole != nil {
			continue
		}
		if t.e.TenantID != nil {
			t.data.TenantID = *t.e.TenantID
		}
		if t.data.Destination = destinations[t.key.Destination]; t.data.Destination != nil {
			t.data.Destination.TenantID = t.data.TenantID
		}
		a := attempts[t.key]
		if a == nil {
			continue // its day was dropped by retention
		}
		t.data.Attempt = &operatorAttempt{ID: a.ID(), TenantID: a.TenantID, EventID: a.PublicEventID, DestinationID: a.DestinationID,
			DestinationType: a.DestinationType, Number: a.Number,
			Manual: a.Trigger == TriggerManual || a.Trigger == TriggerBulk, Status: a.Status(), Time: a.StartedAt.UTC(), Code: a.ErrorClass,
			Response: map[string]any{"status": a.Code, "body": text(string(a.ResponseBody))}}
		if a.Code != 0 {
			t.data.Attempt.Code = strconv.Itoa(a.Code)
		}
		if e := events[a.EventKey]; e != nil {
			t.data.Event = &operatorEvent{ID: e.ID, TenantID: a.TenantID, DestinationID: a.DestinationID,
				DestinationIDs: matched[a.EventKey], Topic: e.Topic, Retry: e.Retry,
				Time: e.Time.UTC(), Metadata: e.Metadata, Data: e.Data}
			if e.Metadata == nil {
				t.data.Event.Metadata = map[string]string{}
			}
		}
	}
	return nil
}

// tellingDestinations reads the destinations that operator events are about, without their secrets. What a change names by
// its id is looked up.
func (s *Store) tellingDestinations(ctx context.Context, list []*operatorTelling) (map[int64]*operatorDestination, error) {
	out := map[int64]*operatorDestination{}
	for _, t := range list {
		if t.whole != nil || t.key.Destination != 0 && out[t.key.Destination] != nil {
			continue
		}
		var d Destination
		q := s.DB.WithContext(ctx).Where("key = ?", t.key.Destination)
		if t.key.Destination == 0 {
			q = s.DB.WithContext(ctx).Where("tenant_key = ? and id = ?", t.e.tenantKey, t.e.ObjectID).Order("key desc")
		}
		err := q.Take(&d).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t.key.Destination = d.Key
		out[d.Key] = &operatorDestination{ID: d.ID, Type: d.Type, Topics: d.Topics,
			Config: withoutSecrets(d.settings().config, d.OpenConfig), CreatedAt: d.CreatedAt.UTC(), DisabledAt: d.DisabledAt}
	}
	return out, nil
}

func (s *Store) tellingAttempts(ctx context.Context, list []*operatorTelling) (map[attemptKey]*Attempt, error) {
	out := map[attemptKey]*Attempt{}
	b := &pgx.Batch{}
	for _, t := range list {
		if _, asked := out[t.key]; asked || t.whole != nil || t.key.Destination == 0 {
			continue
		}
		out[t.key] = nil
		q := newQuery()
		q.and("a.destination_key = ?", t.key.Destination)
		rest := " order by a.started_at desc limit 1"
		if t.key.number != 0 {
			q.and("a.event_id = ?", t.key.EventKey)
			q.and("a.number = ?", t.key.number)
			rest = ""
		} else {
			q.and("not a.ok")
		}
		b.Queue(attemptSelect+q.sql()+rest, q.args...).Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, s.attemptScanner(ctx))
			if len(found) > 0 {
				out[t.key] = found[0]
			}
			return err
		})
	}
	err := s.pool.SendBatch(ctx, b).Close()
	maps.DeleteFunc(out, func(_ attemptKey, a *Attempt) bool { return a == nil })
	return out, err
}

// matchedDestinations reads to which destinations events went.
func (s *Store) matchedDestinations(ctx context.Context, events []uuid.UUID) (map[uuid.UUID][]string, error) {
	rows, err := s.pool.Query(ctx,
		`select x.event_id, array_agg(d.id order by d.key) from deliveries x join destinations d on d.key = x.destination_key where x.event_id = any($1) group by 1`, events)
	if err != nil {
		return nil, err
	}
	out := map[uuid.UUID][]string{}
	var id uuid.UUID
	var ids []string
	_, err = pgx.ForEachRow(rows, []any{&id, &ids}, func() error {
		out[id] = slices.Clone(ids)
		return nil
	})
	return out, err
}
