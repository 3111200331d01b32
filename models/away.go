package models

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How long a read waits for a database that does not answer: after lookAfter, and then again and again, the database is asked whether
// it is there, and has presenceTime to answer. A statement that takes long goes on.
const (
	lookAfter     = 1500 * time.Millisecond
	presenceTime  = time.Second
	presenceFresh = time.Second // for how long it is believed
)

// errAway is why a context of WhileAnswering ends.
var errAway = errors.New("the database does not answer")

// presence is whether the database answered when it was asked last.
type presence struct {
	mu   sync.Mutex
	at   time.Time
	away bool
}

// away asks PostgreSQL for a connection of its own, since those of the pools may all be at work. Whoever asks while others do
// gets the same answer.
func (s *Store) away() bool {
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() && time.Since(p.at) < presenceFresh {
		return p.away
	}
	ctx, cancel := context.WithTimeout(context.Background(), presenceTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.login.Apply(s.pool.Config().ConnConfig))
	if err == nil {
		err = conn.Ping(ctx) // a pooler lets everybody in, also while it has no database
		_ = conn.Close(ctx)
	}
	var refused *pgconn.PgError
	p.away = err != nil && (!errors.As(err, &refused) || databaseFault(refused) && refused.Code != tooManyConnections)
	p.at = time.Now()
	return p.away
}

// tooManyConnections is what a PostgreSQL says that is there and has its hands full.
const tooManyConnections = "53300"

// WhileAnswering is a context that ends within about 2.5 s when the database does not answer any more. It is for what only
// reads: what writes must learn whether it was committed. Because says then what became of it.
func (s *Store) WhileAnswering(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var look func()
	look = func() {
		switch {
		case ctx.Err() != nil:
		case s.away():
			cancel(errAway)
		default:
			lookLater(ctx, look)
		}
	}
	lookLater(ctx, look)
	return ctx, func() { cancel(nil) }
}

// lookLater has the database looked at in a while, unless the context is over by then.
func lookLater(ctx context.Context, look func()) {
	t := time.AfterFunc(lookAfter, look)
	context.AfterFunc(ctx, func() { t.Stop() })
}

// Because is the error of what was done within a context of WhileAnswering: that the database is away, if that is why.
func Because(ctx context.Context, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) || !errors.Is(context.Cause(ctx), errAway) {
		return err
	}
	return &Error{Kind: KindUnavailable, Message: "The database does not answer. Try again.", RetryAfter: 2 * time.Second,
		Err: errors.Join(errAway, err)}
}
