package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// The advice of errors that several places find.
const (
	adviceConnect = "Check that the service is running and that its firewall lets this server's addresses in."
	adviceTimeout = "Answer with a 2xx status first and do the work afterwards, or raise the destination's timeout."
	adviceProto   = "Check that the URL belongs to an HTTP server and that no proxy in front of it alters the answer."
)

// ended is the error of an exchange that the context, and not the receiver, brought to an end.
func (x *exchange) ended(when string) *adapters.Error {
	if x.ctx.Err() == context.Canceled {
		return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassInternal,
			Message: "This server stopped the attempt " + when + ".",
			Advice:  "It will be retried; nothing needs to be done.", Raw: context.Canceled.Error()}
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTimeout,
		Message: "The time limit of this attempt was reached " + when + ".",
		Advice:  "It will be retried; ask the operator if it stays.", Raw: context.DeadlineExceeded.Error()}
}

// limit is how long the exchange was allowed to take. A context's deadline was set a little before the exchange began, so
// it is rounded to what was meant.
func (x *exchange) limit() time.Duration {
	d := x.deadline.Sub(x.start)
	if d > 100*time.Millisecond {
		d = d.Round(10 * time.Millisecond)
	}
	return d
}

// answerError says why no whole answer was received.
func (x *exchange) answerError(resp *Response, err error) *adapters.Error {
	if e := adapters.AsShortage(err); e != nil {
		return e
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Raw: plainError(err)}
	switch {
	case isTimeout(err) && x.ctx.Err() == context.Canceled:
		return x.ended("before the answer was complete")
	case isTimeout(err):
		e.Class, e.Advice = adapters.ClassTimeout, adviceTimeout
		how := "on an open connection"
		if opened := resp.Timing.DNS + resp.Timing.Connect + resp.Timing.TLS; opened > 0 {
			how = "connected after " + human(opened)
		}
		switch {
		case resp.Code != 0:
			e.Message = fmt.Sprintf("The answer (status %d) was not complete within %s.", resp.Code, human(x.limit()))
		case resp.Timing.FirstByte > 0:
			e.Message = fmt.Sprintf("The answer was not complete within %s (it began after %s).", human(x.limit()),
				human(resp.Timing.FirstByte))
		default:
			e.Message = fmt.Sprintf("No answer within %s (%s).", human(x.limit()), how)
		}
	case remoteAlert(err) != "":
		return alertError(remoteAlert(err), x.c.endpoint.Host)
	case errors.Is(err, errNotHTTP):
		e.Class, e.Advice = adapters.ClassProtocol, adviceProto
		head, _ := x.br.Peek(min(x.br.Buffered(), 24))
		e.Message = "The answer is not HTTP."
		if len(head) > 0 {
			e.Message = fmt.Sprintf("The answer is not HTTP; it begins with %q.", cleanText(head))
		}
	case isProtocol(err):
		e.Class, e.Advice = adapters.ClassProtocol, adviceProto
		e.Message = "The answer could not be understood: " + err.Error() + "."
	case resp.Timing.FirstByte == 0:
		e.Class, e.Advice = adapters.ClassConnect, "Check the receiver's logs for a crash or a proxy that closes connections."
		e.Message = "The receiver closed the connection without an answer."
	case resp.Code != 0:
		e.Class, e.Advice = adapters.ClassProtocol, adviceProto
		e.Message = fmt.Sprintf("The answer (status %d) broke off before its end.", resp.Code)
	default:
		e.Class, e.Advice = adapters.ClassProtocol, adviceProto
		e.Message = "The answer broke off in its header."
	}
	return e
}

