package models

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// lostEvents are events that cannot be found although nothing took them away that may.
type lostEvents map[uuid.UUID]bool

// lostOf returns those of the wanted events that were neither found nor erased, and whose day is there. Retention takes whole days.
func (s *Store) lostOf(ctx context.Context, wanted []uuid.UUID, found map[uuid.UUID]*Event, erased map[uuid.UUID]bool) (lostEvents, error) {
	byDay := map[string][]uuid.UUID{}
	for _, id := range wanted {
		if found[id] != nil || erased[id] {
			continue
		}
		name := migrations.PartitionName("events", time.Unix(dayOf(id)*86400, 0))
		byDay[name] = append(byDay[name], id)
	}
	if len(byDay) == 0 {
		return nil, nil
	}
	rows, err := s.Hot.Query(ctx, `select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent = 'events'::regclass and c.relname = any($1)`, slices.Collect(maps.Keys(byDay)))
	if err != nil {
		return nil, err
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	lost := lostEvents{}
	for _, name := range kept {
		for _, id := range byDay[name] {
			lost[id] = true
		}
	}
	return lost, nil
}

// wanted reports whether a delivery of an event that cannot be found still waits to be sent. It was not claimed for it: then another
// turn has begun, or it is over, or its row is lost as well.
func (l lostEvents) wanted(ctx context.Context, s *Store, k DeliveryKey) (bool, error) {
	var there bool
	err := s.Hot.QueryRow(ctx, "select true from "+s.partitions.of("deliveries", k.EventKey)+" where event_id = $1 and destination_key = $2",
		k.EventKey, k.Destination).Scan(&there)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	s.forgetPartitions(err)
	return false, err
}
