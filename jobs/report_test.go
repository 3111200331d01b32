package jobs

import (
	"context"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestLateReportLeavesItsOutcomes has the timer of a job fire while the job ends. What it would have reported is for the
// last report: written beside that one or after it, it would belong to a job that is no more, and nobody would take up its
// deliveries again.
func TestLateReportLeavesItsOutcomes(t *testing.T) {
	t.Parallel()
	r := &run{ctx: context.Background(), left: 2} // with nobody to report to
	r.add(models.Outcome{Status: models.StatusDelivered})
	r.lastOnly()
	r.report()
	if len(r.outcomes) != 1 {
		t.Errorf("%d outcomes are left for the last report", len(r.outcomes))
	}
}
