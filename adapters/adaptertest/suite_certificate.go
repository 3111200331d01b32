package adaptertest

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// TellsCertificate sends two messages over one connection to a server whose certificate ends then. The receipt of the
// first tells so, and that of the second nothing.
func TellsCertificate(tb testing.TB, typ adapters.Type, set adapters.Settings, ends time.Time) {
	tb.Helper()
	sender, err := typ.Open(Env(), set)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = sender.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	for i, want := range []time.Time{ends, {}} {
		r, err := sender.Send(ctx, &adapters.Message{EventID: "evt_1", Topic: "order.created", Time: time.Now(),
			Data: []byte(`{"order": 1}`), Attempt: 1})
		if err != nil {
			tb.Fatalf("message %d: %v", i+1, err)
		}
		if !r.CertificateEnds.Equal(want) {
			tb.Errorf("message %d tells of a certificate that ends on %v, want %v", i+1, r.CertificateEnds, want)
		}
	}
}
