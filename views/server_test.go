package views

import (
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestVerdictOfTheServer: never a tick beside something that needs attention, and none while not everything was looked at.
func TestVerdictOfTheServer(t *testing.T) {
	well := models.Finding{Check: "schema", Level: models.LevelOK}
	for name, c := range map[string]struct {
		change func(*models.ServerState)
		tone   Tone
		word   string
		text   string
	}{
		"well": {func(*models.ServerState) {}, ToneOK, "All well", "1 check found nothing."},
		"a warning": {func(s *models.ServerState) {
			s.Checkup.Findings = []models.Finding{{Level: models.LevelWarn}, well}
		}, ToneWarn, "1 finding", ""},
		"two findings": {func(s *models.ServerState) {
			s.Checkup.Findings = []models.Finding{{Level: models.LevelFail}, {Level: models.LevelWarn}, well}
			s.Deliveries.Failing = 2
		}, ToneBad, "2 findings", "2 destinations fail."},
		"a silent worker": {func(s *models.ServerState) {
			s.Processes = []models.ProcessState{{Alive: true}, {}}
		}, ToneWarn, "No findings", "1 process is silent."},
		"not all looked at": {func(s *models.ServerState) {
			s.Checkup.Unchecked = []models.Unchecked{{Check: "jobs"}}
		}, ToneInfo, "No findings", "1 check not made."},
		"a destination fails": {func(s *models.ServerState) { s.Deliveries.Failing = 1 }, ToneInfo, "No findings", "1 destination fails."},
	} {
		s := &models.ServerState{Checkup: models.Checkup{Findings: []models.Finding{well}}}
		c.change(s)
		if look, text := (Server{State: s}).verdict(); look.Tone != c.tone || look.Word != c.word || text != c.text {
			t.Errorf("%s: %v %q, %q", name, look.Tone, look.Word, text)
		}
	}
}
