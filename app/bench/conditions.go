package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// measureOldSnapshot measures a load while a transaction stays open that has seen the database before: PostgreSQL cannot clean up
// what has been deleted since, and queues in tables grow slow with it. Twice the load has gone before.
func measureOldSnapshot(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	conn, err := pgx.Connect(ctx, b.pg.URL)
	if err != nil {
		return r, err
	}
	defer conn.Close(ctx)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return r, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "select count(*) from tenants"); err != nil { // from now on it sees the database as it is
		return r, err
	}
	before := c
	before.events *= 2
	if _, err := measure(ctx, b, before); err != nil {
		return r, err
	}
	return measure(ctx, b, c)
}

// measureTenants measures a thousand tenants that publish at once, some of them much more than others (Zipf).
func measureTenants(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	tenants := make([]string, 1000)
	for i := range tenants {
		if tenants[i], err = b.tenant(); err != nil {
			return r, err
		}
		if err := b.destination(tenants[i], "/hook", nil); err != nil {
			return r, err
		}
	}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(len(tenants)-1))
	who := make([]string, c.events)
	for i := range who {
		who[i] = tenants[zipf.Uint64()]
	}
	return b.load(ctx, c, func(k int64) string { return who[k] })
}

// measureRest measures a server that has nothing to do. What is given for an event is for a second.
func measureRest(ctx context.Context, b *bencher, _ benchCase) (r benchResult, err error) {
	const length = 30 * time.Second
	before := b.cpu()
	select {
	case <-ctx.Done():
		return r, ctx.Err()
	case <-time.After(length):
	}
	r.cpu = float64((b.cpu() - before).Microseconds()) / 1000 / length.Seconds()
	r.memory = float64(b.memory() >> 20)
	return r, nil
}

// measureTLS measures receivers behind TLS. The connection stays open, unless path asks for its end after each request.
func measureTLS(path string) func(ctx context.Context, b *bencher, c benchCase) (benchResult, error) {
	return func(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
		tenant, err := b.tenant()
		if err != nil {
			return r, err
		}
		if err := b.destination(tenant, "", map[string]any{"config": map[string]string{"url": b.secure + path}}); err != nil {
			return r, err
		}
		return b.load(ctx, c, func(int64) string { return tenant })
	}
}

// serveTLS has the sink answer behind TLS too, with a certificate that the server is told to trust.
func (b *bencher) serveTLS() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(crand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	b.roots = filepath.Join(b.dir, "roots.pem")
	if err := os.WriteFile(b.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return err
	}
	b.secure = fmt.Sprintf("https://%s", ln.Addr())
	go func() { _ = b.sink.Serve(ln) }() // ends with stop
	return nil
}
