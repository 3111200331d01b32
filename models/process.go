package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How a living process proves that it is alive, and when another may take its work over.
const (
	heartbeat = 500 * time.Millisecond
	// deadAfter is how long a process must have been silent, besides having lost its lock. The lock is lost the moment
	// its connection closes, which also happens to the living when PostgreSQL restarts.
	deadAfter = 1500 * time.Millisecond
	// leaseLength is after how much silence a process counts as dead although it holds its lock: it was stopped, and
	// its connection is still open. It must not send for longer than sendLease without having been seen.
	leaseLength = 15 * time.Second
	sendLease   = 8 * time.Second
	// settleAfterStart and settleAfterLoss are for how long a process must have proven without a gap that it is alive before it takes
	// over from others: since it started, and since it was cut off. What cut it off has cut off others, and the slowest of them is to
	// be back first, or to send nothing any more.
	settleAfterStart = deadAfter + heartbeat
	settleAfterLoss  = sendLease
)

// Process is this process's entry among the living. It proves every half second that it is alive, and holds an advisory
// lock. When the lock is free and the last proof is older than deadAfter, any other process makes its jobs available
// again. A process that is silent for leaseLength although it holds its lock has been stopped, unless the database's clock
// has jumped: it is given up only when it stays silent by the clock of the one that looks.
//
// A process takes over only while it can prove without gaps that it is alive itself: after the database was away all are
// silent, and the living need a moment to say so. One that was only stopped finds its row gone, sends nothing more and
// starts anew; what it sent meanwhile is not recorded, because its jobs are not its own any more.
type Process struct {
	ID string // also the job queue's name for its worker

	s        *Store
	role     string
	log      *slog.Logger
	lastSeen atomic.Pointer[time.Time] // when the last proof was sent that reached the database
	settled  atomic.Pointer[time.Time] // from when on it may take over from others, as long as no proof fails
	lost     chan struct{}
	feed     atomic.Bool   // somebody takes changes as events, as far as the last proof told
	suspects chan struct{} // another process may be dead
	proving  sync.WaitGroup
	backend  int32              // the session of PostgreSQL that took the lock last; 0 before
	silent   map[string]silence // the others that seem to have been silent for longer than leaseLength; for KeepTakingOver
}

// silence is what is known of a process that seems to be silent.
type silence struct {
	seen  time.Time // its last proof, by the database's clock
	since time.Time // when that was first noticed, by this process's clock
}

// Register enters a process among the living, role for the curious, and starts to prove that it is alive until ctx
// ends. A worker must register before it takes jobs.
func (s *Store) Register(ctx context.Context, role string, log *slog.Logger) (*Process, error) {
	p := &Process{ID: uuid.Must(uuid.NewV7()).String(), s: s, role: role, log: log, lost: make(chan struct{}),
		suspects: make(chan struct{}, 1)}
	conn, err := p.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("register this process: %w", err)
	}
	// Once the others can see this process, so that whoever begins to read outcomes from now on waits for it.
	if err := s.loadFollowed(ctx); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("register this process: %w", err)
	}
	p.proving.Go(func() { p.run(ctx, conn) })
	return p, nil
}

// Lost is closed when another process has taken this one's work over. It must stop sending, and register again.
func (p *Process) Lost() <-chan struct{} { return p.lost }

// Wait returns when the process has stopped proving that it is alive, after the context of Register has ended.
func (p *Process) Wait() { p.proving.Wait() }

// Alive reports whether this process may send: the others still count it among the living.
func (p *Process) Alive() bool {
	return passed(*p.lastSeen.Load(), time.Now()) < sendLease
}

// endBackend ends the session that still holds this process's lock for a connection which was given up. Where that news was lost on
// its way, PostgreSQL waits for the kernel's keep-alives to find out, and this process would wait for its own lock.
const endBackend = `select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database, processes p
	where d.datname = current_database() and l.locktype = 'advisory' and l.granted and l.pid = $1 and l.classid = $2::int::oid
		and l.objid = p.lock_key::oid and p.id = $3`