func isProtocol(err error) bool {
	for _, known := range []error{errStatusLine, errHeaderLine, errHeaderTooLarge, errSwitching, errLength, errCoding, errChunk} {
		if err == known {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// spare is the error of opening one more socket, which is what looking up a name takes.
func spare() error {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		_ = socket.Close()
	}
	return err
}

func dnsError(ctx context.Context, err error, host string, took time.Duration) *adapters.Error {
	if e := adapters.AsShortage(err); e != nil {
		return e
	}
	// Without a file to open, the system's resolver does not see its own configuration and finds no name at all.
	if e := adapters.AsShortage(spare()); e != nil {
		return e
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassDNS}
	var d *net.DNSError
	known := errors.As(err, &d)
	if known {
		// The rest of it names this server's own name server.
		e.Raw = d.Err
	}
	switch {
	case err == nil, known && d.IsNotFound:
		return nowhereError(host, "the name could not be found")
	case ctx.Err() != nil, isTimeout(err):
		e.Message = fmt.Sprintf("The name %s could not be looked up within %s.", host, human(took))
		e.Advice = "Check that the name servers of the domain answer; ask the operator if other names fail too."
	default:
		e.Message = fmt.Sprintf("The name %s could not be looked up.", host)
		e.Advice = "Check that the name servers of the domain answer; ask the operator if other names fail too."
	}
	return e
}

// nowhereTime is how long it takes at least to say that a name leads nowhere, so that the time tells no more than the words.
const nowhereTime = 200 * time.Millisecond

// nowhereError is the one answer for a name that does not exist and for one that leads to forbidden addresses only: which it is
// would tell whoever sets up destinations what names there are inside of this server's network. why is for its operators.
func nowhereError(host, why string) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassDNS, Private: why,
		Message: fmt.Sprintf("The name %s could not be found, or leads to no address that this server may connect to.", host),
		Advice:  "Check the spelling of the host, and that the public DNS has a public address for it. The operator finds in this server's log which it is, and can open private addresses (EGRESS_ALLOW)."}
}

func blockedError(a netip.Addr) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassBlocked,
		Message: fmt.Sprintf("Blocked by this server's network rules (%s).", describe(a)),
		Advice:  "Use a public address, or ask the operator to open this range."}
}

func connectError(ctx context.Context, err error, targets []netip.AddrPort) *adapters.Error {
	why := ""
	var none noSourceError
	if errors.As(err, &none) {
		why = "this server has no address of that kind"
	} else if e := adapters.AsShortage(err); e != nil {
		return e
	}
	switch {
	case why != "":
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		why = "no route to it"
	case errors.Is(err, syscall.ECONNRESET):
		why = "connection reset"
	case isTimeout(err), ctx.Err() != nil:
		why = "the connection attempt was not answered in time"
	}
	where := targets[0].String()
	switch n := len(targets) - 1; {
	case n == 1:
		where += " or " + targets[1].String()
	case n > 1:
		where += fmt.Sprintf(" or %d other addresses", n)
	}
	if why != "" {
		where += " (" + why + ")"
	}
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConnect,
		Message: "Nothing answered on " + where + ".", Advice: adviceConnect, Raw: plainError(err)}
}

// tlsError says what is wrong with the certificate, or how else the handshake failed.
func tlsError(ctx context.Context, err error, host string, o *opening) *adapters.Error {
	if e := adapters.AsShortage(err); e != nil {
		return e
	}
	if e := certificateError(err, host); e != nil {
		return e
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS, Raw: plainError(err),
		Advice: fmt.Sprintf("Check the receiver's TLS settings, for example with: openssl s_client -connect %s:%d", host, o.remote.Port())}
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		e.Message = fmt.Sprintf("%s answered, but not with TLS.", o.remote)
		e.Advice = "Check the port, or use http:// in the URL if the receiver does not offer TLS."
	case ctx.Err() == context.DeadlineExceeded, isTimeout(err):
		e.Class, e.Advice = adapters.ClassTimeout, adviceConnect
		e.Message = fmt.Sprintf("The TLS handshake was not complete after %s (connected after %s).", human(o.timing.TLS),
			human(o.timing.DNS+o.timing.Connect))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		e.Message = "The receiver closed the connection during the TLS handshake."
	case strings.Contains(err.Error(), "unsupported protocol version"):
		e.Message = "The receiver offers only TLS versions older than 1.2."
		e.Advice = "Enable TLS 1.2 or 1.3 on the receiver."
	default:
		e.Message = "The TLS handshake failed."
	}
	return e
}

