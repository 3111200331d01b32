package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// TestCheckSeesCertificate: checking a connection is enough for a certificate to be known, and to be told about.
func TestCheckSeesCertificate(t *testing.T) {
	t.Parallel()
	ends := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	sink := adaptertest.NewTLSSink(t, adaptertest.Certificate{NotAfter: ends})
	a := newTestApp(t, nil)
	a.tenant("acme")
	a.want(201, "POST", "/tenants/acme/destinations", fmt.Sprintf(`{"id":"old","type":"webhook","topics":["*"],"config":{"url":%q}}`,
		sink.URL("/")))
	if d := a.want(200, "GET", "/tenants/acme/destinations/old", nil); d.str("status", "certificate_expires_at") != "" {
		t.Errorf("known before anything was connected to: %s", d.raw)
	}
	if r := a.want(200, "POST", "/tenants/acme/destinations/old/check", nil); r.str("ok") != "false" ||
		r.str("stages", "2", "name") != "tls" {
		t.Errorf("%s", r.raw)
	}
	at := ends.Format(time.RFC3339)
	a.eventually("/tenants/acme/destinations/old", func(o answer) bool { return o.str("status", "certificate_expires_at") == at })
	if h := a.want(200, "GET", "/tenants/acme/destinations/old/health", nil); h.str("certificate", "expires_at") != at ||
		h.str("certificate", "seen_at") == "" {
		t.Errorf("%s", h.raw)
	}
	alert := a.eventually("/tenants/acme/alerts", func(o answer) bool {
		return o.str("models", "0",
			"rule_name") == "Certificate expiring"
	})
	if alert.str("models", "0", "severity") != "critical" || alert.str("models", "0", "detail", "certificate_expires_at") != at {
		t.Errorf("%s", alert.raw)
	}
	a.visitor().get("/t/acme/destinations/old").says("Ended on " + ends.Format("2 January 2006, 15:04 UTC"))
}
