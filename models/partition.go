package models

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/migrations"
)

// partitionNames tells statements of the hot path which partition to name. PostgreSQL would find it, but locks and
// prepares every partition of a table for each statement that names the table itself.
type partitionNames struct {
	mu     sync.RWMutex
	known  map[string]bool
	loaded time.Time
}

// of returns the partition of table that holds all these events, or the table itself when they are of several days or
// their partition is not known.
func (p *partitionNames) of(table string, ids ...uuid.UUID) string {
	day := dayOf(ids[0])
	for _, id := range ids[1:] {
		if dayOf(id) != day {
			return table
		}
	}
	name := migrations.PartitionName(table, time.Unix(day*86400, 0))
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.known[name] {
		return name
	}
	return table
}

// dayOf is the day, counted from 1970, in an event's id.
func dayOf(id uuid.UUID) int64 {
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return ms / 86_400_000
}

// KnowPartitions reads which partitions there are. It is called at start and from time to time; between, a partition
// that is not known only costs a little speed.
func (s *Store) KnowPartitions(ctx context.Context) error {
	known := map[string]bool{}
	for _, table := range migrations.Partitioned {
		rows, err := s.pool.Query(ctx,
			"select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass", table)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, n := range names {
			known[n] = true
		}
	}
	s.partitions.mu.Lock()
	defer s.partitions.mu.Unlock()
	s.partitions.known, s.partitions.loaded = known, time.Now()
	return nil
}

// forgetPartitions makes statements name the tables themselves again, when one that was known is gone.
func (s *Store) forgetPartitions(err error) {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42P01" { // undefined_table
		s.partitions.mu.Lock()
		defer s.partitions.mu.Unlock()
		s.partitions.known = nil
	}
}
