package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// WaitOrder is why a delivery waits that is behind another one with its ordering key.
const WaitOrder = "order"

// explainOrder says of deliveries that have not begun and are behind another one in the line of their ordering key which one that is.
func (s *Store) explainOrder(ctx context.Context, list []*Delivery, now time.Time) error {
	byKey := map[DeliveryKey]*Delivery{}
	var destinations []int64
	var events []uuid.UUID
	for _, d := range list {
		if d.Status == StatusPending && d.Attempts == 0 {
			byKey[d.DeliveryKey] = d
			destinations, events = append(destinations, d.DeliveryKey.Destination), append(events, d.EventKey)
		}
	}
	if len(events) == 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx, `select o.destination_key, o.event_id, f.event_id, e.caller_id, d.status::text, d.next_attempt_at
		from unnest($1::bigint[], $2::uuid[]) u (k, e)
		join ordered_deliveries o on o.destination_key = u.k and o.event_id = u.e
		cross join lateral (select l.event_id from ordered_deliveries l where l.destination_key = o.destination_key
			and l.ordering_key = o.ordering_key order by l.seq limit 1) f
		join events e on e.id = f.event_id
		join deliveries d on d.event_id = f.event_id and d.destination_key = o.destination_key
		where f.event_id <> o.event_id`, destinations, events)
	if err != nil {
		return err
	}
	var k DeliveryKey
	first := &Event{}
	var callerID *string
	var status string
	var due *time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.Destination, &k.EventKey, &first.Key, &callerID, &status, &due}, func() error {
		first.finish(callerID, nil)
		d := byKey[k]
		d.Waits, d.WaitsFor, d.NextAttemptAt = true, WaitOrder, nil
		d.Reason = "Waits: the event " + first.ID + " with the same ordering key goes first"
		switch {
		case status == StatusFailed:
			d.Reason += ", and has failed: retry or cancel that delivery."
		case status == StatusHeld:
			d.Reason += ", and is held."
		case status == StatusRetrying && due != nil && due.After(now):
			d.Reason += "; it has failed and is tried again."
			at := *due
			d.NextAttemptAt = &at
		default:
			d.Reason += "."
		}
		return nil
	})
	return err
}
