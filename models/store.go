package models

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/internal/dbconn"
	"github.com/waybill-dev/waybill/internal/metrics"
	"github.com/waybill-dev/waybill/internal/traces"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models/queue"
	"github.com/waybill-dev/waybill/models/seal"
)

// Store is the way to the database. One pool of connections serves GORM, pgx and the job queue, so that one
// transaction can span all three.
type Store struct {
	// pool is for what is read, for InTx (which writes what somebody asks for), and for single statements of the server's own
	// upkeep.
	pool *readPool
	Hot  *pgxpool.Pool // the path of events; its planner only follows indexes
	// Jobs is for the job queue's own statements: as Hot, but its commits do not wait for the disk. What a crash of
	// PostgreSQL can take back is that a job was begun, and then it is begun again.
	Jobs *pgxpool.Pool
	// pooled says that connections lead to a pooler in transaction mode, so that the settings of the hot path are those of each
	// transaction.
	pooled bool
	// replica is a standby that reads may go to; nil for none. See Read.
	replica *replica

	SQL        *sql.DB  // over Pool
	DB         *gorm.DB // over SQL
	Keys       *seal.Keyring
	live       liveSettings
	log        *slog.Logger
	login      *dbconn.Login    // with which new connections are opened
	Metrics    *metrics.Metrics // nil where nobody counts
	Traces     *traces.Tracer   // nil where nobody traces
	SortWindow int              // rows that are sorted together where no index gives the order
	ListTime   time.Duration    // for how long a list looks for rows that no index finds
	Queue      *queue.Queue     // of jobs
	home       *Store           // of which this is a cell; nil for home itself
	cell       string           // its name; empty for home
	cells      knownCells       // of home
	operators  atomic.Int64     // of a cell: one more than the version of the operators' rules that it has; 0 for none
	topics     atomic.Int64     // and of the changes of topics
	catalogue  catalogue        // of home, for its cells
	known      knownKeys
	ready      readiness
	presence   presence
	partitions partitionNames
	followed   followed
	awaited    atomic.Int32 // callers of this process that wait for what becomes of events
	schemas    topicSchemas
	intakes    tenantIntakes
	waits      remembered[Waiting]
	busy       remembered[[]*Busy]
	checkups   figure[Checkup]
	queues     figure[[]QueueState]

	payloads *payloadKeys // of events that are sealed

	tenantWait   figure[map[int64]Waiting]
	tenantVolume figure[map[int64]int64]
}

// Rules are the limits and defaults that the operator configured.
type Rules struct {
	Retry            RetryPolicy   // default of destinations without their own
	Timeout          time.Duration // default deadline of one attempt
	MaxInFlight      int           // default number of attempts under way per destination
	ManualRetryLimit int           // manual retries of one delivery; 0 for no limit
	BulkRetryLimit   int           // deliveries of one bulk retry
	DestinationLimit int           // destinations of a tenant; 0 for no limit
	HourlyRetryLimit int           // manual retries of a tenant in an hour, single and in bulk; 0 for no limit
	DisableAfter     int           // default number of failing deliveries in a row after which a destination is disabled; 0 for never
	DisableLeast     time.Duration // and only when they lasted so long
	ProbeAfter       time.Duration // wait before a destination that was disabled by itself is probed; 0 for never
	MaxPayload       int           // bytes of an event's data
	Topics           []string      // catalogue from the environment; empty together with the table for any topic
	Retention        time.Duration // how long events are kept
	BaseURL          string        // of the dashboard, without a slash at the end
	HostCredentials  bool          // destinations without credentials use those of the machine
	Webhook          WebhookDefaults
	EnableBacklog    string        // what enabling does with the events held, when nobody says so; empty to deliver them
	Intake           Intake        // of tenants that have no limits of their own
	AlertEvery       time.Duration // how often reminders of an open alert are sent, of rules that do not say
	AlertSteps       []int         // of the rule about steps towards being disabled that new tenants get; empty for no such rule
	AlertCertificate int           // days before a certificate ends, of the rule that new tenants get; 0 for no such rule
}

// DefaultRules are the rules of a server whose environment says nothing.
func DefaultRules() Rules {
	r := Rules{BaseURL: "http://localhost:3000"}
	for i := range settingFields {
		if err := settingFields[i].SetRule(&r, settingFields[i].Default); err != nil {
			panic(err) // the defaults are constants of this program
		}
	}
	return r
}

// InFlight is how many attempts to a destination each worker may have under way at once.
func (r Rules) InFlight(d *Destination) int {
	if d.MaxInFlight != nil {
		return *d.MaxInFlight
	}
	return r.InFlightOf(d.Registration())
}

// InFlightOf is InFlight for a destination of a type that does not say how many. The type may be nil.
func (r Rules) InFlightOf(t *adapters.Registration) int {
	if t == nil {
		return r.MaxInFlight
	}
	return min(r.MaxInFlight*max(t.Spec.Window, 1), maxInFlight)
}

// maxInFlight is how many attempts to one destination may be under way at once at most.
const maxInFlight = 1000

