package pages

import (
	"net/url"
	"testing"

	"github.com/waybill-dev/waybill/app/api"
)

// TestAPICallOfAList: the call that a page shows has all that the API's list understands, and nothing else.
func TestAPICallOfAList(t *testing.T) {
	t.Parallel()
	q := url.Values{"tenant_id": {"acme"}, "event_id": {"e"}, "q": {"text"}, "received[gt]": {"2026-01-01"}, "status": {"failed", "held"},
		"range": {"1h"}, "next": {"n"}, "topic": {""}}
	for what, got := range map[string]string{
		"event_id=e&received%5Bgt%5D=2026-01-01&status=failed&status=held&tenant_id=acme": queryOf[api.ListDeliveriesRequest](q),
		"q=text&received%5Bgt%5D=2026-01-01&status=failed&status=held&tenant_id=acme":     queryOf[api.ListEventsRequest](q),
		"q=text": queryOf[api.ListDestinationsRequest](q),
	} {
		if got != "?"+what {
			t.Errorf("%s, want ?%s", got, what)
		}
	}
	if got := queryOf[api.ListAlertsRequest](url.Values{"next": {"n"}}); got != "" {
		t.Errorf("a list without conditions: %s", got)
	}
}
