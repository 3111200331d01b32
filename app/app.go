package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/seal"
	"github.com/waybill-dev/waybill/views/emails"
)

// App is one process: the web part, the worker, or both.
type App struct {
	base          string // path of BASE_URL
	cfg           *Config
	log           *slog.Logger
	store         *models.Store
	metrics       *metrics.Metrics
	traces        *traces.Tracer   // nil unless a collector is given
	accepter      *models.Accepter // nil in a process without web
	follower      *models.Follower // nil in a process without web
	notices       *jobs.Notices
	recent        *models.Recent // nil unless web and worker share the process
	env           adapters.Env
	bootstrap     *models.Actor
	bootstrapHash [32]byte
	http          *fiber.App
	listener      net.Listener
	logins        attemptLimiter
	description   apiDescription
	bodies        atomic.Int64     // bytes of the requests' bodies that are being answered
	pg            *postgres.Server // the private PostgreSQL, nil otherwise
	closing       sync.Once
}

// recentBytes bounds the payloads that a process with web and worker remembers.
const recentBytes = 32 << 20

// stopWait is how long requests may take to be answered when the process stops, and connections to be closed.
const stopWait = 15 * time.Second

// New connects to the database (starting and migrating a private one where the configuration says so) and gets
// everything ready to run. Close must be called, also when Run was not.
func New(ctx context.Context, cfg *Config, log *slog.Logger) (_ *App, err error) {
	a := &App{cfg: cfg, base: cfg.BasePath(), log: log, metrics: metrics.New(Version),
		env: adapters.Env{Egress: cfg.EgressAllow, UserAgent: "Waybill/" + Version, HostCredentials: cfg.HostCreds, GoogleKeyFile: cfg.GoogleKeyFile}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if cfg.Private() {
		a.pg, err = postgres.Start(ctx, postgres.Options{Dir: cfg.DataDir, Logf: func(f string, args ...any) { log.Info(fmt.Sprintf(f, args...)) }})
		if err != nil {
			return nil, err
		}
		cfg.DatabaseURL = a.pg.URL
	}
	if cfg.Role == "serve" {
		if err := cfg.Secrets(); err != nil {
			return nil, err
		}
		if err := migrations.Apply(ctx, cfg.DatabaseURL); err != nil {
			return nil, err
		}
	}
	if cfg.Role != "serve" { // whose migration has looked
		if err := migrations.CheckSession(ctx, cfg.DatabaseURL); err != nil {
			return nil, err
		}
	}
	keys, err := seal.New(cfg.SecretKey, cfg.OlderKeys...)
	if err != nil {
		return nil, fmt.Errorf("SECRET_KEY: %w", err)
	}
	if cfg.OTLP.Given() {
		a.traces, err = traces.Start(ctx, traces.Options{Collector: cfg.OTLP, Version: Version, Role: cfg.Role,
			OnError: func(err error) { log.Warn("traces could not be sent; deliveries go on without them", "error", err) }})
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
		}
	}
	a.store, err = models.Open(ctx, models.Options{URL: cfg.DatabaseURL, Keys: keys, Rules: cfg.Rules(), Metrics: a.metrics, Traces: a.traces, Log: log})
	if err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, a.store.Pool); err != nil {
		return nil, err
	}
	if err := a.store.KeepKey(ctx); err != nil {
		return nil, err
	}
	if err := a.store.KnowPartitions(ctx); err != nil {
		return nil, err
	}
	if err := a.store.KnowSchemas(ctx); err != nil {
		return nil, err
	}
	if cfg.Role == "serve" {
		a.recent = models.NewRecent(recentBytes)
	}
	// A worker accepts events too: notices that go to destinations.
	a.accepter = models.NewAccepter(a.store, a.recent, log)
	a.notices = &jobs.Notices{Store: a.store, Links: a.noticeLinks, Unsubscribe: a.unsubscribeLink, Log: log, Env: notify.Env{Egress: cfg.EgressAllow, UserAgent: a.env.UserAgent, SMTP: cfg.SMTP,
		BaseURL: cfg.BaseURL, Publish: a.publishNotice, RenderMail: emails.Render}}
	a.bootstrap = &models.Actor{Name: "API_KEY", Kind: models.ActorKey, Scope: models.AllTenants(), May: []models.Permission{models.MayAdmin}}
	a.bootstrapHash = sha256.Sum256([]byte(cfg.APIKey))
	if cfg.Role != "work" {
		if err := a.firstUser(ctx); err != nil {
			return nil, err
		}
		if cfg.Role == "serve" {
			if err := a.makeDemo(ctx); err != nil {
				return nil, fmt.Errorf("make the demo tenant: %w", err)
			}
		}
		if err := a.followEnvironment(ctx); err != nil {
			return nil, err
		}
		a.follower = models.NewFollower(a.store, log)
		a.http = a.routes()
	}
	return a, nil
}

