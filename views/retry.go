package views

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// retryRow is one attempt of a policy.
type retryRow struct {
	attempt     int
	wait, after time.Duration
}

// retryRows lists the attempts of a policy with their waits, without jitter.
func retryRows(p models.RetryPolicy) []retryRow {
	out := []retryRow{{attempt: 1}}
	var sum time.Duration
	for i, w := range p.Waits() {
		sum += w
		out = append(out, retryRow{i + 2, w, sum})
	}
	return out
}

// policyText is a retry policy in a sentence.
func policyText(p models.RetryPolicy) string {
	rows := retryRows(p)
	if len(rows) == 1 {
		return "One attempt, no retries"
	}
	return fmt.Sprintf("%s over %s", plural(len(rows), "attempt"), span(rows[len(rows)-1].after))
}
