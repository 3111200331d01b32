//go:build faults && linux

package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/migrations"
	"github.com/waybill-dev/waybill/models"
)

// backWithin is how soon after a promotion an event must be accepted.
const backWithin = 3 * time.Second

// startPair starts a primary whose commits wait for a standby, with the schema, and returns the address of both.
func startPair(t *testing.T) (primary, standby *node, url string) {
	t.Helper()
	primary, standby = newNode(t, "a", "127.0.0.1"), newNode(t, "b", "127.0.0.1")
	primary.create()
	standby.follow(primary)
	primary.waitFor("b")
	url = pairURL(primary, standby)
	if err := migrations.Apply(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	return primary, standby, url
}

// TestFaultsFailover kills the primary of a pair under load and promotes its standby, which commits had waited for; has the dead
// one follow the new primary; and goes back to it as an operator does. Everything that was accepted is delivered, by processes
// that live through all of it.
func TestFaultsFailover(t *testing.T) {
	a, b, url := startPair(t)
	db := "DATABASE_URL=" + url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 16)
	began := time.Now()
	l.more(2000)
	t.Logf("%d events a second are accepted and delivered", int(2000/time.Since(began).Seconds()))
	// back waits for the next event that is accepted, and returns how long after a moment that was.
	back := func(at time.Time) time.Duration {
		t.Helper()
		accepted, _, _ := l.count()
		l.await(func() bool { now, _, _ := l.count(); return now > accepted })
		return time.Since(at)
	}

	dead := time.Now()
	a.crash()
	l.await(func() bool { return l.answered(503) > 100 }) // for a while there is no primary
	b.promote()
	promoted := time.Now()
	took := back(promoted)
	t.Logf("failover: without a primary for %v; an event was accepted %v after the promotion", promoted.Sub(dead).Round(time.Millisecond),
		took.Round(time.Millisecond))
	if took > backWithin {
		t.Errorf("no event was accepted for %v after the promotion", took)
	}
	l.more(1000)

	a.follow(b)
	b.waitFor("a")
	l.more(1000)
	refused := l.answered(503)
	b.stop()
	a.promote()
	promoted = time.Now()
	took = back(promoted)
	t.Logf("switchover: an event was accepted %v after the promotion; %d publishes were answered with 503", took.Round(time.Millisecond),
		l.answered(503)-refused)
	if took > backWithin {
		t.Errorf("no event was accepted for %v after the promotion", took)
	}
	l.more(1000)

	stop()
	publishers.Wait()
	t.Logf("settled %v after the last publish", l.finish(a.url()).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	l.reckon(a.url(), underWay) // the workers live on, and know what they have sent
	for _, p := range append(workers, web) {
		if p.ended() {
			t.Error("a process has ended")
		}
	}
}

// TestFaultsStandbyAway stops the standby that commits wait for. Publishers are told to come back, in time, also those that repeat an
// event; and when the standby is back, or is not waited for any more, all goes on.
func TestFaultsStandbyAway(t *testing.T) {
	a, b, url := startPair(t)
	db := "DATABASE_URL=" + url
	l := newLedger(t)
	web := startProcess(t, "web", db)
	l.setUp(web.base)
	startProcess(t, "work", db)
	ctx, stop := context.WithCancel(t.Context())
	publishers := l.publish(ctx, 8)
	l.more(500)
	p := &testApp{TB: t, base: web.base, key: testKey}

	for _, c := range []struct {
		name string
		back func()
	}{
		{"the standby comes back", b.start},
		{"commits wait for it no more", func() { a.waitFor("") }},
	} {
		b.crash()
		refused := l.answered(503)
		at := time.Now()
		l.await(func() bool { return l.answered(503) > refused })
		t.Logf("publishers are told to come back %v after the standby is gone", time.Since(at).Round(time.Millisecond))
		if took := time.Since(at); took > 25*time.Second {
			t.Errorf("a publisher had to wait %v for an answer", took)
		}
		if !strings.Contains(doctorSays(t, url, "replication"), "fail No event is accepted") {
			t.Errorf("the doctor says: %s", doctorSays(t, url, "replication"))
		}
		p.readyBecomes(503)
		at = time.Now()
		accepted, _, _ := l.count()
		c.back()
		l.await(func() bool { now, _, _ := l.count(); return now > accepted+100 })
		t.Logf("%s: a hundred were accepted %v later", c.name, time.Since(at).Round(time.Millisecond))
		p.readyBecomes(200)
		l.more(200)
	}

	stop()
	publishers.Wait()
	t.Logf("settled %v after the last publish", l.finish(a.url()).Round(time.Millisecond))
	wellAgain(t, map[string]string{"DATABASE_URL": url})
	l.reckon(a.url(), underWay)
}

// doctorSays is the level and the message of a check of the doctor.
func doctorSays(t *testing.T, url, name string) string {
	t.Helper()
	return doctorSaysWith(t, map[string]string{"DATABASE_URL": url}, name)
}

func doctorSaysWith(t *testing.T, env map[string]string, name string) string {
	t.Helper()
	cfg, err := config.ReadConfig("doctor", func(n string) string { return env[n] })
	if err != nil {
		t.Fatal(err)
	}
	found, err := examine(t.Context(), cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Check == name {
			return f.Level + " " + f.Message
		}
	}
	return models.LevelOK
}
