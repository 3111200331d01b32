//go:build faults && linux

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// restored is what `waybill restore-check` prints as JSON.
type restored struct {
	Newest       time.Time `json:"newest_event_at"`
	Workers      int
	Deliveries   int
	Destinations []struct {
		Destination string `json:"destination_id"`
		Deliveries  int
		Held        bool
	}
}

func checkRestored(t *testing.T, url string, flags ...string) (r restored) {
	t.Helper()
	var out bytes.Buffer
	if err := restoreCheck(t.Context(), append(flags, "-json"), func(n string) string {
		return map[string]string{"DATABASE_URL": url, "SECRET_KEY": "a secret for tests that is long enough"}[n]
	}, &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// snapshot is what was accepted and how often each event was acknowledged, by now.
func (l *ledger) snapshot() (accepted map[string]bool, acked map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.accepted), maps.Clone(l.acked)
}

// again counts the events that were acknowledged more often than before, although they had been already.
func (l *ledger) again(before map[string]int) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, times := range l.acked {
		if was := before[id]; was > 0 && times > was {
			n++
		}
	}
	return n
}

// TestFaultsBackup backs a primary up under load, with its log archived, lets it die later, and restores it to a moment in between.
// What was accepted by then is there and delivered; what is sent again is what was not delivered at that moment, as restore-check
// says before anything is sent. So it is with a dump, whose deliveries are held here until somebody says that they be sent.
func TestFaultsBackup(t *testing.T) {
	a := newNode(t, "a", "127.0.0.1")
	archive := openDir(t)
	if a.cred != nil {
		if err := os.Chown(archive, int(a.cred.Uid), int(a.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	a.create()
	a.configure(fmt.Sprintf("\narchive_mode = on\narchive_command = 'test ! -f %[1]s/%%f && cp %%p %[1]s/%%f'\n", archive), "postgresql.conf")
	a.stop()
	a.start()
	db := "DATABASE_URL=" + a.url()
	if out, err := prepare(os.Args[0], "migrate", db).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	work := startProcess(t, "work", db)
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 8)
	l.more(500)

	// docs/backup.md, "A copy and the log": under load.
	c := newNode(t, "c", "127.0.0.1")
	a.run("pg_basebackup", "-h", a.host, "-p", fmt.Sprint(a.port), "-U", "waybill", "-D", c.dir, "-c", "fast", "-X", "none")
	l.more(500)
	// While something is on its way, so that the copy does not know what becomes of it.
	whileHeld := func(do func()) {
		hold := make(chan struct{})
		l.hold.Store(hold)
		l.await(func() bool {
			n, err := a.query("waybill", "select count(*) > 30 from deliveries where status <> 'delivered'")
			return err == nil && n == "t"
		})
		do()
		open := make(chan struct{})
		close(open)
		l.hold.Store(open)
		close(hold)
	}
	dump := filepath.Join(filepath.Dir(a.dir), "waybill.dump")
	whileHeld(func() {
		a.run("pg_dump", "-h", a.host, "-p", fmt.Sprint(a.port), "-U", "waybill", "-Fc", "-f", dump, "waybill")
	})
	l.more(500)
	ask := func(n *node, sql string) string {
		t.Helper()
		got, err := n.query("waybill", sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return got
	}
	var acceptedThen map[string]bool
	var moment string
	whileHeld(func() {
		acceptedThen, _ = l.snapshot()
		moment = ask(a, "select clock_timestamp()::text")
	})
	l.more(500)
	segment := ask(a, "select pg_walfile_name(pg_switch_wal())")
	l.await(func() bool { _, err := os.Stat(filepath.Join(archive, segment)); return err == nil })
	l.more(200)
	work.kill()
	a.crash()
	stop()
	publishers.Wait()
	web.kill()
	lastAccepted, before := l.snapshot()

	c.configure(fmt.Sprintf("\narchive_mode = off\nrestore_command = 'cp %s/%%f %%p'\nrecovery_target_time = '%s'\nrecovery_target_action = 'promote'\n",
		archive, moment), "postgresql.conf")
	if err := os.WriteFile(filepath.Join(c.dir, "recovery.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.start()
	for deadline := time.Now().Add(patience); ask(c, "select pg_is_in_recovery()") != "f"; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the restored server does not come to its moment")
		}
	}
	var said restored // once the worker that is in the copy has been silent for long enough to be taken for dead
	l.await(func() bool { said = checkRestored(t, c.url()); return said.Workers == 0 })
	known := strings.Split(ask(c, "select string_agg(caller_id, ' ') from events"), " ")
	missing := 0
	for id := range lastAccepted {
		if !slices.Contains(known, id) {
			if missing++; acceptedThen[id] {
				t.Errorf("event %s was accepted before the moment and is not in the restored database", id)
			}
		}
	}
	t.Logf("restored to %s: %d events were accepted in all, %d before that moment; %d later ones are not in the database; %d deliveries are to be sent", moment,
		len(lastAccepted), len(acceptedThen), missing, said.Deliveries)
	if said.Deliveries == 0 || missing == 0 || said.Newest.IsZero() {
		t.Errorf("restore-check says %+v; %d later events are missing", said, missing)
	}
	db = "DATABASE_URL=" + c.url()
	web = startProcess(t, "web", db)
	work = startProcess(t, "work", db)
	l.finish(c.url())
	again := l.again(before)
	t.Logf("%d deliveries were sent again; at most %d could be", again, said.Deliveries)
	if again > said.Deliveries {
		t.Errorf("%d deliveries were sent again, and restore-check said that at most %d would be", again, said.Deliveries)
	}
	for _, id := range known {
		if l.received(id) == 0 {
			t.Errorf("event %s is in the restored database and has never arrived", id)
		}
	}
	wellAgain(t, map[string]string{"DATABASE_URL": c.url()})
	l.base.Store(web.base)
	ctx, stop = context.WithCancel(t.Context())
	publishers = l.publish(ctx, 4)
	l.more(200)
	stop()
	publishers.Wait()
	l.finish(c.url())
	web.kill()
	work.kill()

	// docs/backup.md, "A dump", into an empty database, with what is to be sent held.
	ask(c, "create database dumped")
	c.run("pg_restore", "-h", c.host, "-p", fmt.Sprint(c.port), "-U", "waybill", "-d", "dumped", "--exit-on-error", dump)
	url := strings.Replace(c.url(), "/waybill?", "/dumped?", 1)
	db = "DATABASE_URL=" + url
	_, before = l.snapshot()
	said = checkRestored(t, url)
	held := checkRestored(t, url, "-hold")
	if held.Deliveries != said.Deliveries || len(held.Destinations) != 1 && said.Deliveries > 0 {
		t.Errorf("restore-check says %+v, and with -hold %+v", said, held)
	}
	web = startProcess(t, "web", db)
	startProcess(t, "work", db)
	p := &testApp{TB: t, base: web.base, key: testKey}
	l.finish(url)
	if n := l.again(before); n > 0 {
		t.Errorf("%d deliveries were sent although they were to be held", n)
	}
	d := p.want(200, "GET", "/tenants/acme/destinations/hook", nil)
	if said.Deliveries == 0 {
		t.Error("nothing was on its way when the dump was made")
	} else {
		if d.str("disabled_reason") == "" && !strings.Contains(d.raw, "Held after the database was restored") {
			t.Errorf("the destination does not say why it is disabled: %s", d.raw)
		}
		p.want(200, "PUT", "/tenants/acme/destinations/hook/enable", `{"backlog":"deliver"}`)
		p.until("what was held is delivered", func() bool {
			conn, err := c.query("dumped", "select count(*) from deliveries where status <> 'delivered'")
			return err == nil && conn == "0"
		})
	}
	t.Logf("of the dump %d deliveries were held, and then sent; %d of them for the second time", said.Deliveries, l.again(before))
	if n := l.again(before); n > said.Deliveries {
		t.Errorf("%d deliveries were sent again, and restore-check said that at most %d would be", n, said.Deliveries)
	}
	wellAgain(t, map[string]string{"DATABASE_URL": url})
}
