package models

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/dbconn"
)

// replicaFit is for how long the doctor waits until a replica shows what the primary had when it began to look.
const replicaFit = 3 * time.Second

// CheckReplica says whether reads can go to the replica at url.
func CheckReplica(ctx context.Context, primary, url string, maxLag time.Duration) Finding {
	r, err := openReplica(ctx, Options{URL: primary, Replica: url, ReplicaLag: maxLag}, &dbconn.Login{})
	if err != nil {
		return Finding{Check: "replica", Level: LevelFail, Message: err.Error() + ".", Advice: "web, work and serve do not start with it."}
	}
	defer r.close()
	for deadline := time.Now().Add(replicaFit); time.Now().Before(deadline) && ctx.Err() == nil; <-time.After(replicaLook / 5) {
		if p := r.state.Load().problem; p != ReplicaStarting && p != ReplicaLags {
			break
		}
	}
	return r.finding()
}

// checkReplica is CheckReplica for a process that has one.
func (s *Store) checkReplica(_ context.Context, f *findings, _ time.Time) error {
	if s.replica != nil {
		*f = append(*f, s.replica.finding())
	}
	return nil
}

// replicaAdvice says what to do about each problem of a replica.
var replicaAdvice = map[string]string{
	ReplicaStarting: "Look again; if it stays, see whether the standby receives and replays (pg_stat_replication on the primary).",
	ReplicaAway:     "Start the standby, or take DATABASE_URL_REPLICA out. Nothing is lost: the primary is read from.",
	ReplicaPromoted: "After a failover, give the address of the new standby in DATABASE_URL_REPLICA (several hosts with " +
		"target_session_attrs=standby find it by themselves).",
	ReplicaBranched: "Have the standby follow the primary of DATABASE_URL (pg_rewind or a new pg_basebackup), or give another one.",
	ReplicaForeign:  "Give the address of a standby of the database that DATABASE_URL leads to.",
	ReplicaSchema:   "Wait until the standby has replayed the migration.",
	ReplicaLags: "See why it is behind: pg_stat_replication on the primary, long queries or a pause on the standby " +
		"(pg_is_wal_replay_paused), its disk.",
}

func (r *replica) finding() Finding {
	st, problem := r.judged()
	if problem == "" {
		return Finding{Check: "replica", Level: LevelOK,
			Message: fmt.Sprintf("The replica is read from; it is %d ms behind at most.", st.lag().Milliseconds())}
	}
	level := LevelWarn
	if problem == ReplicaForeign {
		level = LevelFail
	}
	return Finding{Check: "replica", Level: level,
		Message: "The replica is not read from (" + problem + "). " + st.detail, Advice: replicaAdvice[problem]}
}
