package models

import (
	"context"
	"fmt"
)

// durable writes an empty message to the log of PostgreSQL and commits it, which changes nothing and takes as long as the commit of
// an event: until the disk has it, and each standby that commits wait for.
const durable = "select pg_logical_emit_message(true, 'waybill', '')"

// awaitDurable returns once all that can be read is kept as what was accepted is: on the disk, and on the standbys that commits
// wait for. A commit that was given up while it waited for a standby can be read all the same, and would be lost with the primary.
// So nobody is told of it that it is accepted, be it that he asks a second time, before this has returned.
func (s *Store) awaitDurable(ctx context.Context) error {
	if _, err := s.Hot.Exec(ctx, durable); err != nil {
		return fmt.Errorf("wait for the commit of what was accepted before: %w", err)
	}
	return nil
}
