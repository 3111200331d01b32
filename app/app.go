// Package app wires everything together and speaks HTTP: the dashboard's pages, the JSON API, health and static files. Nobody but
// main imports it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/app/pages"
	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/internal/netlimit"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/seal"
)

// App is one process: the web part, the worker, or both.
type App struct {
	*api.API
	pages    *pages.Pages
	metrics  *metrics.Metrics
	recent   *models.Recent // nil unless web and worker share the process
	cells    cellRuns
	http     *fiber.App // nil in a process without web
	listener net.Listener
	pg       *postgres.Server // the private PostgreSQL, nil otherwise
	closing  sync.Once
}

// recentBytes bounds the payloads that a process with web and worker remembers.
const recentBytes = 32 << 20

// stopWait is how long requests may take to be answered when the process stops, and connections to be closed.
const stopWait = 15 * time.Second

// New connects to the database (starting and migrating a private one where the configuration says so) and gets
// everything ready to run. Close must be called, also when Run was not.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *App, err error) {
	env := adapters.Env{Egress: cfg.EgressAllow, UserAgent: "Waybill/" + config.Version, HostCredentials: cfg.HostCreds,
		GoogleKeyFile: cfg.GoogleKeyFile}
	a := &App{API: api.New(cfg, log, env), metrics: metrics.New(config.Version)}
	a.pages = pages.New(a.API)
	a.watchReloads()
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if cfg.Private() {
		a.pg, err = postgres.Start(ctx, postgres.Options{Dir: cfg.DataDir, Socket: true,
			Logf: func(f string, args ...any) { log.Info(fmt.Sprintf(f, args...)) }})
		if err != nil {
			return nil, err
		}
		cfg.DatabaseURL = a.pg.URL
	}
	if cfg.Role == "serve" {
		if err := cfg.Secrets(); err != nil {
			return nil, err
		}
	}
	address, err := reachDatabase(ctx, cfg)
	if err != nil {
		return nil, err
	}
	keys, err := seal.New(cfg.SecretKey, cfg.OlderKeys...)
	if err != nil {
		return nil, fmt.Errorf("SECRET_KEY: %w", err)
	}
	if cfg.OTLP.Given() {
		a.Traces, err = traces.Start(ctx, traces.Options{Collector: cfg.OTLP, Version: config.Version, Role: cfg.Role,
			OnError: func(err error) { log.Warn("traces could not be sent; deliveries go on without them", "error", err) }})
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
		}
	}
	a.Store, err = models.Open(ctx, models.Options{URL: address, Pooled: cfg.Pooled(), Replica: cfg.ReplicaURL,
		ReplicaLag: cfg.ReplicaLag, Keys: keys, Rules: cfg.Defaults(), Locked: cfg.Locked,
		PayloadEncryption: cfg.PayloadEncryption, PayloadKeys: cfg.PayloadKeysURL,
		Metrics: a.metrics, Traces: a.Traces, Log: log})
	if err != nil {
		return nil, err
	}
	if err := a.Store.Migrated(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.KeepKey(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.PreparePayloadKeys(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.KnowPartitions(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.KnowSchemas(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.KnowSettings(ctx); err != nil {
		return nil, err
	}
	if err := a.Store.KnowIntakes(ctx); err != nil {
		return nil, err
	}
	if cfg.Role == "serve" {
		a.recent = models.NewRecent(recentBytes)
	}
	// A worker accepts events too: notices that go to destinations.
	a.Accepter = models.NewAccepter(a.Store, a.recent, log)
	a.Notices = a.notices(a.Store)
	a.Bootstrap = &models.Actor{Name: "API_KEY", Kind: models.ActorKey, Scope: models.AllTenants(),
		May: []models.Permission{models.MayAdmin}, Role: models.RoleOwner}
	a.setBootstrapKey(cfg.APIKey)
	if cfg.Role != "work" {
		if err := a.Store.KnowIntakeShare(ctx); err != nil {
			return nil, err
		}
		// What the environment asks for is nobody's doing.
		ctx := models.WithoutAudit(ctx)
		if err := a.firstUser(ctx); err != nil {
			return nil, err
		}
		if cfg.Role == "serve" {
			if err := a.makeDemo(ctx); err != nil {
				return nil, fmt.Errorf("make the demo tenant: %w", err)
			}
		}
		if err := a.followEnvironment(ctx, cfg); err != nil {
			return nil, err
		}
		a.Follower = models.NewFollower(a.Store, log)
		a.Tail = models.NewTail(a.Store, log, a.WriteTail)
		a.http = a.routes()
	}
	a.Store.ReachCells(a.storeIn)
	if err := a.findCells(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// firstUser creates the user that the environment names, unless there is one already.
func (a *App) firstUser(ctx context.Context) error {
	if a.Cfg.AdminEmail == "" {
		return nil
	}
	_, err := a.Store.CreateFirstUser(ctx, models.UserInput{Name: "Admin", Email: a.Cfg.AdminEmail, Password: a.Cfg.AdminPass})
	if models.IsKind(err, models.KindNotFound) {
		return nil
	}
	return err
}

// Listen opens the port. It is separate from Run so that callers know the address before traffic starts.
func (a *App) Listen() (addr string, err error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(a.Cfg.Host, fmt.Sprint(a.Cfg.Port)))
	if err != nil {
		return "", fmt.Errorf("PORT: cannot listen on port %d: %w", a.Cfg.Port, err)
	}
	a.listener = withWriteDeadlines(netlimit.Listen(a.behindProxies(ln), a.connectionLimits()), a.Cfg.WriteTimeout)
	return a.listener.Addr().String(), nil
}

// Run works until ctx ends, then stops gracefully: no new requests, no new jobs, what is under way finishes or is
// handed back. started is called once when everything is up.
func (a *App) Run(ctx context.Context, started func()) error {
	var measured net.Listener
	if a.Cfg.MetricsAddr != "" {
		var err error
		if measured, err = net.Listen("tcp", a.Cfg.MetricsAddr); err != nil {
			return fmt.Errorf("METRICS_ADDR: cannot listen on %s (every process of a machine needs an address of its own): %w",
				a.Cfg.MetricsAddr, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var ready sync.WaitGroup
	if a.Cfg.Role != "web" && a.Cfg.Serves(models.HomeCell) {
		ready.Add(1)
		g.Go(func() error {
			return jobs.Run(ctx, a.Store, jobs.Options{MaxInFlight: a.Cfg.MaxInFlight, Env: a.Env, Recent: a.recent, Role: a.Cfg.Role,
				Notices: a.Notices, Publish: a.Accept, Mover: a.mover()}, a.Log, sync.OnceFunc(ready.Done))
		})
	}
	if a.http != nil {
		if a.listener == nil {
			if _, err := a.Listen(); err != nil {
				return err
			}
		}
		g.Go(func() error { return a.http.Listener(a.listener) })
		g.Go(func() error {
			a.Store.FollowIntakeShare(ctx, a.Log)
			return nil
		})
		g.Go(func() error {
			a.ForgetLimits(ctx)
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			a.Follower.Stop() // whoever waits for something gets the answer of now
			a.Tail.Stop()
			err := a.http.ShutdownWithTimeout(stopWait)
			if errors.Is(err, context.DeadlineExceeded) {
				a.Log.Warn("some connections were still open and are cut off", "after", stopWait)
				err = nil
			}
			return err
		})
	}
	if measured != nil {
		g.Go(func() error { return a.serveMetrics(ctx, measured) })
	}
	g.Go(func() error {
		keepPartitionsKnown(ctx, a.Store, a.Log)
		return nil
	})
	g.Go(func() error { // jobs of cells end with those of home
		<-ctx.Done()
		if a.http == nil {
			a.endCells()
		}
		return nil
	})
	g.Go(func() error {
		a.Store.FollowSettings(ctx, a.Log, func(list []models.Cell) { a.setCells(ctx, list) })
		return nil
	})
	g.Go(func() error {
		a.followFiles(ctx)
		return nil
	})
	if a.pg != nil {
		g.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-a.pg.Done():
				return errors.New("the private PostgreSQL has stopped; see postgres.log in " + a.Cfg.DataDir)
			}
		})
	}
	go func() {
		ready.Wait()
		if ctx.Err() == nil {
			started()
		}
	}()
	return g.Wait()
}

// keepPartitionsKnown reads from time to time which partitions there are.
func keepPartitionsKnown(ctx context.Context, store *models.Store, log *slog.Logger) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := store.KnowPartitions(ctx); err != nil && ctx.Err() == nil {
				log.Warn("cannot read which partitions there are; statements take a little longer", "error", err)
			}
		}
	}
}

// Close releases everything, after what was accepted is committed.
func (a *App) Close() {
	a.closing.Do(func() {
		a.endCells()
		if a.Follower != nil {
			a.Follower.Close()
		}
		if a.Tail != nil {
			a.Tail.Close()
		}
		if a.Accepter != nil {
			a.Accepter.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := a.Traces.Stop(ctx); err != nil {
			a.Log.Warn("the last traces could not be sent", "error", err)
		}
		if a.Store != nil {
			a.Store.Close()
		}
		if a.pg != nil {
			if err := a.pg.Stop(); err != nil {
				a.Log.Error("the private PostgreSQL did not stop cleanly; it recovers at the next start", "error", err)
			}
		}
	})
}

// newLogger makes the log that the configuration asks for.
func newLogger(cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	format := cfg.LogFormat
	if format == "" {
		format = "json"
		if st, err := os.Stderr.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			format = "text"
		}
	}
	if format == "text" {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}
