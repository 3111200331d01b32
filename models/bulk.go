package models

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The states of a bulk retry.
const (
	BulkRunning   = "running"
	BulkPaused    = "paused"    // nothing more is queued until somebody resumes it
	BulkDone      = "done"      // everything that the filter chose has been seen to
	BulkCancelled = "cancelled" // nothing more is queued; what was done stays done
)

// BulkStatuses lists the states of a bulk retry.
var BulkStatuses = []string{BulkRunning, BulkPaused, BulkDone, BulkCancelled}

// Why a delivery that the filter chose was not retried.
const (
	SkipDisabled = "destination_disabled"
	SkipDeleted  = "destination_deleted"
	SkipLimit    = "manual_retry_limit"
	SkipChanged  = "changed" // it was in another state when its turn came: somebody else had retried it, say
	SkipUnsent   = "unsent"  // it was queued, and held or called off before it was sent
)

// Limits of the rate of a bulk retry, in deliveries a second.
const (
	DefaultBulkRate = 1000
	MaxBulkRate     = 10_000
)

// maxOpenBulk is how many bulk retries of one tenant may be open at once.
const maxOpenBulk = 20

const retryPrefix = "rty_"

// BulkRetryID is the public id of a bulk retry; empty for the zero key.
func BulkRetryID(key uuid.UUID) string {
	if key == uuid.Nil {
		return ""
	}
	return retryPrefix + hex.EncodeToString(key[:])
}

// BulkRetry retries many deliveries: those that a filter chose when it was started.
type BulkRetry struct {
	Key       uuid.UUID
	TenantKey int64
	TenantID  string
	Actor     string // who started it
	Status    string
	Filter    RetryFilter
	Rate      int // deliveries queued a second at most

	Total     int            // deliveries that the filter chose when it was started
	Queued    int            // of these, queued for an attempt
	Left      map[string]int // and left out, by reason
	Delivered int            // of the queued ones: their attempt succeeded
	Failed    int            // it failed; what the destination's retry policy makes of that comes after
	Unsent    int            // none was made: held or called off before it was sent

	Note       string // why nothing is queued for now; empty otherwise
	CreatedAt  time.Time
	ChangedAt  time.Time // of the status
	ChangedBy  string    // who paused, resumed or cancelled it; empty for nobody
	FinishedAt *time.Time

	run    int
	walked bool
	after  DeliveryKey
	events []uuid.UUID
	nextAt time.Time
}

// ID is the public id.
func (b *BulkRetry) ID() string { return BulkRetryID(b.Key) }

// Final reports whether nothing of it changes any more.
func (b *BulkRetry) Final() bool { return b.FinishedAt != nil }

// Walked reports whether everything that the filter chose has been queued or left out.
func (b *BulkRetry) Walked() bool { return b.walked }

// Waiting is how many queued deliveries have had no attempt yet.
func (b *BulkRetry) Waiting() int { return b.Queued - b.Delivered - b.Failed - b.Unsent }

// Skipped is how many deliveries were not retried, for whatever reason.
func (b *BulkRetry) Skipped() int { return b.leftOut() + b.Unsent }

// Remaining is how many deliveries it has not come to yet. Together with those that wait, are delivered, have failed or
// were skipped they are the total.
func (b *BulkRetry) Remaining() int { return max(b.Total-b.Queued-b.leftOut(), 0) }

func (b *BulkRetry) leftOut() (n int) {
	for _, x := range b.Left {
		n += x
	}
	return n
}

// Skips lists why deliveries were not retried, the most frequent reason first.
func (b *BulkRetry) Skips() []Skip {
	by := maps.Clone(b.Left)
	if b.Unsent > 0 {
		if by == nil {
			by = map[string]int{}
		}
		by[SkipUnsent] += b.Unsent
	}
	return skips(by)
}

// TenantScope is the scope of the tenant whose deliveries it retries.
func (b *BulkRetry) TenantScope() Scope { return Scope{key: b.TenantKey} }

// Skip is a reason for which deliveries are not retried, and how many.
type Skip struct {
	Reason string
	Count  int
}

func skips(by map[string]int) []Skip {
	out := []Skip{}
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		out = append(out, Skip{reason, by[reason]})
	}
	slices.SortStableFunc(out, func(a, b Skip) int { return b.Count - a.Count })
	return out
}

const bulkSelect = `select b.id, b.tenant_key, t.id, b.actor, b.status, b.filter, b.rate, b.total, b.queued, b.skipped, b.delivered,
	b.failed, b.unsent,
	b.note, b.created_at, b.changed_at, b.changed_by, b.finished_at, b.run, b.walked, b.after_event, b.after_destination, b.event_keys,
		b.next_at
	from bulk_retries b join tenants t on t.key = b.tenant_key`

func scanBulk(row pgx.CollectableRow) (*BulkRetry, error) {
	b := &BulkRetry{}
	var after *uuid.UUID
	var destination *int64
	err := row.Scan(&b.Key, &b.TenantKey, &b.TenantID, &b.Actor, &b.Status, &b.Filter, &b.Rate, &b.Total, &b.Queued, &b.Left, &b.Delivered,
		&b.Failed, &b.Unsent,
		&b.Note, &b.CreatedAt, &b.ChangedAt, &b.ChangedBy, &b.FinishedAt, &b.run, &b.walked, &after, &destination, &b.events, &b.nextAt)
	if after != nil && destination != nil {
		b.after = DeliveryKey{*after, *destination}
	}
	return b, err
}

