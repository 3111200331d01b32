package pages

import (
	"testing"

	"github.com/waybill-dev/waybill/models"
)

func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "javascript:alert(1)", "", "evil"} {
		if got := localPath(to); got != "/" {
			t.Errorf("localPath(%q) = %q", to, got)
		}
	}
	if got := localPath("/t/acme?x=1"); got != "/t/acme?x=1" {
		t.Error(got)
	}
}

// TestErrorPageLeadsOn: from the page of an error somebody gets on, to the same page when that may work in a moment.
func TestErrorPageLeadsOn(t *testing.T) {
	t.Parallel()
	if to, text := wayOn(models.KindUnavailable, "GET", "/t/acme/events?status=failed", nil); to != "/t/acme/events?status=failed" ||
		text != "Try again" {
		t.Errorf("without a database: %s, %s", to, text)
	}
	if to, _ := wayOn(models.KindUnavailable, "POST", "/t/acme/topics", nil); to != "/" {
		t.Errorf("a form that could not be handled: %s", to)
	}
}
