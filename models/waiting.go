package models

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Waiting are deliveries that wait, now.
type Waiting struct {
	Retrying int // failed, and are due again
	Held     int // are kept, because their destination is or was disabled
}

// waitingCounts counts deliveries that wait, as the fields of Waiting.
const waitingCounts = "count(*) filter (where attention = 'retrying'), count(*) filter (where attention = 'held')"

// countTimeout bounds how long deliveries are counted.
const countTimeout = 10 * time.Second

// isCanceled reports whether the database gave up a statement, because its time was over.
func isCanceled(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "57014" // query_canceled
}

// within runs fn in a snapshot, in which no statement takes longer than that. When one would, the error is KindUnavailable, and
// isCanceled too.
func (s *Store) within(ctx context.Context, most time.Duration, fn func(tx pgx.Tx) error) error {
	err := s.inSnapshot(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local statement_timeout = %d", most.Milliseconds())); err != nil {
			return err
		}
		return fn(tx)
	})
	if isCanceled(err) {
		return &Error{Kind: KindUnavailable, RetryAfter: time.Minute, Err: err, Message: fmt.Sprintf("There is more to count than this "+
			"server does in %.0f seconds. Ask for a shorter span, or for one tenant or destination.", most.Seconds())}
	}
	return err
}

// waiting counts the scope's deliveries that wait, exactly. Where counting takes long, the figure of a moment ago is told: at says
// from when it is.
func (s *Store) waiting(ctx context.Context, scope Scope) (w Waiting, at time.Time, err error) {
	return s.waits.of(fmt.Sprint(scope.keys())).get(ctx, func(ctx context.Context) (w Waiting, err error) {
		q := newQuery()
		scope.where(q, "tenant_key")
		q.and("attention in ('retrying', 'held')")
		err = s.within(ctx, countTimeout, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx,
				"select "+waitingCounts+" from deliveries"+q.sql(),
				q.args...).Scan(&w.Retrying, &w.Held)
		})
		return w, err
	})
}

// WaitingOf counts the deliveries that wait for each of these destinations, exactly, by their keys. many is true when there are so many
// that they could not be counted in time; there are no numbers then.
func (s *Store) WaitingOf(ctx context.Context, list []*Destination) (w map[int64]Waiting, many bool, err error) {
	keys := make([]int64, len(list))
	for i, d := range list {
		keys[i] = d.Key
	}
	w, err = s.waitingOf(ctx, keys)
	if isCanceled(err) {
		return nil, true, nil
	}
	return w, false, err
}

// waitingOf counts the deliveries that wait for each of these destinations.
func (s *Store) waitingOf(ctx context.Context, destinations []int64) (map[int64]Waiting, error) {
	out := map[int64]Waiting{}
	err := s.within(ctx, countTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select destination_key, `+waitingCounts+`
			from deliveries where destination_key = any($1) and attention in ('retrying', 'held') group by 1`, destinations)
		if err != nil {
			return err
		}
		var key int64
		var w Waiting
		_, err = pgx.ForEachRow(rows, []any{&key, &w.Retrying, &w.Held}, func() error {
			out[key] = w
			return nil
		})
		return err
	})
	return out, err
}

// remembered are figures that may take long to find out, each by its name.
type remembered[T any] struct {
	mu   sync.Mutex
	each map[string]*figure[T]
}

func (r *remembered[T]) of(name string) *figure[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.each == nil {
		r.each = map[string]*figure[T]{}
	}
	if r.each[name] == nil {
		r.each[name] = &figure[T]{}
	}
	return r.each[name]
}

// figure is read anew so seldom that it takes up no more than a twentieth of the time. One that takes long is read while the one
// before is still told.
type figure[T any] struct {
	mu      sync.Mutex
	value   T
	at      time.Time // zero for not yet
	took    time.Duration
	reading bool
}

const (
	figurePause = 20                    // times as long as reading took
	figureSlow  = 30 * time.Millisecond // takes long
)

func (f *figure[T]) get(ctx context.Context, read func(context.Context) (T, error)) (T, time.Time, error) {
	f.mu.Lock()
	value, at, age := f.value, f.at, time.Since(f.at)
	known := !f.at.IsZero()
	switch {
	case known && age < figurePause*f.took:
	case known && f.took > figureSlow && age < 3*figurePause*f.took:
		if !f.reading {
			f.reading = true
			go func() {
				bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
				defer cancel()
				_, _, _ = f.read(bounded, read) // whoever asks next reads it anew
			}()
		}
	default:
		f.mu.Unlock()
		return f.read(ctx, read)
	}
	f.mu.Unlock()
	return value, at, nil
}

func (f *figure[T]) read(ctx context.Context, read func(context.Context) (T, error)) (T, time.Time, error) {
	began := time.Now()
	value, err := read(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = false
	if err == nil {
		f.value, f.at, f.took = value, began.UTC(), time.Since(began)
	}
	return value, began.UTC(), err
}