// BulkQuery selects bulk retries.
type BulkQuery struct {
	Statuses []string `query:"status" label:"Status" api:"schema=BulkRetryStatus" doc:"Only in one of these states."`
	Page     PageQuery
}

// BulkRetries lists bulk retries by the time they were started.
func (s *Store) BulkRetries(ctx context.Context, scope Scope, bq BulkQuery) (*Page[*BulkRetry], error) {
	if err := oneOf("status", bq.Statuses, BulkStatuses); err != nil {
		return nil, err
	}
	k, err := bq.Page.keyset(scope.keys(), bq)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	scope.where(q, "b.tenant_key")
	if len(bq.Statuses) > 0 {
		q.and("b.status = any(?)", bq.Statuses)
	}
	var after uuid.UUID
	if k.decode(&after) {
		q.and("b.id "+k.op()+" ?", after)
	}
	rows, err := s.pool.Query(ctx, bulkSelect+q.sql()+" order by b.id "+k.order()+q.limit(k.limit+1), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanBulk)
	if err != nil {
		return nil, err
	}
	return newPage(k, "created_at", list, func(b *BulkRetry) any { return b.Key }), nil
}

// BulkRetry returns one bulk retry by its public id.
func (s *Store) BulkRetry(ctx context.Context, scope Scope, id string) (*BulkRetry, error) {
	key, _ := parsePrefixed(retryPrefix, id)
	q := newQuery()
	q.and("b.id = ?", key)
	scope.where(q, "b.tenant_key")
	b, err := bulkRow(ctx, s.pool, q.sql(), q.args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no bulk retry %q.", cut(id, 80))
	}
	return b, err
}

func bulkRow(ctx context.Context, db querier, where string, args ...any) (*BulkRetry, error) {
	rows, err := db.Query(ctx, bulkSelect+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, scanBulk)
}

// BulkInput asks for a bulk retry.
type BulkInput struct {
	Filter         RetryFilter
	Rate           int    // deliveries queued a second at most; 0 for DefaultBulkRate
	IdempotencyKey string // another request with the same one starts nothing; empty for none
	Actor          string
}

// StartBulkRetry freezes what the filter chooses now and starts to retry it. The work is done by a job, in portions. fresh
// is false when a request with the same idempotency key has started it before.
func (s *Store) StartBulkRetry(ctx context.Context, scope Scope, in BulkInput) (b *BulkRetry, fresh bool, err error) {
	bad := problems{}
	if in.Rate == 0 {
		in.Rate = DefaultBulkRate
	}
	if in.Rate < 1 || in.Rate > MaxBulkRate {
		bad.add("rate", fmt.Sprintf("must be between 1 and %d deliveries a second", MaxBulkRate))
	}
	checkText("idempotency_key", in.IdempotencyKey, maxIDLength, bad)
	if err := bad.err(); err != nil {
		return nil, false, err
	}
	if b, err := s.startedBefore(ctx, scope, in.IdempotencyKey); err != nil || b != nil {
		return b, false, err
	}
	now := time.Now()
	c, err := s.choose(ctx, scope, in.Filter, now)
	if err != nil {
		return nil, false, err
	}
	plan, err := s.planOf(ctx, c)
	if err != nil {
		return nil, false, err
	}
	if err := plan.refusal(); err != nil {
		return nil, false, err
	}
	key := uuid.Must(uuid.NewV7())
	err = s.InTx(ctx, func(tx *Tx) error {
		var open int
		if err := tx.Pgx.QueryRow(ctx, "select count(*) from bulk_retries where tenant_key = $1 and finished_at is null",
			c.tenant).Scan(&open); err != nil {
			return err
		}
		if open >= maxOpenBulk {
			return conflict("%d bulk retries of this tenant are not finished. Wait for one of them, or cancel one.", open)
		}
		if _, err := tx.Pgx.Exec(ctx,
			`insert into bulk_retries (id, tenant_key, actor, status, filter, event_keys, rate, idempotency_key, total, created_at)
			values ($1, $2, $3, 'running', $4, $5, $6, $7, $8, $9)`,
			key, c.tenant, text(in.Actor), c.filter, c.events, in.Rate, textOrNil(in.IdempotencyKey), plan.Total(), now); err != nil {
			return err
		}
		if err := s.Queue.EnqueueBulkRetry(ctx, tx.Pgx, key, 1); err != nil {
			return err
		}
		started, err := bulkRow(ctx, tx, " where b.id = $1", key)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: started.TenantScope(), Action: "retry.start", Object: started.ID(),
			Detail: map[string]any{"filter": started.Filter, "total": started.Total, "rate": started.Rate}})
	})
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" { // unique_violation: the same request at the same time
		b, err := s.startedBefore(ctx, scope, in.IdempotencyKey)
		return b, false, err
	}
	if err != nil {
		return nil, false, err
	}
	b, err = bulkRow(ctx, s.pool, " where b.id = $1", key)
	return b, true, err
}

func (s *Store) startedBefore(ctx context.Context, scope Scope, key string) (*BulkRetry, error) {
	if key == "" {
		return nil, nil
	}
	q := newQuery()
	q.and("b.idempotency_key = ?", key)
	scope.where(q, "b.tenant_key")
	b, err := bulkRow(ctx, s.pool, q.sql(), q.args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return b, err
}
