package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// replica is a standby of the database, for what only reads. Which state of the database it shows is known by looking at both, four
// times a second: everything that the primary had committed when its place in the log was at most the one that the replica has come to.
// So whoever wrote something at a known time is answered by the replica once it shows a later state, and by the primary until then.
// That costs writers nothing.
type replica struct {
	pool    *pgxpool.Pool // for reading
	sql     *sql.DB       // over pool
	looks   *pgxpool.Pool // one connection, so that a look does not wait for readers
	primary *pgxpool.Pool // one connection, as well
	login   *dbconn.Login // with which connections to the replica are opened
	maxLag  time.Duration
	log     *slog.Logger

	state   atomic.Pointer[replicaState]
	clock   atomic.Int64 // by how many nanoseconds the primary's clock is ahead of this process's, at most
	samples []walSample  // what the primary said, oldest first; of those the replica has come to, only the last
	looked  time.Time    // since when that server is looked at
	checked string       // the server that is known to be a standby of this database, with this build's schema
	server  atomic.Value // the address of the server that was looked at, a string

	wrote wrote
	count [len(readNames)]atomic.Int64
	told  atomic.Int64  // when a failed read was logged last, in unix nanoseconds
	doubt chan struct{} // has it looked at before its time
	stop  context.CancelFunc
	done  chan struct{}
}

const (
	replicaLook    = 250 * time.Millisecond // between two looks
	replicaTimeout = time.Second            // how long a look may take
	maxSamples     = 1024
)

// DefaultReplicaLag is how far a replica may be behind before it is not read from.
const DefaultReplicaLag = 10 * time.Second

// walSample is a moment of the primary's clock, and where its log was right after it.
type walSample struct {
	at   time.Time // by the primary's clock
	seen time.Time // by this process's
	lsn  int64
}

// replicaState is what the last look found. It is not changed.
type replicaState struct {
	problem string // one of the Replica words; empty when it is fit to be read from
	detail  string // in a sentence
	shows   walSample
	lives   context.Context // ends when the replica is away or no standby any more
	end     context.CancelFunc
}

// Why a replica is not read from.
const (
	ReplicaStarting = "starting"       // it was not looked at for long enough
	ReplicaAway     = "away"           // it does not answer
	ReplicaPromoted = "no_standby"     // it takes writes itself
	ReplicaBranched = "other_timeline" // it follows another primary than the one that is written to
	ReplicaForeign  = "other_database" // it is a standby of something else
	ReplicaSchema   = "old_schema"     // a migration has not come to it yet
	ReplicaLags     = "lags"
)

// Where reads went, and why.
const (
	readReplica = iota
	readAfterWrite
	readUnfit
	readMissing
	readFailed
)

// readNames are the labels of waybill_replica_reads_total, in the order above: where a read was answered, and why there.
var readNames = [...][2]string{{"replica", ""}, {"primary", "after_write"}, {"primary", "replica_unfit"}, {"primary", "not_found"},
	{"primary", "replica_failed"}}

// ErrReplica is why a replica cannot be one: what the environment says is wrong.
var ErrReplica = errors.New("DATABASE_URL_REPLICA")

// openReplica looks at a replica, and goes on looking. That it is away or behind is no error: it may come.
func openReplica(ctx context.Context, o Options, login *dbconn.Login) (*replica, error) {
	there := o
	there.URL, there.Pooled = o.Replica, false
	r := &replica{maxLag: o.ReplicaLag, log: o.Log, login: &dbconn.Login{}, doubt: make(chan struct{}, 1), done: make(chan struct{})}
	if r.maxLag == 0 {
		r.maxLag = DefaultReplicaLag
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	settings := map[string]string{"jit": "off", "default_transaction_read_only": "on"}
	for _, p := range []struct {
		to    **pgxpool.Pool
		o     Options
		login *dbconn.Login
		conns int
	}{{&r.pool, there, r.login, max(o.MaxConns, poolConns)}, {&r.looks, there, r.login, 1}, {&r.primary, o, login, 1}} {
		pool, err := newReplicaPool(ctx, p.o, p.login, p.conns, settings, r)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("%w: %w", ErrReplica, err)
		}
		*p.to = pool
	}
	r.set(replicaState{problem: ReplicaStarting, detail: "It was not looked at yet."})
	r.look(ctx)
	if st := r.state.Load(); st.problem == ReplicaForeign {
		r.close()
		return nil, fmt.Errorf("%w: %s Give the address of a standby of the database that DATABASE_URL leads to", ErrReplica, st.detail)
	}
	life, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.watch(life)
	return r, nil
}

