package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// cellsName is the case that compares one database with three. It is none of benchCases, for it prints what the others do not.
const cellsName = "cells"

const (
	cellsLeast  = 3      // rounds, so that there are medians
	cellsEvents = 30_000 // of a run as fast as it goes
	cellsRate   = 300    // events a second of a database, of a run at a rate
	cellsSteady = 20     // seconds of that
)

// homeCell is the name of the cell that is the database of DATABASE_URL.
const homeCell = "main"

// cellsBench is a server on one database, and one over three, which take turns.
type cellsBench struct {
	one, many *bencher
	names     []string                    // of the cells of many, home first
	servers   map[string]*postgres.Server // of many, by cell
}

// cellsLoad is what both are given.
type cellsLoad struct {
	name       string
	many       bool // three databases
	publishers int
	events     int
	rate       int
}

// cellsUse is the processor time of an event, in milliseconds: of the server for any, and of each PostgreSQL for those that it has.
type cellsUse struct {
	accepted, delivered float64
	server, postgres    float64
	by                  []float64 // of each PostgreSQL, for its own events
}

func (u *cellsUse) all() float64 { return u.server + u.postgres }

// cellsRun measures.
func cellsRun(ctx context.Context, runs int, scale float64, size int, settings map[string]string, stdout io.Writer) error {
	c, err := startCells(ctx, settings)
	if err != nil {
		return err
	}
	defer c.stop()
	c.one.pad, c.many.pad = pad(size-padless), pad(size-padless)
	fast, steady := max(300, int(cellsEvents*scale)), max(300, int(cellsRate*cellsSteady*scale))
	loads := []cellsLoad{
		{name: "one database", publishers: 64, events: fast},
		{name: "three cells", many: true, publishers: 64, events: fast},
		{name: "three cells", many: true, publishers: 192, events: fast},
		{name: "one database", publishers: 64, events: steady, rate: cellsRate},
		{name: "three cells", many: true, publishers: 192, events: 3 * steady, rate: 3 * cellsRate},
	}
	fmt.Fprintf(stdout, "events with %d bytes of data; PostgreSQL %s, one for each database, load and sink on the same %s cores\n", size,
		c.one.pg.Binaries.Version, cpus())
	fmt.Fprintln(stdout, "processor time in ms: of the server and of all PostgreSQL for each event, and of each PostgreSQL for each of its own")
	fmt.Fprintf(stdout, "\n%-13s %10s %8s %10s %11s %7s %10s %6s  %s\n", "", "publishers", "rate/s", "accepted/s", "delivered/s", "server",
		"PostgreSQL", "all", strings.Join(c.names, ", "))
	all := make([][]cellsUse, len(loads))
	for range max(runs, cellsLeast) {
		for i, l := range loads {
			u, err := c.measure(ctx, l)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			fmt.Fprintln(stdout, l.line(&u))
			all[i] = append(all[i], u)
		}
	}
	fmt.Fprintln(stdout, "\nmedians")
	medians := make([]cellsUse, len(loads))
	for i, l := range loads {
		medians[i] = medianUse(all[i])
		fmt.Fprintln(stdout, l.line(&medians[i]))
	}
	fmt.Fprintf(stdout, "\nthree cells beside one database, for each event:\n%s with as many publishers in all\n%s with as many for each cell\n"+
		"%s at the same rate for each cell\n", medians[1].beside(&medians[0]), medians[2].beside(&medians[0]), medians[4].beside(&medians[3]))
	return nil
}

// beside says how much more than another one it is.
func (u *cellsUse) beside(one *cellsUse) string {
	return fmt.Sprintf("%+.0f %% (server %+.0f %%, PostgreSQL %+.0f %%)", (u.all()/one.all()-1)*100, (u.server/one.server-1)*100,
		(u.postgres/one.postgres-1)*100)
}

func (l *cellsLoad) line(u *cellsUse) string {
	rate, by := "most", make([]string, len(u.by))
	if l.rate > 0 {
		rate = fmt.Sprint(l.rate)
	}
	for i, v := range u.by {
		by[i] = fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%-13s %10d %8s %10.0f %11.0f %7.3f %10.3f %6.3f  %s", l.name, l.publishers, rate, u.accepted, u.delivered, u.server,
		u.postgres, u.all(), strings.Join(by, ", "))
}

