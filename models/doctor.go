package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
)

// Levels of findings.
const (
	LevelOK   = "ok"
	LevelWarn = "warn" // worth a look; nothing is lost
	LevelFail = "fail" // something is wrong
)

// Finding is what a check of a live database found.
type Finding struct {
	Check    string   `json:"check"`
	Level    string   `json:"level"`
	Message  string   `json:"message"`            // what is the case, in one sentence
	Advice   string   `json:"advice,omitempty"`   // what to do; empty when all is well
	Examples []string `json:"examples,omitempty"` // some of what is concerned
	Cell     string   `json:"cell,omitempty"`     // where; empty for home
}

// maxExamples is how many of those there are at most.
const maxExamples = 5

// findings collects what a check finds.
type findings []Finding

func (f *findings) add(check, level, message, advice string, examples ...string) {
	*f = append(*f, Finding{Check: check, Level: level, Message: message, Advice: advice, Examples: examples})
}

// ConnectionsPerProcess is how many connections a process opens at most: its three pools, the one that holds its lock,
// and the queue's listener.
const ConnectionsPerProcess = poolConns + hotConns + jobConns + 2

// Diagnose checks the database and its server: what the operator configured, and what upkeep keeps. The path of events
// itself is checked by DiagnoseQueue. secrets says that the store has the key that credentials are sealed with.
// An error means that a check could not be made.
func (s *Store) Diagnose(ctx context.Context, now time.Time, secrets bool) ([]Finding, error) {
	var f findings
	for _, check := range s.checks() {
		if err := check.run(ctx, &f, now); err != nil {
			return f, err
		}
	}
	if !secrets {
		f.add("secrets", LevelWarn, "Not checked: SECRET_KEY is not given.", "Run the doctor with the SECRET_KEY of web and work.")
		return f, nil
	}
	return f, s.checkSecrets(ctx, &f)
}

// check is one thing that the doctor looks at. Its findings have that name.
type check struct {
	name string
	run  func(context.Context, *findings, time.Time) error
}

// checks are those of the database itself, the quick ones first.
func (s *Store) checks() []check {
	list := []check{{"settings", s.checkSettings}, {"replication", s.checkReplication}, {"replica", s.checkReplica}, {"clock", s.checkClock},
		{"connections", s.checkConnections},
		{"partitions", s.checkPartitions}, {"indexes", s.checkIndexes}, {"vacuum", s.checkVacuum}, {"tuning", s.checkTuning}, {"api_keys", s.checkKeys},
		{"held", s.checkHeld}, {"moves", s.checkMoves}}
	if s.home != nil { // keys and moves are home's
		list = slices.DeleteFunc(list, func(c check) bool { return c.name == "api_keys" || c.name == "moves" })
	}
	return list
}

// checkSettings looks at what PostgreSQL promises about a commit.
func (s *Store) checkSettings(ctx context.Context, f *findings, _ time.Time) error {
	rows, err := s.pool.Query(ctx, `select name, setting from pg_settings where name in
		('synchronous_commit', 'fsync', 'full_page_writes', 'autovacuum', 'track_counts', 'server_version_num')`)
	if err != nil {
		return err
	}
	set := map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { set[name] = value; return nil }); err != nil {
		return err
	}
	bad := len(*f)
	if set["synchronous_commit"] == "off" {
		f.add("settings", LevelFail, "Events that were accepted can be lost when PostgreSQL crashes: synchronous_commit is off.",
			"Set it to on, in postgresql.conf or with ALTER DATABASE … SET, and restart web and work.")
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		if set[name] == "off" {
			f.add("settings", LevelFail, "A crash of the machine can destroy the database: "+name+" is off.",
				"Set "+name+" = on in postgresql.conf and reload.")
		}
	}
	if set["autovacuum"] == "off" || set["track_counts"] == "off" {
		f.add("settings", LevelFail, "Nothing vacuums the job queue: autovacuum or track_counts is off.",
			"Set both to on in postgresql.conf and reload.")
	}
	if v, _ := strconv.Atoi(set["server_version_num"]); v < 140000 {
		f.add("settings", LevelFail, "PostgreSQL is older than 14.", "Upgrade it; Waybill is tested with 14 and newer.")
	}
	if len(*f) == bad {
		f.add("settings", LevelOK, "PostgreSQL keeps what it has committed (synchronous_commit is "+set["synchronous_commit"]+").", "")
	}
	return nil
}

