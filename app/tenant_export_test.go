package app

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
)

// exported is an export of a tenant: the lines of its files.
func exported(t *testing.T, raw string) (files map[string][]map[string]any, manifest map[string]any) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader([]byte(raw)), int64(len(raw)))
	if err != nil {
		t.Fatalf("no ZIP: %v: %.200s", err, raw)
	}
	files = map[string][]map[string]any{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r) // which checks the sum
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f.Name, ".jsonl") {
			var v map[string]any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if files[f.Name] = []map[string]any{v}; f.Name == "manifest.json" {
				manifest = v
			}
			continue
		}
		files[f.Name] = []map[string]any{}
		lines := bufio.NewScanner(bytes.NewReader(b))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var v map[string]any
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
				t.Fatalf("%s: %v: %s", f.Name, err, lines.Bytes())
			}
			files[f.Name] = append(files[f.Name], v)
		}
	}
	if manifest == nil {
		t.Fatal("no manifest")
	}
	return files, manifest
}

// TestTenantExport exports all that a tenant has: every row once, as the manifest counts it and the description says it, no secret,
// nothing of another tenant, and nothing of what was erased.
func TestTenantExport(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.tenant("globex")
	const n = 1234
	a.largeEvents(n, 100)
	a.want(202, "POST", "/publish", `{"tenant_id":"globex","data":{"of":"globex-canary"}}`)
	a.want(201, "POST", "/tenants/acme/destinations", `{"id":"picky","type":"webhook","topics":["a"],"filter":{"data":{"n":7}},
		"config":{"url":"https://example.com/hook?token=url-canary"},"credentials":{"secret":"whsec_c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5"}}`)
	key := a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","admin"],"tenant_id":"acme"}`).str("key")
	a.want(201, "POST", "/tenants/acme/channels", `{"type":"slack","config":{"url":"https://hooks.slack.com/services/T0/B0/channel-canary"}}`)
	a.want(201, "POST", "/tenants/acme/alert-rules", `{"when":{"consecutive_failures":50}}`)
	a.want(201, "POST", "/tenants/acme/portal-links", `{}`)
	a.want(200, "POST", "/publish", `{"id":"one","tenant_id":"acme","topic":"a","data":{"email":"erased-canary@example.com"}}`, "Prefer", "wait=60")
	a.want(200, "POST", "/publish", `{"id":"two","tenant_id":"acme","topic":"a","data":{"email":"kept-canary@example.com"}}`, "Prefer", "wait=60")
	a.erased(`{"tenant_id":"acme","filter":{"q":"data.email:erased-canary@example.com"}}`)

	out := a.want(200, "GET", "/tenants/acme/export", nil, "Authorization", "Bearer "+key)
	if ct, cd := out.header.Get("Content-Type"), out.header.Get("Content-Disposition"); ct != "application/zip" ||
		!strings.HasPrefix(cd, `attachment; filename="tenant-acme-2`) || out.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s", ct, cd)
	}
	files, manifest := exported(t, out.raw)
	schemas := files["openapi.json"][0]["components"].(map[string]any)["schemas"].(map[string]any)
	listed := map[string]bool{}
	for _, f := range manifest["files"].([]any) {
		f := f.(map[string]any)
		name, schema := f["name"].(string), strings.TrimPrefix(f["schema"].(string), "openapi.json#/components/schemas/")
		listed[name] = true
		if f["rows"].(float64) != float64(len(files[name])) {
			t.Errorf("%s: %v rows in the manifest, %d in the file", name, f["rows"], len(files[name]))
		}
		if schemas[schema] == nil {
			t.Errorf("%s: openapi.json has no schema %q", name, schema)
			continue
		}
		compiled, err := contract().schema("components", "schemas", schema)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range files[name] {
			if err := compiled.Validate(row); err != nil {
				t.Errorf("%s: %v: %v", name, err, row)
				break
			}
		}
	}
	for name := range files {
		if strings.HasSuffix(name, ".jsonl") && !listed[name] {
			t.Errorf("%s is not in the manifest", name)
		}
	}
	ids := map[string]bool{}
	for _, e := range files["events.jsonl"] {
		ids[e["id"].(string)] = true
	}
	if len(ids) != n+2 || len(files["events.jsonl"]) != n+2 || len(files["attempts.jsonl"]) != n+2 {
		t.Errorf("%d events, %d attempts", len(ids), len(files["attempts.jsonl"]))
	}
	filtered := 0
	deliveries := map[string]bool{}
	for _, d := range files["deliveries.jsonl"] {
		if deliveries[d["id"].(string)] = true; d["status"] == "filtered_out" {
			filtered++
		}
	}
	if len(deliveries) != n+4 || len(files["deliveries.jsonl"]) != n+4 || filtered != 2 {
		t.Errorf("%d deliveries in %d lines, %d filtered out", len(deliveries), len(files["deliveries.jsonl"]), filtered)
	}
	for file, rows := range map[string]int{"tenant.jsonl": 1, "settings.jsonl": 1, "destinations.jsonl": 2, "channels.jsonl": 1,
		"alert_rules.jsonl": 4, "portal_links.jsonl": 1, "api_keys.jsonl": 1, "erasures.jsonl": 1, "members.jsonl": 0, "alerts.jsonl": 0} {
		if files[file] == nil || len(files[file]) != rows {
			t.Errorf("%s: %d rows, want %d", file, len(files[file]), rows)
		}
	}
	if len(files["audit.jsonl"]) < 5 {
		t.Errorf("the audit log has %d rows", len(files["audit.jsonl"]))
	}
	all, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{"globex-canary", "url-canary", "c2VjcmV0LWNhbmFyeS1zZWNyZXQ", "channel-canary", "erased-canary", key} {
		if i := bytes.Index(all, []byte(canary)); i >= 0 {
			t.Errorf("%s is in it: …%s…", canary, all[max(0, i-200):i+50])
		}
	}
	if !bytes.Contains(all, []byte("kept-canary")) {
		t.Error("the payload of an event is not in it")
	}
	a.audited("export.start", "acme", "")
	a.audited("export.finish", "acme", `"events": 1236`)

	for _, no := range []struct {
		key, tenant string
		status      int
	}{{key, "globex", 404}, {a.want(201, "POST", "/api-keys", `{"name":"k","scopes":["read","write"],"tenant_id":"acme"}`).str("key"), "acme", 403},
		{a.key, "nobody", 404}} {
		if out := a.do("GET", "/tenants/"+no.tenant+"/export", nil, "Authorization", "Bearer "+no.key); out.status != no.status {
			t.Errorf("%s: %d %.200s", no.tenant, out.status, out.raw)
		}
	}

	v := a.visitor()
	v.get("/t/acme/export").says("1,236 events with what became of them.")
	resp, err := v.client.Get(v.base + "/t/acme/export/download")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if files, _ := exported(t, string(raw)); len(files["events.jsonl"]) != n+2 {
		t.Errorf("the page's export has %d events", len(files["events.jsonl"]))
	}
}

