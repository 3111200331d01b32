package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// hostPattern is a name as ALLOWED_HOSTS has it: for itself, or with *. before it for all below it.
var hostPattern = regexp.MustCompile(`^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// setHosts reads ALLOWED_HOSTS.
func (c *Config) setHosts(v string) error {
	c.Hosts = nil
	for _, h := range List(v) {
		h = strings.TrimSuffix(strings.ToLower(h), ".")
		if h != "*" && !hostPattern.MatchString(h) {
			if strings.ContainsAny(h, ":/") {
				return errors.New("must be names only, without https://, port or path: waybill.internal, *.example.com")
			}
			return fmt.Errorf("%q is not a name like waybill.internal or *.example.com, nor * for any", h)
		}
		c.Hosts = append(c.Hosts, h)
	}
	return nil
}

// ownHost is the name in BASE_URL.
func (c *Config) ownHost() string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// AllowsHost reports whether the server answers requests for a host: that of BASE_URL, those of ALLOWED_HOSTS, localhost, and
// any address, since what is asked for by its address was not led here by somebody else's name. Ports do not count. A server
// that is told neither its BASE_URL nor ALLOWED_HOSTS, and listens to more than its own machine, cannot know its names and
// answers to all.
func (c *Config) AllowsHost(host string) bool {
	name := hostName(host)
	if name == "" {
		return false
	}
	if name == "localhost" || name == c.ownHost() || slices.Contains(c.Hosts, name) || slices.Contains(c.Hosts, "*") {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	for _, h := range c.Hosts {
		if below, ok := strings.CutPrefix(h, "*"); ok && strings.HasSuffix(name, below) {
			return true
		}
	}
	return c.BaseURLMissing && len(c.Hosts) == 0 && !c.loopback()
}

// loopback reports whether the server listens to its own machine only.
func (c *Config) loopback() bool {
	a, err := netip.ParseAddr(c.Host)
	return c.Host == "localhost" || err == nil && a.IsLoopback()
}

// hostName is the name or address in a Host header (RFC 9110, section 7.2), in lower case and without port, brackets and a dot
// at the end; empty where it is neither.
func hostName(host string) string {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || u.User != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}