// The clocks may differ so far before somebody is told, and before it is an error: receivers refuse signatures whose time
// is off by five minutes, and ids say when an event was received.
const (
	maxSkew    = 2 * time.Second
	brokenSkew = 30 * time.Second
)

func (s *Store) checkClock(ctx context.Context, f *findings, _ time.Time) error {
	skew, err := queue.ClockSkew(ctx, s.pool.Pool)
	if err != nil {
		return err
	}
	*f = append(*f, judgeClock(skew))
	return nil
}

func judgeClock(skew time.Duration) Finding {
	c := Finding{Check: "clock", Level: LevelOK, Message: "This machine and the database have the same time."}
	if skew.Abs() > maxSkew {
		where := "ahead of"
		if skew < 0 {
			where = "behind"
		}
		c.Level, c.Message = LevelWarn, fmt.Sprintf("The database's clock is %v %s this machine's.", skew.Abs().Round(time.Millisecond),
			where)
		c.Advice = "Let both follow NTP: jobs start by the database's clock, events and signatures carry this machine's. Deliveries go on, but a jump makes retries early or late by as much."
	}
	if skew.Abs() > brokenSkew {
		c.Level = LevelFail
	}
	return c
}

func (s *Store) checkConnections(ctx context.Context, f *findings, _ time.Time) error {
	var most, used, workers int
	err := s.pool.QueryRow(ctx, `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		(select count(*) from pg_stat_activity where backend_type = 'client backend'),
		(select count(*) from processes where seen_at > now() - interval '5 seconds')`).Scan(&most, &used, &workers)
	if err != nil {
		return err
	}
	*f = append(*f, judgeConnections(most, used, workers))
	return nil
}

func judgeConnections(most, used, workers int) Finding {
	c := Finding{Check: "connections", Level: LevelOK, Message: fmt.Sprintf("%d of %d connections are open.", used, most)}
	advice := fmt.Sprintf("Raise max_connections: each process opens up to %d. In front of web a pooler helps (DATABASE_URL_DIRECT).", ConnectionsPerProcess)
	need := max(1, workers) * ConnectionsPerProcess
	switch {
	case used >= most*9/10:
		c.Level, c.Message, c.Advice = LevelFail, fmt.Sprintf("%d of %d connections are open: new ones will be refused.", used, most),
			advice
	case need > most:
		c.Level, c.Message, c.Advice = LevelWarn, fmt.Sprintf("%d worker processes may open %d connections, and PostgreSQL accepts %d.",
			workers, need, most), advice
	}
	return c
}

// checkPartitions looks at the days made in advance, at those past retention, and at rows that are in no day.
func (s *Store) checkPartitions(ctx context.Context, f *findings, now time.Time) error {
	days, err := migrations.Days(ctx, s.pool)
	if err != nil {
		return err
	}
	bad := len(*f)
	for _, table := range migrations.Partitioned {
		if n := migrations.Ahead(days[table], now); n < 3 {
			level := LevelWarn
			if n < 1 {
				level = LevelFail
			}
			f.add("partitions", level, fmt.Sprintf("%s has partitions for %d days after today; there should be %d.", table, max(n, 0),
				migrations.PartitionsAhead),
				"Run `waybill migrate`, which makes them. They are also made every hour: see the worker's log for why that fails.")
		}
		if len(days[table]) > 0 {
			late := now.Add(-s.Rules().Retention).Sub(days[table][0].AddDate(0, 0, 1))
			if late > 48*time.Hour {
				f.add("retention", LevelWarn, fmt.Sprintf("%s still has the day %s, which is %d days past its retention.", table,
					days[table][0].Format(time.DateOnly), int(late.Hours()/24)),
					"See the worker's log for why the hourly upkeep cannot drop it: mostly a transaction that stays open.")
			}
		}
		var strays bool
		if err := s.pool.QueryRow(ctx, "select exists (select 1 from "+table+"_default)").Scan(&strays); err != nil {
			return err
		}
		if strays {
			f.add("partitions", LevelWarn, table+"_default holds rows: a partition was missing, or a clock was wrong, when they came.",
				"They work, but retention cannot drop them. Delete them by hand when they are too old.")
		}
	}
	if len(*f) == bad {
		f.add("partitions", LevelOK, fmt.Sprintf("Every table has its days, %d ahead, and none past its retention.",
			migrations.Ahead(days["events"], now)), "")
	}
	return nil
}

