package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/units"
)

// Wait is why deliveries to a destination that are due are not made yet.
type Wait struct {
	Why     string
	Until   time.Time // with WaitAsked, WaitEased and WaitShort
	Rate    float64   // with the others: attempts in a second
	Waiting int       // deliveries that are due, up to a bound
	More    bool      // there are more than Waiting
}

// Why deliveries wait.
const (
	WaitAsked   = "asked"   // the receiver asked for a pause
	WaitEased   = "eased"   // it asked to slow down, and first attempts wait for a moment
	WaitFailing = "failing" // it keeps failing and is tried a few times a second
	WaitLimited = "limited" // the destination's rate limit
	WaitSlow    = "slow"    // it takes long to answer
	WaitShort   = "short"   // the server lacks ports, files or memory
)

const (
	// waitsFor is how long what a worker wrote down is believed: jobs that are put off come back within a minute.
	waitsFor = 90 * time.Second
	// maxCounted is up to how many deliveries are counted that wait, of all the destinations that are asked for.
	maxCounted = 10_000
)

// TellWait writes down why deliveries to a destination wait.
func (s *Store) TellWait(ctx context.Context, destination int64, w Wait) error {
	_, err := s.pool.Exec(ctx, `insert into destination_waits (destination_key, why, until, rate) values ($1, $2, $3, $4)
		on conflict (destination_key) do update set why = excluded.why, until = excluded.until, rate = excluded.rate, seen_at = now()`,
		destination, w.Why, timeOrNil(w.Until), w.Rate)
	return err
}

// TellWell takes back that deliveries to a destination wait.
func (s *Store) TellWell(ctx context.Context, destination int64) error {
	_, err := s.pool.Exec(ctx, "delete from destination_waits where destination_key = $1", destination)
	return err
}

