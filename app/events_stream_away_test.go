package app

import (
	"fmt"
	"testing"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/models"
)

// TestEventsStreamWhileTheDatabaseIsAway: a reader stays connected while the database does not answer, and is told afterwards
// what others have accepted meanwhile.
func TestEventsStreamWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	var s *silencer
	cfg := testConfig(t, nil)
	other := newProcessOf(t, cfg)
	other.tenant("acme")
	silent := testConfig(t, func(c *config.Config) {
		c.SecretKey, c.DatabaseURL = cfg.SecretKey, cfg.DatabaseURL
		s, c.DatabaseURL = newSilencer(t, c.DatabaseURL)
	})
	a := newProcessOf(t, silent)
	stream := a.tail("?tenant_id=acme")
	other.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"before","data":{}}`)
	stream.until(delivered("before"))
	rise := s.fall()
	t.Cleanup(rise)
	other.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"meanwhile","data":{}}`)
	if out := a.want(503, "GET", "/events/stream", nil, "Accept", "text/event-stream"); out.header.Get("Retry-After") == "" {
		t.Errorf("%v", out.header)
	}
	rise()
	stream.until(delivered("meanwhile"))
}

// TestEventsStreamSlowReader: a reader that takes nothing is let go, and others are told all the same.
func TestEventsStreamSlowReader(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	slow, err := a.Tail.Read(t.Context(), models.AllTenants(), models.EventQuery{}, "slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.End()
	quick := a.tail("")
	for i := 0; a.Tail.Reading() == 2; i++ {
		id := fmt.Sprintf("e-%d", i)
		a.want(202, "POST", "/publish", fmt.Sprintf(`{"tenant_id":"acme","id":%q,"data":{}}`, id))
		quick.until(delivered(id))
		if i > 100 {
			t.Fatal("the slow reader is never let go")
		}
	}
	n := 0
	for range slow.Parts {
		n++
	}
	if n == 0 || n > 20 {
		t.Errorf("the slow reader has %d parts waiting", n)
	}
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","id":"after","data":{}}`)
	quick.until(delivered("after"))
}
