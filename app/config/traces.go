package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/waybill-dev/waybill/internal/traces"
)

// otlp begins the names of OpenTelemetry's variables for exporters. Each is also read with TRACES_ behind it, which has
// precedence, as OpenTelemetry says.
const otlp = "OTEL_EXPORTER_OTLP_"

// traceVariables are those that say where traces go. They are OpenTelemetry's own.
func traceVariables() []variable {
	return []variable{
		{otlp + "ENDPOINT", "",
			"OpenTelemetry collector for traces: http://collector:4318, or http://collector:4317 for grpc; https for TLS. " +
				"This and the following are read as OTEL_EXPORTER_OTLP_TRACES_… too; OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES work as well",
			func(r *reader, v string) (err error) {
				r.OTLP.Endpoint, err = collectorURL(v)
				return err
			}},
		{otlp + "TRACES_ENDPOINT", "", "its whole address, to which no /v1/traces is added: http://collector:4318/v1/traces",
			func(r *reader, v string) (err error) {
				r.OTLP.TracesEndpoint, err = collectorURL(v)
				return err
			}},
		{otlp + "PROTOCOL", traces.ProtocolHTTP, strings.Join(traces.Protocols, ", "), func(r *reader, v string) error {
			if !slices.Contains(traces.Protocols, v) {
				return fmt.Errorf("must be one of %s", strings.Join(traces.Protocols, ", "))
			}
			r.OTLP.Protocol = v
			return nil
		}},
		{otlp + "HEADERS", "", "headers for the collector, comma-separated, values URL-encoded: authorization=Bearer%20…",
			func(r *reader, v string) error {
				for _, h := range List(v) {
					name, value, ok := strings.Cut(h, "=")
					value, err := url.QueryUnescape(value)
					if !ok || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) ||
						!httpguts.ValidHeaderFieldValue(value) {
						return errors.New("must be names and values like name=value,other=value")
					}
					if r.OTLP.Headers == nil {
						r.OTLP.Headers = map[string]string{}
					}
					r.OTLP.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
				}
				return nil
			}},
		{otlp + "TIMEOUT", "10000", "milliseconds that the collector may take for a request", func(r *reader, v string) error {
			var ms int
			err := intIn(&ms, v, 1, 60_000)
			r.OTLP.Timeout = time.Duration(ms) * time.Millisecond
			return err
		}},
		{otlp + "COMPRESSION", "gzip", "gzip or none", func(r *reader, v string) error {
			if v != "gzip" && v != "none" {
				return errors.New("must be gzip or none")
			}
			r.OTLP.Uncompressed = v == "none"
			return nil
		}},
		{otlp + "CERTIFICATE", "", "file with the authority of the collector's certificate, PEM; the system's when empty",
			func(r *reader, v string) error {
				if v == "" {
					return nil
				}
				b, err := os.ReadFile(v)
				if err != nil {
					return err
				}
				pool := x509.NewCertPool()
				if !pool.AppendCertsFromPEM(b) {
					return fmt.Errorf("%s holds no certificate in PEM", v)
				}
				r.collectorTLS().RootCAs = pool
				return nil
			}},
		{otlp + "CLIENT_CERTIFICATE", "",
			"file with the certificate that is shown to the collector, PEM; with OTEL_EXPORTER_OTLP_CLIENT_KEY",
			func(r *reader, v string) error {
				key := r.env(otlp + "TRACES_CLIENT_KEY")
				if key == "" {
					key = r.env(otlp + "CLIENT_KEY")
				}
				if v == "" && key == "" {
					return nil
				}
				pair, err := tls.LoadX509KeyPair(v, key)
				if v == "" || key == "" {
					err = errors.New("give the key's file too, in OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither")
				}
				if err != nil {
					return err
				}
				r.collectorTLS().GetClientCertificate = fromFiles(v, key, pair)
				return nil
			}},
		{otlp + "CLIENT_KEY", "", "file with its key, PEM", func(*reader, string) error { return nil }},
	}
}

// fromFiles is a certificate as its files have it when a connection is opened; while they are no pair, the one of before.
func fromFiles(cert, key string, pair tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	var last atomic.Pointer[tls.Certificate]
	last.Store(&pair)
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if now, err := tls.LoadX509KeyPair(cert, key); err == nil {
			last.Store(&now)
		}
		return last.Load(), nil
	}
}

func (r *reader) collectorTLS() *tls.Config {
	if r.OTLP.TLS == nil {
		r.OTLP.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return r.OTLP.TLS
}

// collectorURL checks the address of a collector.
func collectorURL(v string) (string, error) {
	u, err := url.Parse(v)
	if v != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return "", errors.New("must be an address like http://collector:4318")
	}
	return v, nil
}

// lookUp reads a variable and tells which one it was. Of OpenTelemetry's for exporters the one for traces alone has precedence.
func lookUp(env func(string) string, name string) (found, from string) {
	if rest, ok := strings.CutPrefix(name, otlp); ok && !strings.HasPrefix(rest, "TRACES_") && rest != "ENDPOINT" {
		if v := env(otlp + "TRACES_" + rest); v != "" {
			return v, otlp + "TRACES_" + rest
		}
	}
	return env(name), name
}
