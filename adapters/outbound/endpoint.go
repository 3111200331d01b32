package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// MaxURL is how long a destination's URL may be. Longer ones are refused by many servers and proxies.
const MaxURL = 2048

// Endpoint is where requests go: a URL taken apart once, so that a request need not do it again.
type Endpoint struct {
	Scheme string // http or https
	Host   string // lower case, international names in their ASCII form, IPv6 without brackets
	Port   uint16
	Target string // path and query as in the request line, never empty

	addr  netip.Addr // valid when Host is an address and not a name
	label string
	shown string

	secrets []string // values that shown hides
}

// hostNames maps what people type to what DNS knows. Underscores stay, because private names often have them.
var hostNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// ParseURL reads a destination's URL. The error is written to follow the field's name: "must begin with https://".
func ParseURL(raw string) (*Endpoint, error) {
	switch {
	case len(raw) > MaxURL:
		return nil, fmt.Errorf("must be at most %d characters long", MaxURL)
	case strings.ContainsAny(raw, "#"):
		return nil, errors.New("must not have a fragment (#…), which is never sent to a server")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("is not a valid URL")
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case scheme != "http" && scheme != "https", u.Opaque != "":
		return nil, errors.New("must begin with https:// or http://")
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password; put credentials into the custom headers instead")
	case u.Hostname() == "":
		return nil, errors.New("must name a host, like https://hooks.example.com/waybill")
	}
	e := &Endpoint{Scheme: scheme, Port: 443}
	if scheme == "http" {
		e.Port = 80
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, errors.New("has a port that is not between 1 and 65535")
		}
		e.Port = uint16(n)
	}
	if err := e.setHost(u.Hostname(), strings.HasPrefix(u.Host, "[")); err != nil {
		return nil, err
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	e.Target = path
	if u.RawQuery != "" || u.ForceQuery {
		e.Target += "?" + escapeQuery(u.RawQuery)
	}
	base := e.Scheme + "://" + e.hostPort()
	e.label = base + path
	e.shown = e.label
	if u.RawQuery != "" {
		e.shown = MaskURL(e.label + "?" + escapeQuery(u.RawQuery))
		e.secrets = urlSecrets(escapeQuery(u.RawQuery))
	}
	return e, nil
}

func (e *Endpoint) setHost(host string, bracketed bool) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("must not name a network interface (%) in its address")
		}
		e.addr, e.Host = addr, addr.String()
		return nil
	}
	if bracketed {
		return errors.New("has brackets around something that is not an IPv6 address")
	}
	ascii, err := hostNames.ToASCII(host)
	if err != nil || !utf8.ValidString(host) {
		return errors.New("has a host name that is not valid")
	}
	ascii = strings.ToLower(ascii)
	name := strings.TrimSuffix(ascii, ".")
	if len(name) == 0 || len(name) > 253 {
		return errors.New("has a host name that is empty or too long")
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return errors.New("has a host name that is not valid")
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' {
				return errors.New("has a host name that is not valid")
			}
		}
		last = label
	}
	// A name whose last label is a number is an IPv4 address in disguise (0x7f.1, 2130706433, 127.1). Some resolvers
	// understand those and others look them up, so they are refused in every case. The address check when dialling
	// would stop the dangerous ones too.
	if looksNumeric(last) {
		return errors.New("has a host that is neither a name nor an address; write IPv4 as four decimal numbers")
	}
	e.Host = ascii
	return nil
}

func looksNumeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// hostPort is the Host header: without the port where it is the scheme's own.
func (e *Endpoint) hostPort() string {
	host := e.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if (e.Scheme == "https" && e.Port == 443) || (e.Scheme == "http" && e.Port == 80) {
		return host
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// Label is the URL without its query: what one line in a list shows.
func (e *Endpoint) Label() string { return e.label }

// Shown is the URL as receipts hold it: whole, but for the values of query parameters that look like credentials.
func (e *Endpoint) Shown() string { return e.shown }

// withTarget is Shown for another path and query on the same host.
func (e *Endpoint) withTarget(target string) string {
	return MaskURL(e.Scheme + "://" + e.hostPort() + target)
}

// escapeQuery makes a query safe for the request line. net/url keeps it as it was typed, spaces included.
func escapeQuery(q string) string {
	const hex = "0123456789ABCDEF"
	clean := true
	for i := 0; i < len(q); i++ {
		if q[i] <= ' ' || q[i] >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return q
	}
	var b strings.Builder
	for i := 0; i < len(q); i++ {
		if c := q[i]; c <= ' ' || c >= 0x7f {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func maskQuery(q string) string {
	parts := strings.Split(q, "&")
	for i, p := range parts {
		name, value, ok := strings.Cut(p, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			plain = name
		}
		if ok && value != "" && (Sensitive(plain) || isSignature(plain)) {
			parts[i] = name + "=" + masked
		}
	}
	return strings.Join(parts, "&")
}

// isSignature says whether a query parameter signs the URL, which makes it a credential ("sig" of shared access URLs).
func isSignature(name string) bool {
	name = strings.ToLower(name)
	return name == "sig" || strings.Contains(name, "signature")
}
