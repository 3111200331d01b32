package app

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// readyBecomes asks until /readyz answers so.
func (a *testApp) readyBecomes(status int) {
	a.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(a.base + "/readyz")
		if err != nil {
			a.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !json.Valid(raw) {
			a.Fatalf("%v %q", err, raw)
		}
		if resp.StatusCode == status {
			return
		}
		if time.Now().After(deadline) {
			a.Fatalf("readyz answers %d %s", resp.StatusCode, raw)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestReadyIsWhatPublishingNeeds breaks what publishing needs, while the database answers to everything else.
func TestReadyIsWhatPublishingNeeds(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const event = `{"tenant_id":"acme","data":{}}`
	a.readyBecomes(200)

	a.exec("alter table topics rename to topics_elsewhere")
	a.want(503, "POST", "/publish", event)
	a.readyBecomes(503)
	a.exec("alter table topics_elsewhere rename to topics")
	a.readyBecomes(200)
	a.want(202, "POST", "/publish", event)

	// All connections that events are accepted on are taken.
	var taken []*pgxpool.Conn
	for range a.Store.Hot.Config().MaxConns {
		c, err := a.Store.Hot.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
	}
	a.readyBecomes(503)
	for _, c := range taken {
		c.Release()
	}
	a.readyBecomes(200)

	// A later version has added to the schema: this process goes on.
	a.exec("insert into goose_db_version (version_id, is_applied) select max(version_id) + 1, true from goose_db_version")
	a.readyBecomes(200)
}
