//go:build faults && linux

package app

import (
	"fmt"
	"strings"
	"testing"
)

// TestFaultsReplicaBesidePgBouncer: web writes through a pooler in transaction mode and reads from a standby, which it knows by looking
// at the primary through the pooler, too. Who has written sees it, and PgBouncer's connections are left as they were.
func TestFaultsReplicaBesidePgBouncer(t *testing.T) {
	r := newReplicated(t)
	u := r.a.url()
	startProcess(t, "serve", "DATABASE_URL="+u, "DATA_DIR="+t.TempDir()) // migrates, and works
	b := newBouncer(t, u, "transaction")
	if b == nil {
		t.Fatal("this test needs PgBouncer: apt-get install pgbouncer")
	}
	web := startProcess(t, "web", "DATABASE_URL="+b.url, "DATABASE_URL_DIRECT="+u, "DATABASE_URL_REPLICA="+r.b.url())
	a := &testApp{TB: t, base: web.base, key: testKey}
	a.replicaBecomes("used")
	a.want(201, "PUT", "/tenants/acme", nil)
	for i := range 20 {
		id := fmt.Sprintf("hook-%d", i)
		a.want(201, "POST", "/tenants/acme/destinations", `{"id":"`+id+`","type":"echo","topics":"*"}`)
		if got := a.want(200, "GET", "/tenants/acme/destinations", nil); !strings.Contains(got.raw, `"`+id+`"`) {
			t.Errorf("%s is not in the list right after it was made: %s", id, got.raw)
		}
	}
	before := a.readsFrom("replica", "")
	a.follows(func() bool {
		for _, path := range readingPaths[:3] {
			a.want(200, "GET", path, nil)
		}
		return a.readsFrom("replica", "") >= before+3
	})
	r.b.crash()
	a.replicaBecomes("away")
	a.want(200, "GET", "/tenants/acme/destinations", nil)
	r.b.start()
	a.replicaBecomes("used")
	b.leftAlone()
}
