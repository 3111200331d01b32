package app

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestStandbyAway has commits wait for a standby that is not there. Nobody is told that his event is accepted, also not he who
// publishes it again: what was given up in PostgreSQL while it waited can be read there, and would be lost with the primary.
func TestStandbyAway(t *testing.T) {
	t.Parallel()
	f := newFaultyDatabase(t)
	db := modelstest.Connect(t, f.url)
	waitFor := func(standby string) {
		t.Helper()
		for _, sql := range []string{"alter system set synchronous_standby_names = '" + standby + "'", "select pg_reload_conf()"} {
			if _, err := db.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		if standby == "" {
			return
		}
		for waits := false; !waits; { // it takes PostgreSQL a moment
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := db.Exec(ctx, "select pg_logical_emit_message(true, 'test', '')")
			waits = err != nil
			cancel()
		}
	}
	l := newLedger(t)
	env := "DATABASE_URL=" + f.url
	web := startProcess(t, "web", env)
	l.setUp(web.base)
	a := &testApp{TB: t, base: web.base, key: testKey}
	publish := func(id string) answer {
		return a.do("POST", "/publish", `{"tenant_id":"acme","id":"`+id+`","data":{}}`)
	}
	publish("before")
	waitFor("nobody")
	for range 2 { // the second time all of them are repeated
		var all sync.WaitGroup
		for _, c := range []string{"one", "two", "before"} {
			all.Go(func() {
				began := time.Now()
				got := publish(c)
				if got.status != 503 || got.header.Get("Retry-After") == "" || time.Since(began) > time.Minute {
					t.Errorf("publishing %s: %d after %v: %s", c, got.status, time.Since(began), got.raw)
				}
			})
		}
		all.Wait()
	}
	a.readyBecomes(503)
	waitFor("")
	startProcess(t, "work", env)
	a.readyBecomes(200)
	for _, id := range []string{"one", "two", "before"} {
		if got := publish(id); got.status != 202 {
			t.Errorf("publishing %s: %d %s", id, got.status, got.raw)
		}
		l.accept(id)
	}
	l.finish(f.url)
	l.reckon(f.url, 0)
}
