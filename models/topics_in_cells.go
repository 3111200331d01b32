package models

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
)

// Topics are home's, and tenants in all cells are told of their changes. Each cell has a copy of these changes, in home's order and with
// home's ids, which is placed in the cell's feed and published there as the cell's own are. A copy follows within about a second; while
// one of the two databases is away it waits, for as long as home's feed keeps changes.
//
// What a cell has is noted with what is copied, in one transaction that comes to nothing when another process was first.

const (
	// topicsVersion is home's setting that rises with each change of a topic.
	topicsVersion = "topics_version"
	// topicsCopied is a cell's setting that says which of them it has.
	topicsCopied = "topics_copied"
	// topicsPortion is how many changes are copied in one transaction.
	topicsPortion = 200
)

// topicsCopy is up to where a cell has home's changes of topics.
type topicsCopy struct {
	Version  int64 `json:"version"`
	Position int64 `json:"position"` // in home's feed
}

// FollowTopics keeps a cell's copy of the changes of topics up to date until ctx ends.
func (s *Store) FollowTopics(ctx context.Context, log *slog.Logger) {
	s.followHome(ctx, log, &s.topics, &s.home.cells.topics,
		"changes of topics could not be copied to the cell; its tenants are told of them once that works", s.CopyTopics)
}

// CopyTopics copies to this cell the changes of topics that home has and it has not. A cell that has never done so begins with what comes.
// At home there is nothing to do. It fails when one of the two databases does not answer, and may be called again.
func (s *Store) CopyTopics(ctx context.Context) error {
	if s.home == nil {
		return nil
	}
	for {
		before := topicsCopy{Position: math.MaxInt64}
		has, err := s.Setting(ctx, topicsCopied, &before)
		if err != nil {
			return err
		}
		var version int64 // first: what is read after it is at least as new
		err = s.home.pool.QueryRow(OnPrimary(ctx), "select coalesce((select (value #>> '{}')::bigint from settings where key = $1), 0)",
			topicsVersion).Scan(&version)
		if err != nil {
			return err
		}
		if has && before.Version == version {
			s.topics.Store(version + 1)
			return nil
		}
		now, list, err := s.home.topicChanges(ctx, before, version)
		if err != nil {
			return err
		}
		if err := s.takeTopics(ctx, before, now, list); err != nil {
			return err
		}
	}
}

// topicChanges reads home's next changes of topics as JSON, and up to where a cell has them then.
func (s *Store) topicChanges(ctx context.Context, after topicsCopy, version int64) (now topicsCopy, list json.RawMessage, err error) {
	if err := s.PlaceChanges(ctx); err != nil {
		return now, nil, err
	}
	var n int
	var upTo int64
	now.Version = version
	// json and not jsonb: what people wrote stays as they wrote it.
	err = s.pool.QueryRow(OnPrimary(ctx), `select f.last, x.n, x.up_to, x.list from feed f, lateral (
		select count(*) as n, coalesce(max(was), 0) as up_to, coalesce(json_agg(c order by was), '[]') as list from (
			select id, at, type, action, object, version, changes, state, position as was from changes
				where tenant_key is null and type = $1 and position > $2 and position <= f.last order by position limit $3) c) x`,
		FeedTopic, after.Position, topicsPortion).Scan(&now.Position, &n, &upTo, &list)
	if n == topicsPortion { // there may be more
		now = topicsCopy{after.Version, upTo}
	}
	return now, list, err
}

// takeTopics puts changes of topics into the cell's feed, unless another process has done it. They get their positions as any others do.
func (s *Store) takeTopics(ctx context.Context, before, now topicsCopy, list json.RawMessage) error {
	return s.InTx(WithoutAudit(withoutClaim(ctx)), func(tx *Tx) error {
		tag, err := tx.Exec(ctx, `insert into settings (key, value) values ($1, $2)
			on conflict (key) do update set value = excluded.value where settings.value = $3`, topicsCopied, now, before)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		const columns = "id, at, type, action, object, version, changes, state, was"
		_, err = tx.Exec(ctx, "insert into changes ("+columns+") select "+columns+
			" from json_populate_recordset(null::changes, $1) order by was", list)
		return err
	})
}
