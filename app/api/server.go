package api

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

type serverJSON struct {
	At         time.Time          `json:"at" doc:"When this was read."`
	Version    string             `json:"version" doc:"Of the process that answers."`
	Checkup    checkupJSON        `json:"checkup" doc:"What the checks of 'waybill doctor' found."`
	Processes  []processJSON      `json:"processes" doc:"Worker processes. Those of 'web' alone are not among them."`
	Queues     []queueJSON        `json:"queues" api:"null" doc:"Jobs by queue and state; a job carries up to 50 deliveries. null when they could not be counted within 2 s."`
	QueuesAt   time.Time          `json:"queues_counted_at"`
	OldestDue  map[string]float64 `json:"oldest_due_seconds" doc:"By queue, how long the oldest job that is due has been waiting; 0 when none is."`
	Database   databaseJSON       `json:"database"`
	Deliveries deliveryTotalsJSON `json:"deliveries" doc:"Of all tenants, now."`
	Cells      []tenantCellJSON   `json:"cells" doc:"The databases that hold tenants, 'main' first; none where there is only one. What else is told here is of 'main', but for the checkup."`
}

type checkupJSON struct {
	Level     string          `json:"level" api:"enum=ok|warn|fail" doc:"Of the worst finding: nothing was found; worth a look; something is wrong."`
	At        time.Time       `json:"at" doc:"When it was looked. What was found is told again for a while, at most for twenty times as long as looking took."`
	Took      float64         `json:"took_seconds"`
	Findings  []findingJSON   `json:"findings" doc:"The worst first; also those that all is well with."`
	Unchecked []uncheckedJSON `json:"unchecked" doc:"What was not looked at, since looking ends after 2 s. 'waybill doctor' looks at everything."`
}

type findingJSON struct {
	Check    string   `json:"check" doc:"What was looked at."`
	Level    string   `json:"level" api:"enum=ok|warn|fail"`
	Message  string   `json:"message" doc:"What is the case, in a sentence."`
	Advice   string   `json:"advice" doc:"What to do; empty when all is well."`
	Examples []string `json:"examples" doc:"Some of what is concerned, at most 5."`
	Cell     string   `json:"cell,omitempty" doc:"In which database; absent for that of DATABASE_URL."`
}

type uncheckedJSON struct {
	Check string `json:"check"`
	Why   string `json:"why" doc:"A sentence."`
}

type processJSON struct {
	ID        string    `json:"id"`
	Role      string    `json:"role" doc:"'serve' or 'work'."`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at" doc:"It says twice a second that it is alive."`
	Alive     bool      `json:"alive" doc:"It was seen within the last 5 s."`
	Jobs      int       `json:"jobs" doc:"That it has taken."`
}

type queueJSON struct {
	Queue  string     `json:"queue" doc:"'deliver' are first attempts, 'retry' the others, 'upkeep' everything else."`
	State  string     `json:"state" doc:"'due' could be taken now, 'scheduled' are for later, 'running' are taken."`
	Jobs   int        `json:"jobs"`
	Oldest *time.Time `json:"oldest_at" api:"null" doc:"Since when the oldest is due or running, or for when the next is scheduled; null for none."`
}

type databaseJSON struct {
	Version         string          `json:"version" doc:"Of PostgreSQL."`
	Size            int64           `json:"size_bytes"`
	Tables          []tableSizeJSON `json:"tables" doc:"The largest first, at most 8; none while a table is locked, so that its size cannot be told."`
	Connections     int             `json:"connections" doc:"Of clients, to all of PostgreSQL."`
	MostConnections int             `json:"max_connections" doc:"That it accepts from others than superusers."`
	PartitionsAhead int             `json:"partitions_ahead" doc:"Days after today for which every table has its partition."`
	OldestPartition *time.Time      `json:"oldest_partition" api:"null" doc:"The oldest day that is kept; null for none."`
	Retention       float64         `json:"retention_seconds" doc:"How long events are kept."`
}

type tableSizeJSON struct {
	Table string `json:"table"`
	Size  int64  `json:"size_bytes" doc:"With indexes, all days together."`
	Rows  int64  `json:"rows" doc:"About, from PostgreSQL's statistics."`
}

type deliveryTotalsJSON struct {
	Retrying  int       `json:"retrying" doc:"Deliveries that have failed and are due again."`
	Held      int       `json:"held" doc:"Deliveries that are kept because their destination is or was disabled."`
	CountedAt time.Time `json:"counted_at" doc:"When these two were counted."`
	Failing   int       `json:"destinations_failing" doc:"Destinations that fail and are not disabled."`
	Disabled  int       `json:"destinations_disabled"`
}

