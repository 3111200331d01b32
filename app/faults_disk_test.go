//go:build faults && linux

package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// smallDisk is a file system of so many MiB, in memory, that a test can fill and empty.
type smallDisk struct {
	t   *testing.T
	dir string
}

func newSmallDisk(t *testing.T, size string) *smallDisk {
	t.Helper()
	d := &smallDisk{t, openDir(t)}
	if err := syscall.Mount("waybill-test", d.dir, "tmpfs", 0, "size="+size+",mode=755"); err != nil {
		t.Fatalf("mount a small file system: %v; run this as root: make test-faults", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves no room at all.
func (d *smallDisk) fill() {
	d.t.Helper()
	file, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// TestFaultsDiskFull fills the disk under load: first until the tables cannot grow, then until the write-ahead log cannot
// either, whether PostgreSQL survives that or has to be started again. Publishers are told to come back, nothing that
// was accepted is lost, and Waybill goes on by itself.
func TestFaultsDiskFull(t *testing.T) {
	disk := newSmallDisk(t, "400m")
	f := startFaultyDatabase(t, postgres.Options{Dir: filepath.Join(disk.dir, "pg"),
		Settings: map[string]string{"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "16MB"}})
	db := "DATABASE_URL=" + f.url
	l := newLedger(t)
	l.pause = 5 * time.Millisecond
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	l.setUpMore(web.base)
	startProcess(t, "work", db)
	startProcess(t, "work", db)
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 8)
	more := func(n int) {
		t.Helper()
		before, received, _ := l.count()
		l.await(func() bool { a, r, _ := l.count(); return a > before+n && r > received+n })
	}
	refused := func(n int) {
		t.Helper()
		before := l.answered(503)
		l.await(func() bool { return l.answered(503) > before+n })
	}
	more(200)

	disk.fill()
	refused(50)
	t.Logf("refused with no room for data, PostgreSQL lives: %v", f.server.Err() == nil)
	disk.empty()
	at := time.Now()
	f.restartIfDead()
	more(100)
	t.Logf("a hundred more were accepted and had arrived %v after there was room", time.Since(at).Round(time.Millisecond))

	disk.fill()
	stuck := func() bool {
		conn, err := pgx.Connect(context.Background(), f.url)
		if err != nil {
			return true
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "select pg_logical_emit_message(false, 'waybill', repeat('x', 1000000)), pg_switch_wal()")
		return err != nil
	}
	l.await(stuck)
	refused(50)
	t.Logf("refused with no room for the write-ahead log, PostgreSQL lives: %v", f.server.Err() == nil)
	disk.empty()
	at = time.Now()
	f.restartIfDead()
	more(100)
	t.Logf("a hundred more were accepted and had arrived %v after there was room", time.Since(at).Round(time.Millisecond))

	stop()
	publishers.Wait()
	log, err := os.ReadFile(web.log)
	if err != nil || !strings.Contains(string(log), "No space left on device") {
		t.Errorf("web's log does not say that there was no room (%v)", err)
	}
	t.Logf("settled %v after the last publish", l.finish(f.url).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": f.url})
	l.reckon(f.url, 2*2*2*underWay) // faults, workers, destinations that answer
}

// restartIfDead starts the server when it could not go on and ended, as an operator does. One that is in the middle of
// ending gets the time for it.
func (f *faultyDatabase) restartIfDead() {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		select {
		case <-f.server.Done():
			f.start()
			return
		case <-time.After(100 * time.Millisecond):
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, f.url)
		if err == nil {
			_, err = conn.Exec(ctx, "create temporary table t as select 1")
			conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return
		}
	}
	f.t.Fatal("PostgreSQL neither ends nor answers")
}