// Options says how to open a Store.
type Options struct {
	URL        string        // PostgreSQL connection string
	Replica    string        // of a standby, for reading; empty for none
	ReplicaLag time.Duration // how far it may be behind; 0 for DefaultReplicaLag
	Pooled     bool          // URL leads to a pooler in transaction mode: nothing of a session is used. Workers need sessions
	MaxConns   int           // of the pool for everything but the hot path; 0 for poolConns
	HotConns   int           // of the hot path's pool; 0 for hotConns
	JobConns   int           // of the job queue's pool; 0 for jobConns
	Keys       *seal.Keyring
	// PayloadEncryption has new events sealed, and PayloadKeys is the database of the keys; empty for URL. What is sealed is read
	// whether or not it is on.
	PayloadEncryption bool
	PayloadKeys       string
	Rules             Rules            // what the environment says
	Locked            []string         // names of settings that cannot be changed while the server runs
	Metrics           *metrics.Metrics // nil for none
	Traces            *traces.Tracer   // nil for none
	Log               *slog.Logger     // what the queue has to say; nil for nobody
	// Home and Cell make a cell of the database: what belongs to no tenant is read in Home. Rules, Locked and what is said of the
	// encryption of payloads are Home's then. See cell.go.
	Home *Store
	Cell string
}

// How many connections the pools open at most, unless told otherwise.
const (
	poolConns = 10
	hotConns  = 8
	jobConns  = 8
)

// hotSettings keep the planner of the hot path on the indexes: its statements always touch few rows of big tables, and
// statistics of a table that was empty a minute ago would tell it otherwise.
var hotSettings = map[string]string{
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_bitmapscan": "off", "enable_material": "off",
	"jit": "off", "plan_cache_mode": "force_generic_plan",
}

// Open connects to the database. It does not migrate.
func Open(ctx context.Context, o Options) (*Store, error) {
	login := &dbconn.Login{}
	var opened []*pgxpool.Pool
	failed := func(err error) (*Store, error) {
		for _, p := range opened {
			p.Close()
		}
		return nil, err
	}
	pool, err := newPool(ctx, o, login, o.MaxConns, poolConns, map[string]string{"jit": "off"})
	if err != nil {
		return failed(err)
	}
	opened = append(opened, pool)
	hot, err := newPool(ctx, o, login, o.HotConns, hotConns, hotSettings)
	if err != nil {
		return failed(err)
	}
	opened = append(opened, hot)
	queueSettings := maps.Clone(hotSettings)
	queueSettings["synchronous_commit"] = "off"
	jobs, err := newPool(ctx, o, login, o.JobConns, jobConns, queueSettings)
	if err != nil {
		return failed(err)
	}
	opened = append(opened, jobs)
	db := stdlib.OpenDBFromPool(pool)
	read, conn := &readPool{Pool: pool}, gorm.ConnPool(db)
	var replica *replica
	if o.Replica != "" {
		if replica, err = openReplica(ctx, o, login); err != nil {
			return failed(err)
		}
		read.replica = replica.pool
		replica.sql = stdlib.OpenDBFromPool(replica.pool)
		conn = &readDB{DB: db, replica: replica.sql}
	}
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: conn}), &gorm.Config{
		SkipDefaultTransaction: true, // single writes are already atomic
		TranslateError:         true,
		Logger:                 logger.Discard, // errors are returned, and logged once where they are answered
	})
	if err != nil {
		if replica != nil {
			replica.close()
		}
		return failed(fmt.Errorf("open the database: %w", err))
	}
	s := &Store{pool: read, replica: replica, Hot: hot, Jobs: jobs, SQL: db, DB: g, Keys: o.Keys, login: login, Metrics: o.Metrics,
		Traces: o.Traces,
		pooled: o.Pooled, SortWindow: DefaultSortWindow, ListTime: DefaultListTime}
	if s.home, s.cell = o.Home, o.Cell; s.home != nil {
		s.payloads = s.home.payloads
	} else {
		s.payloads = newPayloadKeys(o, login)
		s.live.begin(o.Rules, o.Locked)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s.log = log
	s.Queue = queue.New(queue.Pools{Any: pool, Hot: hot, Jobs: jobs}, log)
	s.watch()
	s.watchQueue()
	if replica != nil {
		s.watchReplica()
	}
	return s, nil
}

// Migrated returns an error that says what to do when the schema is not the one that this program needs.
func (s *Store) Migrated(ctx context.Context) error { return migrations.Check(ctx, s.pool) }

func newPool(ctx context.Context, o Options, login *dbconn.Login, conns, dflt int, settings map[string]string) (*pgxpool.Pool, error) {
	cfg, err := poolConfig(o, login, cmp.Or(conns, dflt), settings)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return pool, nil
}

// poolConfig is how a pool of at most so many connections opens them.
func poolConfig(o Options, login *dbconn.Login, conns int, settings map[string]string) (*pgxpool.Config, error) {
	cfg, err := dbconn.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(conns)
	// Poolers give these two to whichever connection of the server a transaction gets.
	cfg.ConnConfig.RuntimeParams["application_name"] = "waybill"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if o.Pooled {
		withoutSession(cfg.ConnConfig)
	} else {
		migrations.WithSettings(cfg.ConnConfig, settings)
	}
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		login.Apply(c)
		return nil
	}
	return cfg, nil
}

// Close releases the connections.
func (s *Store) Close() {
	s.known.uses.Wait()
	s.Queue.Close()
	if s.replica != nil {
		s.replica.close()
	}
	if s.home == nil {
		s.payloads.close()
	}
	s.SQL.Close()
	s.pool.Close()
	s.Hot.Close()
	s.Jobs.Close()
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}
