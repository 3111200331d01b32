package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/migrations"
)

// upkeepName is the case that measures what operators do with a large database, one thing after the other.
const upkeepName = "upkeep"

const upkeepMigrations = 12 // so many of the newest are taken back and applied again

// upkeep is a filled database whose server is stopped and started as the steps need it.
type upkeep struct {
	*pagesDB
	say func(format string, args ...any)
}

// upkeepRun fills a database, or takes the one in dir, and measures the steps whose names only matches.
func upkeepRun(ctx context.Context, scale float64, dir, only string, settings map[string]string, stdout io.Writer) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-steps: %w", err)
	}
	u := &upkeep{say: func(format string, args ...any) { fmt.Fprintf(stdout, format, args...) }}
	if u.pagesDB, err = filled(ctx, scale, dir, settings, u.say); err != nil {
		return err
	}
	defer u.close(ctx)
	var size int64
	if err := u.conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size); err != nil {
		return err
	}
	u.say("database: %.1f GiB\n\n%-46s %10s\n", float64(size)/(1<<30), "step", "seconds")
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{{"start", u.starts}, {"metrics", u.scrapes}, {"doctor", u.doctor}, {"export", u.exports}, {"backup", u.backup},
		{"migrations", u.replay}, {"retention", u.retention}} {
		if !chosen.MatchString(step.name) {
			continue
		}
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// line prints how long something took.
func (u *upkeep) line(name string, took time.Duration, more ...string) {
	u.say("%-46s %10.3f  %s\n", name, took.Seconds(), strings.Join(more, ", "))
}

// starts measures from the start of a process until it is ready, three times.
func (u *upkeep) starts(ctx context.Context) error {
	u.b.end(u.b.server)
	for _, role := range []string{"serve", "web", "work"} {
		var all []time.Duration
		for range 3 {
			began := time.Now()
			cmd, ready, err := u.b.launch(ctx, role, "DATABASE_URL="+u.b.pg.URL)
			if err != nil {
				return err
			}
			if ready += "/readyz"; role == "work" {
				ready = strings.TrimSuffix(ready, "/readyz") + "/healthz"
			}
			for deadline := began.Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, http.NoBody)
				if err != nil {
					return err
				}
				resp, err := http.DefaultClient.Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				if err == nil && resp.StatusCode == http.StatusOK {
					break
				}
				if time.Now().After(deadline) || ctx.Err() != nil {
					return fmt.Errorf("%s is not ready", role)
				}
			}
			all = append(all, time.Since(began))
			u.b.end(cmd)
		}
		slices.Sort(all)
		u.line("start of "+role+" until /readyz says 200, median", all[1])
	}
	return u.b.serve(ctx)
}

// scrapes measures /metrics, at first when nothing is remembered yet.
func (u *upkeep) scrapes(ctx context.Context) error {
	for _, name := range []string{"GET /metrics, the first", "GET /metrics, the next"} {
		took, size, err := u.fetch(ctx, strings.TrimSuffix(u.b.base, "/api/v1")+"/metrics")
		if err != nil {
			return err
		}
		u.line(name, took, fmt.Sprintf("%d KiB", size>>10))
	}
	return nil
}

// fetch reads an address to its end.
func (u *upkeep) fetch(ctx context.Context, address string) (took time.Duration, size int64, err error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+u.b.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if size, err = io.Copy(io.Discard, resp.Body); err != nil {
		return 0, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("GET %s answered %d", address, resp.StatusCode)
	}
	return time.Since(began), size, nil
}

