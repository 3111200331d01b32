package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Check opens a connection of its own, stage by stage, and closes it without sending anything. The last stage tells
// whether all stages succeeded.
func (c *Client) Check(ctx context.Context) []adapters.Stage {
	var o opening
	cn, err := c.dial(ctx, &o)
	if cn != nil {
		cn.nc.Close()
	}
	stages := o.stages(c.endpoint.Host, c.tls != nil, err)
	for i := range stages {
		if !c.certificate {
			stages[i].CertificateEnds = time.Time{}
		}
	}
	return stages
}

// stages tells how opening a connection to host went; err is what it ended with. The last one is the stage that failed,
// if one did.
func (o *opening) stages(host string, withTLS bool, err *adapters.Error) []adapters.Stage {
	all := []adapters.Stage{
		{Name: "dns", Took: o.timing.DNS, Message: fmt.Sprintf("%s was found.", host)},
		{Name: "connect", Took: o.timing.Connect, Message: fmt.Sprintf("%s accepts connections.", o.remote)},
	}
	if _, notAddr := netip.ParseAddr(host); notAddr == nil {
		all[0].Message = host + " is an address; there is no name to look up."
	}
	if withTLS {
		all = append(all, adapters.Stage{Name: "tls", Took: o.timing.TLS, Message: describeTLS(o.tls),
			CertificateEnds: o.certificateEnds()})
	}
	for i := range all {
		if err != nil && all[i].Name == o.stage {
			all[i].Message, all[i].Advice = err.Message, err.Advice
			return all[:i+1]
		}
		all[i].OK = true
	}
	return all
}

func describeTLS(s tls.ConnectionState) string {
	text := tls.VersionName(s.Version)
	if len(s.PeerCertificates) > 0 {
		cert := s.PeerCertificates[0]
		text += fmt.Sprintf(", certificate valid until %s", cert.NotAfter.UTC().Format("2 January 2006"))
		if left := time.Until(cert.NotAfter); left < 14*24*time.Hour {
			text += fmt.Sprintf(" (in %d days)", int(left/(24*time.Hour)))
		}
	}
	return strings.TrimSpace(text) + "."
}