func (s *Store) checkIndexes(ctx context.Context, f *findings, _ time.Time) error {
	names, err := s.names(ctx, `select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid
		where not i.indisvalid and c.relnamespace in ('public'::regnamespace, to_regnamespace($1))
			and not exists (select 1 from pg_stat_progress_create_index p where p.index_relid = i.indexrelid) order by 1`,
		migrations.RiverSchema)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		f.add("indexes", LevelOK, "Every index is valid.", "")
		return nil
	}
	f.add("indexes", LevelFail, fmt.Sprintf("%d indexes are not valid: each write maintains them, and no query uses them.", len(names)),
		"Run `waybill migrate`; for those that stay, REINDEX INDEX CONCURRENTLY, or drop them when their name ends in _ccnew or _ccold.",
		names[:min(len(names), maxExamples)]...)
	return nil
}

// checkVacuum looks at the job queue's table, which lives on being vacuumed, and at what keeps vacuum from its work.
func (s *Store) checkVacuum(ctx context.Context, f *findings, _ time.Time) error {
	bad := len(*f)
	tuned, err := migrations.QueueTuned(ctx, s.pool)
	if err != nil {
		return err
	}
	if !tuned {
		f.add("vacuum", LevelFail, "The job queue's table has lost its settings for autovacuum, or has indexes that nothing uses.",
			"Run `waybill migrate`, which sets them again.")
	}
	var dead, live, size int64
	if err := s.pool.QueryRow(ctx, `select coalesce(n_dead_tup, 0), coalesce(n_live_tup, 0), pg_total_relation_size(relid)
		from pg_stat_user_tables where relid = to_regclass($1)`, migrations.RiverSchema+".river_job").Scan(&dead, &live,
		&size); err != nil {
		return err
	}
	holding, err := s.names(ctx,
		`select format('process %s of %s: a transaction open for %s', pid, coalesce(nullif(application_name, ''), usename),
			date_trunc('second', now() - xact_start))
			from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and datname = current_database()
				and xact_start < now() - $1::interval
		union all select format('replication slot %s', slot_name) from pg_replication_slots where not active
		union all select format('prepared transaction %s', gid) from pg_prepared_xacts where prepared < now() - $1::interval`,
		longTransaction)
	if err != nil {
		return err
	}
	if judged, why := judgeBloat(dead, live, size); judged {
		f.add("vacuum", LevelFail, why,
			"End what blocks vacuum (named below, if it is still there), then run `vacuum river.river_job`; if that frees nothing, run `vacuum full river.river_job` at a quiet time.",
			holding[:min(len(holding), maxExamples)]...)
	} else if len(holding) > 0 {
		f.add("vacuum", LevelWarn, "Something blocks vacuum and the dropping of old days.",
			"End it: `select pg_terminate_backend(…)`, `select pg_drop_replication_slot(…)` or `rollback prepared …`.",
			holding[:min(len(holding), maxExamples)]...)
	}
	if len(*f) == bad {
		f.add("vacuum", LevelOK, fmt.Sprintf("The job queue's table is healthy (%d MiB, %d dead rows).", size>>20, dead), "")
	}
	return nil
}

// longTransaction is from when an open transaction counts as forgotten.
var longTransaction = time.Hour

// judgeBloat reports whether the job queue's table holds far more than its rows.
func judgeBloat(dead, live, size int64) (bloated bool, why string) {
	const row = 2 << 10 // bytes of a job with 50 deliveries, with its index entries
	switch {
	case dead > 200_000 && dead > 5*live:
		return true, fmt.Sprintf("The job queue's table holds %d dead rows beside %d live ones: vacuum does not keep up.", dead, live)
	case size > 1<<30 && size > 10*row*live:
		return true, fmt.Sprintf("The job queue's table takes %d MiB for %d rows.", size>>20, live)
	}
	return false, ""
}