func medianUse(all []cellsUse) (m cellsUse) {
	med := func(get func(*cellsUse) *float64) {
		v := make([]float64, len(all))
		for i := range all {
			v[i] = *get(&all[i])
		}
		*get(&m) = percentile(v, .5)
	}
	m.by = make([]float64, len(all[0].by))
	med(func(u *cellsUse) *float64 { return &u.accepted })
	med(func(u *cellsUse) *float64 { return &u.delivered })
	med(func(u *cellsUse) *float64 { return &u.server })
	med(func(u *cellsUse) *float64 { return &u.postgres })
	for i := range m.by {
		med(func(u *cellsUse) *float64 { return &u.by[i] })
	}
	return m
}

// measure publishes to a tenant of each database in turn, and waits until all has arrived.
func (c *cellsBench) measure(ctx context.Context, l cellsLoad) (u cellsUse, err error) {
	b, cells, servers := c.one, []string{""}, []*postgres.Server{c.one.pg}
	if l.many {
		b, cells, servers = c.many, c.names, nil
		for _, name := range cells {
			servers = append(servers, c.servers[name])
		}
	}
	tenants := make([]string, len(cells))
	for i, cell := range cells {
		if tenants[i], err = b.tenantIn(cell); err != nil {
			return u, err
		}
		if err := b.destination(tenants[i], "/hook", nil); err != nil {
			return u, err
		}
	}
	used := func() []time.Duration {
		list := []time.Duration{CPUBelow(b.server.Process.Pid)}
		for _, s := range servers {
			list = append(list, CPUBelow(s.Pid()))
		}
		return list
	}
	before := used()
	r, err := b.load(ctx, benchCase{publishers: l.publishers, events: l.events, rate: l.rate, fanOut: 1},
		func(k int64) string { return tenants[int(k)%len(tenants)] })
	if err != nil {
		return u, err
	}
	after := used()
	of := func(i int, events float64) float64 {
		return float64((after[i] - before[i]).Microseconds()) / 1000 / events
	}
	n := float64(l.events)
	u = cellsUse{accepted: r.accepted, delivered: r.delivered, server: of(0, n)}
	for i := range servers {
		u.postgres += of(i+1, n)
		u.by = append(u.by, of(i+1, n/float64(len(servers))))
	}
	return u, nil
}

// startCells starts both servers, and gives one of them two cells, each a PostgreSQL of its own.
func startCells(ctx context.Context, settings map[string]string) (c *cellsBench, err error) {
	c = &cellsBench{names: []string{homeCell, "eu1", "eu2"}, servers: map[string]*postgres.Server{}}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if c.one, err = startBench(ctx, settings); err != nil {
		return c, err
	}
	if c.many, err = startBench(ctx, settings); err != nil {
		return c, err
	}
	c.servers[homeCell] = c.many.pg
	for _, name := range c.names[1:] {
		s, err := postgres.Start(ctx, postgres.Options{Dir: filepath.Join(c.many.dir, name), Socket: true, Settings: settings})
		if err != nil {
			return c, err
		}
		c.servers[name] = s
		if err := c.many.addCell(ctx, name, s.URL); err != nil {
			return c, err
		}
	}
	return c, c.many.reaches(ctx, c.names)
}

func (c *cellsBench) stop() {
	for name, s := range c.servers {
		if name != homeCell { // which the bencher stops
			defer func() { _ = s.Stop() }() // after the server
		}
	}
	for _, b := range []*bencher{c.one, c.many} {
		if b != nil {
			b.stop()
		}
	}
}

// addCell adds a cell as operators do.
func (b *bencher) addCell(ctx context.Context, name, address string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, exe, "cells", "add", name, "-")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+b.pg.URL, "DATABASE_URL_DIRECT=", "DATA_DIR="+b.dir, secretKey)
	cmd.Stdin = strings.NewReader(address + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("waybill cells add %s: %w: %s", name, err, out)
	}
	return nil
}

// reaches waits until the server reaches all cells.
func (b *bencher) reaches(ctx context.Context, names []string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := b.must(200, "GET", "/cells", nil)
		if err != nil {
			return err
		}
		var list struct {
			Models []struct {
				Name      string `json:"name"`
				Reachable bool   `json:"reachable"`
			} `json:"models"`
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return err
		}
		var reached []string
		for _, c := range list.Models {
			if c.Reachable {
				reached = append(reached, c.Name)
			}
		}
		missing := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(reached, n) })
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("the server does not reach the cells %v: %s", missing, out)
		}
	}
}
