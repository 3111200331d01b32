package models

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// tuning is what PostgreSQL has counted since since, and the settings that decide about it. Sizes are in bytes.
type tuning struct {
	since, now                         time.Time
	timed, requested                   int64 // checkpoints by what began them
	walBytes, walImages, walFull       int64 // the log, images of whole pages in it, and pages that had to be written before there was room
	maxWAL, walBuffers                 int64
	checkpointTimeout                  time.Duration
	completion                         float64
	compression                        string
	compressions                       []string // those that the server can do
	naptime                            time.Duration
	costLimit                          int64
	late                               []string // tables that autovacuum is late for, described
	private, fullPageWrites, oldReader bool
}

// From when on counters say something: a server that has hardly worked is not judged.
var (
	tuningLog   int64 = 1 << 30 // bytes of log
	tuningSpan        = time.Hour
	tuningTimes int64 = 10 // checkpoints
)

const (
	pageSize = 8 << 10
	// goodTimeout is how far checkpoints should be apart, and goodBuffers how much of the log should have room in memory.
	goodTimeout = 15 * time.Minute
	goodBuffers = 64 << 20
	// most that is asked for of a disk.
	mostWAL = 32 << 30
)

// checkTuning looks at settings that make PostgreSQL do more work than it has to, by what it has counted.
func (s *Store) checkTuning(ctx context.Context, f *findings, _ time.Time) error {
	var t tuning
	err := s.beforeEnd(ctx, func(tx pgx.Tx) (err error) {
		t, err = readTuning(ctx, tx)
		return err
	})
	if err == nil {
		*f = append(*f, t.judge()...)
	}
	return err
}

// readTuning reads the counters. What counts checkpoints has another name from PostgreSQL 17 on.
func readTuning(ctx context.Context, tx pgx.Tx) (t tuning, err error) {
	checkpoints := "select num_timed as timed, num_requested as requested, stats_reset from pg_stat_checkpointer"
	var version int
	if err := tx.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		return t, err
	}
	if version < 170000 {
		checkpoints = "select checkpoints_timed as timed, checkpoints_req as requested, stats_reset from pg_stat_bgwriter"
	}
	var timeout, naptime int64
	err = tx.QueryRow(ctx, `select coalesce(greatest(c.stats_reset, w.stats_reset), pg_postmaster_start_time()), now(), c.timed, c.requested, w.wal_bytes::bigint, w.wal_fpi, w.wal_buffers_full,
			pg_size_bytes(current_setting('max_wal_size')), (select setting::bigint from pg_settings where name = 'wal_buffers')
				* current_setting('wal_block_size')::bigint,
			(select setting::bigint from pg_settings where name = 'checkpoint_timeout'),
			current_setting('checkpoint_completion_target')::float8,
			current_setting('wal_compression'), coalesce((select enumvals from pg_settings where name = 'wal_compression'), '{off,on}'),
			(select setting::bigint from pg_settings where name = 'autovacuum_naptime'),
			case when current_setting('autovacuum_vacuum_cost_limit') = '-1' then current_setting('vacuum_cost_limit')
				else current_setting('autovacuum_vacuum_cost_limit') end::bigint,
			current_setting('cluster_name') = $1, current_setting('full_page_writes') = 'on',
			exists (select 1 from pg_stat_activity where backend_xmin is not null and xact_start < now() - interval '10 minutes')
				or exists (select 1 from pg_replication_slots where xmin is not null or catalog_xmin is not null)
		from (`+checkpoints+`) c, pg_stat_wal w`, postgres.ClusterName).Scan(&t.since, &t.now, &t.timed, &t.requested, &t.walBytes, &t.walImages,
		&t.walFull, &t.maxWAL, &t.walBuffers, &timeout, &t.completion, &t.compression, &t.compressions, &naptime, &t.costLimit,
		&t.private, &t.fullPageWrites, &t.oldReader)
	if err != nil {
		return t, err
	}
	t.checkpointTimeout, t.naptime = time.Duration(timeout)*time.Second, time.Duration(naptime)*time.Second
	rows, err := tx.Query(ctx, lateTables)
	if err != nil {
		return t, err
	}
	t.late, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return t, err
}

// lateTables are tables with three times the dead rows at which autovacuum comes, by the table's settings, or by the server's.
const lateTables = `select format('%s: %s dead rows, vacuumed %s', relid::regclass, n_dead_tup, coalesce('last at '
		|| to_char(greatest(last_autovacuum, last_vacuum) at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'never'))
	from (select s.relid, s.n_dead_tup, s.last_autovacuum, s.last_vacuum, c.reltuples,
			coalesce((select option_value from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_vacuum_threshold'),
				current_setting('autovacuum_vacuum_threshold'))::float8 as threshold,
			coalesce((select option_value from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_vacuum_scale_factor'),
				current_setting('autovacuum_vacuum_scale_factor'))::float8 as factor
		from pg_stat_user_tables s join pg_class c on c.oid = s.relid
		where s.n_dead_tup > 100000) t
	where n_dead_tup > 3 * (threshold + factor * greatest(reltuples, 0))
	order by n_dead_tup desc, relid limit 5`

// settable says where a setting stands.
const settable = " (postgresql.conf or your provider's parameters; a reload is enough)"

