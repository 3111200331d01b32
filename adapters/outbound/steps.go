package outbound

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/adapters"
)

// log is how a connection came to fail, a stage in each line.
func (o *opening) log(host string, err *adapters.Error) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	failed := func(stage string, took any) {
		if err.Raw != "" && err.Class != adapters.ClassBlocked {
			add("%s: failed after %s: %s", stage, took, err.Raw)
		} else {
			add("%s: failed after %s", stage, took)
		}
	}
	if o.stage == "dns" {
		failed("dns "+host, human(o.timing.DNS))
		return lines
	}
	if o.timing.DNS > 0 {
		// Not which: they may be facts about the inside of a network (see describe).
		add("dns %s: %d addresses after %s", host, len(o.addrs), human(o.timing.DNS))
	}
	if o.stage == "connect" {
		failed("connect", human(o.timing.Connect))
		return lines
	}
	add("connect: connected to %s after %s", o.remote, human(o.timing.Connect))
	failed("tls", human(o.timing.TLS))
	return lines
}

// steps is how an exchange went that did not end with success.
func (x *exchange) steps(resp *Response, body int) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	t := resp.Timing
	switch {
	case x.cn.reused:
		add("connect: used the open connection to %s", x.cn.remote())
	default:
		if t.DNS > 0 {
			add("dns %s: looked up after %s", x.c.endpoint.Host, human(t.DNS))
		}
		add("connect: connected to %s after %s", x.cn.remote(), human(t.Connect))
		if tc, ok := x.cn.nc.(*tls.Conn); ok {
			state := tc.ConnectionState()
			resumed := ""
			if state.DidResume {
				resumed = ", session resumed"
			}
			add("tls: %s after %s%s", tls.VersionName(state.Version), human(t.TLS), resumed)
		}
	}
	add("request: %s, header and a body of %d bytes", resp.Method, body)
	switch {
	case t.FirstByte == 0:
		add("answer: none, not one byte")
	case resp.Code == 0:
		add("answer: first byte after %s, and no status", human(t.FirstByte))
	default:
		kept := ""
		if resp.Truncated {
			kept = " at least, of which not all are kept"
		}
		add("answer: first byte after %s, status %d, header of %d lines, body of %d bytes%s", human(t.FirstByte), resp.Code,
			strings.Count(resp.RespHeader, "\n"), len(resp.Body), kept)
	}
	return lines
}

func (cn *conn) remote() string {
	if cn.tcp == nil {
		return "the receiver"
	}
	return cn.tcp.RemoteAddr().String()
}
