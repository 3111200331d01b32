package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/queue"
)

// What is brought during the hold, and the counts that both databases must agree on.

// makeStages makes the places beside the target's tables for what is brought during the hold.
func (r *moveRun) makeStages(ctx context.Context) error {
	b := &pgx.Batch{}
	make := func(name, columns, table string) {
		b.Queue("create table if not exists " + moveNames{r.m.TenantKey}.staged(name) + " as select " + columns + " from " + table + " limit 0")
	}
	for _, t := range append(brought(), movedTableNamed("tenants")) {
		columns, err := r.columnsOf(ctx)(t.name)
		if err != nil {
			return err
		}
		make(t.name, columns, t.name)
	}
	columns, err := moveColumns(ctx, r.source.pool, r.target.pool, "changes", "seq")
	if err != nil {
		return err
	}
	make("changes", columns, "changes")
	make("river_job", queue.Carried, queue.Schema+".river_job")
	return r.target.pool.SendBatch(ctx, b).Close()
}

// stages are the names of those places.
func (m *Move) stages() []string {
	n := moveNames{m.TenantKey}
	list := []string{n.staged("tenants"), n.staged("changes"), n.staged("river_job")}
	for _, t := range brought() {
		list = append(list, n.staged(t.name))
	}
	return list
}

// emptyStages takes away what a try that came to nothing has brought.
func (m *Move) emptyStages(ctx context.Context, to pgx.Tx) error {
	b := &pgx.Batch{}
	for _, stage := range m.stages() {
		b.Queue("delete from " + stage)
	}
	return to.SendBatch(ctx, b).Close()
}

// carryRest brings all that was not copied before the hold.
func (r *moveRun) carryRest(ctx context.Context, p *movePipe) error {
	m := r.m
	topics, err := r.restOfChanges(ctx, p)
	if err != nil {
		return err
	}
	// Of what is only added to, the end: from a while before the copy began.
	tables := brought()
	conditions := make([]string, len(tables))
	list := make([]string, len(tables))
	for i, t := range tables {
		if conditions[i] = t.where(m.TenantKey); t.how == movesHistory {
			conditions[i] = t.end(m.TenantKey, m.Progress.Since.Add(-time.Hour))
		}
		list[i] = "exists (select 1 from " + t.name + " where " + conditions[i] + ")"
	}
	var filled []bool
	if err := p.from.QueryRow(ctx, "select array["+strings.Join(list, ", ")+"]").Scan(&filled); err != nil {
		return err
	}
	for i, t := range tables {
		if !filled[i] {
			continue
		}
		if err := p.stage(ctx, t, conditions[i]); err != nil {
			return err
		}
	}
	t := movedTableNamed("tenants")
	if err := p.stage(ctx, t, t.where(m.TenantKey)); err != nil {
		return err
	}
	// What it was at the source does not matter at the target, which needs to know this.
	_, err = p.to.Exec(ctx, "update "+moveNames{m.TenantKey}.staged(t.name)+" set feed_since = $1", topics)
	return err
}

// verify compares how many rows both databases have of the events up to the one with which the copy ended, and then of those that came
// meanwhile, so that few are left to compare during the hold. Each round is of what came during the one before it, while these become
// fewer.
func (r *moveRun) verify(ctx context.Context) error {
	n, err := r.verifyBetween(ctx, uuid.Nil, r.m.Progress.Mark)
	for last := n; err == nil && last > movePortion; {
		mark := r.m.Progress.Mark
		err = r.target.pool.QueryRow(ctx, "select coalesce((select id from events where tenant_key = $1 and id > $2 order by id desc limit 1), $2)",
			r.m.TenantKey, mark).Scan(&r.m.Progress.Mark)
		if err != nil {
			return err
		}
		if n, err = r.verifyBetween(ctx, mark, r.m.Progress.Mark); n > last/2 {
			break
		}
		last = n
	}
	return err
}

// verifyBetween is verify for the events after one and up to another. It returns how many there are.
func (r *moveRun) verifyBetween(ctx context.Context, after, upTo uuid.UUID) (int64, error) {
	old, err := r.countIn(ctx, r.source, after, upTo)
	if err != nil {
		return 0, err
	}
	for n := int64(moveChanges); n == moveChanges; {
		if n, err = r.takeUp(ctx, highestUUID); err != nil {
			return 0, err
		}
	}
	there, err := r.countIn(ctx, r.target, after, upTo)
	if err != nil {
		return 0, err
	}
	now, err := r.countIn(ctx, r.source, after, upTo)
	if err != nil {
		return 0, err
	}
	for i, name := range []string{"events", "deliveries", "attempts"} {
		if there[i] < min(old[i], now[i]) || there[i] > max(old[i], now[i]) {
			return 0, fmt.Errorf("the target has %d %s of the tenant, and the source %d", there[i], name, now[i])
		}
	}
	return there[0], nil
}

// count counts the tenant's events after one and up to another, with their deliveries and attempts: event by event, since the planner
// takes the newest for very few, and a join of those that it chooses then reads all attempts once for each event. db has planned.
func (r *moveRun) count(ctx context.Context, db querier, after, upTo uuid.UUID) (n [3]int64, err error) {
	return n, db.QueryRow(ctx, `select count(*), coalesce(sum((select count(*) from deliveries x where x.event_id = e.id)), 0)::bigint,
		coalesce(sum((select count(*) from attempts x where x.event_id = e.id)), 0)::bigint
		from events e where e.tenant_key = $1 and e.id > $2 and e.id <= $3`, r.m.TenantKey, after, upTo).Scan(&n[0], &n[1], &n[2])
}

// countIn is count in one of the databases.
func (r *moveRun) countIn(ctx context.Context, s *Store, after, upTo uuid.UUID) (n [3]int64, err error) {
	tx, err := beginPlanned(ctx, s)
	if err != nil {
		return n, err
	}
	defer rollBack(ctx, tx)
	return r.count(ctx, tx, after, upTo)
}

// compareTail compares how many rows both have of the events behind the mark.
func (r *moveRun) compareTail(ctx context.Context, p *movePipe) error {
	var here, there [3]int64
	read := make(chan error, 1)
	go func() {
		var err error
		here, err = r.count(ctx, p.from, r.m.Progress.Mark, highestUUID)
		read <- err
	}()
	there, err := r.count(ctx, p.to, r.m.Progress.Mark, highestUUID)
	err = errors.Join(err, <-read)
	if err == nil && here != there {
		err = fmt.Errorf("the source has %v new events, deliveries and attempts of the tenant, and the target %v", here, there)
	}
	return err
}