// judge tells which settings to change. The private server's are Waybill's own.
func (t tuning) judge() []Finding {
	if t.private {
		return []Finding{{Check: "tuning", Level: LevelOK, Message: "PostgreSQL is Waybill's own, with settings of its own."}}
	}
	var f findings
	if len(t.late) > 0 && !t.oldReader { // else the check of vacuum says what keeps it from its work
		f.add("tuning", LevelWarn, "Autovacuum does not keep up: dead rows make tables grow and reads slow.", t.vacuumAdvice(), t.late...)
	}
	span := t.now.Sub(t.since)
	if span < tuningSpan || t.walBytes < tuningLog {
		if len(f) == 0 {
			f.add("tuning", LevelOK, "PostgreSQL has not worked enough to judge its settings since "+t.from()+".", "")
		}
		return f
	}
	f = append(append(f, t.judgeCheckpoints(span)...), t.judgeBuffers()...)
	if len(f) == 0 {
		f.add("tuning", LevelOK, "Counters since "+t.from()+" call for no other settings.", "")
	}
	return f
}

func (t tuning) from() string { return t.since.UTC().Format("2006-01-02 15:04 UTC") }

// judgeCheckpoints tells of checkpoints that come too often: each has whole pages written to the log again.
func (t tuning) judgeCheckpoints(span time.Duration) (f findings) {
	// A checkpoint begins when so much of the log is written. That many bytes tell those of backups and of people apart.
	each := int64(float64(t.maxWAL) / (1 + t.completion))
	all := t.timed + t.requested
	forced := t.requested >= tuningTimes && 3*t.requested > all && t.walBytes > t.requested*each/2 && t.maxWAL < mostWAL
	images := t.fullPageWrites && 3*t.walImages*pageSize > t.walBytes
	compress := ""
	if images && t.compression == "off" {
		compress = "wal_compression = " + t.compressor()
	}
	switch {
	case forced:
		most := t.wanted(span)
		advice := fmt.Sprintf("Set max_wal_size = %s%s: the log may then take as much of the disk, and recovery after a crash reads about half of it.", settingSize(most), settable)
		if t.checkpointTimeout < goodTimeout {
			advice += " With it, checkpoint_timeout = 15min."
		}
		if compress != "" {
			advice += " And " + compress + "."
		}
		f.add("tuning", LevelWarn, fmt.Sprintf("%d of %d checkpoints since %s came because max_wal_size (%s) was full: after each, every page is written to the log as a whole when it is changed first%s.",
			t.requested, all, t.from(), settingSize(t.maxWAL), t.imagesShare()), advice)
	case images && (t.checkpointTimeout < goodTimeout || compress != ""):
		var set []string
		if t.checkpointTimeout < goodTimeout {
			set = append(set, "checkpoint_timeout = 15min")
		}
		if compress != "" {
			set = append(set, compress)
		}
		f.add("tuning", LevelWarn, fmt.Sprintf("Much of the write-ahead log since %s is pages that were written as a whole after a checkpoint%s; checkpoints come every %s.",
			t.from(), t.imagesShare(), Duration(t.checkpointTimeout)),
			"Set "+strings.Join(set, " and ")+settable+": recovery after a crash then takes longer, and the log less.")
	}
	return f
}

func (t tuning) imagesShare() string {
	if t.walImages == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d pages, up to %d %% of the log)", t.walImages, min(100, 100*t.walImages*pageSize/max(t.walBytes, 1)))
}

// wanted is for how much log there should be room: half of it for a quarter of an hour at the average rate, and at least twice as
// much as now, for it came in less time than that.
func (t tuning) wanted(span time.Duration) int64 {
	perTimeout := float64(t.walBytes) / span.Seconds() * goodTimeout.Seconds()
	gib := int64(max(2*perTimeout, 2*float64(t.maxWAL))) >> 30
	return min(int64(1)<<(30+bits.Len64(uint64(max(gib, 1)-1))), mostWAL)
}

// compressor is the cheapest that the server has.
func (t tuning) compressor() string {
	for _, name := range t.compressions {
		if name == "lz4" {
			return name
		}
	}
	return "on"
}

// judgeBuffers tells of sessions that had to write the log themselves for want of room.
func (t tuning) judgeBuffers() (f findings) {
	if pages := t.walBytes / pageSize; 20*t.walFull > pages && t.walBuffers < goodBuffers {
		f.add("tuning", LevelWarn, fmt.Sprintf("The buffers of the write-ahead log (%s) were full %d times since %s, for %d %% of its pages: then a statement waits for the disk while others wait for it.",
			settingSize(t.walBuffers), t.walFull, t.from(), 100*t.walFull/pages),
			"Set wal_buffers = "+settingSize(goodBuffers)+" in postgresql.conf or your provider's parameters, and restart PostgreSQL.")
	}
	return f
}

func (t tuning) vacuumAdvice() string {
	const usual = 200 // of vacuum_cost_limit
	var set []string
	if t.costLimit <= usual {
		set = append(set, "autovacuum_vacuum_cost_limit = 2000")
	}
	if t.naptime > time.Minute {
		set = append(set, "autovacuum_naptime = 1min")
	}
	if len(set) == 0 {
		set = append(set, "autovacuum_vacuum_cost_delay = 0")
	}
	return "Set " + strings.Join(set, " and ") + settable + ", and see that no table named below has autovacuum_enabled = off."
}

// settingSize is a number of bytes as PostgreSQL's settings take it.
func settingSize(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%dMB", n>>20)
	}
	return fmt.Sprintf("%dkB", n>>10)
}