// Waits are why deliveries to these destinations wait, and how many do; those are left out to which they do not.
func (s *Store) Waits(ctx context.Context, destinations []int64) (map[int64]*Wait, error) {
	out, err := s.uncounted(ctx, destinations)
	if err != nil {
		return nil, err
	}
	for key, w := range out {
		if err := s.countWaiting(ctx, key, w, max(maxCounted/len(out), 500)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// uncounted are Waits whose deliveries nobody has counted.
func (s *Store) uncounted(ctx context.Context, destinations []int64) (map[int64]*Wait, error) {
	if len(destinations) == 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx,
		`select w.destination_key, w.why, w.until, coalesce(w.rate, 0) from destination_waits w join destinations d
			on d.key = w.destination_key
		where w.destination_key = any($1) and w.seen_at > now() - $2 * interval '1 second' and (w.until is null or w.until > now())
			and d.disabled_at is null and d.deleted_at is null`, destinations, waitsFor.Seconds())
	if err != nil {
		return nil, err
	}
	out := map[int64]*Wait{}
	var key int64
	var why string
	var until *time.Time
	var rate float64
	_, err = pgx.ForEachRow(rows, []any{&key, &why, &until, &rate}, func() error {
		w := &Wait{Why: why, Rate: rate}
		if until != nil {
			w.Until = *until
		}
		out[key] = w
		return nil
	})
	return out, err
}

// countWaiting counts the deliveries to a destination that are due: retries by their index, first attempts among the last
// events that went there.
func (s *Store) countWaiting(ctx context.Context, destination int64, w *Wait, most int) error {
	err := s.pool.QueryRow(ctx,
		`select (select count(*) from (select 1 from deliveries where destination_key = $1 and attention = 'retrying'
				and (next_attempt_at is null or next_attempt_at <= now()) limit $2) r)
			+ (select count(*) from (select status from deliveries where destination_key = $1 order by event_id desc limit $2) p
				where status in ('pending', 'delivering'))`,
		destination, most).Scan(&w.Waiting)
	if w.More = w.Waiting >= most; w.More {
		w.Waiting = most
	}
	return err
}

// Reason says in a sentence why deliveries wait.
func (w *Wait) Reason() string {
	reason := w.why()
	if rest, ok := strings.CutPrefix(reason, "Waits: the"); ok && w.Waiting == 0 {
		return "The" + rest // a pace that holds, though nothing has to wait for it now
	}
	return reason
}

func (w *Wait) why() string {
	reason := w.cause()
	switch w.Why {
	case WaitAsked, WaitEased, WaitShort:
		return reason + "."
	}
	return reason + "; " + w.waiting() + "."
}

// cause is why deliveries wait, without how many there are.
func (w *Wait) cause() string {
	switch w.Why {
	case WaitAsked, WaitEased:
		return "Waits: the receiver asked to slow down"
	case WaitShort:
		return "Waits: this server lacks ports, files or memory. Nothing is wrong with the destination"
	case WaitFailing:
		return fmt.Sprintf("Waits: the destination keeps failing, so that a worker tries it %s a second until it works again",
			countOf(int(math.Round(w.Rate)), "time", "times"))
	case WaitLimited:
		return fmt.Sprintf("Waits: the destination's rate limit is %s a second", strconv.FormatFloat(w.Rate, 'f', -1, 64))
	}
	return "The destination answers slowly, and takes one after the other"
}

func (w *Wait) waiting() string {
	more := ""
	if w.More {
		more = "more than "
	}
	if w.Waiting == 0 {
		return "no delivery waits for it now"
	}
	if w.Waiting == 1 && !w.More {
		return "1 delivery waits for it"
	}
	return more + units.Thousands(w.Waiting) + " deliveries wait for it"
}

// Expected is when everything that waits now will have been tried, at the rate of now.
func (w *Wait) Expected(now time.Time) time.Time {
	if w.Until.After(now) {
		return w.Until
	}
	if w.Rate <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(float64(max(w.Waiting, 1)) / w.Rate * float64(time.Second))).Truncate(time.Second)
}

// explain says of deliveries that are due and wait for their destination why that is, and until when about.
func (s *Store) explain(ctx context.Context, list []*Delivery) error {
	var keys []int64
	for _, d := range list {
		if !d.Final() && !slices.Contains(keys, d.DeliveryKey.Destination) {
			keys = append(keys, d.DeliveryKey.Destination)
		}
	}
	now := time.Now()
	if err := s.explainOrder(ctx, list, now); err != nil {
		return err
	}
	waits, err := s.Waits(ctx, keys)
	if err != nil || len(waits) == 0 {
		return err
	}
	for _, d := range list {
		w := waits[d.DeliveryKey.Destination]
		if w == nil || d.Waits || !w.keeps(d) {
			continue
		}
		at, own := w.Expected(now), d.NextAttemptAt
		if own != nil && own.After(now) && (at.IsZero() || !own.Before(at)) {
			continue // it has a time of its own, and nothing keeps it from that
		}
		d.Waits, d.WaitsFor, d.Reason = true, w.Why, w.Reason()
		if d.NextAttemptAt = nil; !at.IsZero() {
			d.NextAttemptAt = &at
		}
	}
	return nil
}

// keeps reports whether a delivery to the destination is one that waits for this reason.
func (w *Wait) keeps(d *Delivery) bool {
	switch {
	case d.Final():
		return false
	case w.Why == WaitEased:
		return d.Status == StatusPending && d.Attempts == 0
	}
	return w.Why != WaitSlow || d.Status != StatusDelivering
}

// ExplainEvents says of the deliveries that events of a list are about why they wait: with one read for all that are behind others with
// their ordering key, and one for all destinations; with none where nothing waits. Unlike with single deliveries nobody counts those that
// wait, which would be a read for each destination.
func (s *Store) ExplainEvents(ctx context.Context, list []*Event) error {
	var open []*Delivery
	var about []*Trouble
	var keys []int64
	for _, e := range list {
		for i := range e.Worst {
			t := &e.Worst[i]
			d := &Delivery{DeliveryKey: t.key, Status: t.Status, Attempts: t.attempts, NextAttemptAt: t.Next}
			if d.Final() || d.Status == StatusHeld {
				continue
			}
			open, about = append(open, d), append(about, t)
			if !slices.Contains(keys, t.key.Destination) {
				keys = append(keys, t.key.Destination)
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	now := time.Now()
	if err := s.explainOrder(ctx, open, now); err != nil {
		return err
	}
	waits, err := s.uncounted(ctx, keys)
	if err != nil {
		return err
	}
	for i, d := range open {
		t, w := about[i], waits[d.DeliveryKey.Destination]
		switch own := d.NextAttemptAt; {
		case d.Waits:
			t.Wait, t.Next = d.Reason, own
		case w == nil || !w.keeps(d) || own != nil && own.After(now) && !own.Before(w.Until):
			// it has a time of its own, or is on its way
		default:
			t.Wait, t.Next = w.cause()+".", timeOrNil(w.Until)
		}
	}
	return nil
}
