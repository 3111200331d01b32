package views

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// TestVocabulariesAreKnown looks for a words tag that no vocabulary goes with: chips would show codes.
func TestVocabulariesAreKnown(t *testing.T) {
	t.Parallel()
	ofPages := []string{"", "destination", "channel"}
	for _, list := range [][]models.Filter{models.FiltersOf[models.EventQuery](), models.FiltersOf[models.DeliveryQuery](),
		models.FiltersOf[models.AttemptQuery](),
		models.FiltersOf[models.AuditQuery](), models.FiltersOf[models.NotificationQuery](), models.FiltersOf[models.AlertQuery](),
		models.FiltersOf[models.BulkQuery](),
		models.FiltersOf[models.TenantQuery](), models.FiltersOf[models.DestinationQuery]()} {
		for _, f := range list {
			if _, ok := vocabularies()[f.Words]; !ok && !slices.Contains(ofPages, f.Words) {
				t.Errorf("%s: there is no vocabulary %q", f.Name, f.Words)
			}
		}
	}
}

func TestChipsSpeakTheWordsOfTheirFields(t *testing.T) {
	t.Parallel()
	own := map[string][]Option{timeRange: Ranges, "destination": {{Value: "des_1", Label: "Shop"}}}
	for query, want := range map[string]string{
		"manual=true&trigger=bulk&destination_id=des_1&status=failed&limit=5&dir=asc": "Status: Failed; Destination: Shop; Trigger: Bulk retry; Asked for: By hand",
		"since=2026-01-01&time[lt]=2026-01-02&unknown=x":                              "From: 2026-01-01; Started before: 2026-01-02",
		"range=1h&since=2026-01-01&event_id=e":                                        "Time: Last hour; Event: e",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range chips[models.AttemptQuery]("/a", q, own) {
			text := c.Label
			if c.Time != "" {
				text += " " + c.Time
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
}

// TestRetryAllChoosesWhatIsShown: a list with a condition that a bulk retry does not know offers none, for it would retry more.
func TestRetryAllChoosesWhatIsShown(t *testing.T) {
	t.Parallel()
	for _, f := range models.FiltersOf[models.EventQuery]() {
		at := retryAllURL[models.EventQuery]("acme", url.Values{f.Name: {"failed"}}, time.Time{})
		if at != "" && !strings.Contains(at, f.Name+"=") {
			t.Errorf("with %s it is %s", f.Name, at)
		}
	}
}
