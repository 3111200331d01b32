//go:build faults

package app

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestFaultsDeploy deploys this build over the last one with another schema, as a platform does: while the old processes
// work, the release phase migrates; then new processes start beside the old ones. It goes back to the old ones, which still
// run, then to new ones again, and the old ones stop. An old process that starts on the new schema refuses it. Nothing is lost,
// nothing is sent twice, and nobody waits for longer than a migration waits for its locks.
func TestFaultsDeploy(t *testing.T) {
	old := previousBuild(t)
	url := modelstest.Empty(t)
	db := "DATABASE_URL=" + url
	run := func(program string) {
		t.Helper()
		p := prepare(program, "migrate", db)
		if out, err := p.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", program, err, out)
		}
	}
	run(old)
	l := newLedger(t)
	l.pause, l.old = 2*time.Millisecond, true
	oldWeb := startProgram(t, old, "web", db)
	l.setUp(oldWeb.base)
	l.setUpMore(oldWeb.base)
	oldWorkers := []*process{startProgram(t, old, "work", db), startProgram(t, old, "work", db)}
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 4)
	more := func(n int) {
		t.Helper()
		before, received, _ := l.count()
		l.await(func() bool { a, r, _ := l.count(); return a > before+n && r > received+n })
	}
	more(500)
	l.longest.Store(0)
	began := time.Now()
	run(os.Args[0])
	t.Logf("migrated in %v; the longest time without an accepted event was %v", time.Since(began).Round(time.Millisecond),
		time.Duration(l.longest.Load()).Round(time.Millisecond))
	more(500) // by the old processes on the new schema
	web := startProcess(t, "web", db)
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	a := &testApp{TB: t, base: web.base, key: testKey}
	l.await(func() bool { return a.do("GET", "/healthz", nil).workers() == 4 })
	more(200) // accepted by the old web, delivered by both
	l.base.Store(web.base)
	more(200) // and the other way round
	end := func(processes ...*process) {
		t.Helper()
		for _, p := range processes {
			if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			<-p.gone
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("a process that was asked to stop ended with %d", code)
			}
		}
	}
	l.base.Store(oldWeb.base)
	more(1) // so that no publish is under way at the new web
	end(append(workers, web)...)
	more(200) // back: by the old processes alone
	refusesSchema(t, old, db)
	web = startProcess(t, "web", db)
	workers = []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	l.base.Store(web.base)
	more(200)
	end(append(oldWorkers, oldWeb)...)
	more(500)
	stop()
	publishers.Wait()
	t.Logf("the longest time without an accepted event was %v", time.Duration(l.longest.Load()).Round(time.Millisecond))
	if longest := time.Duration(l.longest.Load()); longest > 2*time.Second { // a migration waits 0.9 s for a lock, on a busy machine
		t.Errorf("no event was accepted for %v", longest)
	}
	if n := len(l.answers); n != 1 {
		t.Errorf("publishers were refused: %v", l.answers)
	}
	t.Logf("settled %v after the last publish", l.finish(url).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	l.reckon(url, 0)
	if slices.ContainsFunc(workers, (*process).ended) {
		t.Error("a new worker has ended")
	}
}

// refusesSchema starts a build on a schema that is not its own. It ends at once, and says what is wrong.
func refusesSchema(t *testing.T, program, db string) {
	t.Helper()
	p := prepare(program, "work", db, "API_KEY="+testKey)
	stuck := time.AfterFunc(time.Minute, func() { _ = p.Process.Kill() })
	defer stuck.Stop()
	out, err := p.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the database schema is ") {
		t.Errorf("an old build that starts on the new schema: %v %s", err, out)
	}
}

// previousBuild builds the last commit before this build's latest migration, or that of BASE.
func previousBuild(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("../migrations/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal("there are no migrations", err)
	}
	latest := slices.Max(names)
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			t.Fatalf("git %s: %v; this test needs a git checkout with its history", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	added := git("log", "--diff-filter=A", "--format=%H", "-1", "--", latest)
	if added == "" {
		t.Fatalf("%s is not committed yet", latest)
	}
	base := added + "^"
	if named := os.Getenv("BASE"); named != "" {
		base = named
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "source.tar")
	git("-C", "..", "archive", "--output", archive, base)
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	program := filepath.Join(dir, "waybill")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, ".")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v %s", base, err, out)
	}
	t.Logf("the previous build is %s; the latest migration is %s", base, filepath.Base(latest))
	return program
}
