package models

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// certificate is what a handshake showed. It rides on the receipt of the attempt that made the handshake, and on the row
// that the recording transaction adds to health_deltas anyway. The last handshake wins, whichever worker made it. In the
// last 30 days of a certificate no TLS session is resumed, since a resumed one shows none.
type certificate struct {
	ends, seen time.Time // zero for none
}

// showed takes note of the certificate that the destination showed, unless a later one is known.
func (h *Health) showed(c certificate) {
	if !c.seen.IsZero() && (h.CertificateAt == nil || !c.seen.Before(*h.CertificateAt)) {
		h.CertificateEnds, h.CertificateAt = &c.ends, &c.seen
	}
}

// SawCertificate takes note of a certificate that was seen outside of an attempt, in the check of a connection; a zero end
// is none. It is known as soon as the watchers have folded it in, like those of attempts.
func (s *Store) SawCertificate(ctx context.Context, d *Destination, ends, at time.Time) error {
	if ends.IsZero() {
		return nil
	}
	var h healthDeltas
	h.of(d.Key, d.TenantKey, at).certificate = certificate{ends, at}
	var rows pgcopy.Rows
	return s.InTx(ctx, func(tx *Tx) error { return h.copyTo(nil, &rows)[0].Send(ctx, tx) })
}

// forgetCertificate forgets a destination's certificate, because its address may be another one now. What attempts see that
// are under way does not count.
func forgetCertificate(ctx context.Context, tx pgx.Tx, destination int64) error {
	_, err := tx.Exec(ctx, "update destination_health set certificate_ends = null, certificate_at = $2 where destination_key = $1",
		destination, time.Now())
	return err
}
