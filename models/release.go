package models

import (
	"context"

	"github.com/waybill-dev/waybill/models/queue"
)

// Triggers say why an attempt was made.
const (
	TriggerAutomatic = "automatic"
	TriggerManual    = "manual"
	TriggerBulk      = "bulk"
	TriggerTest      = "test"
	TriggerProbe     = "probe" // to find out whether a disabled destination works again
)

// Triggers lists why attempts are made.
var Triggers = []string{TriggerAutomatic, TriggerManual, TriggerBulk, TriggerTest, TriggerProbe}

// Actions of a Release besides those on a backlog. The first two send what the destination's filters held back.
const (
	ReleaseFiltered    = "filtered"     // if the filter lets it through as it is now
	ReleaseFilteredAll = "filtered_all" // whatever the filter says

	// These cancel all that still waits for a destination that was deleted, alone or with its tenant.
	ReleaseDestinationDeleted = "destination_deleted"
	ReleaseTenantDeleted      = "tenant_deleted"
)

// enqueueRelease queues the job that acts upon deliveries that wait.
func (s *Store) enqueueRelease(ctx context.Context, tx *Tx, r queue.Release) error {
	if r.Action == "" || r.Action == BacklogKeep {
		return nil
	}
	return s.Queue.EnqueueRelease(ctx, tx.Pgx, r)
}
