package models

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What a change in the feed can be about.
const (
	FeedTenant      = "tenant"
	FeedDestination = "destination"
	FeedTopic       = "topic"
	FeedRule        = "alert_rule"
	FeedDelivery    = "delivery" // its outcome; noted only for those who ask, see outcomes.go
)

// FeedTypes lists what a change can be about. Those of before the last one are what the feed tells unless it is asked.
var FeedTypes = []string{FeedTenant, FeedDestination, FeedTopic, FeedRule, FeedDelivery}

// What happened to it. The outcomes of deliveries are called as their states are.
const (
	FeedCreated  = "created"
	FeedUpdated  = "updated"
	FeedDisabled = "disabled"
	FeedEnabled  = "enabled"
	FeedDeleted  = "deleted"
)

// FeedActions lists what can happen to each of FeedTypes.
var FeedActions = map[string][]string{
	FeedTenant:      {FeedCreated, FeedUpdated, FeedDeleted},
	FeedDestination: {FeedCreated, FeedUpdated, FeedDisabled, FeedEnabled, FeedDeleted},
	FeedTopic:       {FeedCreated, FeedUpdated, FeedDeleted},
	FeedRule:        {FeedCreated, FeedUpdated, FeedDeleted},
	FeedDelivery:    {StatusDelivered, StatusFailed, StatusCancelled},
}

// FeedEntry is one change: what happened to what, and how it is since.
type FeedEntry struct {
	Cursor   string          `json:"cursor,omitempty" doc:"Give it as 'since' to go on after this change."`
	ID       string          `json:"id" doc:"The same wherever and however often this change is told."`
	Type     string          `json:"type" api:"schema=ChangeType"`
	Action   string          `json:"action" doc:"'created', 'updated', 'disabled', 'enabled' or 'deleted'; of deliveries 'delivered', 'failed' or 'cancelled'."`
	TenantID *string         `json:"tenant_id" doc:"null for what belongs to the whole server."`
	ObjectID string          `json:"object_id" doc:"Of what was changed."`
	Time     time.Time       `json:"time" doc:"When the change was made. Changes are told in the order in which they became visible, which may be another one."`
	Version  *int64          `json:"version" doc:"Of a destination, after the change; null for others."`
	Changes  []Change        `json:"changes" api:"null" doc:"Field by field; null where none is told."`
	Object   json.RawMessage `json:"object" doc:"The object after the change, as the API shows it; null when it was deleted. Secrets are masked as a whole."`
	Omitted  bool            `json:"omitted,omitempty" doc:"In events: 'changes' and 'object' would make the event too large. Read the thing itself."`

	position  int64
	tenantKey int64 // 0 for what belongs to the whole server, and is for everybody
	copied    bool  // of a topic: it was made in home, and this is a cell's copy of it, or one that a tenant brought
}

// FeedQuery selects changes.
type FeedQuery struct {
	Types []string // all but deliveries when empty
	Since string   // FeedStart, FeedNow or a cursor
	Limit int
}

// Where a reader of the feed may begin beside a cursor.
const (
	FeedStart = "start" // with the oldest change that is kept
	FeedNow   = "now"   // with the next one
)

// FeedPage is a part of the feed.
type FeedPage struct {
	Entries []*FeedEntry
	Next    string // cursor after the last entry, or after all that was looked through
	More    bool   // there is more to look through already
}

const (
	changePrefix = "chg_"
	// MaxFeedLimit is how many changes a page of the feed has at most.
	MaxFeedLimit = 1000
	// feedWindow is how many positions one page looks through for changes that match.
	feedWindow = 50_000
	// feedPlaced is how many changes get their positions in one transaction.
	feedPlaced = 5000
	// FeedRetention is how long changes are kept.
	FeedRetention = 7 * 24 * time.Hour
)

// check reports what is wrong with the query, and fills in what it leaves out.
func (fq *FeedQuery) check() error {
	bad := problems{}
	for _, t := range fq.Types {
		if !slices.Contains(FeedTypes, t) {
			bad.add("types", fmt.Sprintf("%q is not one of %s", cut(t, 40), strings.Join(FeedTypes, ", ")))
		}
	}
	if fq.Since == "" {
		bad.add("since", `is required: "now", "start", or the cursor of the last answer`)
	}
	if fq.Limit == 0 {
		fq.Limit = 100
	}
	if fq.Limit < 1 || fq.Limit > MaxFeedLimit {
		bad.add("limit", fmt.Sprintf("must be between 1 and %d", MaxFeedLimit))
	}
	if len(fq.Types) == 0 {
		fq.Types = FeedTypes[:len(FeedTypes)-1]
	}
	return bad.err()
}

