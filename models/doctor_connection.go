package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/migrations"
)

// CheckSession says whether sessions of the database at url last as long as their connections. Without that nothing works. variable is
// where the address comes from.
func CheckSession(ctx context.Context, url, variable string) Finding {
	err := migrations.CheckSession(ctx, url)
	switch {
	case err == nil:
		return Finding{Check: "connection", Level: LevelOK, Message: "Connections to the database keep their sessions."}
	case errors.Is(err, migrations.ErrPooled):
		return Finding{Check: "connection", Level: LevelFail,
			Message: variable + " leads to a connection pooler in transaction or statement mode: events would be accepted and not delivered.",
			Advice:  "Give PostgreSQL's own address in DATABASE_URL_DIRECT, or use the pooler in session mode (PgBouncer: pool_mode = session)."}
	}
	return Finding{Check: "connection", Level: LevelFail, Message: "The database cannot be read: " + err.Error(),
		Advice: "Check " + variable + ", and whether PostgreSQL runs."}
}

// poolerTime is how long the doctor waits for a pooler.
const poolerTime = 10 * time.Second

// CheckPooler says whether web can use the pooler at url, with whose database the store works directly.
func (s *Store) CheckPooler(ctx context.Context, url string) Finding {
	ctx, cancel := context.WithTimeout(ctx, poolerTime)
	defer cancel()
	bad := func(message, advice string) Finding {
		return Finding{Check: "pooler", Level: LevelFail, Message: message, Advice: advice}
	}
	if err := migrations.CheckTransactions(ctx, url); err != nil {
		return bad("DATABASE_URL: "+err.Error(), "web accepts nothing until the pooler of DATABASE_URL answers. DATABASE_URL_DIRECT does.")
	}
	there, err := Open(ctx, Options{URL: url, Pooled: true, MaxConns: 1, HotConns: 1, JobConns: 1, Keys: s.Keys, Rules: *s.Rules()})
	if err != nil {
		return bad("DATABASE_URL: "+err.Error(), "Check the pooler's address.")
	}
	defer there.Close()
	var mine, other string
	for to, from := range map[*string]*Store{&mine: s, &other: there} {
		if err := from.pool.QueryRow(ctx, sameDatabase).Scan(to); err != nil {
			return bad("The database behind DATABASE_URL cannot be read: "+err.Error(), "Check the pooler, and what it says.")
		}
	}
	if mine != other {
		return bad("DATABASE_URL and DATABASE_URL_DIRECT lead to different databases: events would be accepted and not delivered.",
			"Give the addresses of one and the same database.")
	}
	if err := there.tryAccepting(ctx); err != nil {
		return bad("Events cannot be accepted through the pooler of DATABASE_URL: "+err.Error(), "Check the pooler, and what it says.")
	}
	var jit, idle string
	err = there.pool.QueryRow(ctx, "select current_setting('jit'), current_setting('idle_in_transaction_session_timeout')").Scan(&jit, &idle)
	var why, set []string
	if err == nil && jit == "on" {
		why = append(why, "PostgreSQL compiles statements (jit is on), which makes some lists slow")
		set = append(set, "jit = off")
	}
	if err == nil && idle == "0" {
		why = append(why, "nothing ends a transaction whose process is gone without a word, with its locks")
		set = append(set, "idle_in_transaction_session_timeout = '"+migrations.OrphanTime+"'")
	}
	if len(why) > 0 {
		return Finding{Check: "pooler", Level: LevelWarn,
			Message: "Through the pooler, " + strings.Join(why, ", and ") + ": without a session, web cannot set that.",
			Advice: "Run `alter role … set " + strings.Join(set, "` and `alter role … set ") +
				"` for the account of DATABASE_URL, and restart the pooler."}
	}
	return Finding{Check: "pooler", Level: LevelOK, Message: "The pooler of DATABASE_URL leads to the same database, and takes events."}
}

// sameDatabase tells databases apart: of which start of which server, and which one there.
const sameDatabase = "select pg_postmaster_start_time()::text || ' ' || oid from pg_database where datname = current_database()"

// SameDatabase reports an error when two addresses lead to different databases. That it cannot tell is none.
func SameDatabase(ctx context.Context, pooler, direct string) error {
	ctx, cancel := context.WithTimeout(ctx, poolerTime)
	defer cancel()
	var found [2]string
	for i, url := range []string{pooler, direct} {
		conn, err := dbconn.Connect(ctx, url)
		if err != nil {
			return nil // who needs it says so
		}
		err = conn.QueryRow(ctx, sameDatabase, pgx.QueryExecModeExec).Scan(&found[i])
		conn.Close(ctx)
		if err != nil {
			return nil // as above
		}
	}
	if found[0] != found[1] {
		return errors.New("DATABASE_URL and DATABASE_URL_DIRECT lead to different databases: events would be accepted and not delivered. Give the addresses of one and the same")
	}
	return nil
}

// syncWait is how long a commit may wait for a standby before that is told.
const syncWait = 5 * time.Second

// checkReplication looks whether commits get through where they wait for a standby.
func (s *Store) checkReplication(ctx context.Context, f *findings, _ time.Time) error {
	var names string
	var standbys, counted, unknown, waiting int
	err := s.pool.QueryRow(ctx, `select current_setting('synchronous_standby_names'), count(*),
		count(*) filter (where sync_state in ('sync', 'quorum')), count(*) filter (where sync_state is null),
		(select count(*) from pg_stat_activity where wait_event = 'SyncRep' and clock_timestamp() - query_start > make_interval(secs => $1))
		from pg_stat_replication`, syncWait.Seconds()).Scan(&names, &standbys, &counted, &unknown, &waiting)
	if err != nil {
		return err
	}
	*f = append(*f, judgeReplication(names, standbys, counted+unknown, waiting))
	return nil
}

// judgeReplication takes the setting, how many standbys are connected, how many of them commits may wait for, and how many
// transactions have been waiting.
func judgeReplication(names string, standbys, counted, waiting int) Finding {
	c := Finding{Check: "replication", Level: LevelOK, Message: "Commits wait for no standby."}
	if names == "" {
		if standbys > 0 {
			c.Message += fmt.Sprintf(" %d are connected: what was accepted last is lost when one of them is promoted.", standbys)
		}
		return c
	}
	const advice = "Start the standby. To go on without it, at the risk of losing what is accepted meanwhile: `alter system set synchronous_standby_names = ''`, and `select pg_reload_conf()`."
	switch {
	case counted == 0:
		c.Level, c.Advice = LevelFail, advice
		c.Message = "No event is accepted: commits wait for a standby (synchronous_standby_names), and none of those named is connected."
	case waiting > 0:
		c.Level, c.Advice = LevelFail, advice
		c.Message = fmt.Sprintf("%d commits have been waiting for a standby for longer than %v.", waiting, Duration(syncWait))
	default:
		c.Message = fmt.Sprintf("Commits wait for a standby; %d are connected.", standbys)
	}
	return c
}
