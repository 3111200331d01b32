package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What became of the attempt that a manual retry asked for.
const (
	RetryWaiting   = "waiting"   // not made yet
	RetrySucceeded = "success"   // made, and acknowledged
	RetryFailed    = "failed"    // made, and failed
	RetryNotMade   = "not_made"  // the delivery was held or called off before, or delivered otherwise
	RetryForgotten = "forgotten" // the delivery is past its retention
)

// RetryOutcomes lists them.
var RetryOutcomes = []string{RetryWaiting, RetrySucceeded, RetryFailed, RetryNotMade, RetryForgotten}

// AuditAttempt is the attempt that an entry about a manual retry names, as it stands now.
type AuditAttempt struct {
	ID         string
	DeliveryID string
	Outcome    string    // one of RetryOutcomes
	At         time.Time // when it was started; zero before
	Code       Code      // as it is shown; empty for none
	Error      string    // what went wrong
}

// detailAttempt is where the detail of such an entry names the attempt.
const detailAttempt = "attempt"

// addAttempts looks up what became of the attempts that entries name.
func (s *Store) addAttempts(ctx context.Context, entries []*AuditEntry) error {
	events, destinations, numbers := []uuid.UUID{}, []int64{}, []int{}
	byID := map[string][]*AuditAttempt{}
	for _, e := range entries {
		id, _ := e.Detail[detailAttempt].(string)
		k, n, ok := parseAttemptID(id)
		if e.Action != "delivery.retry" || !ok {
			continue
		}
		e.Attempt = &AuditAttempt{ID: id, DeliveryID: k.ID(), Outcome: RetryForgotten}
		events, destinations, numbers = append(events, k.EventKey), append(destinations, k.Destination), append(numbers, n)
		byID[id] = append(byID[id], e.Attempt)
	}
	if len(events) == 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx,
		`select d.event_id, d.destination_key, u.n, d.status in ('pending', 'delivering') and d.attempts < u.n, a.ok, a.started_at,
			coalesce(a.code, 0), coalesce(a.error_class, ''), coalesce(a.error, '')
		from (select distinct * from unnest($1::uuid[], $2::bigint[], $3::int[])) u (e, d, n) join deliveries d on d.event_id = u.e
			and d.destination_key = u.d
		left join attempts a on a.event_id = u.e and a.destination_key = u.d and a.number = u.n and a.trigger = 'manual'
		where d.event_id = any($1)`, events, destinations, numbers)
	if err != nil {
		return err
	}
	var k DeliveryKey
	var number, code int
	var waiting bool
	var ok *bool
	var at *time.Time
	var class, message string
	_, err = pgx.ForEachRow(rows, []any{&k.EventKey, &k.Destination, &number, &waiting, &ok, &at, &code, &class, &message}, func() error {
		for _, x := range byID[k.AttemptID(number)] {
			switch {
			case ok != nil && *ok:
				x.Outcome, x.At, x.Code = RetrySucceeded, *at, codeOf(code, class)
			case ok != nil:
				x.Outcome, x.At, x.Code, x.Error = RetryFailed, *at, codeOf(code, class), message
			case waiting:
				x.Outcome = RetryWaiting
			default:
				x.Outcome = RetryNotMade
			}
		}
		return nil
	})
	return err
}