// TestTenantExportCutOff: a download that is given up gives its place back and is in the audit log; one that cannot go on is no ZIP.
func TestTenantExportCutOff(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.largeEvents(400, 100)
	a.exec(`update events set data = (select '{"text":"' || string_agg(md5(random()::text || g || id), '') || '"}' from generate_series(1, 1500) g)`)
	begin := func() (*http.Response, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", a.base+api.APIPrefix+"/tenants/acme/export", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+a.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp, cancel
	}
	var cancels []context.CancelFunc
	for range 4 {
		_, cancel := begin()
		cancels = append(cancels, cancel)
	}
	if out := a.want(429, "GET", "/tenants/acme/export", nil); out.header.Get("Retry-After") == "" {
		t.Errorf("%v", out.header)
	}
	for _, cancel := range cancels {
		cancel()
	}
	a.eventually("/audit?tenant_id=acme&action=export.finish&outcome=failed", func(o answer) bool { return len(o.list()) == 4 })
	if out := a.want(200, "GET", "/audit?tenant_id=acme&action=export.finish", nil); out.str("models", "0", "error") != "The download was cut off." {
		t.Errorf("%s", out.raw)
	}
	whole, _ := begin()
	a.Follower.Stop() // as the process does when it stops
	raw, err := io.ReadAll(whole.Body)
	if _, zipErr := zip.NewReader(bytes.NewReader(raw), int64(len(raw))); err == nil || zipErr == nil {
		t.Errorf("an export that cannot go on looks whole: %v, %v, %d bytes", err, zipErr, len(raw))
	}
	if !slices.ContainsFunc(a.want(200, "GET", "/audit?tenant_id=acme&action=export.finish", nil).list(), func(e any) bool {
		return strings.Contains(e.(map[string]any)["error"].(string), "The server is stopping")
	}) {
		t.Error("the audit log does not tell that an export broke off")
	}
}
