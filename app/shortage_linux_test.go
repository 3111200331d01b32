package app

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// limitFiles sets how many files a process may have open.
func limitFiles(t *testing.T, pid int, soft uint64) {
	t.Helper()
	var old syscall.Rlimit
	if _, _, err := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&old)), 0,
		0); err != 0 {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: min(soft, old.Max), Max: old.Max}
	if _, _, err := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0,
		0); err != 0 {
		t.Fatal(err)
	}
}

// lowestFree is the number that the next file of a process would get.
func lowestFree(t *testing.T, pid int) uint64 {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	open := map[uint64]bool{}
	for _, f := range files {
		n, _ := strconv.ParseUint(f.Name(), 10, 64)
		open[n] = true
	}
	for n := uint64(0); ; n++ {
		if !open[n] {
			return n
		}
	}
}

func withParameter(url, parameter string) string {
	if strings.Contains(url, "?") {
		return url + "&" + parameter
	}
	return url + "?" + parameter
}

// awaitConnections waits until so many connections to a database are open.
func awaitConnections(t *testing.T, url string, n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		var open int
		if err := conn.QueryRow(t.Context(),
			"select count(*) from pg_stat_activity where datname = current_database() and application_name = 'waybill'").Scan(&open); err != nil {
			t.Fatal(err)
		}
		if open >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections of %d", open, n)
		}
	}
}

// TestWorkerWithoutFiles takes all files away from a real worker, so that it can open no connection, to destinations of
// every type. None of them is charged with it: no attempt counts, none fails, and with files everything is made.
func TestWorkerWithoutFiles(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
	defer receiver.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	url := modelstest.DB(t)
	// The worker has all of its connections to PostgreSQL before, for it could not open these either.
	work := startProcess(t, "work", "DATABASE_URL="+withParameter(url, "pool_min_conns=10"), "RETRY_SCHEDULE=1h")
	awaitConnections(t, url, 10+8+8)
	web := startProcess(t, "web", "DATABASE_URL="+url)
	a := &testApp{TB: t, base: web.base, key: testKey}
	a.want(201, "PUT", "/tenants/first", `{}`)
	a.want(201, "POST", "/tenants/first/destinations", map[string]any{"id": "d", "type": "webhook", "topics": []string{"*"},
		"config": map[string]string{"url": receiver.URL}})
	a.want(202, "POST", "/publish", `{"tenant_id":"first","id":"first","data":{}}`)
	a.eventually("/deliveries?tenant_id=first&status=delivered", func(r answer) bool { return len(r.list()) == 1 })
	a.want(201, "PUT", "/tenants/acme", `{}`)
	types := 0
	for kind, p := range plantedDestinations(t, receiver.URL, closed) {
		a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"id": kind, "type": kind, "topics": []string{"*"},
			"config": p.config, "credentials": p.credentials})
		types++
	}
	if types < len(adapters.All())-2 { // echo is none that connects, and fake one of the tests'
		t.Errorf("%d types of %d", types, len(adapters.All()))
	}
	pid := work.cmd.Process.Pid
	limitFiles(t, pid, lowestFree(t, pid))
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"e","data":{}}`)
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		short := 0
		for _, d := range a.want(200, "GET", "/deliveries?tenant_id=acme", nil).list() {
			d := d.(map[string]any)
			if reason, _ := d["reason"].(string); strings.Contains(reason, "as many files and connections open as it may") &&
				d["status"] == "pending" && d["next_attempt_at"] != nil {
				short++
			}
		}
		if short == types {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d deliveries say what the server lacks: %s", short, types,
				a.want(200, "GET", "/deliveries?tenant_id=acme", nil).raw)
		}
	}
	if n := len(a.want(200, "GET", "/attempts?tenant_id=acme", nil).list()); n > 0 {
		t.Errorf("%d attempts count", n)
	}
	limitFiles(t, pid, 4096)
	// Where somebody listens, the first attempt is made and counts as the first.
	r := a.eventually("/deliveries?tenant_id=acme&destination_id=webhook&status=delivered",
		func(r answer) bool { return len(r.list()) == 1 })
	if d := r.list()[0].(map[string]any); d["attempts"] != 1.0 || d["reason"] != nil {
		t.Errorf("%v", d)
	}
	// Elsewhere it is not the server's fault any more, and says so.
	r = a.eventually("/deliveries?tenant_id=acme&destination_id=rabbitmq&status=retrying",
		func(r answer) bool { return len(r.list()) == 1 })
	if d := r.list()[0].(map[string]any); d["attempts"] != 1.0 || d["last_error"].(map[string]any)["class"] != "connect" {
		t.Errorf("%v", d)
	}
	log, err := os.ReadFile(work.log)
	if err != nil || !strings.Contains(string(log), "this server lacks files") {
		t.Errorf("the operator is not told (%v)", err)
	}
}
