package api

import (
	"testing"

	"github.com/waybill-dev/waybill/adapters"
)

// What the published clients call themselves.
const (
	npmClient    = "speakeasy-sdk/typescript 1.6.0 2.938.0 0.0.1 @hookdeck/outpost-sdk"
	pythonClient = "speakeasy-sdk/python 1.7.0 2.943.0 0.0.1 outpost_sdk"
)

func TestClientsAreKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		userAgent, header string
		want              int
	}{
		{npmClient, "", 1_006}, {pythonClient, "", 1_007},
		{"speakeasy-sdk/go 1.5.0 2.938.0 0.0.1 github.com/hookdeck/outpost/sdks/outpost-go", "", 1_005},
		{"speakeasy-sdk/python 2.0.0 3.0.0 0.0.1 outpost_sdk", "", 2_000},
		{"speakeasy-sdk/python next 2.9.0 0.0.1 outpost_sdk", "", newest},
		{"curl/8.5.0", "outpost", newest}, {"curl/8.5.0", "outpost/1.6", 1_006}, {npmClient, "outpost/1.7", 1_007},
		{"curl/8.5.0", "", 0}, {"", "", 0}, {"", "waybill", 0}, {"speakeasy-sdk/", "", 0}, {"speakeasy-sdk/outpost", "", 0},
		{"speakeasy-sdk/typescript 1.6.0 2.9.0 0.0.1 @acme/petstore", "", 0}, {"Mozilla/5.0 outpost-sdk", "", 0},
	} {
		if got := schemaOf(c.userAgent, c.header); got.version != c.want {
			t.Errorf("%q and %q: %+v, want %d", c.userAgent, c.header, got, c.want)
		}
	}
}

// Types that Outpost has are in the table of what its clients demand, and what it names is a field of ours.
func TestPeerTypesAreOurs(t *testing.T) {
	t.Parallel()
	for name, p := range peerTypes {
		r := adapters.Lookup(name)
		if r == nil {
			continue // a type that only Outpost has
		}
		known := map[string]bool{}
		for _, f := range r.Fields() {
			known[f.Key], known[f.Alias] = true, true
		}
		for _, key := range append(append([]string{}, p.config...), p.credentials...) {
			if !known[key] {
				t.Errorf("%s has no field %s", name, key)
			}
		}
		for key := range p.choices {
			if !known[key] {
				t.Errorf("%s has no field %s", name, key)
			}
		}
	}
}
