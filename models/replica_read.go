package models

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/internal/metrics"
)

// fromReplica marks a context whose reads go to the replica. It holds the context that was marked.
type fromReplica struct{}

// OnPrimary is the context for what must be read from the primary, also where Read has chosen the replica.
func OnPrimary(ctx context.Context) context.Context {
	if before, ok := ctx.Value(fromReplica{}).(context.Context); ok {
		return before
	}
	return ctx
}

// HasReplica reports whether there is a server that reads may go to.
func (s *Store) HasReplica() bool { return s.replica != nil }

// Now is the time with which the answer to a write is marked: that of the primary's clock, or a little later. It is zero without a
// replica.
func (s *Store) Now() time.Time {
	if s.replica == nil {
		return time.Time{}
	}
	return s.replica.now()
}

// Wrote remembers for a while that a caller has written.
func (s *Store) Wrote(caller string) {
	if r := s.replica; r != nil {
		r.wrote.note(caller, r.now(), r.maxLag)
	}
}

// LastWrite is when a caller wrote, as far as this process remembers; zero for not lately.
func (s *Store) LastWrite(caller string) time.Time {
	if s.replica == nil {
		return time.Time{}
	}
	return s.replica.wrote.last(caller)
}

// ReplicaLag is how far the replica may be behind before it is not read from.
func (s *Store) ReplicaLag() time.Duration {
	if s.replica == nil {
		return 0
	}
	return s.replica.maxLag
}

// Read does what only reads, on the replica where there is one that is fit and shows what the caller wrote at wrote. What is not
// found there, or fails there for any reason but the caller's own mistake, is done again on the primary: run may be called twice.
func (s *Store) Read(ctx context.Context, wrote time.Time, run func(ctx context.Context) error) error {
	r := s.replica
	if r == nil {
		return run(ctx)
	}
	st, problem := r.judged()
	switch {
	case problem != "":
		r.count[readUnfit].Add(1)
		return run(ctx)
	case !wrote.IsZero() && !st.shows.at.After(wrote):
		r.count[readAfterWrite].Add(1)
		return run(ctx)
	}
	marked, cancel := context.WithCancel(context.WithValue(ctx, fromReplica{}, ctx))
	stop := context.AfterFunc(st.lives, cancel)
	err := run(marked)
	stop()
	cancel()
	var known *Error
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return err
	case errors.As(err, &known) && known.Kind == KindNotFound:
		r.count[readMissing].Add(1)
		return run(ctx)
	case known == nil || known.Kind == KindInternal || known.Kind == KindUnavailable:
		r.failed(err)
		return run(ctx)
	}
	r.count[readReplica].Add(1)
	return err
}

// readPool is the pool for everything but the path of events. Queries and snapshots whose context Read has marked go to the replica,
// all else to the primary.
type readPool struct {
	*pgxpool.Pool
	replica *pgxpool.Pool // nil for none
}

func (p *readPool) of(ctx context.Context) *pgxpool.Pool {
	if p.replica != nil && ctx.Value(fromReplica{}) != nil {
		return p.replica
	}
	return p.Pool
}

func (p *readPool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.of(ctx).Query(ctx, sql, args...)
}

func (p *readPool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return p.of(ctx).QueryRow(ctx, sql, args...)
}

func (p *readPool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	if o.AccessMode == pgx.ReadOnly || o.IsoLevel == pgx.RepeatableRead {
		return p.of(ctx).BeginTx(ctx, o)
	}
	return p.Pool.BeginTx(ctx, o)
}

// readDB is readPool for GORM.
type readDB struct {
	*sql.DB
	replica *sql.DB
}

func (d *readDB) of(ctx context.Context) *sql.DB {
	if ctx.Value(fromReplica{}) != nil {
		return d.replica
	}
	return d.DB
}

func (d *readDB) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return d.of(ctx).QueryContext(ctx, q, args...)
}

func (d *readDB) QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row {
	return d.of(ctx).QueryRowContext(ctx, q, args...)
}

// errOtherServer is why a connection is not used, and what was to be read is read on the primary.
var errOtherServer = errors.New("the address leads to another server than the one that was looked at")

// newReplicaPool makes a pool that is not used before it is needed. Connections of the one for reading are used only while they lead
// to the server that was looked at.
func newReplicaPool(ctx context.Context, o Options, login *dbconn.Login, conns int, settings map[string]string,
	r *replica) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(o, login, conns, settings)
	if err != nil {
		return nil, err
	}
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	if conns > 1 {
		cfg.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) {
			if c.PgConn().Conn().RemoteAddr().String() == r.server.Load() {
				return true, nil
			}
			r.looks.Reset() // which looks at the other one from now on
			return false, errOtherServer
		}
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// watchReplica adds the metrics that tell of the replica.
func (s *Store) watchReplica() {
	problems := []string{ReplicaStarting, ReplicaAway, ReplicaPromoted, ReplicaBranched, ReplicaForeign, ReplicaSchema, ReplicaLags}
	s.Metrics.Watch([]metrics.Desc{
		{Name: "waybill_replica_fit", Help: "1 while the replica may be read from, else 0."},
		{Name: "waybill_replica_problem", Help: "1 for why the replica is not read from; all are 0 while it is.", Labels: []string{"problem"}},
		{Name: "waybill_replica_lag_seconds", Help: "How old the state of the database is that the replica shows, at most."},
		{Name: "waybill_replica_reads_total", Help: "Requests that only read, by the server that answered them, and why that was the primary.",
			Labels: []string{"from", "reason"}, Counter: true},
	}, func() []metrics.Sample {
		r := s.replica
		st, problem := r.judged()
		value := func(is bool) float64 {
			if is {
				return 1
			}
			return 0
		}
		out := []metrics.Sample{{Name: "waybill_replica_fit", Value: value(problem == "")},
			{Name: "waybill_replica_lag_seconds", Value: st.lag().Seconds()}}
		for _, p := range problems {
			out = append(out, metrics.Sample{Name: "waybill_replica_problem", Value: value(p == problem), Labels: []string{p}})
		}
		for i, name := range readNames {
			out = append(out, metrics.Sample{Name: "waybill_replica_reads_total", Value: float64(r.count[i].Load()), Labels: name[:]})
		}
		return out
	})
}

// ReplicaState says how the replica is: "used", or why it is not; empty without one.
func (s *Store) ReplicaState() (state, detail string) {
	if s.replica == nil {
		return "", ""
	}
	st, problem := s.replica.judged()
	switch {
	case problem == "":
		return "used", ""
	case st.problem == "":
		return problem, "It was not looked at for a while."
	}
	return problem, st.detail
}
