package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/app/bench"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// beCommand makes this test binary run as waybill itself, so that the tests here can kill real processes.
const beCommand = "WAYBILL_TEST_COMMAND"

func TestMain(m *testing.M) {
	if command := os.Getenv(beCommand); command != "" {
		os.Exit(Main([]string{command}, os.Stdout, os.Stderr))
	}
	modelstest.Main(m)
}

// process is a waybill process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	log  string
	gone chan struct{}
}

// startProcess starts a waybill of this build.
func startProcess(t *testing.T, command string, env ...string) *process {
	t.Helper()
	return startProgram(t, os.Args[0], command, env...)
}

func startProgram(t *testing.T, program, command string, env ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, command), gone: make(chan struct{})}
	port := 0
	if command != "work" {
		var err error
		if port, err = bench.FreePort(); err != nil {
			t.Fatal(err)
		}
		p.base = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	log, err := os.CreateTemp(t.TempDir(), command+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.log = log.Name()
	p.cmd.Env = append(os.Environ(), beCommand+"="+command, "API_KEY="+testKey, "SECRET_KEY=a secret for tests that is long enough",
		"EGRESS_ALLOW=127.0.0.0/8", "HOST=127.0.0.1", "LOG_LEVEL=warn", "LOG_FORMAT=text", fmt.Sprintf("PORT=%d", max(port, 1)))
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			out, _ := os.ReadFile(p.log)
			t.Logf("%s:\n%s", command, out)
		}
	})
	if p.base != "" {
		p.await()
	}
	return p
}

// prepare prepares a command that ends by itself.
func prepare(program, command string, env ...string) *exec.Cmd {
	cmd := exec.Command(program, command)
	cmd.Env = append(append(os.Environ(), beCommand+"="+command, "SECRET_KEY=a secret for tests that is long enough"), env...)
	return cmd
}

// await waits until the process answers.
func (p *process) await() {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if resp, err := http.Get(p.base + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
		select {
		case <-p.gone:
			out, _ := os.ReadFile(p.log)
			p.t.Fatalf("the process ended:\n%s", out)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the process does not answer")
		}
	}
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// TestKilledProcesses kills web and workers again and again under load. Nothing that was answered with 202 is lost, and
// what arrives twice was under way when a worker died.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	db := "DATABASE_URL=" + url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 8)
	kills := 0
	for round := range 4 {
		before, _, _ := l.count()
		l.await(func() bool { n, _, _ := l.count(); return n > before+100 })
		if round%2 == 0 {
			w := workers[0]
			w.kill()
			workers = append(workers[1:], startProcess(t, "work", db))
			kills++
		} else {
			web.kill()
			web = startProcess(t, "web", db)
			l.base.Store(web.base)
		}
	}
	stop()
	publishers.Wait()
	t.Logf("settled %v after the last publish", l.finish(url))
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	l.reckon(url, kills*underWay)
}

// TestTakeover kills a worker in the middle of an attempt: a living one makes the attempt again within three seconds.
func TestTakeover(t *testing.T) {
	t.Parallel()
	db := "DATABASE_URL=" + modelstest.DB(t)
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	first := startProcess(t, "work", db)
	hold := make(chan struct{})
	l.hold.Store(hold)
	a := &testApp{TB: t, base: web.base, key: testKey}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"one","data":{}}`)
	l.await(func() bool { return l.received("one") == 1 })
	startProcess(t, "work", db)
	l.await(func() bool { return a.do("GET", "/healthz", nil).workers() == 2 })
	first.kill()
	at := time.Now()
	close(hold)
	l.await(func() bool { return l.received("one") == 2 })
	if took := time.Since(at); took > 20*time.Second { // 3 s are promised, on a machine that does nothing else
		t.Errorf("taken over after %v", took)
	} else {
		t.Logf("taken over after %v", took)
	}
	l.accept("one")
	l.settle(web.base)
}

// TestKilledServe kills `waybill serve` with its private PostgreSQL, then only the PostgreSQL, under load.
func TestKilledServe(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) // so that the database's account can reach it
	}
	data := "DATA_DIR=" + dir
	l := newLedger(t)
	serve := startProcess(t, "serve", data, "DATABASE_URL=")
	l.setUp(serve.base)
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 8)
	for _, kill := range []func(){
		serve.kill,
		func() { // the PostgreSQL alone: serve ends by itself, and says why
			b, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			fmt.Sscan(string(b), &pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-serve.gone
		},
	} {
		before, _, _ := l.count()
		l.await(func() bool { n, _, _ := l.count(); return n > before+100 })
		kill()
		serve = startProcess(t, "serve", data, "DATABASE_URL=")
		l.base.Store(serve.base)
	}
	before, _, _ := l.count()
	l.await(func() bool { n, _, _ := l.count(); return n > before+20 })
	stop()
	publishers.Wait()
	took := l.settle(serve.base)
	wellAgain(t, map[string]string{"DATA_DIR": dir}) // the doctor finds the private PostgreSQL by itself
	accepted, _, twice := l.count()
	t.Logf("%d accepted, 0 lost, %d arrived twice, settled %v after the last publish", accepted, twice, took)
}

// TestGracefulStop asks a worker to stop while it sends: it finishes, and nothing arrives twice.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	db := "DATABASE_URL=" + modelstest.DB(t)
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	ctx, stop := context.WithCancel(context.Background())
	publishers := l.publish(ctx, 8)
	for range 3 {
		w := startProcess(t, "work", db)
		before, received, _ := l.count()
		l.await(func() bool { n, r, _ := l.count(); return n > before+50 && r > received+50 })
		if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		<-w.gone
		if code := w.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	stop()
	publishers.Wait()
	startProcess(t, "work", db)
	l.settle(web.base)
	if _, _, twice := l.count(); twice > 0 {
		t.Errorf("%d events arrived twice although every worker stopped in its own time", twice)
	}
}

// TestOldSchemaIsRefused starts web and work on a database that was not migrated.
func TestOldSchemaIsRefused(t *testing.T) {
	t.Parallel()
	url := modelstest.DB(t)
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(context.Background(), "update goose_db_version set version_id = 0"); err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
	for _, command := range []string{"web", "work"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), beCommand+"="+command, "DATABASE_URL="+url, "SECRET_KEY=a secret for tests that is long enough")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "waybill migrate") {
			t.Errorf("%s: %v %s", command, err, out)
		}
	}
}
