package models

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// deliveredRows are deliveries that their destinations have acknowledged, of one table. Nearly all deliveries come to
// that, so one statement writes all of a group.
type deliveredRows struct {
	table   string // a partition; or "deliveries", when that is not known
	ids     uuids
	dest    []int64
	number  []int32
	started []time.Time
	code    []int32
	found   int64 // rows that the statement has written
}

func (d *deliveredRows) add(o *Outcome) {
	d.ids = append(d.ids, o.EventKey)
	d.dest = append(d.dest, o.DeliveryKey.Destination)
	d.number = append(d.number, int32(o.Attempt.Number))
	d.started = append(d.started, o.Attempt.StartedAt)
	d.code = append(d.code, int32(o.Attempt.Code))
}

// When the destination has acknowledged an event, the delivery is delivered, whatever somebody did to it meanwhile.
const setDelivered = ` d set status = 'delivered', attempts = greatest(d.attempts, x.number), last_attempt_at = x.started,
	last_code = x.code,
		error_class = null, error = null, advice = null, reason = null, next_attempt_at = null from `

// updateDelivered writes many rows of a partition. The planner has one way only to go about it, whatever it believes of
// the table: each row's place is looked up by its whole key, and the table is entered by that place. The comparison of
// the keys is one that no index serves and no join can be ordered by; it makes sure of a row that moved meanwhile. Lists are
// unnested side by side in a select list, and not by FROM, which keeps each of them in a buffer of its own first.
func updateDelivered(partition string) string {
	return "update " + partition + setDelivered +
		`(select u.event_id, u.destination_key, u.number, u.started, u.code, (select i.ctid from ` + partition +
		` i where i.event_id = u.event_id and i.destination_key = u.destination_key) place
			from (select unnest($1::uuid[]) event_id, unnest($2::bigint[]) destination_key, unnest($3::int[]) number,
				unnest($4::timestamptz[]) started, unnest($5::int[]) code) u) x
		where d.ctid = x.place and not ((d.event_id, d.destination_key) is distinct from (x.event_id, x.destination_key))`
}

// updateDeliveredOne writes one row.
func updateDeliveredOne(table string) string {
	return "update " + table + setDelivered + `(select $3::int number, $4::timestamptz started, $5::int code) x
		where d.event_id = $1 and d.destination_key = $2`
}

// queue adds the statement to b. Places are of a partition, so that without one each row needs a statement.
func (d *deliveredRows) queue(b *pgx.Batch) {
	if d.table == "deliveries" {
		d.queueEach(b)
		return
	}
	b.Queue(updateDelivered(d.table), d.ids, d.dest, d.number, d.started, d.code).Exec(func(tag pgconn.CommandTag) error {
		d.found = tag.RowsAffected()
		return nil
	})
}

// queueAll does what queue does for who takes it for granted that every row is where it was: the statement fails with errStale when one
// has moved meanwhile.
func (d *deliveredRows) queueAll(b *pgx.Batch) {
	if d.table == "deliveries" {
		d.queueEach(b)
		return
	}
	if len(d.ids) == 1 {
		b.Queue(allOrStale(updateDeliveredOne(d.table)+" returning 1", "1"), [16]byte(d.ids[0]), d.dest[0], d.number[0], d.started[0], d.code[0])
		return
	}
	b.Queue(allOrStale(updateDelivered(d.table)+" returning 1", "cardinality($2)"), d.ids, d.dest, d.number, d.started, d.code)
}

// queueMissed adds statements for each row when the one for all has missed some, because somebody moved them meanwhile.
// It reports whether it has.
func (d *deliveredRows) queueMissed(b *pgx.Batch) bool {
	if d.table == "deliveries" || d.found == int64(len(d.ids)) {
		return false
	}
	d.queueEach(b)
	return true
}

func (d *deliveredRows) queueEach(b *pgx.Batch) {
	sql := updateDeliveredOne(d.table)
	for i := range d.ids {
		b.Queue(sql, [16]byte(d.ids[i]), d.dest[i], d.number[i], d.started[i], d.code[i])
	}
}
