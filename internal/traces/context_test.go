package traces

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestContext(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" // the example of W3C Trace Context, section 3.2.3
	for in, want := range map[string]string{
		good: good,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings": good,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":                        good,
		"": "", "00": "", good + "-more": "", good + "x": "",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what": "",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":      "",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01":      "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\n-01":     "",
	} {
		if got := Context(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if ID(good) != "0af7651916cd43dd8448eb211c80319c" || ID("") != "" {
		t.Error("the id of a trace")
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	long := func(key string, n int) string { return key + "=" + strings.Repeat("x", n-len(key)-1) }
	var many []string
	for i := range 33 {
		many = append(many, fmt.Sprintf("k%d=1", i))
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		parent string
		in     []string
		want   string
	}{
		// the example of section 3.3.1
		{parent, []string{"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"},
		{parent, []string{"congo=1, rojo=2 ", "fw529a3039@dt=3"}, "congo=1,rojo=2,fw529a3039@dt=3"},
		{parent, []string{"a=1,,b=2"}, "a=1,b=2"}, // empty members are allowed
		{"", []string{"a=1"}, ""}, // it means nothing without a traceparent
		{parent, nil, ""},
		{parent, []string{""}, ""},
		{parent, []string{"no member"}, ""},
		{parent, []string{"UPPER=1"}, ""},
		{parent, []string{"a=1,a=2"}, ""},
		{parent, []string{"a=1\r\nx-evil: 1"}, ""},
		{parent, []string{strings.Join(many, ",")}, ""}, // at most 32 members
		{parent, []string{long("a", 100), long("b", 200), long("c", 128), long("d", 128), long("e", 20)},
			strings.Join([]string{long("a", 100), long("c", 128), long("d", 128), long("e", 20)}, ",")},
		{parent, []string{long("a", 128), long("b", 128), long("c", 128), long("d", 128)},
			strings.Join([]string{long("a", 128), long("b", 128), long("c", 128)}, ",")},
	} {
		if got := State(c.parent, c.in...); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestWithout works without a tracer: what the publisher sent goes on unchanged.
func TestWithout(t *testing.T) {
	t.Parallel()
	var none *Tracer
	s := none.Publish("00-a-b-01", "a=1", "acme", 1)
	s.Event("evt")
	s.Failed("timeout", "it took too long")
	s.End(200, "delivered")
	if s.Parent != "00-a-b-01" || s.State != "a=1" || none.Attempt("p", "a=1",
		Attempt{Started: time.Now()}) != (Span{Parent: "p", State: "a=1"}) || none.Stop(context.Background()) != nil {
		t.Errorf("%+v", s)
	}
}

// TestWithoutCosts: an event costs nothing more for the traces that nobody wants.
func TestWithoutCosts(t *testing.T) {
	var none *Tracer
	if n := testing.AllocsPerRun(100, func() {
		s := none.Publish("00-a-b-01", "a=1", "acme", 1)
		s.Event("evt")
		s.End(202, "")
		s = none.Attempt(s.Parent, s.State, Attempt{Tenant: "acme", Destination: "hook", Type: "webhook", Event: "evt",
			Topic: "order.created", Number: 1})
		s.Failed("timeout", "it took too long")
		s.End(0, "retrying")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
