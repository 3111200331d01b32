package models

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
)

// ServerState is how the whole server is, for its operators. All times are by the database's clock.
type ServerState struct {
	At         time.Time
	Checkup    Checkup
	Processes  []ProcessState
	Queues     []QueueState // nil when the jobs could not be counted in time
	QueuesAt   time.Time    // when they were counted
	OldestDue  map[string]time.Duration
	Database   DatabaseState
	Deliveries DeliveryTotals
	Cells      []CellState // home first; none where there are no others. What is not of them or in Checkup is home's
}

// ProcessState is a worker process, as the others see it.
type ProcessState struct {
	ID, Role, Host string
	PID            int
	StartedAt      time.Time
	SeenAt         time.Time
	Alive          bool // it was seen within the last five seconds
	Jobs           int  // that it has taken
}

// QueueState are the jobs of a queue in a state: "due" are those that a worker could take now, "scheduled" those of the future.
type QueueState struct {
	Queue, State string
	Jobs         int
	Oldest       time.Time // since when the oldest is due, is running, or for when it is meant; zero for none
}

// DatabaseState is how PostgreSQL is.
type DatabaseState struct {
	Version         string      // "17.4"
	Size            int64       // bytes
	Tables          []TableSize // the largest first; nil when their sizes could not be read in time
	Connections     int         // of clients, to the whole PostgreSQL server
	MostConnections int         // that it accepts from others than superusers
	PartitionsAhead int         // days after today for which every table has a partition
	OldestPartition time.Time
	Retention       time.Duration
}

// TableSize is what a table takes up, all days together.
type TableSize struct {
	Table string
	Size  int64 // bytes, with indexes
	Rows  int64 // about
}

// DeliveryTotals are what waits, and what is in trouble, now, of all tenants.
type DeliveryTotals struct {
	Retrying  int // deliveries that have failed and are due again
	Held      int // deliveries that are kept, because their destination is or was disabled
	CountedAt time.Time
	Failing   int // destinations that fail and are not disabled
	Disabled  int // destinations
}

// ServerState tells how the server is. The parts that may take long are remembered for a moment.
func (s *Store) ServerState(ctx context.Context) (*ServerState, error) {
	ctx = OnPrimary(ctx)
	out := &ServerState{At: time.Now().UTC(), OldestDue: map[string]time.Duration{}}
	var err error
	if out.Checkup, err = s.Checkup(ctx); err != nil {
		return nil, err
	}
	if out.Processes, err = s.processes(ctx); err != nil {
		return nil, err
	}
	if out.Queues, out.QueuesAt, err = s.queues.get(ctx, s.countJobs); err != nil {
		return nil, err
	}
	for _, q := range watchedQueues {
		if out.OldestDue[q], err = s.oldestDue(ctx, q); err != nil {
			return nil, err
		}
	}
	if out.Database, err = s.databaseState(ctx); err != nil {
		return nil, err
	}
	d := &out.Deliveries
	if d.Failing, d.Disabled, err = s.troubled(ctx, AllTenants()); err != nil {
		return nil, err
	}
	w, at, err := s.waiting(ctx, AllTenants())
	d.Retrying, d.Held, d.CountedAt = w.Retrying, w.Held, at
	return out, err
}

func (s *Store) processes(ctx context.Context) ([]ProcessState, error) {
	rows, err := s.pool.Query(ctx, `select p.id, p.role, p.host, p.pid, p.started_at, p.seen_at, `+apart+` < interval '5 seconds',
			coalesce(j.n, 0)
		from processes p left join (select attempted_by[array_upper(attempted_by, 1)] id, count(*) n from `+queue.Schema+`.river_job
			where state = 'running' group by 1) j on j.id = p.id order by p.role, p.started_at, p.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p ProcessState, err error) {
		err = row.Scan(&p.ID, &p.Role, &p.Host, &p.PID, &p.StartedAt, &p.SeenAt, &p.Alive, &p.Jobs)
		return p, err
	})
}

// jobState is the state of a job as metrics and the server's page call it.
const jobState = "case when state::text <> 'available' then state::text when scheduled_at <= now() then 'due' else 'scheduled' end"

// countJobs counts the jobs by queue and state; nil when that takes too long. Every queue is told of, also one in which nothing is.
func (s *Store) countJobs(ctx context.Context) ([]QueueState, error) {
	out := []QueueState{}
	for _, name := range watchedQueues {
		for _, state := range []string{"due", "scheduled", "running"} {
			out = append(out, QueueState{Queue: name, State: state})
		}
	}
	err := s.within(ctx, checkupTime, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select queue, `+jobState+`, count(*), min(case when state = 'running' then coalesce(attempted_at, scheduled_at)
			when scheduled_at <= now() then greatest(scheduled_at, created_at) else scheduled_at end)
			from `+queue.Schema+`.river_job group by 1, 2 order by 1, 2`)
		if err != nil {
			return err
		}
		var q QueueState
		_, err = pgx.ForEachRow(rows, []any{&q.Queue, &q.State, &q.Jobs, &q.Oldest}, func() error {
			if i := slices.IndexFunc(out, func(o QueueState) bool { return o.Queue == q.Queue && o.State == q.State }); i >= 0 {
				out[i] = q
			} else {
				out = append(out, q)
			}
			return nil
		})
		return err
	})
	if isCanceled(err) {
		return nil, nil
	}
	return out, err
}

// maxTables is how many of the largest tables are told of.
const maxTables = 8

func (s *Store) databaseState(ctx context.Context) (d DatabaseState, err error) {
	d.Retention = s.Rules().Retention
	err = s.pool.QueryRow(ctx, `select split_part(current_setting('server_version'), ' ', 1), pg_database_size(current_database()),
		(select count(*) from pg_stat_activity where backend_type = 'client backend'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`).Scan(&d.Version, &d.Size,
		&d.Connections, &d.MostConnections)
	if err != nil {
		return d, err
	}
	if d.Tables, err = s.largestTables(ctx); err != nil {
		return d, err
	}
	days, err := migrations.Days(ctx, s.pool)
	if err != nil {
		return d, err
	}
	d.PartitionsAhead, d.OldestPartition = partitionSpan(days, time.Now())
	return d, nil
}

// largestTables is nil when a table is locked for longer than checkupTime: its size cannot be told then.
func (s *Store) largestTables(ctx context.Context) (out []TableSize, err error) {
	err = s.within(ctx, checkupTime, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select coalesce(p.inhparent, c.oid)::regclass::text, sum(pg_total_relation_size(c.oid))::bigint,
			sum(greatest(c.reltuples, 0))::bigint
		from pg_class c left join pg_inherits p on p.inhrelid = c.oid
		where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, $1::regnamespace)
		group by 1 order by 2 desc, 1 limit $2`, migrations.RiverSchema, maxTables)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[TableSize])
		return err
	})
	if isCanceled(err) {
		return nil, nil
	}
	return out, err
}

// partitionSpan is for how many days after today every table has its partition, and the oldest day that one has.
func partitionSpan(days map[string][]time.Time, now time.Time) (ahead int, oldest time.Time) {
	ahead = -1
	for _, list := range days {
		if n := migrations.Ahead(list, now); ahead < 0 || n < ahead {
			ahead = n
		}
		for _, d := range list {
			if oldest.IsZero() || d.Before(oldest) {
				oldest = d
			}
		}
	}
	return ahead, oldest
}
