package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/app/api"
)

// TestTopicIsRequired: with a catalogue, an event without a topic would go to hardly anybody.
func TestTopicIsRequired(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(202, "POST", "/publish", `{"tenant_id":"acme","data":{}}`) // any topic, or none
	a.want(200, "PUT", "/topics/order.created", `{}`)
	out := a.want(422, "POST", "/publish", `{"tenant_id":"acme","data":{}}`)
	if out.str("data", "0") != "topic is required" || out.str("fields", "topic") != "is required" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(202, "POST", "/publish/batch",
		`[{"tenant_id":"acme","data":{}},{"tenant_id":"acme","topic":"order.created","data":{}}]`); out.str("results", "0",
		"status") != "422" || out.str("results", "1", "status") != "202" {
		t.Errorf("%s", out.raw)
	}
	a.want(200, "POST", "/tenants/acme/destinations/inbox/test", `{}`)
}

// TestMetadataTakesNumbers: numbers and booleans in the metadata of tenants and destinations become strings.
func TestMetadataTakesNumbers(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	const metadata = `{"seats":1234567,"price":1.50,"vip":true,"none":null,"list":["a"],"name":"x"}`
	out := a.want(201, "PUT", "/tenants/acme", `{"metadata":`+metadata+`}`)
	for k, v := range map[string]string{"seats": "1234567", "price": "1.50", "vip": "true", "none": "", "list": `["a"]`, "name": "x"} {
		if got := out.str("metadata", k); got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	out = a.want(201, "POST", "/tenants/acme/destinations",
		`{"id":"d","type":"echo","topics":"*","metadata":`+metadata+`,"delivery_metadata":{"n":7,"ok":false}}`)
	if out.str("metadata", "seats") != "1234567" || out.str("metadata", "vip") != "true" || out.str("delivery_metadata", "n") != "7" ||
		out.str("delivery_metadata", "ok") != "false" {
		t.Errorf("%s", out.raw)
	}
	out = a.want(200, "PATCH", "/tenants/acme/destinations/d", `{"metadata":{"seats":8,"name":null}}`)
	if m := out.body["metadata"].(map[string]any); m["seats"] != "8" || m["name"] != nil || m["vip"] != "true" {
		t.Errorf("%s", out.raw)
	}
	if out := a.want(422, "PUT", "/tenants/acme", `{"metadata":[1]}`); out.str("fields", "metadata") == "" {
		t.Errorf("%s", out.raw)
	}
}

// TestCreatedSince: operators bring tenants and destinations from somewhere else, with their dates.
func TestCreatedSince(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	const then, later = "2021-03-01T12:00:00Z", "2022-03-01T12:00:00Z"
	for _, c := range []struct{ path, method, first, second, body string }{
		{"/tenants/", "PUT", "a", "b", `"metadata":{}`},
		{"/tenants/a/destinations/", "POST", "a", "b", `"type":"echo","topics":"*"`},
	} {
		put := func(id, dates string) answer {
			if c.method == "PUT" {
				return a.do("PUT", c.path+id, "{"+c.body+dates+"}")
			}
			return a.do("POST", strings.TrimSuffix(c.path, "/"), `{"id":"`+id+`",`+c.body+dates+"}")
		}
		if out := put(c.first, `,"created_at":"`+then+`","updated_at":"`+later+`"`); out.status != 201 || out.str("created_at") != then ||
			out.str("updated_at") != later {
			t.Errorf("%s: %d %s", c.path, out.status, out.raw)
		}
		if out := put(c.second, `,"created_at":"`+then+`"`); out.status != 201 || out.str("created_at") != then ||
			out.str("updated_at") != then {
			t.Errorf("%s: %d %s", c.path, out.status, out.raw)
		}
		future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		if out := put("c", `,"created_at":"`+future+`"`); out.status != 422 || out.str("fields", "created_at") == "" {
			t.Errorf("%s: %d %s", c.path, out.status, out.raw)
		}
		if out := a.want(200, "GET", c.path+c.first, nil); out.str("created_at") != then {
			t.Errorf("%s: %s", c.path, out.raw)
		}
	}
	if out := a.want(200, "PUT", "/tenants/a", `{"metadata":{"x":"1"},"created_at":"`+later+`"}`); out.str("created_at") != then {
		t.Errorf("a change moved it: %s", out.raw)
	}
	token := a.want(200, "GET", "/tenants/a/token", nil).str("token")
	a.as(token).want(403, "POST", "/tenants/a/destinations", `{"type":"echo","topics":"*","created_at":"`+then+`"}`)
}

// TestErrorsBeforeRoutingAreJSON sends what cannot be read: the answer is JSON with a request id all the same.
func TestErrorsBeforeRoutingAreJSON(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	at := strings.TrimPrefix(a.base, "http://")
	auth := "Host: localhost\r\nAuthorization: Bearer " + testKey + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"a body over the limit":  {"POST /api/v1/publish HTTP/1.1\r\n" + auth + "Content-Length: 99999999\r\n\r\n", 413},
		"a wrong Content-Length": {"POST /api/v1/publish HTTP/1.1\r\n" + auth + "Content-Length: many\r\n\r\n", 400},
		"large headers": {"GET /api/v1/events HTTP/1.1\r\n" + auth + "X-Large: " + strings.Repeat("x", 40<<10) + "\r\n\r\n",
			413},
		"an unknown method":     {"BREW /api/v1/events HTTP/1.1\r\n" + auth + "\r\n", 400},
		"a broken request line": {"GET\r\n\r\n", 400},
		"a broken header":       {"GET /api/v1/events HTTP/1.1\r\n" + auth + "No colon\r\n\r\n", 400},
		"a broken multipart": {"POST /api/v1/publish HTTP/1.1\r\n" + auth +
			"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1\r\n\r\nx", 400},
		"a method that is not for": {"PATCH /api/v1/events HTTP/1.1\r\n" + auth + "\r\n", 405},
		"an unknown address":       {"GET /api/v1/nothing HTTP/1.1\r\n" + auth + "\r\n", 404},
		"the root of the API":      {"GET /api/v1 HTTP/1.1\r\n" + auth + "\r\n", 404},
		"an address below /api":    {"GET /api/v2/events HTTP/1.1\r\n" + auth + "\r\n", 404},
	} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprint(conn, c.request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		raw, _ := io.ReadAll(resp.Body)
		conn.Close()
		var p api.Problem
		if err := json.Unmarshal(raw, &p); err != nil || p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-Id") ||
			p.Message == "" || p.Status != resp.StatusCode || resp.StatusCode != c.status {
			t.Errorf("%s: %d %s %.300s", name, resp.StatusCode, resp.Header.Get("Content-Type"), raw)
		}
		if allow := resp.Header.Get("Allow"); (c.status == 405) != (allow == "GET, HEAD") {
			t.Errorf("%s: Allow is %q", name, allow) // RFC 9110, section 15.5.6
		}
	}
}
