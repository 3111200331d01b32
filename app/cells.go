package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/views/emails"
)

// cellRuns are the cells (models/cell.go) that this process serves. Each has all that home has: a store with its own connections, what
// accepts events, what tells of news, and in a worker what works off its queue. One that cannot be reached is tried again and again, and
// holds up nobody else.
type cellRuns struct {
	mu   sync.Mutex
	runs map[int]*cellRun // by number
}

// cellRun is a cell that is served, until it ends.
type cellRun struct {
	cell  *api.Cell
	stop  context.CancelFunc
	tried chan struct{} // closed once it is served, or could not be for the first time
	done  chan struct{} // closed when nothing of it runs any more
}

const (
	cellAgain = 2 * time.Second  // until a cell that could not be opened is tried again
	cellOpens = 20 * time.Second // how long that may take; migrations have more
	cellFirst = 5 * time.Second  // for how long a process that starts waits for cells
	cellLook  = 5 * time.Second  // between two looks whether a cell answers
	mendEvery = 10 * time.Minute
)

// setCells tells the API of the cells that there are, and begins and ends what runs for them.
func (a *App) setCells(ctx context.Context, list []models.Cell) {
	r := &a.cells
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(list) == 0 && len(r.runs) == 0 {
		return
	}
	if r.runs == nil {
		r.runs = map[int]*cellRun{}
	}
	told, there := make([]*api.Cell, 0, len(list)), map[int]bool{}
	for _, c := range list {
		there[c.Number] = true
		run := r.runs[c.Number]
		if run == nil {
			run = a.beginCell(ctx, api.NewCell(c, a.Cfg.Serves(c.Name)))
			r.runs[c.Number] = run
		}
		told = append(told, run.cell.With(c))
	}
	a.SetCells(told)
	for number, run := range r.runs {
		if !there[number] {
			run.stop()
			delete(r.runs, number)
		}
	}
}

// findCells serves the cells that there are. It waits until those that can be reached are served, so that no tenant is refused because
// a process has just started, but not for long.
func (a *App) findCells(ctx context.Context) error {
	if err := a.Store.KnowCells(ctx); err != nil {
		return err
	}
	a.setCells(ctx, a.Store.Cells())
	ctx, cancel := context.WithTimeout(ctx, cellFirst)
	defer cancel()
	a.cells.mu.Lock()
	runs := slices.Collect(maps.Values(a.cells.runs))
	a.cells.mu.Unlock()
	for _, run := range runs {
		select {
		case <-run.tried:
		case <-ctx.Done():
		}
	}
	return nil
}

// endCells ends what runs for the cells, and waits for it.
func (a *App) endCells() {
	a.cells.mu.Lock()
	runs := a.cells.runs
	a.cells.runs = nil
	a.cells.mu.Unlock()
	for _, run := range runs {
		run.stop()
	}
	for _, run := range runs {
		<-run.done
	}
}

