//go:build faults

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
)

// TestFaultsBackPressure stops PostgreSQL for 20 s while 1,000 publishers have events of 250 KiB. They are told to come
// back before the memory grows, and what was accepted is kept.
func TestFaultsBackPressure(t *testing.T) {
	f := newFaultyDatabase(t)
	db := "DATABASE_URL=" + f.url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	startProcess(t, "work", db)
	a := &testApp{TB: t, base: web.base, key: testKey}
	// A key as customers have them: whose it is, only the database knows.
	made := a.want(201, "POST", "/api-keys", map[string]any{"name": "publisher", "scopes": []string{"publish"}})
	key, _ := made.body["key"].(string)
	if key == "" {
		t.Fatalf("no key in %s", made.raw)
	}
	rest := memoryOf(t, web.cmd.Process.Pid, "VmRSS:")
	ctx, stop := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	big := strings.Repeat("x", 250<<10)
	var publishers sync.WaitGroup
	var slowest sync.Map
	for p := range 1000 {
		publishers.Go(func() {
			for ctx.Err() == nil {
				id := fmt.Sprintf("e-%d", l.n.Add(1))
				req, _ := http.NewRequest("POST", web.base+api.APIPrefix+"/publish",
					io.MultiReader(strings.NewReader(`{"tenant_id":"acme","id":"`+id+`","data":{"x":"`), strings.NewReader(big),
						strings.NewReader(`"}}`)))
				req.Header.Set("Authorization", "Bearer "+key)
				began := time.Now()
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				l.note(id, resp)
				if took, ok := slowest.Load(p); !ok || took.(time.Duration) < time.Since(began) {
					slowest.Store(p, time.Since(began))
				}
				wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(wait) * time.Second):
				}
			}
		})
	}
	l.await(func() bool { n, _, _ := l.count(); return n > 50 })
	f.signal(syscall.SIGSTOP)
	at := time.Now()
	<-time.After(20 * time.Second)
	most := memoryOf(t, web.cmd.Process.Pid, "VmHWM:")
	f.signal(syscall.SIGCONT)
	before, _, _ := l.count()
	l.await(func() bool { n, _, _ := l.count(); return n > before+20 })
	t.Logf("accepting again %v after PostgreSQL was stopped for 20 s", time.Since(at).Round(time.Millisecond))
	stop()
	publishers.Wait()
	longest := time.Duration(0)
	slowest.Range(func(_, v any) bool { longest = max(longest, v.(time.Duration)); return true })
	t.Logf("web took %d MiB at rest and %d MiB at most; the longest answer took %v", rest>>20, most>>20, longest.Round(time.Millisecond))
	if most > 768<<20 {
		t.Errorf("web took %d MiB", most>>20)
	}
	if l.answers[http.StatusServiceUnavailable] == 0 {
		t.Errorf("nobody was told to come back: %v", l.answers)
	}
	t.Logf("settled %v after the last publish", l.finish(f.url).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": f.url})
	l.reckon(f.url, underWay)
}

// memoryOf reads a line of /proc/pid/status, in bytes.
func memoryOf(t *testing.T, pid int, line string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), line)
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