// ServerState tells how the whole server is, to its operators.
func (a *API) ServerState(ctx context.Context, c *Call) (*models.ServerState, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	s, err := a.Store.ServerState(ctx)
	if err != nil {
		return nil, err
	}
	return s, a.joinCells(ctx, s)
}

func (a *API) getServer(ctx context.Context, c *Call, _ *noRequest) (*Reply, error) {
	s, err := a.ServerState(ctx, c)
	if err != nil {
		return nil, err
	}
	out := serverJSON{At: s.At, Version: config.Version, Processes: []processJSON{}, QueuesAt: s.QueuesAt, OldestDue: map[string]float64{},
		Checkup: checkupJSON{Level: s.Checkup.Worst(), At: s.Checkup.At, Took: s.Checkup.Took.Seconds(), Findings: []findingJSON{},
			Unchecked: []uncheckedJSON{}},
		Deliveries: deliveryTotalsJSON(s.Deliveries), Cells: cellsToJSON(s.Cells)}
	for _, f := range s.Checkup.Findings {
		out.Checkup.Findings = append(out.Checkup.Findings, findingJSON{f.Check, f.Level, f.Message, f.Advice,
			append([]string{}, f.Examples...), f.Cell})
	}
	for _, u := range s.Checkup.Unchecked {
		out.Checkup.Unchecked = append(out.Checkup.Unchecked, uncheckedJSON(u))
	}
	for _, p := range s.Processes {
		out.Processes = append(out.Processes, processJSON(p))
	}
	for _, q := range s.Queues {
		out.Queues = append(out.Queues, queueJSON{q.Queue, q.State, q.Jobs, timeOrNull(q.Oldest)})
	}
	for name, d := range s.OldestDue {
		out.OldestDue[name] = d.Seconds()
	}
	d := s.Database
	out.Database = databaseJSON{d.Version, d.Size, []tableSizeJSON{}, d.Connections, d.MostConnections, d.PartitionsAhead,
		timeOrNull(d.OldestPartition), d.Retention.Seconds()}
	for _, t := range d.Tables {
		out.Database.Tables = append(out.Database.Tables, tableSizeJSON(t))
	}
	return &Reply{Body: out, Secret: true}, nil // it is another one each time
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ServerSettingsRequest asks for the server's settings.
type ServerSettingsRequest struct {
	Text string `query:"q" doc:"Only those with this text in their name, value, source or explanation."`
}

type serverSettingJSON struct {
	Name   string `json:"name" doc:"Of the environment variable."`
	Value  string `json:"value" doc:"Empty for a secret, and where nothing is set. Addresses are without user, password and query."`
	Set    bool   `json:"set" doc:"Whether there is a value, be it the default."`
	Secret bool   `json:"secret" doc:"The value is not told."`
	Source string `json:"source" api:"enum=environment|file|credential|default|derived|stored" doc:"'stored' is what was set by page or API while the server runs."`
	From   string `json:"from" doc:"The variable or credential that gave the value, or how it was derived; empty for the default."`
	Help   string `json:"help" doc:"What it is."`

	Problem string `json:"problem" doc:"Why its file was not taken over when it had changed, so that the value of before is in force; empty for nothing."`
}

// ServerSettings lists the settings of this process.
func (a *API) ServerSettings(c *Call, req *ServerSettingsRequest) ([]config.Setting, error) {
	if err := OperatorsOnly(c); err != nil {
		return nil, err
	}
	out, live := []config.Setting{}, a.Store.ChangedSettings()
	for _, s := range a.Cfg.Settings() {
		if x, changed := live[s.Name]; changed {
			s.Value, s.Set, s.Source, s.From = x.Value, x.Value != "", config.SourceStored, "PATCH /settings"
		}
		if r := a.Reloads.Load(); r != nil {
			s.Problem = r.Problems[s.Name]
		}
		if s.Matches(req.Text) {
			out = append(out, s)
		}
	}
	return out, nil
}

func (a *API) listServerSettings(_ context.Context, c *Call, req *ServerSettingsRequest) (*Reply, error) {
	list, err := a.ServerSettings(c, req)
	if err != nil {
		return nil, err
	}
	out := listJSON[serverSettingJSON]{Models: []serverSettingJSON{}}
	for _, s := range list {
		out.Models = append(out.Models, serverSettingJSON(s))
	}
	return &Reply{Body: out}, nil
}