// Feed reads changes that the scope sees, in the order of their positions. Who asks for outcomes of deliveries has them
// noted from the first time on.
func (s *Store) Feed(ctx context.Context, scope Scope, fq FeedQuery) (*FeedPage, error) {
	if err := fq.check(); err != nil {
		return nil, err
	}
	var noted int64
	if slices.Contains(fq.Types, FeedDelivery) {
		var err error
		if noted, err = s.readOutcomes(ctx, scope.key); err != nil {
			return nil, err
		}
	}
	if err := s.PlaceChanges(ctx); err != nil {
		return nil, err
	}
	is, err := s.feedExtent(ctx, scope)
	if err != nil {
		return nil, err
	}
	var after int64
	switch fq.Since {
	case FeedNow:
		return &FeedPage{Entries: []*FeedEntry{}, Next: cursorOf(is.last)}, nil
	case FeedStart:
		if after = is.dropped; is.base != nil {
			after = max(after, *is.base-1) // where the tenant's begin; a cursor of before is of where it comes from
		}
	default:
		if after, err = strconv.ParseInt(fq.Since, 10, 64); err != nil || after < 0 {
			return nil, Invalid("since", `must be "now", "start" or a cursor that an earlier answer gave`)
		}
		if after, err = s.afterMove(ctx, scope, is, after); err != nil {
			return nil, err
		}
		const again = ` Ask for a cursor with since=now, list everything anew, then go on from that cursor.`
		switch {
		case after < is.dropped:
			return nil, &Error{Kind: KindPast, Message: "Changes after this cursor are no longer kept: they are deleted after 7 days." +
				again}
		case after > is.last:
			return nil, &Error{Kind: KindPast,
				Message: "This cursor is ahead of the feed: it is of another database, or of this one before it was restored." + again}
		case after < noted:
			return nil, &Error{Kind: KindPast,
				Message: "Outcomes of deliveries were not recorded at the time of this cursor, because nobody had asked for them." + again}
		}
	}
	page, err := s.feedAfter(ctx, scope, fq, is, after)
	if err == nil && scope.key != 0 && s.Cells() != nil { // the tenant may have gone meanwhile, with some of them
		_, err = s.feedExtent(ctx, scope)
	}
	if err != nil {
		return nil, err
	}
	return page, nil
}

// feedExtent is what there is of the feed, and what of it is a tenant's.
type feedExtent struct {
	last, dropped int64
	base          *int64 // the first position of the tenant's; nil where it did not come from another cell
	since         int64  // the tenant is told of changes of topics after this position; of those before it brought its own copy
}

// feedExtent reads it. Of a tenant that is elsewhere, or goes there at this moment, nothing is told here.
func (s *Store) feedExtent(ctx context.Context, scope Scope) (is feedExtent, err error) {
	var id, cell string
	var waits bool
	err = s.pool.QueryRow(ctx, `select f.last, f.dropped, t.feed_base, coalesce(t.feed_since, 0), coalesce(t.id, ''), coalesce(t.cell, ''),
		coalesce(t.held_until = 'infinity', false) from feed f left join tenants t on t.key = $1`, scope.key).
		Scan(&is.last, &is.dropped, &is.base, &is.since, &id, &cell, &waits)
	if waits { // it comes here, whatever the directory still says
		cell = ""
	}
	if err == nil {
		err = s.notHere(id, cell, waits)
	}
	return is, err
}

func cursorOf(position int64) string { return strconv.FormatInt(position, 10) }

// feedAfter reads what there is between two positions.
func (s *Store) feedAfter(ctx context.Context, scope Scope, fq FeedQuery, is feedExtent, after int64) (*FeedPage, error) {
	// Positions may have a gap, where tenants came from other cells.
	var first int64
	if err := s.pool.QueryRow(ctx, "select coalesce(min(position), $1) from changes where position > $1", after).Scan(&first); err != nil {
		return nil, err
	}
	to := min(is.last, max(after, first-1)+feedWindow)
	q := newQuery()
	q.and("c.position > ?", after)
	q.and("c.position <= ?", to)
	q.and("c.type = any(?)", fq.Types)
	if scope.all {
		// Those of topics that were made here, and no copies: of home's in a cell, and of what a tenant brought.
		q.and("(c.type <> '" + FeedTopic + "' or c.tenant_key is null and c.was is null)")
	} else {
		// Everybody may read the catalogue of topics.
		q.and("(c.tenant_key = any(?) or c.tenant_key is null and c.type = '"+FeedTopic+"' and c.position > ?)", scope.keys(), is.since)
	}
	list, err := s.feedEntries(ctx, q, fq.Limit)
	if err != nil {
		return nil, err
	}
	if len(list) == fq.Limit {
		to = list[len(list)-1].position
	}
	return &FeedPage{Entries: list, Next: cursorOf(to), More: to < is.last}, nil
}

