package outbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewTLSSink(t, adaptertest.Certificate{Names: []string{"hooks.test"}})
	https := fmt.Sprintf("https://hooks.test:%d/", s.Addr().Port())
	known := names{"hooks.test": addrs("127.0.0.1"), "none.test": {}, "inside.test": addrs("10.0.0.1")}
	tests := []struct {
		name, url string
		want      string // "dns+ connect+ tls-"
		says      string
	}{
		{"all well", https, "dns+ connect+ tls+", "TLS 1.3, certificate valid until"},
		{"unknown name", "https://none.test/", "dns-", "could not be found"},
		{"blocked", "https://inside.test/", "dns-", "could not be found, or leads to no address"},
		{"certificate", s.URL("/"), "dns+ connect+ tls-", "The certificate is not for 127.0.0.1"},
		{"plain", "http://" + s.Addr().String(), "dns+ connect+", "accepts connections"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clientFor(t, tt.url, Options{Resolver: known, Egress: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, s)
			var got []string
			stages := c.Check(deadline(t, time.Minute))
			for _, st := range stages {
				got = append(got, st.Name+map[bool]string{true: "+", false: "-"}[st.OK])
				if st.OK == (st.Advice != "") {
					t.Errorf("%+v", st)
				}
			}
			last := stages[len(stages)-1]
			if strings.Join(got, " ") != tt.want || !strings.Contains(last.Message, tt.says) {
				t.Errorf("%+v", stages)
			}
		})
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	adaptertest.Eventually(t, "the checks' connections to be closed", func() bool { return s.Open() == 0 })
}
