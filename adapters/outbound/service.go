package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Service is a server that speaks a protocol of its own: a broker.
type Service struct {
	Host string // lower case, international names in their ASCII form, IPv6 without brackets
	Port uint16
	TLS  *tls.Config // nil for none; its ServerName is set to Host
}

// ParseService reads "host:port". The error is written to follow the field's name.
func ParseService(text string) (Service, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "/@?#%") {
		return Service{}, errors.New("must be a host and a port, like broker.example.com:5672, without anything in front of it or behind it")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Service{}, errors.New("has a port that is not between 1 and 65535")
	}
	var e Endpoint
	if err := e.setHost(host, strings.HasPrefix(text, "[")); err != nil {
		return Service{}, err
	}
	return Service{Host: e.Host, Port: uint16(n)}, nil
}

// String is the service as it is written in settings: host:port.
func (s Service) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// TLSConfig is what brokers are spoken to with: TLS 1.2 or newer, trusting the system's authorities and those in the
// PEM text authorities, which may be empty. The error is written to follow the field's name.
func TLSConfig(authorities string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: newSessions()}
	if strings.TrimSpace(authorities) == "" {
		return cfg, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without authorities of its own
	}
	if !pool.AppendCertsFromPEM([]byte(authorities)) {
		return nil, errors.New("must be certificates in PEM, beginning with -----BEGIN CERTIFICATE-----")
	}
	cfg.RootCAs = pool
	return cfg, nil
}

// Opened tells how opening a connection to a service went.
type Opened struct {
	Timing adapters.Timing
	Stages []adapters.Stage // dns, connect and, with TLS, tls; the last one is the one that failed, if one did

	CertificateEnds time.Time // until when the service's certificate is valid, as in adapters.Receipt
}

// Open connects to a service, and makes the handshake of TLS where it has it. Errors are *adapters.Error.
func (d *Dialer) Open(ctx context.Context, s Service) (net.Conn, Opened, error) {
	var o opening
	if s.TLS != nil {
		s.TLS = s.TLS.Clone()
		s.TLS.ServerName = strings.TrimSuffix(s.Host, ".")
	}
	_, nc, err := d.open(ctx, s.Host, s.Port, s.TLS, &o)
	if err == nil {
		return nc, Opened{o.timing, o.stages(s.Host, s.TLS != nil, nil), o.certificateEnds()}, nil
	}
	var (
		record  tls.RecordHeaderError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(o.cause, &record):
		err.Advice = "Check the port, or switch TLS off if the service does not offer it."
	case errors.As(o.cause, &unknown):
		err.Advice = "Enter the certificate of the service's authority as CA certificate."
	case errors.As(o.cause, &name):
		err.Advice = "Enter a name that the certificate is for, or add this one to it."
	}
	return nil, Opened{o.timing, o.stages(s.Host, s.TLS != nil, err), o.certificateEnds()}, err
}