// beginCell serves a cell in the background.
func (a *App) beginCell(ctx context.Context, c *api.Cell) *cellRun {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	run := &cellRun{cell: c, stop: stop, tried: make(chan struct{}), done: make(chan struct{})}
	if !c.Served() {
		close(run.tried)
		close(run.done)
		return run
	}
	tried := sync.OnceFunc(func() { close(run.tried) })
	go func() {
		defer close(run.done)
		log := a.Log.With("cell", c.Name)
		for told := false; ctx.Err() == nil; {
			if err := a.runCell(ctx, c, tried, log); err != nil && ctx.Err() == nil {
				c.Failed(err.Error())
				tried()
				if !told {
					log.Error("a cell cannot be served; its tenants get 503 until it can be", "error", err)
					told = true
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(cellAgain):
			}
		}
	}()
	return run
}

// runCell opens a cell, tells that it is served, and serves it until ctx ends.
func (a *App) runCell(ctx context.Context, c *api.Cell, opened func(), log *slog.Logger) error {
	measured := a.metrics.Cell(c.Name)
	defer a.metrics.Drop(measured)
	store, err := a.openCell(ctx, c, models.Options{URL: c.Address, Keys: a.Store.Keys, Home: a.Store, Cell: c.Name,
		Metrics: measured, Traces: a.Traces, Log: log})
	if err != nil {
		return err
	}
	defer store.Close()
	var recent *models.Recent
	if a.Cfg.Role == "serve" {
		recent = models.NewRecent(recentBytes)
	}
	x := a.ForCell(store)
	x.Accepter = models.NewAccepter(store, recent, log)
	defer x.Accepter.Close()
	x.Notices = a.notices(store)
	if a.Cfg.Role != "work" {
		x.Follower = models.NewFollower(store, log)
		defer x.Follower.Close()
		x.Tail = models.NewTail(store, log, x.WriteTail)
		defer x.Tail.Close()
	}
	var runs sync.WaitGroup
	runs.Go(func() { keepPartitionsKnown(ctx, store, log) })
	runs.Go(func() { watchCell(ctx, c, store, log) })
	if a.Cfg.Role != "web" {
		runs.Go(func() { a.mendCell(ctx, store, log) })
		runs.Go(func() {
			for ctx.Err() == nil {
				err := jobs.Run(ctx, store, jobs.Options{MaxInFlight: a.Cfg.MaxInFlight, Env: a.Env, Recent: recent, Role: a.Cfg.Role,
					Notices: x.Notices, Publish: a.Accept}, log, func() {})
				if err != nil && ctx.Err() == nil {
					log.Error("the worker of the cell could not start and tries again", "error", err)
					select {
					case <-ctx.Done():
					case <-time.After(cellAgain):
					}
				}
			}
		})
	}
	runs.Go(func() { store.FollowOperators(ctx, log) })
	runs.Go(func() { store.FollowTopics(ctx, log) })
	c.Opened(x)
	opened()
	log.Info("the cell is served")
	<-ctx.Done()
	if x.Follower != nil {
		x.Follower.Stop()
		x.Tail.Stop()
	}
	runs.Wait()
	return nil
}

// watchCell looks now and then whether a cell answers, so that it is known since when it does not.
func watchCell(ctx context.Context, c *api.Cell, store *models.Store, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(cellLook):
		}
		err := store.Ready(ctx)
		if ctx.Err() != nil || !c.Saw(err == nil) {
			continue
		}
		if err != nil {
			log.Error("the cell does not answer; its tenants get 503 until it does", "error", err)
		} else {
			log.Info("the cell answers again")
		}
	}
}

// openCell connects to a cell and makes sure that it is that one. serve migrates it, as it does home.
func (a *App) openCell(ctx context.Context, c *api.Cell, o models.Options) (*models.Store, error) {
	if a.Cfg.Role == "serve" {
		if err := migrations.Apply(ctx, c.Address); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cellOpens)
	defer cancel()
	if err := migrations.CheckSession(ctx, c.Address); err != nil {
		return nil, err
	}
	store, err := models.Open(context.WithoutCancel(ctx), o)
	if err != nil {
		return nil, err
	}
	for _, check := range []func(context.Context) error{store.Migrated, store.KeepKey,
		func(ctx context.Context) error { return store.IsCell(ctx, &c.Cell) }, store.KnowPartitions} {
		if err := check(ctx); err != nil {
			store.Close()
			return nil, err
		}
	}
	return store, nil
}

// mendCell brings home and a cell together from time to time, where something broke off between the two.
func (a *App) mendCell(ctx context.Context, store *models.Store, log *slog.Logger) {
	for wait := time.Second; ; wait = mendEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		n, err := store.MendCell(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("tenants could not be compared with those of the database of DATABASE_URL; that is tried again", "error", err)
		}
		if n > 0 {
			log.Info("tenants were brought together with the database of DATABASE_URL", "tenants", n)
		}
	}
}

// mover moves tenants between the cells that this process serves.
func (a *App) mover() *models.Mover {
	return &models.Mover{Home: a.Store, Log: a.Log, Open: a.storeIn}
}

// storeIn is the store of a cell.
func (a *App) storeIn(cell string) (*models.Store, error) {
	x, err := a.In(cell)
	if err != nil {
		return nil, err
	}
	return x.Store, nil
}

// notices sends the notices that are in a store.
func (a *App) notices(store *models.Store) *jobs.Notices {
	return &jobs.Notices{Store: store, Links: a.noticeLinks, Unsubscribe: a.unsubscribeLink, Compose: a.compose, Log: a.Log,
		Env: notify.Env{Egress: a.Cfg.EgressAllow, UserAgent: a.Env.UserAgent, SMTP: a.Cfg.SMTP,
			BaseURL: a.Cfg.BaseURL, Publish: a.publishNotice, RenderMail: emails.Render}}
}

// eachCell does something with every cell that home knows, one after the other, and tells which ones failed.
func eachCell(ctx context.Context, home *models.Store, do func(ctx context.Context, c models.Cell) error) error {
	list, err := home.ListCells(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := do(ctx, c); err != nil {
			return fmt.Errorf("the cell %s: %w", c.Name, err)
		}
	}
	return nil
}
