package jobs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/notify"
	_ "github.com/waybill-dev/waybill/adapters/webhook"
	"github.com/waybill-dev/waybill/jobs"
	"github.com/waybill-dev/waybill/models"
)

func (e *engine) notices() *jobs.Notices {
	return &jobs.Notices{Store: e.store, Log: e.log, Env: notify.Env{Egress: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		UserAgent: "Waybill/test"}}
}

// pager is a receiver of notices.
type pager struct {
	*httptest.Server
	mu     sync.Mutex
	heard  []heard
	answer func(r *http.Request, n int) int // status of the n-th answer, from 1; nil for 200
	n      int
}

// heard is a notice as it was received.
type heard struct {
	id   string
	Type string `json:"type"`
	Data struct {
		AlertID     string `json:"alert_id"`
		Summary     string `json:"summary"`
		Severity    string `json:"severity"`
		Others      int    `json:"others"`
		Destination struct{ ID string }
		Rule        struct{ Name string }
	} `json:"data"`
}

func newPager(t *testing.T) *pager {
	p := &pager{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h := heard{id: r.Header.Get("webhook-id")}
		if err := json.Unmarshal(b, &h); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.n++
		n, answer := p.n, p.answer
		p.mu.Unlock()
		status := 200
		if answer != nil {
			status = answer(r, n)
		}
		p.mu.Lock()
		p.heard = append(p.heard, h)
		p.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *pager) all() []heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

// channel makes a channel of a tenant, or of the operators, that goes to the pager.
func (e *engine) channel(tenant string, p *pager) *models.Channel {
	e.Helper()
	typ := "webhook"
	c, err := e.store.CreateChannel(context.Background(), models.AllTenants(), tenant,
		models.ChannelInput{Type: &typ, Config: models.Values{"url": &p.URL}})
	if err != nil {
		e.Fatal(err)
	}
	return c
}

// eventually waits until cond is true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen: " + what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (e *engine) get(id string) *models.Destination {
	e.Helper()
	d, err := e.store.Destination(context.Background(), models.AllTenants(), "acme", id)
	if err != nil {
		e.Fatal(err)
	}
	return d
}

func (e *engine) alerts(tenant string, status ...string) []*models.Alert {
	e.Helper()
	list, err := e.store.Alerts(context.Background(), models.AllTenants(), tenant,
		models.AlertQuery{Statuses: status, Page: models.PageQuery{Limit: 1000}})
	if err != nil {
		e.Fatal(err)
	}
	return list.Items
}

// pass makes a watcher's pass at a time. The watcher is new, so that it looks at everything.
func (e *engine) pass(now time.Time) {
	e.Helper()
	if _, err := models.NewWatcher(e.store, e.log).Pass(context.Background(), now); err != nil {
		e.Fatal(err)
	}
}

// recorded writes what a recording transaction would have: n deliveries of each destination that failed, or one that
// succeeded.
func (e *engine) recorded(at time.Time, n int, ok bool, destinations ...*models.Destination) {
	e.Helper()
	one := make([]byte, 17)
	failed := n
	if ok {
		one[0], failed = 1, 0
	}
	binary.BigEndian.PutUint64(one[1:], uint64(at.UnixMicro()))
	for _, d := range destinations {
		_, err := e.db.Exec(context.Background(),
			`insert into health_deltas (destination_key, tenant_key, minute, deliveries, failed_deliveries,
				attempts, failed_attempts, outcomes, error_class, error)
			values ($1, $2, date_trunc('minute', $3::timestamptz), $4, $5, $4, $5, $6, 'server', 'The receiver answered 500.')`,
			d.Key, d.TenantKey, at, n, failed, bytes.Repeat(one, n))
		if err != nil {
			e.Fatal(err)
		}
	}
}
