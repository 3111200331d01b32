package views

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Server shows how the whole server is.
type Server struct {
	Page
	State *models.ServerState
}

// ServerSettings lists the settings of the whole server.
type ServerSettings struct {
	Page
	List  []ServerSetting
	All   int // how many there are without a search
	Query url.Values
}

// ServerSetting is a setting of the whole server.
type ServerSetting struct {
	Name, Value, Source, Help string
	Plain                     string // Value in the words of people; empty where it reads the same
	Problem                   string // why the value of before is in force; empty for nothing
	Live                      bool   // it is changed on the page of defaults
	Missing                   bool   // Value only says that there is none
}

// ServerURL is the page about the whole server, ServerSettingsURL that of its settings.
func ServerURL() string         { return "/server" }
func ServerSettingsURL() string { return "/server/settings" }

// serverTabs are the pages about the whole server that the viewer may see.
func serverTabs(p Page, here string) []Tab {
	tabs := []Tab{{"Health", ServerURL(), here == ServerURL()}, {"Usage", UsageURL("", nil), here == UsageURL("", nil)}}
	if p.Viewer.Admin && (p.Cells || here == CellsURL()) {
		tabs = append(tabs, Tab{"Cells", CellsURL(), here == CellsURL()})
	}
	if p.Viewer.Admin {
		tabs = append(tabs, Tab{"Defaults", DefaultsURL(), here == DefaultsURL()})
		tabs = append(tabs, Tab{"Settings", ServerSettingsURL(), here == ServerSettingsURL()})
	}
	return tabs
}

// checkNames are the doctor's checks for people.
var checkNames = map[string]string{"schema": "Schema", "settings": "PostgreSQL settings", "clock": "Clocks", "connections": "Connections",
	"partitions": "Partitions", "retention": "Retention", "indexes": "Indexes", "vacuum": "Vacuum", "tuning": "Tuning", "held": "Held deliveries", "api_keys": "API keys", "secrets": "Secrets",
	"cell": "Cell", "workers": "Workers", "dead workers": "Jobs of dead workers", "deliveries": "Deliveries without a job", "events": "Events of jobs", "replica": "Read replica", "order": "Ordered deliveries",
	"jobs": "Jobs", "bulk retries": "Bulk retries", "everything else": "Everything else"}

func checkName(check string) string {
	if n := checkNames[check]; n != "" {
		return n
	}
	return check
}

// inCell says in which cell something was found; empty for home.
func inCell(f models.Finding) string {
	switch {
	case f.Cell == "":
		return ""
	case f.Check == "cell":
		return " " + f.Cell
	}
	return " in the cell " + f.Cell
}

// findingLook is how a finding's level is shown.
func findingLook(level string) Look {
	switch level {
	case models.LevelFail:
		return Look{ToneBad, "circle-alert", "Wrong"}
	case models.LevelWarn:
		return Look{ToneWarn, "triangle-alert", "Worth a look"}
	}
	return Look{ToneOK, "check", "Well"}
}

func processLook(p models.ProcessState) Look {
	if p.Alive {
		return Look{ToneOK, "check", "Alive"}
	}
	return Look{ToneWarn, "triangle-alert", "Silent"}
}

// findings are those with these levels.
func (v Server) findings(well bool) (out []models.Finding) {
	for _, f := range v.State.Checkup.Findings {
		if (f.Level == models.LevelOK) == well {
			out = append(out, f)
		}
	}
	return out
}

// silent is how many processes have not been seen for a while. Others take their work over, and their rows go away.
func (v Server) silent() (n int) {
	for _, p := range v.State.Processes {
		if !p.Alive {
			n++
		}
	}
	return n
}