// close ends the looks and closes the connections.
func (r *replica) close() {
	if r.stop != nil {
		r.stop()
		<-r.done
	}
	if st := r.state.Load(); st != nil {
		st.end()
	}
	if r.sql != nil {
		r.sql.Close()
	}
	for _, p := range []*pgxpool.Pool{r.pool, r.looks, r.primary} {
		if p != nil {
			p.Close()
		}
	}
}

func (r *replica) watch(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(replicaLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.doubt:
		}
		r.look(ctx)
	}
}

// set makes a state the current one. Reads under way on a server that is away, or no standby any more, end.
func (r *replica) set(next replicaState) {
	last := r.state.Load()
	if last != nil && (next.problem == "" || next.problem == ReplicaLags || next.problem == ReplicaStarting) && last.lives.Err() == nil {
		next.lives, next.end = last.lives, last.end
	} else {
		next.lives, next.end = context.WithCancel(context.Background())
	}
	r.state.Store(&next)
	if last == nil {
		return
	}
	if last.lives != next.lives {
		last.end()
		r.pool.Reset()
	}
	switch next.problem {
	case last.problem, ReplicaStarting:
	case "":
		r.log.Info("the replica is read from", "server", r.server.Load())
	default:
		r.log.Warn("the replica is not read from; the primary answers", "why", next.problem, "detail", next.detail)
	}
}

// judged is the state that the last look found, and why the replica may not answer now; empty when it may.
func (r *replica) judged() (st *replicaState, problem string) {
	st = r.state.Load()
	if st.problem == "" && time.Since(st.shows.seen) > r.maxLag {
		return st, ReplicaLags // nobody has looked for a while
	}
	return st, st.problem
}

// failed takes note of a read that the primary does in place of the replica.
func (r *replica) failed(err error) {
	r.count[readFailed].Add(1)
	select {
	case r.doubt <- struct{}{}:
	default:
	}
	now, last := time.Now().UnixNano(), r.told.Load()
	if now-last > int64(time.Second) && r.told.CompareAndSwap(last, now) {
		r.log.Warn("a read failed on the replica, and is done on the primary; others like it in this second are not told of", "error", err)
	}
}

// lag is how old the state of the database is that the replica shows, at most.
func (st *replicaState) lag() time.Duration {
	if st.shows.seen.IsZero() {
		return 0
	}
	return time.Since(st.shows.seen)
}

// now is the time of the primary's clock, or a little later.
func (r *replica) now() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) }

// wrote remembers callers that do not say when they wrote, for as long as the replica may be behind.
type wrote struct {
	mu sync.Mutex
	at map[string]time.Time
}

// maxWrote is how many are remembered at most.
const maxWrote = 10_000

func (w *wrote) note(caller string, at time.Time, keep time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = map[string]time.Time{}
	}
	if len(w.at) >= maxWrote {
		for c, t := range w.at {
			if at.Sub(t) > keep {
				delete(w.at, c)
			}
		}
		if len(w.at) >= maxWrote {
			clear(w.at) // so many at once are not told apart: they wait for the replica no longer than it lags
		}
	}
	w.at[caller] = at
}

func (w *wrote) last(caller string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[caller]
}