// certificateError says what is wrong with the certificate, or which alert the other side sent; nil when it is neither.
func certificateError(err error, host string) *adapters.Error {
	e := &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS, Raw: plainError(err)}
	var (
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		e.Message = fmt.Sprintf("The certificate expired on %s.", invalid.Cert.NotAfter.UTC().Format("2 January 2006"))
		e.Advice = "Renew the receiver's certificate."
		if time.Now().Before(invalid.Cert.NotBefore) {
			e.Message = fmt.Sprintf("The certificate is not valid before %s.",
				invalid.Cert.NotBefore.UTC().Format("2 January 2006 15:04 MST"))
			e.Advice = "Check the clocks of the receiver and of this server."
		}
	case errors.As(err, &name):
		e.Message = fmt.Sprintf("The certificate is not for %s%s.", host, certifiedFor(name.Certificate))
		e.Advice = "Correct the host in the URL, or add the name to the receiver's certificate."
	case errors.As(err, &unknown):
		e.Message = "The certificate is signed by an authority that this server does not trust."
		e.Advice = "Check that the receiver sends its intermediate certificates, and use a publicly trusted authority."
		if cert := unknown.Cert; cert != nil && cert.Issuer.String() == cert.Subject.String() {
			e.Message = "The certificate is self-signed."
			e.Advice = "Use a certificate of a publicly trusted authority."
		}
	case errors.As(err, &invalid):
		e.Message = "The certificate is not valid for this use."
		e.Advice = "Use a certificate that is issued for servers."
	case remoteAlert(err) != "":
		return alertError(remoteAlert(err), host)
	default:
		return nil
	}
	return e
}

// Explain says what a network error of somebody else's client means, in the words that this package uses for its own:
// what the Dialer said, a certificate, a deadline, a lost connection. It is nil for an error that is none of these, or nil.
// host is who was spoken to.
func Explain(err error, host string) *adapters.Error {
	if err == nil {
		return nil
	}
	var known *adapters.Error
	if errors.As(err, &known) {
		return known
	}
	if e := adapters.AsShortage(err); e != nil {
		return e
	}
	if e := certificateError(err, host); e != nil {
		return e
	}
	e := &adapters.Error{Kind: adapters.KindTransient, Raw: plainError(err)}
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		e.Class, e.Message = adapters.ClassTLS, fmt.Sprintf("%s answered, but not with TLS.", host)
		e.Advice = "Check the port, and whether TLS is to be used."
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		e.Class, e.Message = adapters.ClassTimeout, fmt.Sprintf("No answer from %s in time.", host)
		e.Advice = adviceConnect
	case errors.Is(err, context.Canceled):
		e.Class, e.Message = adapters.ClassInternal, "This server stopped the attempt before the answer came."
		e.Advice = "It will be retried; nothing needs to be done."
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNREFUSED):
		e.Class, e.Message = adapters.ClassConnect, fmt.Sprintf("The connection to %s was lost before an answer came.", host)
		e.Advice = adviceConnect
	default:
		return nil
	}
	return e
}

// remoteAlert is the text of the TLS alert with which the other side ended a connection, or empty. With TLS 1.3 a
// missing client certificate is told that way only after the handshake.
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

func alertError(alert, host string) *adapters.Error {
	return &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassTLS, Raw: "tls alert: " + alert,
		Message: fmt.Sprintf("The receiver refused the TLS handshake: %s.", alert),
		Advice:  "Check that the receiver serves " + host + " with TLS 1.2 or 1.3 and asks for no client certificate."}
}

func certifiedFor(cert *x509.Certificate) string {
	if cert == nil || len(cert.DNSNames) == 0 {
		return ""
	}
	names := cert.DNSNames
	more := ""
	if len(names) > 3 {
		names, more = names[:3], " and others"
	}
	return ", but for " + clip(cleanText([]byte(strings.Join(names, ", "))), 200) + more
}

// plainError is the innermost text of a network error. The outer layers repeat addresses, of this server among others.
func plainError(err error) string {
	var op *net.OpError
	for errors.As(err, &op) {
		err = op.Err
	}
	return clip(cleanText([]byte(err.Error())), 500)
}

// human writes a duration as people say it: "15 s", "1.5 s", "40 ms".
func human(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d >= time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	}
	return "less than 1 ms"
}

// OneLine is text of the other side's as errors may quote it: on one line, without control characters, and cut off after
// 300 bytes.
func OneLine(text string) string {
	return clip(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))), " "), 300)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
