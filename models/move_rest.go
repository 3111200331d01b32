package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
	if err := r.restOfChanges(ctx, p); err != nil {
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
	return p.stage(ctx, t, t.where(m.TenantKey))
}

// verify compares how many rows both databases have, up to the event with which the copy ended.
func (r *moveRun) verify(ctx context.Context) error {
	before, err := r.count(ctx, r.source.pool, "<=")
	if err != nil {
		return err
	}
	for n := int64(moveChanges); n == moveChanges; {
		if n, err = r.takeUp(ctx, highestUUID); err != nil {
			return err
		}
	}
	there, err := r.count(ctx, r.target.pool, "<=")
	if err != nil {
		return err
	}
	after, err := r.count(ctx, r.source.pool, "<=")
	if err != nil {
		return err
	}
	for i, name := range []string{"events", "deliveries", "attempts"} {
		if there[i] < min(before[i], after[i]) || there[i] > max(before[i], after[i]) {
			return fmt.Errorf("the target has %d %s of the tenant, and the source %d", there[i], name, after[i])
		}
	}
	return nil
}

// count counts the tenant's events up to the mark, or behind it, with their deliveries and attempts.
func (r *moveRun) count(ctx context.Context, db querier, compare string) (n [3]int64, err error) {
	const events = "select count(*) from events e where e.tenant_key = $1 and e.id %[1]s $2"
	const of = "select count(*) from events e join %[2]s x on x.event_id = e.id where e.tenant_key = $1 and e.id %[1]s $2 and x.event_id %[1]s $2"
	sql := "select (" + fmt.Sprintf(events, compare) + "), (" + fmt.Sprintf(of, compare, "deliveries") + "), (" + fmt.Sprintf(of, compare, "attempts") + ")"
	return n, db.QueryRow(ctx, sql, r.m.TenantKey, r.m.Progress.Mark).Scan(&n[0], &n[1], &n[2])
}

// compareTail compares how many rows both have of the events behind the mark.
func (r *moveRun) compareTail(ctx context.Context, p *movePipe) error {
	var here, there [3]int64
	read := make(chan error, 1)
	go func() {
		var err error
		here, err = r.count(ctx, p.from, ">")
		read <- err
	}()
	there, err := r.count(ctx, p.to, ">")
	err = errors.Join(err, <-read)
	if err == nil && here != there {
		err = fmt.Errorf("the source has %v new events, deliveries and attempts of the tenant, and the target %v", here, there)
	}
	return err
}
