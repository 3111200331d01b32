package adaptertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Certificate says what is written into the certificate of a TLS sink. The zero value is one that is valid now, for
// 127.0.0.1 and localhost, signed by an authority that Sink.Roots holds.
type Certificate struct {
	Names      []string // of hosts; addresses as text
	NotBefore  time.Time
	NotAfter   time.Time
	SelfSigned bool
	MaxVersion uint16 // of TLS that the sink speaks; 0 for the newest
	ClientAuth bool   // ask for a client certificate, and refuse those who have none
}

// NewTLSSink starts a sink that speaks TLS.
func NewTLSSink(tb testing.TB, cert Certificate, answers ...Answer) *Sink {
	tb.Helper()
	s := &Sink{}
	s.tls, s.roots = cert.Issue(tb)
	startSink(tb, s, answers)
	authorities.Store(s.Addr().Port(), s.roots)
	return s
}

// authorities holds the roots of all TLS sinks, by port.
var authorities sync.Map

// RootsAt holds the authority of the TLS sink that listens on a port; nil when none has. It is for types whose settings
// cannot name an authority, so that one type can be led to many sinks.
func RootsAt(port uint16) *x509.CertPool {
	roots, _ := authorities.Load(port)
	pool, _ := roots.(*x509.CertPool)
	return pool
}

// Issue makes the certificate. It returns what a server presents it with, and the authority that clients have to trust.
func (c Certificate) Issue(tb testing.TB) (*tls.Config, *x509.CertPool) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	if c.Names == nil {
		c.Names = []string{"127.0.0.1", "localhost"}
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-48 * time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(48 * time.Hour)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	ca, err = x509.ParseCertificate(caDER)
	must(err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Test receiver"},
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range c.Names {
		if addr, err := netip.ParseAddr(n); err == nil {
			leaf.IPAddresses = append(leaf.IPAddresses, addr.AsSlice())
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	issuer, signer := ca, caKey
	if c.SelfSigned {
		issuer, signer = leaf, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), signer)
	must(err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos: []string{"http/1.1"}, MaxVersion: c.MaxVersion}
	if c.MaxVersion != 0 {
		cfg.MinVersion = tls.VersionTLS10
	}
	if c.ClientAuth {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	return cfg, roots
}
