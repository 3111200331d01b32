package bench

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestBenchCases(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"mine": "must be a name", `mine={"config":{}}`: "with a type", "={}": "must be a name",
		`mine={"type":"kafka"}`: ""} {
		name, body, err := parseBenchDestination(text)
		switch {
		case want == "" && (err != nil || name != "mine" || body != `{"topics":"*","type":"kafka"}`):
			t.Errorf("%s: %q %s %v", text, name, body, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", text, err)
		}
	}
	mine := map[string]string{"kafka": `{"type":"kafka"}`, "mine": `{"type":"aws_sqs"}`}
	cases, err := chosenCases("one,kafka,mine,rabbitmq", mine)
	if err != nil || len(cases) != 4 || cases[0].broker || cases[1].to != mine["kafka"] || cases[2].to != mine["mine"] ||
		cases[3].to != "" || !cases[3].broker {
		t.Errorf("%+v %v", cases, err)
	}
	for names, destinations := range map[string]map[string]string{"two": nil, "one": {"one": `{"type":"kafka"}`}} {
		if cases, err := chosenCases(names, destinations); err == nil {
			t.Errorf("%s: %+v", names, cases)
		}
	}
	for _, c := range benchCases {
		if c.to != "" {
			t.Errorf("the case %s keeps a caller's destination", c.name)
		}
	}
}

func TestSoakFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-case soak": "", "-case soak -for 1m -rate 200 -out x.csv": "", "-case one": "",
		"-case one -for 1m": "-for is for -case soak only", "-case soak -runs 3": "-runs is not for -case soak",
		"-case one,soak":     "measured alone",
		"-case soak -for 5s": "-for must be at least 10s", "-case soak -rate 0": "-rate must be from 64",
	} {
		fs := flag.NewFlagSet("bench", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		names := fs.String("case", "one", "")
		fs.Int("runs", 1, "")
		s := soakFlags(fs)
		err := fs.Parse(strings.Fields(args))
		if err == nil {
			err = s.check(fs, *names)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if cases, err := chosenCases("all", nil); err != nil || slices.ContainsFunc(cases,
		func(c benchCase) bool { return c.name == soakName }) {
		t.Errorf("all: %v %v", cases, err)
	}
}

// TestSoakTopics counts what the destinations of a soak get in a minute.
func TestSoakTopics(t *testing.T) {
	t.Parallel()
	s := &soakRun{rate: 1000}
	got := map[string]int{}
	for k := range int64(60 * s.rate) {
		got[s.topic(k)]++
	}
	if got["order.refused"] != 6*soakRefused || len(got) != soakDestinations+1 || got[soakTopic(0)] < 5900 ||
		got[soakTopic(soakDestinations-1)] < 5900 {
		t.Errorf("%v", got)
	}
	// A worker makes only so many attempts at a destination that keeps failing; with more, its backlog would never end.
	if attempts := float64(soakRefused*(1+len(soakSchedule))) / soakBurstEvery.Seconds(); attempts >= 20 {
		t.Errorf("%.0f attempts a second at the destination that refuses", attempts)
	}
}

func TestSoakRows(t *testing.T) {
	t.Parallel()
	rows := make([]soakRow, 180)
	for i := range rows {
		rows[i] = soakRow{seconds: float64(10 * (i + 1)), accepted: 4000, p50: 5, p99: 20, longest: float64(i), refused: 1, server: 200,
			postgres: 300, jobBytes: 20 << 20}
	}
	rows[3].p99, rows[170].p99, rows[90].server = 900, 900, 5000 // single ones do not count
	if got := soakVerdict(rows); !strings.HasSuffix(got, "; all flat") || !strings.Contains(got, "the first and the last 5m0s") {
		t.Error(got)
	}
	for i := range rows {
		rows[i].server += float64(i)
		rows[i].jobBytes += float64(i << 20)
	}
	if got := soakVerdict(rows); !strings.HasSuffix(got, "; grown: memory of the server, river_job") {
		t.Error(got)
	}
	if got := soakVerdict(rows[:1]); !strings.Contains(got, "too short") {
		t.Error(got)
	}
	if m := soakSummary(rows[:6]); m.seconds != 60 || m.accepted != 4000 || m.longest != 5 || m.refused != 6 || m.p99 != 20 {
		t.Errorf("%+v", m)
	}
	if got, want := strings.Count(rows[0].csv(), ","), strings.Count(soakHeader(), ","); got != want ||
		!strings.HasPrefix(rows[0].csv(), "10,4000,1,0.0,") {
		t.Errorf("%s for %s", rows[0].csv(), soakHeader())
	}
	script, err := os.ReadFile("../../scripts/soak-graph.mjs")
	if err != nil {
		t.Fatal(err)
	}
	drawn := regexp.MustCompile(`column\('(\w+)'`).FindAllStringSubmatch(string(script), -1)
	for _, m := range drawn {
		if !slices.Contains(strings.Split(soakHeader(), ","), m[1]) {
			t.Errorf("the graph draws %s, which no soak writes", m[1])
		}
	}
	if len(drawn) < 9 {
		t.Errorf("%d columns are drawn", len(drawn))
	}
}

// TestSet: a setting of PostgreSQL without its value is refused before anything starts, and a case that needs PgBouncer says so.
func TestSet(t *testing.T) {
	err := Run(t.Context(), []string{"-set", "max_wal_size"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `"max_wal_size" must be a setting's name, =, and its value`) {
		t.Errorf("-set max_wal_size: %v", err)
	}
	t.Setenv("PGBOUNCER", "/nowhere/pgbouncer")
	if _, err := measurePooled(t.Context(), nil, benchCase{}); !errors.Is(err, errNoPgBouncer) || !strings.Contains(err.Error(), "apt-get install pgbouncer") {
		t.Errorf("without PgBouncer: %v", err)
	}
}

// TestKept finds a filled database again, and neither one that was not filled to its end nor somebody's files.
func TestKept(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"-dir x": "-dir is for the cases", "-case pages -steps start": "-steps for upkeep", "-case one,upkeep": `no case "upkeep"`,
		"-case upkeep -steps (": "-steps: error parsing"} {
		if err := Run(t.Context(), strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	b := &bencher{host: "http://127.0.0.1:1234"}
	if err := b.findKept(dir); err != nil || b.kept.Events != 0 || b.dir != dir {
		t.Errorf("a directory that is not there: %v, %+v", err, b.kept)
	}
	if err := os.Mkdir(filepath.Join(dir, "pgdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (&bencher{}).findKept(dir); err == nil || !strings.Contains(err.Error(), "filled to its end") {
		t.Errorf("one that was not filled to its end: %v", err)
	}
	if err := b.keep(kept{Events: 7, Tenants: 2}); err != nil {
		t.Fatal(err)
	}
	again := &bencher{}
	if err := again.findKept(dir); err != nil || again.kept != (kept{Events: 7, Tenants: 2, Sink: "127.0.0.1:1234"}) || !again.stays {
		t.Errorf("one that was: %v, %+v", err, again.kept)
	}
}