// verdict says in a word how the server is, and in a sentence why. It is well only when everything was looked at and nothing on
// the page is otherwise.
func (v Server) verdict() (Look, string) {
	c, d := v.State.Checkup, v.State.Deliveries
	found, silent := len(v.findings(false)), v.silent()
	var also []string
	if len(c.Unchecked) > 0 {
		also = append(also, plural(len(c.Unchecked), "check")+" not made.")
	}
	if silent > 0 {
		also = append(also, plurals(silent, "process is", "processes are")+" silent.")
	}
	if d.Failing > 0 {
		also = append(also, plurals(d.Failing, "destination fails.", "destinations fail."))
	}
	text := strings.Join(also, " ")
	switch {
	case found > 0:
		l := findingLook(c.Worst())
		l.Word = plural(found, "finding")
		return l, text
	case silent > 0:
		return Look{ToneWarn, "triangle-alert", "No findings"}, text
	case len(also) > 0:
		return Look{ToneInfo, "info", "No findings"}, text
	}
	return Look{ToneOK, "check", "All well"}, plural(len(c.Findings), "check") + " found nothing."
}

// notMade names the checks that were not made, and says why.
func (v Server) notMade() (names, why string) {
	var list []string
	for _, u := range v.State.Checkup.Unchecked {
		list = append(list, strings.ToLower(checkName(u.Check)))
		why = u.Why
	}
	return strings.Join(list, ", "), why
}

// numbers are what waits and what is in trouble, of all tenants.
func (v Server) numbers() []metric {
	d, db := v.State.Deliveries, v.State.Database
	due := 0
	var oldest time.Duration
	for _, q := range v.State.Queues {
		if q.State == "due" {
			due += q.Jobs
		}
	}
	for _, age := range v.State.OldestDue {
		oldest = max(oldest, age)
	}
	jobs, waits := count(due), "none waits"
	if v.State.Queues == nil {
		jobs = "–"
	}
	if oldest > 0 {
		waits = "oldest " + brisk(oldest)
	}
	alive := len(v.State.Processes) - v.silent()
	return []metric{
		{name: "Workers", value: count(alive), sub: "alive", url: "#processes"},
		{name: "Jobs due", value: jobs, sub: waits, url: "#jobs"},
		{name: "Retrying", value: count(d.Retrying), sub: "deliveries", url: TenantsURL()},
		{name: "Held", value: count(d.Held), sub: "deliveries", url: TenantsURL()},
		{name: "Failing", value: count(d.Failing), sub: plural(d.Disabled, "destination") + " disabled", url: AlertsURL("")},
		{name: "Database", value: size(int(db.Size)), sub: fmt.Sprintf("%s of %s connections", count(db.Connections), count(db.MostConnections)),
			url: "#database"},
	}
}

var queueNames = map[string]string{"deliver": "First attempts", "retry": "Further attempts", "upkeep": "Upkeep and notices", "bulk": "Bulk retries"}

func queueName(q string) string {
	if n := queueNames[q]; n != "" {
		return n
	}
	return q
}

// jobs leaves out states in which there is nothing, but for what is due.
func (v Server) jobs() (out []models.QueueState) {
	for _, q := range v.State.Queues {
		if q.Jobs > 0 || q.State == "due" {
			out = append(out, q)
		}
	}
	return out
}

// oldestJob says how long the oldest job of a state waits or runs, or when the next is due.
func oldestJob(q models.QueueState, now time.Time) string {
	switch {
	case q.Oldest.IsZero() || q.Jobs == 0:
		return ""
	case q.State == "scheduled" && q.Oldest.After(now):
		return "next in " + span(q.Oldest.Sub(now))
	case q.State == "running":
		return "oldest runs for " + span(max(0, now.Sub(q.Oldest)))
	}
	return "oldest for " + span(max(0, now.Sub(q.Oldest)))
}

// databaseFacts are what is known of PostgreSQL.
func (v Server) databaseFacts() []Fact {
	d := v.State.Database
	facts := []Fact{{Label: "PostgreSQL", Text: d.Version}, {Label: "Size", Text: size(int(d.Size))},
		{Label: "Connections", Text: fmt.Sprintf("%s of %s open", count(d.Connections), count(d.MostConnections))},
		{Label: "Partitions ahead", Text: plurals(max(d.PartitionsAhead, 0), "day", "days")}}
	if !d.OldestPartition.IsZero() {
		facts = append(facts, Fact{Label: "Oldest partition", Text: d.OldestPartition.Format(time.DateOnly)})
	}
	return append(facts, Fact{Label: "Events are kept", Text: plurals(int(d.Retention.Hours()/24), "day", "days")})
}
