package app

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/models/modelstest"
)

// TestOrderSurvivesKills kills workers and web while events with ordering keys go out, and a receiver refuses some of
// them. Of each key an event arrives only after the one before it was acknowledged; after a kill it may arrive again, but
// never after a later one.
func TestOrderSurvivesKills(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string][]int{} // what was acknowledged, by key
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var d struct {
			Key string `json:"key"`
			N   int    `json:"n"`
		}
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if rand.IntN(8) == 0 {
			w.WriteHeader(500)
			return
		}
		got[d.Key] = append(got[d.Key], d.N)
	}))
	t.Cleanup(sink.Close)
	db := "DATABASE_URL=" + modelstest.DB(t)
	web := startProcess(t, "web", db)
	a := &testApp{TB: t, base: web.base, key: testKey}
	a.want(201, "PUT", "/tenants/acme", nil)
	a.want(201, "POST", "/tenants/acme/destinations", map[string]any{"type": "webhook", "topics": "*",
		"config": map[string]string{"url": sink.URL}, "ordered": true,
		"retry": map[string]any{"initial": "20ms", "max_interval": "50ms", "max_attempts": 50}})
	workers := []*process{startProcess(t, "work", db), startProcess(t, "work", db)}
	const keys, each, rounds = 6, 60, 3
	last := func(key string) int {
		mu.Lock()
		defer mu.Unlock()
		if list := got[key]; len(list) > 0 {
			return list[len(list)-1]
		}
		return -1
	}
	var publishers sync.WaitGroup
	var base sync.Map
	base.Store("web", web.base)
	for k := range keys {
		publishers.Go(func() {
			for n := range each {
				body := fmt.Sprintf(`{"tenant_id":"acme","id":"k%d-%d","ordering_key":"$.key","data":{"key":"k%d","n":%d}}`, k, n, k, n)
				for { // until it is accepted: with the same id it is accepted once
					at, _ := base.Load("web")
					req, _ := http.NewRequest("POST", at.(string)+api.APIPrefix+"/publish", strings.NewReader(body))
					req.Header.Set("Authorization", "Bearer "+testKey)
					resp, err := http.DefaultClient.Do(req)
					if err == nil {
						resp.Body.Close()
						if resp.StatusCode == 202 {
							break
						}
					}
					<-time.After(20 * time.Millisecond)
				}
			}
		})
	}
	await := func(wanted func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !wanted(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it did not get there: %v", got)
			}
		}
	}
	for round := range rounds {
		await(func() bool { return last("k0") >= (round+1)*each/(rounds+2) })
		workers[0].kill()
		workers = append(workers[1:], startProcess(t, "work", db))
		if round == 1 {
			web.kill()
			web = startProcess(t, "web", db)
			base.Store("web", web.base)
		}
	}
	publishers.Wait()
	await(func() bool {
		for k := range keys {
			if last(fmt.Sprint("k", k)) != each-1 {
				return false
			}
		}
		return true
	})
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for key, list := range got {
		next := 0
		for _, n := range list {
			switch n {
			case next:
				next++
			case next - 1:
				twice++
			default:
				t.Fatalf("key %s: %d arrived when it was the turn of %d: %v", key, n, next, list)
			}
		}
	}
	t.Logf("%d events of %d keys in order, %d arrived twice, %d workers killed", keys*each, keys, twice, rounds)
}