// connect opens the connection that holds the process's lock, and takes the lock.
func (p *Process) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, p.s.login.Apply(p.s.Hot.Config().ConnConfig))
	if err != nil {
		return nil, err
	}
	if p.backend != 0 {
		_, err = conn.Exec(ctx, endBackend, p.backend, int32(lockProcess), p.ID)
	}
	var tx pgx.Tx
	if err == nil {
		tx, err = conn.Begin(ctx)
	}
	if err == nil {
		err = p.enter(ctx, tx)
	}
	if err == nil {
		// In the transaction that makes the row visible, so that nobody finds it without its lock.
		err = tx.QueryRow(ctx, "select pg_advisory_lock($1, lock_key), pg_backend_pid() from processes where id = $2",
			int32(lockProcess), p.ID).Scan(nil, &p.backend)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	p.seen(time.Now())
	return conn, nil
}

// enter writes the process's row, once: when it is gone later, somebody has taken the work over.
func (p *Process) enter(ctx context.Context, tx pgx.Tx) error {
	if p.backend != 0 {
		tag, err := tx.Exec(ctx, "update processes set seen_at = now() where id = $1", p.ID)
		if err == nil && tag.RowsAffected() == 0 {
			err = errTakenOver
		}
		return err
	}
	host, _ := os.Hostname()
	_, err := tx.Exec(ctx, "insert into processes (id, role, host, pid) values ($1, $2, $3, $4)", p.ID, p.role, host, os.Getpid())
	return err
}

func (p *Process) run(ctx context.Context, conn *pgx.Conn) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	defer func() {
		if conn != nil {
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			conn.Close(bye)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		if conn != nil {
			if err = p.beat(ctx, conn); err != nil {
				conn.Close(ctx)
				conn = nil
			}
		}
		if conn == nil && !errors.Is(err, errTakenOver) {
			lost := err
			if conn, err = p.connect(ctx); err == nil {
				p.settle(settleAfterLoss)
			}
			err = errors.Join(lost, err)
		}
		switch {
		case errors.Is(err, errTakenOver):
			p.log.Error("this process was silent for too long and others have taken its work over; it starts anew", "process", p.ID)
			close(p.lost)
			return
		case err != nil && ctx.Err() == nil:
			p.log.Warn("cannot prove that this process is alive", "error", err)
		}
	}
}

var errTakenOver = errors.New("taken over")

func (p *Process) beat(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	at := time.Now()
	var wanted int64
	var publishing, suspect bool
	err := conn.QueryRow(ctx, `update processes set seen_at = now(), feed_version = $2 where id = $1
		returning (select version from feed), (select published is not null from feed),
			exists (select 1 from processes o where o.id <> $1 and `+apart+" > $3)",
		p.ID, p.s.followed.known(), deadAfter).Scan(&wanted, &publishing, &suspect)
	if errors.Is(err, pgx.ErrNoRows) {
		return errTakenOver
	}
	if err != nil {
		return err
	}
	p.seen(at)
	p.feed.Store(publishing)
	if suspect {
		select {
		case p.suspects <- struct{}{}:
		default:
		}
	}
	p.s.follow(ctx, wanted, p.log)
	return nil
}

// Publishing reports whether somebody takes changes as events: Store.PublishChanges may have something to do.
func (p *Process) Publishing() bool { return p.feed.Load() }

// passed is how much time has passed, by the clock that says more: the one on the wall also knows how long the machine was
// suspended, and nobody sets the other one back.
func passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// seen takes note of a proof that was sent at a time and has reached the database.
func (p *Process) seen(sent time.Time) {
	switch last := p.lastSeen.Swap(&sent); {
	case last == nil:
		p.settle(settleAfterStart)
	case passed(*last, sent) > deadAfter:
		p.settle(settleAfterLoss)
	}
}

// settle has the process take over from nobody for a while.
func (p *Process) settle(after time.Duration) {
	at := time.Now().Add(after)
	p.settled.Store(&at)
}