// checkHeld looks for deliveries that are held although their destination is active.
func (s *Store) checkHeld(ctx context.Context, f *findings, _ time.Time) error {
	var active, deleted []string
	var held int
	err := s.beforeEnd(ctx, func(tx pgx.Tx) (err error) {
		active, deleted, held, err = heldForNobody(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if len(deleted) > 0 {
		f.add("held", LevelFail, "Deliveries are held for deleted destinations: nothing delivers them any more.",
			"Run `waybill doctor -repair`, which cancels them.", deleted[:min(len(deleted), maxExamples)]...)
	}
	if len(active) > 0 {
		f.add("held", LevelWarn,
			"Deliveries are held although their destination is active: somebody chose to keep them when enabling it, or its filter cannot be read.",
			"Decide: POST …/destinations/{id}/backlog with the action deliver or drop.", active[:min(len(active), maxExamples)]...)
	}
	if held == 0 {
		f.add("held", LevelOK, "Deliveries are held only where the destination is disabled.", "")
	}
	return nil
}

// heldForNobody describes the destinations that are not disabled and hold deliveries, by whether they are deleted.
func heldForNobody(ctx context.Context, tx pgx.Tx) (active, deleted []string, held int, err error) {
	rows, err := tx.Query(ctx, `select n.id, t.id, n.deleted_at is not null, count(*) from deliveries d
		join destinations n on n.key = d.destination_key join tenants t on t.key = n.tenant_key
		where d.attention = 'held' and (n.disabled_at is null or n.deleted_at is not null)
			and not exists (select 1 from `+migrations.RiverSchema+`.river_job j where j.kind = 'release' and (j.args->>'Destination')::bigint = n.key
				and j.state in ('available', 'running', 'retryable', 'scheduled', 'pending'))
		group by n.key, n.id, t.id order by count(*) desc, n.key`)
	if err != nil {
		return nil, nil, 0, err
	}
	var destination, tenant string
	var gone bool
	var n int
	_, err = pgx.ForEachRow(rows, []any{&destination, &tenant, &gone, &n}, func() error {
		held += n
		text := fmt.Sprintf("destination %s of tenant %s: %d", destination, tenant, n)
		if gone {
			deleted = append(deleted, text)
		} else {
			active = append(active, text)
		}
		return nil
	})
	return active, deleted, held, err
}

// checkSecrets opens everything that is sealed.
func (s *Store) checkSecrets(ctx context.Context, f *findings) error {
	var list []*Destination
	err := s.DB.WithContext(ctx).Where("deleted_at is null and credentials is not null").Order("key").Find(&list).Error
	if err != nil {
		return err
	}
	tenants := map[int64]string{}
	var shut []string
	for _, d := range list {
		if _, known := tenants[d.TenantKey]; !known {
			t, err := s.tenantByKey(ctx, d.TenantKey)
			if err != nil && !IsKind(err, KindNotFound) {
				return err
			}
			tenants[d.TenantKey] = t.ID
		}
		if s.open(d, tenants[d.TenantKey]) != nil {
			shut = append(shut, "destination "+d.ID+" of tenant "+tenants[d.TenantKey])
		}
	}
	other := s.CheckKey(ctx)
	switch {
	case other != nil && !errors.Is(other, ErrOtherKey):
		return other
	case other != nil && len(shut) == 0:
		f.add("secrets", LevelFail, "SECRET_KEY is not the key of this database: web and work refuse to start.",
			"Set the earlier key in SECRET_KEY or SECRET_KEY_PREVIOUS; if it is lost, run `waybill new-key`.")
	case len(shut) > 0:
		f.add("secrets", LevelFail,
			fmt.Sprintf("SECRET_KEY does not open the credentials of %d of %d destinations: they cannot be delivered to.", len(shut),
				len(list)),
			"Set the key that sealed them in SECRET_KEY_PREVIOUS, or enter the credentials again.",
			shut[:min(len(shut), maxExamples)]...)
	default:
		f.add("secrets", LevelOK, fmt.Sprintf("SECRET_KEY opens the credentials of all %d destinations that have some.", len(list)), "")
	}
	if err := s.checkSealed(ctx, f); err != nil {
		return err
	}
	return s.checkPayloadKeys(ctx, f)
}

// CheckSchema says whether the database has this build's schema. Without it nothing else can be checked.
func CheckSchema(ctx context.Context, s *Store) Finding {
	err := migrations.Check(ctx, s.pool)
	switch {
	case err == nil:
		return Finding{Check: "schema", Level: LevelOK, Message: "The schema is the one that this build needs."}
	case errors.Is(err, migrations.ErrOldSchema), errors.Is(err, migrations.ErrNewSchema):
		message := strings.ToUpper(err.Error()[:1]) + err.Error()[1:] + "."
		if errors.Is(err, migrations.ErrNewSchema) {
			return Finding{Check: "schema", Level: LevelFail, Message: message,
				Advice: "Run web, work and the doctor of that version. This one cannot take the migration back, and does not work on it."}
		}
		return Finding{Check: "schema", Level: LevelFail, Message: message,
			Advice: "Run `waybill migrate` of the version that web and work run."}
	}
	return Finding{Check: "schema", Level: LevelFail, Message: "The database cannot be read: " + err.Error(),
		Advice: "Check DATABASE_URL, and whether PostgreSQL runs."}
}

// names reads a column of text.
func (s *Store) names(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.Clip(list), err
}