func (s *Store) feedEntries(ctx context.Context, q *query, limit int) ([]*FeedEntry, error) {
	rows, err := s.pool.Query(ctx,
		`select c.position, coalesce(c.tenant_key, 0), c.tenant_key is not null or c.was is not null, c.id, c.type, c.action,
			case when c.type <> '`+FeedTopic+`' then t.id end, c.object, c.at, c.version, c.changes, c.state
		from changes c left join tenants t on t.key = c.tenant_key`+q.sql()+" order by c.position"+q.limit(limit), q.args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*FeedEntry, error) {
		e := &FeedEntry{}
		var id uuid.UUID
		var changes []byte
		if err := row.Scan(&e.position, &e.tenantKey, &e.copied, &id, &e.Type, &e.Action, &e.TenantID, &e.ObjectID, &e.Time, &e.Version,
			&changes, (*[]byte)(&e.Object)); err != nil {
			return nil, err
		}
		e.Cursor, e.ID = cursorOf(e.position), changePrefix+strings.ReplaceAll(id.String(), "-", "")
		if e.Object == nil {
			e.Object = json.RawMessage("null")
		}
		if changes == nil {
			return e, nil
		}
		return e, json.Unmarshal(changes, &e.Changes)
	})
	if err != nil {
		return nil, err
	}
	return list, s.nameDeliveries(ctx, list)
}

// PlaceChanges gives the changes that have none their positions in the feed. Only committed ones are seen, and only one
// process at a time does it, so that a change never gets a place before one that somebody may have read already. Two
// changes of one thing keep their order: the second transaction waits for the first, and takes its number after it.
func (s *Store) PlaceChanges(ctx context.Context) error {
	for more := true; more; {
		var any bool
		if err := s.pool.QueryRow(ctx, "select exists (select 1 from changes where position is null)").Scan(&any); err != nil || !any {
			return err
		}
		err := s.InTx(ctx, func(tx *Tx) (err error) {
			more, err = placeChanges(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// placeChanges places one portion; more says whether there may be another one.
func placeChanges(ctx context.Context, tx pgx.Tx) (more bool, err error) {
	// A statement of its own: the next one must see what was committed while this one waited.
	if _, err := tx.Exec(ctx, "select 1 from feed for update"); err != nil {
		return false, err
	}
	var n int
	err = tx.QueryRow(ctx,
		`with next as (select seq, row_number() over (order by seq) as n from (select seq from changes where position is null
			order by seq limit $1) x),
		placed as (update changes c set position = f.last + next.n from next, feed f where c.seq = next.seq returning 1),
		counted as (select count(*) as n from placed)
		update feed set last = last + counted.n from counted returning counted.n`, feedPlaced).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("place changes in the feed: %w", err)
	}
	return n == feedPlaced, nil
}

// dropChanges deletes the changes of before a time, in portions. Those that went by without a position yet stay.
func (s *Store) dropChanges(ctx context.Context, before time.Time) error {
	if err := s.PlaceChanges(ctx); err != nil {
		return err
	}
	const portion = 10_000
	for more := true; more; {
		err := s.InTx(ctx, func(tx *Tx) error {
			// Up to the first that is to stay: times are not quite in the order of positions.
			tag, err := tx.Exec(ctx,
				`with oldest as (select position, at from changes where position is not null order by position limit $1),
				gone as (delete from changes where position in (select position from oldest
					where position < coalesce((select min(position) from oldest where at >= $2), 9223372036854775807)) returning position)
				update feed set dropped = greatest(dropped, (select max(position) from gone)) where exists (select 1 from gone)`, portion,
				before)
			more = err == nil && tag.RowsAffected() > 0
			return err
		})
		if err != nil {
			return fmt.Errorf("delete old changes: %w", err)
		}
	}
	return nil
}
