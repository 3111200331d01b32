package models

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/internal/traces"
)

const (
	// failedEventsShown is how many failed events an alert and its notices name.
	failedEventsShown = 5
	// failedEventsAmong is among how many of the last attempts these are looked for: at a destination that fails seldom
	// there may be fewer.
	failedEventsAmong = 1000
	// failedEventsLeast is how far one looks back at least, where failures do not follow one another.
	failedEventsLeast = time.Hour
)

// failedEvents lists the events that failed last at a destination, newest first, each with its last attempt. first and last
// are when the failures began that are told, and when the last of them was; what came later is not listed, so that a notice
// says the same with every try.
func (s *Store) failedEvents(ctx context.Context, destination int64, first, last time.Time) ([]notify.FailedEvent, error) {
	since := last.Add(-failedEventsLeast)
	if !first.IsZero() && first.Before(since) {
		since = first
	}
	rows, err := s.pool.Query(ctx, `with recent as (
			select event_id, number, started_at, code, error_class, error, ok or trigger = 'test' as other from attempts
			where destination_key = $1 and started_at between $2 and $3 order by started_at desc limit $4),
		latest as (select distinct on (event_id) * from recent where not other order by event_id, started_at desc)
		select l.event_id, e.caller_id, e.topic, l.number, l.started_at, l.code, coalesce(l.error_class, ''), coalesce(l.error, ''),
			coalesce(e.traceparent, '')
		from latest l join events e on e.id = l.event_id order by l.started_at desc limit $5`, destination, since, last, failedEventsAmong,
		failedEventsShown)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f notify.FailedEvent, err error) {
		var key uuid.UUID
		var callerID *string
		var number int
		var parent string
		err = row.Scan(&key, &callerID, &f.Topic, &number, &f.At, &f.Code, &f.ErrorClass, &f.Error, &parent)
		e := Event{Key: key}
		e.finish(callerID, nil)
		f.EventID, f.AttemptID, f.TraceID = e.ID, DeliveryKey{EventKey: key, Destination: destination}.AttemptID(number), traces.ID(parent)
		return f, err
	})
}

// AlertFailures lists the events that failed last while an alert was open. There are none when failures are not what it
// is about.
func (s *Store) AlertFailures(ctx context.Context, a *Alert) ([]notify.FailedEvent, error) {
	d := a.Detail
	if d.LastFailure == nil || !tellsFailures(d.Failures, *d.LastFailure, a.OpenedAt) {
		return nil, nil
	}
	var first time.Time
	if d.FirstFailure != nil {
		first = *d.FirstFailure
	}
	return s.failedEvents(ctx, a.DestinationKey, first, *d.LastFailure)
}

// addFailures completes a notice with the events that failed last, unless it has them from an earlier try.
func (s *Store) addFailures(ctx context.Context, n *Notification) (err error) {
	x := &n.Notice
	if n.Kind == notify.Resolved || x.Failed != nil || x.LastFailure.IsZero() || !tellsFailures(x.Failures, x.LastFailure, x.OpenedAt) {
		return nil
	}
	destination := n.DestinationKey
	if destination == nil { // a digest, which tells the worst of its alerts
		err := s.pool.QueryRow(ctx, `select d.key from destinations d join tenants t on t.key = d.tenant_key
			where t.id = $1 and d.id = $2 and d.deleted_at is null and t.deleted_at is null`, x.TenantID,
			x.DestinationID).Scan(&destination)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	x.Failed, err = s.failedEvents(ctx, *destination, x.FirstFailure, x.LastFailure)
	return err
}

// tellsFailures reports whether an alert is about failures: a destination that somebody disables may have failed long ago.
func tellsFailures(failures int, last, opened time.Time) bool {
	return failures > 0 || last.After(opened.Add(-failedEventsLeast))
}
