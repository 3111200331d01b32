package models

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// What a look asks. The primary's clock is read before the place in its log. A primary's timeline is in the name of the file that it
// writes; a standby's is the highest that it knows of: that of its last restart point, of what it must come to, of what it receives.
const (
	lookPrimary = `select clock_timestamp(), (pg_current_wal_insert_lsn() - '0/0')::bigint,
		('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int`
	lookReplica = `select pg_is_in_recovery(), coalesce((pg_last_wal_replay_lsn() - '0/0')::bigint, 0),
		greatest((select timeline_id from pg_control_checkpoint()), (select min_recovery_end_timeline from pg_control_recovery()),
			(select max(received_tli) from pg_stat_wal_receiver))`
	databaseIdentity = `select (select system_identifier from pg_control_system())::text || ' ' || oid from pg_database
		where datname = current_database()`
)

// pageStart takes off what a page of the log begins with. After the last record of a page the primary's place is behind the header of the
// next one already, and the replica, which has read all there is, stays before it (XLOG_BLCKSZ is 8192; headers take up to 40 bytes).
func pageStart(lsn int64) int64 {
	if off := lsn % 8192; off <= 40 {
		return lsn - off
	}
	return lsn
}

// look looks at both servers, and judges.
func (r *replica) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	last := r.state.Load()
	timeline, err := r.samplePrimary(ctx)
	if err != nil {
		// Nothing is known of how far the replica is behind: it gets older, until it is too old.
		if last.problem == "" && last.lag() > r.maxLag {
			r.set(replicaState{problem: ReplicaLags, detail: "The primary does not say where its log is.", shows: last.shows})
		}
		return
	}
	var standby bool
	var replayed int64
	var theirs int32
	began := time.Now()
	conn, err := r.looks.Acquire(ctx)
	if err == nil {
		defer conn.Release()
		err = conn.QueryRow(ctx, lookReplica).Scan(&standby, &replayed, &theirs)
	}
	switch {
	case err != nil && ctx.Err() != nil && time.Since(began) < replicaTimeout/2:
		return // the primary took the time, or the process ends
	case err != nil:
		r.checked = ""
		r.set(replicaState{problem: ReplicaAway, detail: "It does not answer: " + err.Error()})
		return
	case !standby:
		r.checked = ""
		r.set(replicaState{problem: ReplicaPromoted,
			detail: "The server of DATABASE_URL_REPLICA takes writes: it is a primary, and no standby."})
		return
	case theirs != timeline:
		r.set(replicaState{problem: ReplicaBranched, detail: fmt.Sprintf(
			"It is on timeline %d, the primary on %d: it does not follow this primary, or has not told yet (it does at once to a role with pg_monitor).",
			theirs, timeline)})
		return
	}
	shows := last.shows
	server := conn.Conn().PgConn().Conn().RemoteAddr().String()
	if r.checked != server {
		r.server.Store(server)
		if problem, detail := r.check(ctx, conn.Conn()); problem != "" {
			r.set(replicaState{problem: problem, detail: detail})
			return
		}
		// A server that was restarted may show an older state than before, and another one may be behind.
		r.checked, r.looked, shows = server, time.Now(), walSample{}
	}
	r.judge(r.shown(replayed, shows))
}

// samplePrimary notes where the primary's log is, and returns the primary's timeline.
func (r *replica) samplePrimary(ctx context.Context) (timeline int32, err error) {
	s := walSample{seen: time.Now()}
	if err := r.primary.QueryRow(ctx, lookPrimary).Scan(&s.at, &s.lsn, &timeline); err != nil {
		return 0, err
	}
	s.lsn = pageStart(s.lsn)
	r.clock.Store(int64(s.at.Sub(s.seen)))
	if len(r.samples) >= maxSamples { // a replica that is far behind: every second one does
		kept := r.samples[:0]
		for i := 0; i < len(r.samples); i += 2 {
			kept = append(kept, r.samples[i])
		}
		r.samples = kept
	}
	r.samples = append(r.samples, s)
	return timeline, nil
}

// shown is the last sample that the replica has come to.
func (r *replica) shown(replayed int64, last walSample) walSample {
	n := 0
	for n < len(r.samples) && r.samples[n].lsn <= replayed {
		last = r.samples[n]
		n++
	}
	r.samples = append(r.samples[:0], r.samples[n:]...)
	return last
}

// check looks whether a server is a standby of the same database, with the schema of this build.
func (r *replica) check(ctx context.Context, conn *pgx.Conn) (problem, detail string) {
	var mine, theirs string
	if err := r.primary.QueryRow(ctx, databaseIdentity).Scan(&mine); err != nil {
		return ReplicaStarting, "The primary does not say which database it has: " + err.Error()
	}
	if err := conn.QueryRow(ctx, databaseIdentity).Scan(&theirs); err != nil {
		return ReplicaAway, "It does not say which database it has: " + err.Error()
	}
	if mine != theirs {
		return ReplicaForeign, "The database of DATABASE_URL_REPLICA is no copy of that of DATABASE_URL: server and database are " +
			theirs + ", and not " + mine + "."
	}
	if err := migrations.CheckRunning(ctx, conn); err != nil {
		return ReplicaSchema, err.Error()
	}
	return "", ""
}

// judge says of a replica that answers whether it is near enough. One that was not must come nearer than it had to stay.
func (r *replica) judge(shows walSample) {
	most := r.maxLag
	if r.state.Load().problem != "" {
		most /= 2
	}
	next := replicaState{shows: shows}
	switch {
	case shows.seen.IsZero() && time.Since(r.looked) <= most:
		next.problem, next.detail = ReplicaStarting, "It has not come yet to where the primary was when it was looked at first."
	case shows.seen.IsZero() || next.lag() > most:
		next.problem, next.detail = ReplicaLags, fmt.Sprintf("It is more than %v behind.", Duration(most))
	}
	r.set(next)
}
