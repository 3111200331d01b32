//go:build faults && linux

package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/models"
)

// movedClock is a PostgreSQL whose clock a test moves, by libfaketime. Only the time of day is moved: what the kernel
// counts since it started does not jump in reality either.
type movedClock struct {
	*faultyDatabase
	file string
}

func newMovedClock(t *testing.T) *movedClock {
	t.Helper()
	libraries, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(libraries) == 0 {
		t.Fatal("this test needs libfaketime: apt-get install faketime; make test-faults does it")
	}
	dir := openDir(t)
	real, err := postgres.Find(context.Background(), filepath.Join(dir, "pg"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &movedClock{file: filepath.Join(dir, "clock")}
	c.move(t, 0)
	programs := filepath.Join(dir, "bin")
	if err := os.Mkdir(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]string{"initdb": "", "postgres": "LD_PRELOAD=" + libraries[0] + " FAKETIME_TIMESTAMP_FILE=" + c.file +
		" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1"} {
		script := "#!/bin/sh\nexec env " + env + " " + filepath.Join(real.Dir, name) + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.faultyDatabase = startFaultyDatabase(t, postgres.Options{Dir: filepath.Join(dir, "pg"), BinDirs: []string{programs}})
	return c
}

// move sets the clock so far ahead of the real one.
func (c *movedClock) move(t *testing.T, ahead time.Duration) {
	t.Helper()
	next := c.file + ".new"
	if err := os.WriteFile(next, []byte(fmt.Sprintf("%+d\n", int(ahead.Seconds()))), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, c.file); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsClock has the database's clock ten minutes ahead of and behind the processes', and lets it jump while
// everything runs. Deliveries and their retries go on in time by either, and the doctor says what is wrong.
func TestFaultsClock(t *testing.T) {
	c := newMovedClock(t)
	db := "DATABASE_URL=" + c.url
	l := newLedger(t)
	l.pause = 10 * time.Millisecond
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	l.setUpMore(web.base)
	l.mu.Lock()
	l.refuse = func(path, event string, n int) int {
		switch {
		case path == "/bad":
			return 400
		case strings.HasSuffix(event, "0") && n == 1: // a tenth of the events need another attempt, 200 ms later
			return 500
		}
		return 200
	}
	l.mu.Unlock()
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 4)
	// through waits until so many events that were accepted from now on have been acknowledged, also those that needed
	// another attempt.
	through := func(n int) time.Duration {
		t.Helper()
		began := time.Now()
		before := map[string]bool{}
		l.mu.Lock()
		for id := range l.accepted {
			before[id] = true
		}
		l.mu.Unlock()
		l.await(func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			done, retried := 0, 0
			for id := range l.accepted {
				if before[id] || l.acked[id] == 0 {
					continue
				}
				if done++; l.got[id] > 1 {
					retried++
				}
			}
			return done > n && retried > n/20
		})
		return time.Since(began).Round(time.Millisecond)
	}
	through(100)
	kills := 0
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute, 10 * time.Minute, 0, -10 * time.Minute, 0} {
		c.move(t, ahead)
		took := through(200)
		if ahead > 0 { // jobs of the dead are taken over in this time as well
			workers[0].kill()
			workers = append(workers[1:], startProcess(t, "work", db))
			kills++
			through(100)
		}
		cfg, err := config.ReadConfig("doctor", func(name string) string { return map[string]string{"DATABASE_URL": c.url}[name] })
		if err != nil {
			t.Fatal(err)
		}
		found, err := examine(context.Background(), cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		level, said, where := "", "", "ahead of"
		for _, f := range found {
			if f.Check == "clock" {
				level, said = f.Level, f.Message
			}
		}
		if ahead < 0 {
			where = "behind"
		}
		if ahead != 0 && (level != models.LevelFail || !strings.Contains(said, where)) || ahead == 0 && level != models.LevelOK {
			t.Errorf("with the database's clock %v ahead the doctor says %s: %s", ahead, level, said)
		}
		t.Logf("database %v ahead: two hundred events were accepted and acknowledged, also second attempts, within %v; the doctor: %s",
			ahead, took, said)
	}
	stop()
	publishers.Wait()
	// First attempts do not wait for a clock that was set back. Second ones may, for as long as it was, and a destination that
	// refuses everything is tried at a pace of its own.
	began, pending := time.Now(), 1
	conn, err := pgx.Connect(context.Background(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for pending > 0 && time.Since(began) < 90*time.Second {
		if err := conn.QueryRow(context.Background(), `select count(*) from deliveries d join destinations n on n.key = d.destination_key
			where d.status in ('pending', 'delivering') and n.id <> 'bad'`).Scan(&pending); err != nil {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
	if pending > 0 {
		t.Errorf("%d first attempts wait for the clock", pending)
	}
	t.Logf("the last first attempt was made %v after the last jump", time.Since(began).Round(time.Millisecond))
	c.move(t, 25*time.Minute)
	t.Logf("settled %v after the last publish", l.finish(c.url).Round(time.Millisecond))
	c.move(t, 0)
	wellAgain(t, map[string]string{"DATABASE_URL": c.url})
	// Each jump forward may look as if both workers had been silent, so that what they are at is begun again.
	l.reckon(c.url, (kills+2*3)*2*underWay)
	if len(slices.DeleteFunc(workers, func(p *process) bool { return p.ended() })) != 2 {
		t.Error("a worker has ended")
	}
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}
