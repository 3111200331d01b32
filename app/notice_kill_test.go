package app

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// slowHook is a receiver of notices that waits with its first answer, and remembers the ids of what it got.
type slowHook struct {
	*httptest.Server
	inside, answer chan struct{}
	mu             sync.Mutex
	ids            []string
}

func newSlowHook(t *testing.T) *slowHook {
	h := &slowHook{inside: make(chan struct{}), answer: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h.mu.Lock()
		h.ids = append(h.ids, r.Header.Get("webhook-id"))
		first := len(h.ids) == 1
		h.mu.Unlock()
		if first {
			close(h.inside)
			select {
			case <-h.answer:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// TestNoticeSurvives ends workers, and the database, while a channel's server is answering. The notice is not lost. It
// arrives twice only when nobody is left who could know that it was sent, and then with the same id.
func TestNoticeSurvives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		heard int // how often the notice arrives
		fault func(t *testing.T, h *slowHook, worker *process, f *faultyDatabase)
	}{
		{"kill -9 while the server answers", 2, func(_ *testing.T, _ *slowHook, worker *process, _ *faultyDatabase) { worker.kill() }},
		{"a stop while the server answers", 1, func(_ *testing.T, h *slowHook, worker *process, _ *faultyDatabase) {
			_ = worker.cmd.Process.Signal(os.Interrupt)
			close(h.answer)
			<-worker.gone
		}},
		{"the database is killed while the server answers", 1, func(t *testing.T, h *slowHook, worker *process, f *faultyDatabase) {
			for _, pid := range f.processes() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			<-f.server.Done()
			close(h.answer)
			// It is answered, and cannot be recorded.
			for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
				if log, _ := os.ReadFile(worker.log); bytes.Contains(log, []byte("how a notice went is not recorded yet")) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the worker does not find out that the database is away")
				}
			}
			f.start()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var f *faultyDatabase
			var url string
			if c.heard == 1 {
				f = newFaultyDatabase(t)
				url = f.url
			} else {
				url = modelstest.DB(t)
			}
			db := []string{"DATABASE_URL=" + url, "DISABLE_AFTER_FAILURES=2"}
			a := &testApp{TB: t, base: startProcess(t, "web", db...).base, key: testKey}
			a.tenant("acme")
			h := newSlowHook(t)
			a.want(201, "POST", "/tenants/acme/channels", `{"type":"webhook","config":{"url":"`+h.URL+`"}}`)
			worker := startProcess(t, "work", db...)
			a.fail(1)
			<-h.inside
			c.fault(t, h, worker, f)
			startProcess(t, "work", db...)
			var id string
			for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
				out := a.do("GET", "/tenants/acme/notifications", nil)
				if out.status == 200 && out.str("models", "0", "status") == "sent" {
					id = out.str("models", "0", "id")
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the notice is not sent: %s", out.raw)
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.ids) != c.heard {
				t.Errorf("it arrived %d times, want %d", len(h.ids), c.heard)
			}
			for _, got := range h.ids {
				if got != id {
					t.Errorf("the notice %s arrived as %s", id, got)
				}
			}
		})
	}
}
