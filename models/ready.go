package models

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// readyTime is how long it takes at most to find out whether events could be accepted, and readyFresh for how long that is
// believed.
const (
	readyTime  = 2 * time.Second
	readyFresh = time.Second
)

// readiness is what was found last.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Ready tries what accepting an event needs, without accepting one: that the schema is not older than this build, that the pool of the path
// of events gives a connection on which the settings hold, that the statements of the accepting transaction can be prepared
// and carried out, that the database takes writes and commits them, and that the job queue's pool answers. What is found is believed for a
// second.
func (s *Store) Ready(ctx context.Context) error {
	r := &s.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < readyFresh {
		return r.err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	r.err = s.tryAccepting(ctx)
	r.at = time.Now()
	return r.err
}

func (s *Store) tryAccepting(ctx context.Context) error {
	if err := migrations.CheckRunning(ctx, s.pool); err != nil {
		return fmt.Errorf("the schema: %w", err)
	}
	if err := s.inHotTx(ctx, func(tx *hotTx) error { return tryHot(ctx, tx, s.home == nil) }); err != nil {
		return fmt.Errorf("the connections that events are accepted on: %w", err)
	}
	var async string
	if err := s.Jobs.QueryRow(ctx,
		"select current_setting('synchronous_commit') from "+migrations.RiverSchema+".river_job limit 1").Scan(&async); err != nil &&
		err != pgx.ErrNoRows {
		return fmt.Errorf("the connections of the job queue: %w", err)
	}
	return nil
}

// tryHot begins a transaction as Accepter.lookup does, for no tenant.
func tryHot(ctx context.Context, tx *hotTx, home bool) error {
	b := &pgx.Batch{}
	own := tx.begin(b)
	b.Queue(acceptLock, int32(lockTenant), []int32{})
	b.Queue(acceptTenants, []string{})
	if home {
		b.Queue(acceptTopics)
		own++
	}
	b.Queue("select current_setting('transaction_read_only'), current_setting('plan_cache_mode')")
	br := tx.conn.SendBatch(ctx, b)
	for range own + 2 {
		if _, err := br.Exec(); err != nil {
			br.Close()
			return err
		}
	}
	var readOnly, plans string
	if err := br.QueryRow().Scan(&readOnly, &plans); err != nil {
		br.Close()
		return err
	}
	switch {
	case readOnly == "on":
		br.Close()
		return fmt.Errorf("the database takes no writes: it is a standby, or read-only")
	case plans != hotSettings["plan_cache_mode"]:
		br.Close()
		return fmt.Errorf("a session's settings do not hold (plan_cache_mode is %q): is there a connection pooler in transaction mode?",
			plans)
	}
	if err := br.Close(); err != nil {
		return err
	}
	// As the commit of an event does, so that it is seen when a standby that commits wait for is away.
	if _, err := tx.conn.Exec(ctx, durable); err != nil {
		return err
	}
	if err := tx.commit(ctx, nil, nil); err != nil {
		return fmt.Errorf("a commit (with synchronous replication it waits for a standby): %w", err)
	}
	return nil
}
