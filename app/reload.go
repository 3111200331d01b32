package app

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/metrics"
)

// filesEvery is how often a process looks whether a file of a setting has changed.
const filesEvery = 2 * time.Second

// reloader takes over what files of settings say, when they change or SIGHUP asks for it.
type reloader struct {
	*App
	now   *config.Config         // with what was taken over
	seen  map[string]os.FileInfo // the files as they were read last
	again bool                   // something is wrong that may pass: it is tried again
	told  string                 // what was wrong when it was told last
}

// followFiles works until ctx ends.
func (a *App) followFiles(ctx context.Context) {
	r := &reloader{App: a, now: a.Cfg}
	r.changed()
	r.again = len(r.seen) > 0 // they may have changed while the process started
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			r.changed()
			r.reload(ctx, "SIGHUP")
		case <-tick.C:
			if r.changed() || r.again {
				r.reload(ctx, "a file has changed")
			}
		}
	}
}

// changed reports whether a file is another one than when it was called last: another inode, as when Kubernetes turns its symbolic
// links, another size or time, or there is none.
func (r *reloader) changed() bool {
	found := map[string]os.FileInfo{}
	for _, path := range r.now.WatchedFiles() {
		if info, err := os.Stat(path); err == nil {
			found[path] = info
		}
	}
	same := maps.EqualFunc(r.seen, found, func(a, b os.FileInfo) bool {
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
	r.seen = found
	return !same
}

// reload takes over what the files say. What is wrong stays as it was, and is told in the log, in a metric and on the page of the
// settings.
func (r *reloader) reload(ctx context.Context, why string) {
	got := r.now.Reread()
	taken := map[string]bool{}
	for _, name := range got.Changed {
		taken[name] = got.Problems[name] == nil
	}
	r.again = false
	use := func(put func() error, names ...string) {
		names = slices.DeleteFunc(names, func(n string) bool { return !taken[n] })
		if len(names) == 0 {
			return
		}
		if err := put(); err != nil {
			got.Keep(r.now, names...)
			for _, n := range names {
				got.Problems[n], taken[n] = err, false
			}
			r.again = true // a role whose password is changed after the file, a database that is away
		}
	}
	before, after := *r.now, got.Config
	if address, _ := databaseAddress(after); address != "" {
		// Also without another address: the files that it names may have changed.
		if err := r.Store.Relogin(ctx, address); err != nil {
			_, variable := databaseAddress(after)
			got.Problems[variable] = err
			got.Keep(&before, "DATABASE_URL", "DATABASE_URL_DIRECT")
			after.DatabaseURL, after.DirectURL = before.DatabaseURL, before.DirectURL
			taken["DATABASE_URL"], taken["DATABASE_URL_DIRECT"], r.again = false, false, true
		}
	}
	if after.ReplicaURL != "" {
		if err := r.Store.ReloginReplica(ctx, after.ReplicaURL); err != nil {
			got.Problems["DATABASE_URL_REPLICA"] = err
			got.Keep(&before, "DATABASE_URL_REPLICA")
			after.ReplicaURL = before.ReplicaURL
			taken["DATABASE_URL_REPLICA"], r.again = false, true
		}
	}
	use(func() error {
		if err := r.Store.Keys.Replace(after.SecretKey, after.OlderKeys...); err != nil {
			after.SecretKey, after.OlderKeys = before.SecretKey, before.OlderKeys
			return err
		}
		return r.Store.KeepKey(ctx)
	}, "SECRET_KEY", "SECRET_KEY_PREVIOUS")
	use(func() error { r.setBootstrapKey(after.APIKey); return nil }, "API_KEY")
	use(func() error { r.Notices.SetMail(after.SMTP); return nil }, "SMTP_URL", "MAIL_FROM")
	use(func() error { r.pages.SetProviderSecret(after.OIDC.ClientSecret); return nil }, "OIDC_CLIENT_SECRET")
	operator := slices.DeleteFunc(slices.Clone(got.Changed), func(n string) bool { return !strings.HasPrefix(n, "OPERATOR_EVENTS_") })
	use(func() error {
		if r.Cfg.Role == "work" {
			return nil // web makes it
		}
		return r.followEnvironment(ctx, after)
	}, operator...)
	r.now = after
	r.tell(why, &got, taken)
}

// tell says what was taken over and what was not.
func (r *reloader) tell(why string, got *config.Reread, taken map[string]bool) {
	var names []string
	for name, ok := range taken {
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 || why == "SIGHUP" {
		r.Log.Info("settings were read from their files", "because", why, "taken_over", strings.Join(names, ", "))
	}
	problems := map[string]string{}
	for name, err := range got.Problems {
		problems[name] = err.Error() + "; the value of before stays"
	}
	for _, name := range got.Restart {
		problems[name] = "has another value now, which only a restart takes over"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		all = append(all, name+" "+problems[name])
	}
	if text := strings.Join(all, "\n"); text != r.told || why == "SIGHUP" && text != "" {
		for _, name := range slices.Sorted(maps.Keys(problems)) {
			r.Log.Error("a setting could not be taken from its file", "setting", name, "problem", problems[name])
		}
		r.told = text
	}
	r.Reloads.Store(&api.Reloads{At: time.Now(), Problems: problems})
}

// setBootstrapKey changes the API key of the environment; empty for none.
func (a *App) setBootstrapKey(key string) {
	if key == "" {
		a.BootstrapHash.Store(nil)
		return
	}
	h := sha256.Sum256([]byte(key))
	a.BootstrapHash.Store(&h)
}

// databaseAddress is the address of the database that a process works with, and the variable that gives it.
func databaseAddress(cfg *config.Config) (address, variable string) {
	if cfg.Pooled() {
		return cfg.DatabaseURL, "DATABASE_URL"
	}
	return cfg.SessionURL()
}

// watchReloads adds the metrics about files of settings.
func (a *App) watchReloads() {
	a.metrics.Watch([]metrics.Desc{
		{Name: "waybill_config_reload_failed", Help: "Settings whose files could not be taken over: the values of before are in force."},
		{Name: "waybill_config_last_reload_timestamp_seconds", Help: "When files of settings were read last; 0 since the start."},
	}, func() []metrics.Sample {
		var failed, at float64
		if s := a.Reloads.Load(); s != nil {
			failed, at = float64(len(s.Problems)), float64(s.At.UnixMilli())/1000
		}
		return []metrics.Sample{{Name: "waybill_config_reload_failed", Value: failed},
			{Name: "waybill_config_last_reload_timestamp_seconds", Value: at}}
	})
}
