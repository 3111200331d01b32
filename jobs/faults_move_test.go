//go:build faults

package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
)

// moveWorker makes the test binary a process that delivers and moves, until it is killed: the addresses of home and of a cell, and where
// it tells what it delivers.
const moveWorker = "WAYBILL_MOVE_WORKER"

// TestMoveWorkerProcess is that process.
func TestMoveWorkerProcess(t *testing.T) {
	args := strings.Split(os.Getenv(moveWorker), " ")
	if len(args) != 3 {
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	open := func(o models.Options) *models.Store {
		o.Keys, o.Log, o.MaxConns, o.HotConns, o.JobConns = testKeys(t), log, 8, 8, 6
		s, err := models.Open(t.Context(), o)
		if err == nil {
			err = s.KnowPartitions(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rules := models.DefaultRules()
	rules.Retry.Schedule = moveRetries
	home := open(models.Options{URL: args[0], Rules: rules})
	cell := open(models.Options{URL: args[1], Home: home, Cell: "eu1"})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	answers.Store("told", answer(func(ctx context.Context, m *adapters.Message) (adapters.Receipt, error) {
		req, _ := http.NewRequestWithContext(ctx, "POST", args[2], bytes.NewReader(m.Data))
		resp, err := client.Do(req)
		if err != nil {
			return adapters.Receipt{}, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return adapters.Receipt{Code: resp.StatusCode}, resp.Body.Close()
	}))
	stores := map[string]*models.Store{models.HomeCell: home, "eu1": cell}
	mover := &models.Mover{Home: home, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})), Open: func(name string) (*models.Store, error) {
		return stores[name], nil
	}}
	go func() { _ = jobs.Run(t.Context(), cell, jobs.Options{Role: "work"}, log, func() {}) }()
	if err := jobs.Run(t.Context(), home, jobs.Options{Role: "work", Mover: mover}, log, func() { fmt.Println("started") }); err != nil {
		t.Fatal(err)
	}
}

func startMoveWorker(s *site, tell string) *exec.Cmd {
	s.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestMoveWorkerProcess$", "-test.timeout=2h")
	cmd.Env = append(os.Environ(), moveWorker+"="+s.urls[""]+" "+s.urls["eu1"]+" "+tell)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func faultsNumber(t *testing.T, name string, without int) int {
	v := os.Getenv(name)
	if v == "" {
		return without
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// deadly are the phases in which the worker is killed.
var deadly = []string{models.MoveSwitch, models.MoveCopy, models.MoveClean, models.MoveCatchUp, models.MovePrepare}

// TestFaultsMove moves a tenant with FAULTS_MOVE_EVENTS events (20000) to another database and back, while FAULTS_MOVE_RATE (200) are
// published in a second and delivered, and kills the worker that moves it in FAULTS_MOVE_KILLS (5) phases each way: none is lost, and none arrives
// twice but what was under way when a worker died.
func TestFaultsMove(t *testing.T) {
	size, rate, kills := faultsNumber(t, "FAULTS_MOVE_EVENTS", 20_000), faultsNumber(t, "FAULTS_MOVE_RATE", 200), faultsNumber(t, "FAULTS_MOVE_KILLS", len(deadly))
	s := newSite(t, false)
	var mu sync.Mutex
	arrived, last := map[string]int{}, map[int]int{}
	disorder, worst := 0, 0
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var d struct{ Key, N int }
		_ = json.NewDecoder(req.Body).Decode(&d)
		mu.Lock()
		defer mu.Unlock()
		id := fmt.Sprint(d.Key, "-", d.N)
		if arrived[id]++; arrived[id] == 1 && d.N < last[d.Key] {
			disorder++
		}
		worst = max(worst, arrived[id])
		last[d.Key] = max(last[d.Key], d.N)
	}))
	t.Cleanup(srv.Close)
	d, err := s.home.CreateDestination(t.Context(), models.AllTenants(), "acme", models.DestinationInput{Patch: models.DestinationPatch{"id": "told",
		"type": "fake", "topics": []string{"*"}, "config": map[string]any{"name": "told"}, "ordered": true}})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.fill(d, size)
	t.Logf("filled with %d events in %v", size, time.Since(begun).Round(time.Second))
	worker := startMoveWorker(s, srv.URL)

	publishers := max(20, rate/4) // for a machine on which each event takes a quarter of a second
	published, refused := 0, 0
	var took []time.Duration
	stop := make(chan struct{})
	var running sync.WaitGroup
	for key := range publishers {
		running.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(publishers) / time.Duration(rate))
			defer tick.Stop()
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				begun := time.Now()
				err := s.publish(&models.PublishInput{TenantID: "acme", ID: fmt.Sprintf("e-%d-%d", key, n), OrderingKey: fmt.Sprint(key),
					Data: json.RawMessage(fmt.Sprintf(`{"key": %d, "n": %d}`, key, n))})
				mu.Lock()
				took = append(took, time.Since(begun))
				if err == nil {
					published++
				} else { // it may be there nevertheless
					refused++
					t.Errorf("publish: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	latencies := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(took)
		if n := len(took); n > 0 {
			t.Logf("%s: %d published, half within %v, 99 %% within %v, the longest took %v", what, n, took[n/2].Round(time.Millisecond),
				took[n*99/100].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
		}
		took = nil
	}
	await := func(what string, met func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Hour); !met(); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited for %s", what)
			}
		}
	}
	await("events", func() bool { mu.Lock(); defer mu.Unlock(); return published > 10*rate })
	latencies("before")
	killed := 0
	ways := []string{"eu1", models.HomeCell}
	if kills == 0 {
		ways = ways[:1] // it is measured
	}
	cut := 0
	for _, to := range ways {
		m, err := s.home.StartMove(t.Context(), "acme", to, "Ann")
		if err != nil {
			t.Fatal(err)
		}
		phase, since := "", time.Now()
		left, next := slices.Clone(deadly[:kills]), time.Now()
		await("the move to "+to, func() bool {
			if m, err = s.home.Move(t.Context(), m.ID()); err != nil {
				t.Fatal(err)
			}
			if m.Phase != phase {
				if phase != "" {
					latencies(fmt.Sprintf("to %s, %s for %v", to, phase, time.Since(since).Round(10*time.Millisecond)))
				}
				phase, since = m.Phase, time.Now()
				next = time.Now().Add(time.Duration(rand.IntN(500)) * time.Millisecond)
			}
			if m.Error != "" {
				t.Logf("%s: %s", m.Phase, m.Error)
			}
			if i := slices.Index(left, m.Phase); i >= 0 && time.Now().After(next) {
				left = slices.Delete(left, i, i+1)
				_ = worker.Process.Kill()
				_ = worker.Wait()
				killed++
				t.Logf("killed in phase %s", m.Phase)
				worker = startMoveWorker(s, srv.URL)
				next = time.Now().Add(time.Duration(rand.IntN(700)) * time.Millisecond)
			}
			return !m.Open()
		})
		cut += m.Progress.Running
		t.Logf("to %s: %d events and %d rows copied, held for %d ms at the %d. try, %d jobs moved, %d of them under way, %d events deleted", to,
			m.Progress.Events, m.Progress.Rows, m.Progress.HeldMs, m.Progress.Tries, m.Progress.MovedJob, m.Progress.Running, m.Progress.Deleted)
	}
	close(stop)
	running.Wait()
	await("all events to arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(arrived) >= published })
	latencies("after")
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range arrived {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d events accepted and %d refused, %d arrived, %d of them twice or more (at most %d times), %d out of order, %d jobs under way at "+
		"switches, %d kills", published, refused, len(arrived), twice, worst, disorder, cut, killed)
	if len(arrived) < published || len(arrived) > published+refused || disorder > 0 || refused > 0 || twice > (killed*publishers)+cut*50 {
		t.Error("that is not as promised")
	}
	at, left := s.dbs["eu1"], s.dbs[""]
	if len(ways) == 2 {
		at, left = left, at
	}
	for _, table := range []string{"events", "deliveries", "attempts"} {
		var there, behind int
		if err := at.QueryRow(t.Context(), "select count(*) from "+table+" where tenant_key = $1", d.TenantKey).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if err := left.QueryRow(t.Context(), "select count(*) from "+table+" where tenant_key = $1", d.TenantKey).Scan(&behind); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d there, %d left behind", table, there, behind)
		if there < size+published || table != "attempts" && there > size+published+refused || behind > 0 {
			t.Errorf("want %d %s", size+published, table)
		}
	}
}

// fill gives the tenant events of the last day that were delivered.
func (s *site) fill(d *models.Destination, n int) {
	s.Helper()
	for _, sql := range []string{
		`insert into events (id, tenant_key, topic, retry, data) select (lpad(to_hex((extract(epoch from now() - (%[3]d - n) * interval '80 ms') * 1000)::bigint),
				12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid, %[1]d, 'order.created', true, '{"n": ' || n || ', "pad": "' || repeat('x', 300) || '"}'
				from generate_series(1, %[3]d) n`,
		`insert into deliveries (event_id, destination_key, tenant_key, status, attempts, last_code, last_attempt_at) select id, %[2]d, %[1]d, 'delivered', 1, 200, now()
				from events where tenant_key = %[1]d`,
		`insert into attempts (event_id, destination_key, tenant_key, started_at, number, duration_us, ok, trigger, code, method, url, response_body)
				select event_id, %[2]d, %[1]d, now(), 1, 20000, true, 'automatic', 200, 'POST', 'https://receiver.example/hooks', 'accepted'
				from deliveries where tenant_key = %[1]d`,
		"analyze events", "analyze deliveries", "analyze attempts",
	} {
		if strings.Contains(sql, "%") {
			sql = fmt.Sprintf(sql, d.TenantKey, d.Key, n)
		}
		if _, err := s.dbs[""].Exec(s.Context(), sql); err != nil {
			s.Fatal(err)
		}
	}
}