// firstUser creates the user that the environment names, unless there is one already.
func (a *App) firstUser(ctx context.Context) error {
	if a.cfg.AdminEmail == "" {
		return nil
	}
	_, err := a.store.CreateFirstUser(ctx, models.UserInput{Name: "Admin", Email: a.cfg.AdminEmail, Password: a.cfg.AdminPass})
	if models.IsKind(err, models.KindNotFound) {
		return nil
	}
	return err
}

// Listen opens the port. It is separate from Run so that callers know the address before traffic starts.
func (a *App) Listen() (addr string, err error) {
	a.listener, err = net.Listen("tcp", net.JoinHostPort(a.cfg.Host, fmt.Sprint(a.cfg.Port)))
	if err != nil {
		return "", fmt.Errorf("PORT: cannot listen on port %d: %w", a.cfg.Port, err)
	}
	return a.listener.Addr().String(), nil
}

// Run works until ctx ends, then stops gracefully: no new requests, no new jobs, what is under way finishes or is
// handed back. started is called once when everything is up.
func (a *App) Run(ctx context.Context, started func()) error {
	var measured net.Listener
	if a.cfg.MetricsAddr != "" {
		var err error
		if measured, err = net.Listen("tcp", a.cfg.MetricsAddr); err != nil {
			return fmt.Errorf("METRICS_ADDR: cannot listen on %s (every process of a machine needs an address of its own): %w", a.cfg.MetricsAddr, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var ready sync.WaitGroup
	if a.cfg.Role != "web" {
		ready.Add(1)
		g.Go(func() error {
			return jobs.Run(ctx, a.store, jobs.Options{MaxInFlight: a.cfg.MaxInFlight, Env: a.env, Recent: a.recent, Role: a.cfg.Role, Notices: a.notices, Publish: a.accepter.PublishAll}, a.log, sync.OnceFunc(ready.Done))
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
			<-ctx.Done()
			a.follower.Stop() // whoever waits for something gets the answer of now
			err := a.http.ShutdownWithTimeout(stopWait)
			if errors.Is(err, context.DeadlineExceeded) {
				a.log.Warn("some connections were still open and are cut off", "after", stopWait)
				err = nil
			}
			return err
		})
	}
	if measured != nil {
		g.Go(func() error { return a.serveMetrics(ctx, measured) })
	}
	g.Go(func() error {
		a.keepPartitionsKnown(ctx)
		return nil
	})
	if a.pg != nil {
		g.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-a.pg.Done():
				return errors.New("the private PostgreSQL has stopped; see postgres.log in " + a.cfg.DataDir)
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
func (a *App) keepPartitionsKnown(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := a.store.KnowPartitions(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("cannot read which partitions there are; statements take a little longer", "error", err)
			}
		}
	}
}

// Close releases everything, after what was accepted is committed.
func (a *App) Close() {
	a.closing.Do(func() {
		if a.follower != nil {
			a.follower.Close()
		}
		if a.accepter != nil {
			a.accepter.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := a.traces.Stop(ctx); err != nil {
			a.log.Warn("the last traces could not be sent", "error", err)
		}
		if a.store != nil {
			a.store.Close()
		}
		if a.pg != nil {
			if err := a.pg.Stop(); err != nil {
				a.log.Error("the private PostgreSQL did not stop cleanly; it recovers at the next start", "error", err)
			}
		}
	})
}

// newLogger makes the log that the configuration asks for.
func newLogger(cfg *Config) *slog.Logger {
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
