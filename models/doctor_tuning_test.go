package models

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// tuningServer is a PostgreSQL with the settings that somebody forgot to change.
func tuningServer(t *testing.T, settings map[string]string) *pgx.Conn {
	t.Helper()
	dir, err := os.MkdirTemp("", "waybill-tuning-") //nolint:usetesting // PostgreSQL, which is another account, has to get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another account when the tests run as root
		t.Fatal(err)
	}
	settings["fsync"] = "off"
	server, err := postgres.Start(t.Context(), postgres.Options{Dir: dir, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// reconnect ends a session, which tells the server only then what it has counted, and opens the next.
func reconnect(t *testing.T, conn *pgx.Conn) *pgx.Conn {
	t.Helper()
	conn.Close(t.Context())
	next, err := pgx.ConnectConfig(t.Context(), conn.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close(context.Background()) })
	return next
}

// seeTuning reads what the server has counted, as of a server that is not Waybill's own, and works for two hours.
func seeTuning(t *testing.T, conn *pgx.Conn) (read tuning) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) (err error) {
		read, err = readTuning(t.Context(), tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !read.private || len(read.judge()) != 1 || read.judge()[0].Level != LevelOK {
		t.Errorf("a private server: %+v", read.judge())
	}
	read.private, read.since = false, read.since.Add(-2*time.Hour)
	return read
}

// warned is the one warning about tuning.
func warned(t *testing.T, read tuning) (message, advice string) {
	t.Helper()
	found := read.judge()
	if len(found) != 1 || found[0].Level != LevelWarn {
		t.Fatalf("found %+v of %+v", found, read)
	}
	return found[0].Message, found[0].Advice
}

func TestDoctorSeesForcedCheckpoints(t *testing.T) {
	t.Parallel()
	conn := tuningServer(t, map[string]string{"max_wal_size": "32MB", "wal_compression": "off", "wal_buffers": "64MB", "checkpoint_timeout": "5min"})
	if read := seeTuning(t, conn); len(read.judge()) != 1 || read.judge()[0].Level != LevelOK {
		t.Errorf("a server that has done nothing: %+v", read.judge())
	}
	// A log of one GiB takes too long for a test: these are the counts of as much in proportion.
	var read tuning
	enough := func() bool { return read.requested >= tuningTimes && read.walBytes > read.requested*10<<20 } // the log is counted late
	for deadline := time.Now().Add(2 * time.Minute); !enough(); read = seeTuning(t, conn) {
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoints: %+v", read)
		}
		if _, err := conn.Exec(t.Context(), "select pg_logical_emit_message(false, 'test', repeat('x', 4 << 20)) from generate_series(1, 6)"); err != nil {
			t.Fatal(err)
		}
	}
	if got := read.judge(); len(got) != 1 || got[0].Level != LevelOK {
		t.Errorf("little log: %+v", got)
	}
	read.walBytes *= 64
	read.requested *= 64
	message, advice := warned(t, read)
	if !strings.Contains(message, "came because max_wal_size (32MB) was full") || !strings.HasPrefix(advice, "Set max_wal_size = ") ||
		!strings.Contains(advice, "checkpoint_timeout = 15min") || !strings.Contains(advice, "GB (postgresql.conf") {
		t.Errorf("%s %s", message, advice)
	}
	// Checkpoints of backups and of people come without as much log.
	read.walBytes = tuningLog
	if got := read.judge(); len(got) != 1 || got[0].Level != LevelOK {
		t.Errorf("checkpoints that somebody asked for: %+v", got)
	}
}

func TestDoctorSeesWholePages(t *testing.T) {
	t.Parallel()
	conn := tuningServer(t, map[string]string{"max_wal_size": "4GB", "wal_compression": "off", "wal_buffers": "64MB", "checkpoint_timeout": "5min"})
	exec := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("create table wide (n integer, pad text) with (autovacuum_enabled = off); alter table wide alter pad set storage plain")
	exec("insert into wide select n, repeat('x', 3000) from generate_series(1, 4000) n")
	before := seeTuning(t, conn)
	for range 4 {
		exec("checkpoint")
		exec("update wide set n = n + 1 where n % 10 = 0")
		exec("delete from wide where n % 10 = 1")
		exec("vacuum wide")
	}
	conn = reconnect(t, conn)
	read := seeTuning(t, conn)
	for deadline := time.Now().Add(time.Minute); read.walImages <= before.walImages+1000; read = seeTuning(t, conn) {
		if time.Now().After(deadline) {
			t.Fatalf("no whole pages: %+v, then %+v", before, read)
		}
	}
	read.walBytes, read.walImages, read.requested = read.walBytes*1000, read.walImages*1000, 0
	message, advice := warned(t, read)
	compress := "wal_compression = on"
	for _, name := range read.compressions {
		if name == "lz4" {
			compress = "wal_compression = lz4"
		}
	}
	if !strings.Contains(message, "checkpoints come every 5m") || !strings.HasPrefix(advice, "Set checkpoint_timeout = 15min and "+compress) {
		t.Errorf("%s %s", message, advice)
	}
	read.checkpointTimeout, read.compression = goodTimeout, "on"
	if got := read.judge(); len(got) != 1 || got[0].Level != LevelOK {
		t.Errorf("nothing more to set: %+v", got)
	}
}

