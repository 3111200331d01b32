package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// TestAwaitCompletion plays receivers that accept an event and say later how it has ended.
func TestAwaitCompletion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		location string
		looks    []string // answers of the status resource: a status, and a Retry-After behind it
		class    adapters.Class
		kind     adapters.Kind
		code     int
		off      bool
	}{
		"at once":       {looks: []string{"200"}, code: 200},
		"after a while": {looks: []string{"202", "200 1", "204"}, code: 204},
		"see other":     {looks: []string{"303"}, code: 303},
		"relative":      {location: "status?id=1", looks: []string{"200"}, code: 200},
		"failed":        {looks: []string{"202", "500"}, class: adapters.ClassServer, kind: adapters.KindTransient, code: 500},
		"refused":       {looks: []string{"422"}, class: adapters.ClassRejected, kind: adapters.KindTransient, code: 422},
		"gone":          {looks: []string{"410"}, class: adapters.ClassGone, kind: adapters.KindTransient, code: 410},
		"moved":         {looks: []string{"302"}, class: adapters.ClassRedirect, kind: adapters.KindTransient, code: 302},
		"never":         {looks: []string{"202 60"}, class: adapters.ClassTimeout, kind: adapters.KindTransient, code: 202},
		"somebody else's": {location: "http://127.0.0.1:1/status", class: adapters.ClassProtocol, kind: adapters.KindTransient,
			code: 202},
		"without a resource":    {location: "-", code: 202},
		"where it is not asked": {off: true, code: 202},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			posts, looks := 0, 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == http.MethodPost {
					posts++
					switch c.location {
					case "":
						w.Header().Set("Location", "/jobs/status?id=1")
					case "-":
					default:
						w.Header().Set("Location", c.location)
					}
					w.WriteHeader(http.StatusAccepted)
					return
				}
				if r.URL.RequestURI() != "/jobs/status?id=1" || r.Header.Get("X-Team") != "billing" || looks >= len(c.looks) {
					t.Errorf("look %d: %s %s %v", looks, r.Method, r.URL, r.Header)
					return
				}
				status, after, _ := strings.Cut(c.looks[looks], " ")
				looks++
				if after != "" {
					w.Header().Set("Retry-After", after)
				}
				code, _ := strconv.Atoi(status)
				w.WriteHeader(code)
			}))
			defer srv.Close()
			set := adapters.Settings{ID: "des_1", Timeout: 20 * time.Second, Credentials: map[string]string{"secret": vectorSecret},
				Config: map[string]string{"url": srv.URL + "/jobs/new", awaitField: strconv.FormatBool(!c.off),
					"custom_headers": `{"X-Team":"billing"}`}}
			receipt, err := open(t, Type{}, set).Send(context.Background(),
				&adapters.Message{EventID: "evt_1", Attempt: 1, Data: []byte("{}")})
			if (err != nil) != (c.class != "") {
				t.Errorf("%v", err)
			} else if err != nil {
				if e := adapters.AsError(err); e.Class != c.class || e.Kind != c.kind || e.Message == "" {
					t.Errorf("%+v", e)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if receipt.Code != c.code || receipt.Method != "POST" || posts != 1 || looks != len(c.looks) {
				t.Errorf("receipt %+v after %d posts and %d looks", receipt, posts, looks)
			}
		})
	}
}
