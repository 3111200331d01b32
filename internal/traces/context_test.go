package traces

import (
	"context"
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

// TestWithout works without a tracer: what the publisher sent goes on unchanged.
func TestWithout(t *testing.T) {
	t.Parallel()
	var none *Tracer
	s := none.Publish("00-a-b-01", "acme", 1)
	s.Event("evt")
	s.Failed("timeout", "it took too long")
	s.End(200, "delivered")
	if s.Parent != "00-a-b-01" || none.Attempt("p", Attempt{Started: time.Now()}).Parent != "p" || none.Stop(context.Background()) != nil {
		t.Errorf("%+v", s)
	}
}