func TestDoctorSeesSmallBuffersAndLateVacuum(t *testing.T) {
	t.Parallel()
	conn := tuningServer(t, map[string]string{"max_wal_size": "4GB", "wal_buffers": "32kB", "autovacuum_naptime": "1h"})
	exec := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("create table dead (n integer)")
	exec("insert into dead select generate_series(1, 400000)")
	exec("vacuum analyze dead")
	exec("delete from dead where n % 4 > 0")
	exec("create table busy (n integer)") // within its own settings
	exec("alter table busy set (autovacuum_vacuum_threshold = 150000)")
	exec("insert into busy select generate_series(1, 150000)")
	exec("delete from busy")
	conn = reconnect(t, conn)
	read := seeTuning(t, conn)
	for deadline := time.Now().Add(time.Minute); len(read.late) == 0; read = seeTuning(t, conn) {
		if time.Now().After(deadline) {
			t.Fatal("no dead rows")
		}
	}
	if len(read.late) != 1 || !strings.HasPrefix(read.late[0], "dead: 300000 dead rows, vacuumed last at ") {
		t.Errorf("late: %q", read.late)
	}
	message, advice := warned(t, read)
	if !strings.HasPrefix(message, "Autovacuum does not keep up") || !strings.HasPrefix(advice,
		"Set autovacuum_vacuum_cost_limit = 2000 and autovacuum_naptime = 1min") {
		t.Errorf("%s %s", message, advice)
	}
	read.oldReader = true // of which the check of vacuum tells
	if got := read.judge(); len(got) != 1 || got[0].Level != LevelOK {
		t.Errorf("while something keeps vacuum from its work: %+v", got)
	}
	read.walBytes, read.walFull = read.walBytes*1000, read.walFull*1000
	message, advice = warned(t, read)
	if !strings.Contains(message, "buffers of the write-ahead log (32kB) were full") || !strings.HasPrefix(advice, "Set wal_buffers = 64MB") {
		t.Errorf("%s %s", message, advice)
	}
}

func TestDoctorJudgesTuning(t *testing.T) {
	t.Parallel()
	now := time.Now()
	healthy := tuning{since: now.AddDate(0, 0, -30), now: now, timed: 8600, requested: 40, walBytes: 900 << 30, walImages: 20_000_000,
		walFull: 2_000_000, maxWAL: 1 << 30, walBuffers: 16 << 20, checkpointTimeout: 5 * time.Minute, completion: 0.9, compression: "off",
		compressions: []string{"pglz", "off", "on"}, fullPageWrites: true, naptime: time.Minute, costLimit: 200}
	for name, c := range map[string]struct {
		change func(*tuning)
		want   string // how the advice begins
	}{
		"healthy":                  {func(*tuning) {}, ""},
		"checkpoints by hand":      {func(t *tuning) { t.requested, t.walBytes, t.walImages, t.walFull = 9000, 100<<30, 0, 0 }, ""},
		"forced at 2 MB a second":  {func(t *tuning) { t.requested, t.walBytes = 9000, 5<<40 }, "Set max_wal_size = 4GB (postgresql.conf or your provider's parameters; a reload is enough): "},
		"forced, bursts":           {func(t *tuning) { t.requested, t.walBytes, t.maxWAL = 4400, 20<<40, 8<<30 }, "Set max_wal_size = 16GB "},
		"forced, as large as ever": {func(t *tuning) { t.requested, t.walBytes, t.maxWAL, t.walImages = 9000, 900<<40, 32<<30, 0 }, ""},
		"whole pages":              {func(t *tuning) { t.walImages = 60_000_000 }, "Set checkpoint_timeout = 15min and wal_compression = on"},
		"whole pages, compressed":  {func(t *tuning) { t.walImages, t.compression = 60_000_000, "on" }, "Set checkpoint_timeout = 15min (postgresql.conf"},
		"whole pages, off":         {func(t *tuning) { t.walImages, t.fullPageWrites = 60_000_000, false }, ""},
		"young":                    {func(t *tuning) { t.since, t.walImages = now.Add(-time.Minute), 60_000_000 }, ""},
	} {
		read := healthy
		c.change(&read)
		got := read.judge()
		if len(got) != 1 || (c.want == "") != (got[0].Level == LevelOK) || !strings.HasPrefix(got[0].Advice, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