// doctor runs it while the server works.
func (u *upkeep) doctor(ctx context.Context) error {
	took, out, err := u.program(ctx, u.b.pg.URL, "doctor")
	u.line("waybill doctor", took)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// program runs a command of this program on a database.
func (u *upkeep) program(ctx context.Context, url string, args ...string) (time.Duration, []byte, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	cmd := exec.CommandContext(ctx, exe, args...) // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url, secretKey)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	return time.Since(began), out, err
}

// exports reads them to their end.
func (u *upkeep) exports(ctx context.Context) error {
	for _, e := range []struct{ name, path string }{
		{"export of all events, NDJSON", "/events/export?format=ndjson"},
		{"export of the large tenant, ZIP", "/tenants/page-0/export"},
		{"export of a small tenant, ZIP", "/tenants/" + u.small() + "/export"},
	} {
		took, size, err := u.fetch(ctx, u.b.base+e.path)
		if err != nil {
			return err
		}
		u.line(e.name, took, fmt.Sprintf("%.1f MiB", float64(size)/(1<<20)))
	}
	return nil
}

// backup makes a copy and a dump while the server works, restores the dump beside, and looks at what would be sent again.
func (u *upkeep) backup(ctx context.Context) error {
	tmp, err := os.MkdirTemp("", "waybill-backup-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	run := func(label, name string, args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(u.b.pg.Binaries.Dir, name), args...) // #nosec G204 -- PostgreSQL's own
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		u.line(label, time.Since(began), sizeBelow(tmp))
		return nil
	}
	if err := run("pg_basebackup -c fast -X none", "pg_basebackup", "-d", u.b.pg.URL, "-D", filepath.Join(tmp, "base"), "-c", "fast", "-X", "none", "--no-sync"); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(tmp, "base")); err != nil {
		return err
	}
	dump := filepath.Join(tmp, "waybill.dump")
	if err := run("pg_dump -Fc", "pg_dump", "-Fc", "-f", dump, u.b.pg.URL); err != nil {
		return err
	}
	if _, err := u.conn.Exec(ctx, "create database waybill_restored"); err != nil {
		return err
	}
	defer func() { _, _ = u.conn.Exec(context.WithoutCancel(ctx), "drop database waybill_restored with (force)") }()
	restored := regexp.MustCompile(`/waybill(\?|$)`).ReplaceAllString(u.b.pg.URL, "/waybill_restored$1")
	if restored == u.b.pg.URL {
		return fmt.Errorf("the database's name is not in its address")
	}
	if err := run("pg_restore -j 2", "pg_restore", "-j", "2", "--exit-on-error", "-d", restored, dump); err != nil {
		return err
	}
	took, out, err := u.program(ctx, restored, "restore-check")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	u.line("waybill restore-check, statistics missing", took)
	return nil
}

// sizeBelow says how large a directory is.
func sizeBelow(dir string) string {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if info, ierr := e.Info(); err == nil && ierr == nil && !e.IsDir() {
			n += info.Size()
		}
		return nil
	})
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// replay takes the newest migrations back and applies them again, with nobody at work.
func (u *upkeep) replay(ctx context.Context) error {
	u.b.end(u.b.server)
	err := migrations.Replay(ctx, u.b.pg.URL, upkeepMigrations, func(r migrations.Replayed) {
		u.line(r.Name, r.Took, r.Locks...)
	})
	if err != nil {
		return err
	}
	took, out, err := u.program(ctx, u.b.pg.URL, "migrate")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	u.line("waybill migrate, with nothing to do", took)
	return u.b.serve(ctx)
}

// retention drops the oldest day while events come in.
func (u *upkeep) retention(ctx context.Context) error {
	days, err := migrations.Days(ctx, u.conn)
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	type published struct {
		took []float64
		err  error
	}
	done := make(chan published)
	go func() {
		var p published
		p.took, p.err = u.b.publish(loading, benchCase{publishers: 16, events: 1 << 30, rate: pagesRate,
			topic: func(k int64) string { return fmt.Sprintf("topic.%d", k%pagesTopics) }}, func(k int64) string { return fmt.Sprintf("page-%d", k*7919%int64(u.tenants)) })
		done <- p
	}()
	time.Sleep(5 * time.Second) // of load, for what comes after to be about more than the start of it
	began := time.Now()
	dropped, err := migrations.DropPartitions(ctx, u.conn, days["events"][0].AddDate(0, 0, 1))
	if err != nil {
		return err
	}
	u.line("dropping a day", time.Since(began), strconv.Itoa(len(dropped))+" tables")
	time.Sleep(time.Second)
	stop()
	p := <-done
	if p.err != nil {
		return p.err
	}
	u.line("the slowest publish beside it", time.Duration(slices.Max(p.took)*float64(time.Millisecond)))
	return nil
}