// steady reports whether this process has proven for a while, without a gap, that it is alive.
func (p *Process) steady() bool {
	return passed(*p.lastSeen.Load(), time.Now()) < deadAfter && time.Now().After(*p.settled.Load())
}

// Unregister takes the process off the list, after its work is done or handed back.
func (p *Process) Unregister(ctx context.Context) error {
	_, err := p.s.pool.Exec(ctx, "delete from processes where id = $1", p.ID)
	return err
}

// takeOver makes the jobs of dead processes available again and returns how many processes and jobs those were. It also
// looks for jobs that processes have which are not on the list any more: one that was given up may fetch some before it
// notices. That is asked for now and then only, or when somebody has died.
func (p *Process) takeOver(ctx context.Context, all bool) (processes, jobs int, err error) {
	err = pgx.BeginFunc(ctx, p.s.Hot, func(tx pgx.Tx) error {
		stopped, err := p.stopped(ctx, tx)
		if err != nil {
			return err
		}
		// A dead process's lock is free; holding it to the end of the transaction keeps others from the same work.
		tag, err := tx.Exec(ctx, `delete from processes where id in (select id from processes
			where id <> $1 and (`+apart+` > $3 and pg_try_advisory_xact_lock($2, lock_key) or id = any($4))
			for update skip locked)`, p.ID, int32(lockProcess), deadAfter, stopped)
		if err != nil {
			return err
		}
		processes = int(tag.RowsAffected())
		if processes > 0 || all {
			jobs, err = p.s.Queue.Takeover(ctx, tx)
		}
		if err == nil && !p.steady() {
			return errUnsteady // the database has been away in the meantime
		}
		return err
	})
	if errors.Is(err, errUnsteady) {
		return 0, 0, nil
	}
	return processes, jobs, err
}

// apart is how far a process's last proof is from now, by the database's clock. It lies in the future when that clock was
// set back.
const apart = "greatest(now() - seen_at, seen_at - now())"

// stopped returns the processes that are to be given up although they hold their locks: by the database's clock they have
// been silent for leaseLength, and since that was noticed they have been, for long enough to know that it is not the clock
// that has jumped.
func (p *Process) stopped(ctx context.Context, tx pgx.Tx) (ids []string, err error) {
	rows, err := tx.Query(ctx, "select id, seen_at from processes where id <> $1 and "+apart+" > $2", p.ID, leaseLength)
	if err != nil {
		return nil, err
	}
	now, silent := time.Now(), map[string]silence{}
	var id string
	var seen time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &seen}, func() error {
		s, known := p.silent[id]
		if !known || !s.seen.Equal(seen) {
			s = silence{seen, now}
		}
		if silent[id] = s; now.Sub(s.since) > deadAfter {
			ids = append(ids, id)
		}
		return nil
	})
	p.silent = silent
	return ids, err
}

var errUnsteady = errors.New("unsteady")

// KeepTakingOver looks for dead processes until ctx ends: whenever the proof that this one is alive tells that another one may not be,
// and every two seconds. It does not while this process cannot prove well that it is alive itself: after the database was away all are
// silent, and those that live need a moment to say so.
func (p *Process) KeepTakingOver(ctx context.Context) {
	tick := time.NewTicker(4 * heartbeat)
	defer tick.Stop()
	for all := true; ; {
		if p.steady() {
			n, jobs, err := p.takeOver(ctx, all)
			if err != nil && ctx.Err() == nil {
				p.log.Warn("cannot look for dead processes", "error", err)
			}
			if n > 0 || jobs > 0 {
				p.s.Queue.WakeAll()
				p.s.Metrics.TookOver(jobs)
				p.log.Warn("took over the work of processes that died", "processes", n, "jobs", jobs)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			all = true
		case <-p.suspects:
			all = false
		}
	}
}

// Workers lists the ids of the processes that deliver and are alive.
func (s *Store) Workers(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx,
		"select id from processes where role in ('serve', 'work') and seen_at > now() - interval '5 seconds' order by id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
