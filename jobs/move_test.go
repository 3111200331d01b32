package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// site is a server with a cell: each database has a store, an accepter and a worker.
type site struct {
	*testing.T
	home    *models.Store
	stores  map[string]*models.Store // "" for home
	accepts map[string]*models.Accepter
	urls    map[string]string
	dbs     map[string]*pgxpool.Pool // for the test's own statements
}

// moveRetries are the waits between attempts.
var moveRetries = []models.Duration{models.Duration(300 * time.Millisecond), models.Duration(time.Second)}

// newSite makes one, with workers in this process or without.
func newSite(t *testing.T, work bool) *site {
	t.Helper()
	home := newEngine(t, func(r *models.Rules) { r.Retry.Schedule = moveRetries })
	url := modelstest.Empty(t)
	if _, err := home.store.AddCell(t.Context(), "eu1", url); err != nil {
		t.Fatal(err)
	}
	cell, err := models.Open(t.Context(), models.Options{URL: url, Home: home.store, Cell: "eu1", Keys: home.store.Keys, Log: home.log, MaxConns: 6,
		HotConns: 6, JobConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cell.Close)
	if err := errors.Join(cell.KnowPartitions(t.Context()), home.store.KnowCells(t.Context())); err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, home: home.store, stores: map[string]*models.Store{"": home.store, "eu1": cell},
		accepts: map[string]*models.Accepter{"": home.accept, "eu1": models.NewAccepter(cell, nil, home.log)},
		urls:    map[string]string{"": home.db.Config().ConnString(), "eu1": url},
		dbs:     map[string]*pgxpool.Pool{"": home.db, "eu1": modelstest.Connect(t, url)}}
	t.Cleanup(s.accepts["eu1"].Close)
	if !work {
		return s
	}
	s.work("", &models.Mover{Home: s.home, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Open: func(name string) (*models.Store, error) {
		if name == models.HomeCell {
			name = ""
		}
		return s.stores[name], nil
	}})
	s.work("eu1", nil)
	return s
}

// work starts a worker.
func (s *site) work(cell string, mover *models.Mover) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	log := slog.New(slog.NewTextHandler(s.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	go func() {
		done <- jobs.Run(ctx, s.stores[cell], jobs.Options{Role: "work", StopWait: 5 * time.Second, Mover: mover}, log, func() { close(started) })
	}()
	select {
	case <-started:
	case err := <-done:
		s.Fatal(err)
	}
	s.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("the worker of %q: %v", cell, err)
		}
	})
}

// publish publishes as the server does: to where the directory says, elsewhere when it is there no more, and again while it is held.
func (s *site) publish(in *models.PublishInput) error {
	for begun := time.Now(); ; <-time.After(25 * time.Millisecond) {
		at, err := s.home.Place(s.Context(), in.TenantID)
		if err != nil {
			return err
		}
		_, err = s.accepts[at].Publish(s.Context(), in)
		var there *models.ElsewhereError
		var held *models.HeldError
		switch {
		case errors.As(err, &there):
			s.home.ForgetPlace(in.TenantID)
		case !errors.As(err, &held):
			return err
		}
		if time.Since(begun) > 30*time.Second {
			return err
		}
	}
}

// TestMoveUnderLoad moves a tenant away and back while events are published and delivered, some of them again and again: none is lost,
// none arrives twice that was not under way, and those with one ordering key arrive in their order.
func TestMoveUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	const keys = 8
	var mu sync.Mutex
	arrived := map[string]int{} // by destination and event
	last := map[string]int{}    // by ordering key
	failed := map[string]bool{} // deliveries that failed once
	disorder, publishers := 0, sync.WaitGroup{}
	answers.Store(t.Name()+" plain", answer(func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(arrived)%7 == 0 && !failed[m.EventID] {
			failed[m.EventID] = true
			return server500(context.Background(), m)
		}
		arrived["plain "+m.EventID]++
		return adapters.Receipt{Code: 200}, nil
	}))
	answers.Store(t.Name()+" ordered", answer(func(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
		var data struct{ Key, N int }
		_ = json.Unmarshal(m.Data, &data)
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(data.Key)
		if arrived["ordered "+m.EventID]++; data.N < last[key] && arrived["ordered "+m.EventID] == 1 {
			disorder++
		}
		last[key] = max(last[key], data.N)
		return adapters.Receipt{Code: 200}, nil
	}))
	for name, ordered := range map[string]bool{"plain": false, "ordered": true} {
		if _, err := s.home.CreateDestination(t.Context(), models.AllTenants(), "acme", models.DestinationInput{Patch: models.DestinationPatch{"id": name,
			"type": "fake", "topics": []string{"*"}, "config": map[string]any{"name": t.Name() + " " + name}, "ordered": ordered}}); err != nil {
			t.Fatal(err)
		}
	}
	published, longest := 0, time.Duration(0)
	stop := make(chan struct{})
	for key := range keys {
		publishers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				begun := time.Now()
				err := s.publish(&models.PublishInput{TenantID: "acme", ID: fmt.Sprintf("e-%d-%d", key, n), OrderingKey: fmt.Sprint(key),
					Data: json.RawMessage(fmt.Sprintf(`{"key": %d, "n": %d}`, key, n))})
				if err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				mu.Lock()
				published++
				longest = max(longest, time.Since(begun))
				mu.Unlock()
			}
		})
	}
	wait := func(what string, met func() bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); !met(); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited for %s", what)
			}
		}
	}
	wait("events", func() bool { mu.Lock(); defer mu.Unlock(); return published > 500 })
	cut := 0
	for _, to := range []string{"eu1", models.HomeCell} {
		m, err := s.home.StartMove(t.Context(), "acme", to, "Ann")
		if err != nil {
			t.Fatal(err)
		}
		wait("the move to "+to, func() bool {
			if m, err = s.home.Move(t.Context(), m.ID()); err != nil {
				t.Fatal(err)
			}
			if m.Error != "" {
				t.Errorf("%s: %s", m.Phase, m.Error)
			}
			return !m.Open()
		})
		mu.Lock()
		t.Logf("to %s: %d events copied, held %d ms, %d tries, %d jobs under way; %d published, the longest took %v", to, m.Progress.Events,
			m.Progress.HeldMs, m.Progress.Tries, m.Progress.Running, published, longest)
		after := published + 200
		longest = 0
		mu.Unlock()
		cut += m.Progress.Running
		wait("events after the move", func() bool { mu.Lock(); defer mu.Unlock(); return published > after })
	}
	close(stop)
	publishers.Wait()
	wait("all events to arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(arrived) >= 2*published })
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range arrived {
		if n > 1 {
			twice++
		}
	}
	if len(arrived) != 2*published || disorder > 0 || twice > cut*50 {
		t.Errorf("%d events were published, %d deliveries arrived, %d of them twice with %d jobs under way, %d out of order", published,
			len(arrived), twice, cut, disorder)
	}
	t.Logf("%d events, %d twice", published, twice)
}
