package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ReasonRestored is why a destination was disabled whose deliveries are held after a restore.
const ReasonRestored = "Held after the database was restored: what was delivered after the backup would be sent again."

// Restored says what workers send when they are started with a database that was restored.
type Restored struct {
	Newest       time.Time // when the last event that is in it was received; zero for none
	Workers      int       // that are alive, and send already
	Destinations []Unfinished
}

// Unfinished are the deliveries to a destination that this database does not know to be delivered.
type Unfinished struct {
	TenantID, DestinationID string
	Type                    string
	Deliveries              int
	Begun                   int       // of those, deliveries with an attempt
	Oldest                  time.Time // when the first of their events was received
	Held                    bool      // the destination is disabled, so that nothing is sent
}

// Restored counts what would be sent, by destination, the most first. It reads all deliveries that are kept.
func (s *Store) Restored(ctx context.Context) (r Restored, err error) {
	err = s.inSnapshot(ctx, func(tx pgx.Tx) error {
		var newest *uuid.UUID
		if err := tx.QueryRow(ctx, `select (select id from events order by id desc limit 1),
			(select count(*) from processes where role in ('serve', 'work') and seen_at > now() - interval '5 seconds')`).
			Scan(&newest, &r.Workers); err != nil {
			return err
		}
		if newest != nil {
			r.Newest = eventTime(*newest)
		}
		rows, err := tx.Query(ctx, `select t.id, n.id, n.type, d.n, d.begun, d.oldest, n.disabled_at is not null from (
				select destination_key, count(*) n, count(*) filter (where attempts > 0 or status = 'delivering') begun,
					min(event_id::text)::uuid oldest
				from deliveries where status in ('pending', 'delivering', 'retrying') group by 1) d
			join destinations n on n.key = d.destination_key join tenants t on t.key = n.tenant_key
			where n.deleted_at is null and t.deleted_at is null order by d.n desc, t.id, n.id`)
		if err != nil {
			return err
		}
		r.Destinations, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (u Unfinished, err error) {
			var oldest uuid.UUID
			err = row.Scan(&u.TenantID, &u.DestinationID, &u.Type, &u.Deliveries, &u.Begun, &oldest, &u.Held)
			u.Oldest = eventTime(oldest)
			return u, err
		})
		return err
	})
	return r, err
}

// HoldRestored disables every destination that something would be sent to, so that workers hold it until somebody enables the
// destination, and says whether it is then delivered or dropped. It returns how many it disabled.
func (s *Store) HoldRestored(ctx context.Context, r Restored, actor string) (n int, err error) {
	for _, u := range r.Destinations {
		if u.Held {
			continue
		}
		if _, err := s.DisableDestination(ctx, AllTenants(), u.TenantID, u.DestinationID, actor, ReasonRestored); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
