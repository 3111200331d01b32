package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/models/queue"
)

// How a tenant leaves the source. Nothing of it is accepted and none of its jobs is begun for a moment, those under way get a moment to
// end, and what they have changed is copied. Then one transaction at the source makes sure that nobody writes anything of the tenant's
// any more, copies the rest, takes the jobs away, and says where the tenant is. What this brings to the target waits there beside its
// tables until release puts it there: should the transaction at the source come to nothing, nothing has happened.

const (
	// holdFor is when a hold ends by itself, should the mover die.
	holdFor = 10 * time.Second
	// holdMost is after how long the mover gives up a hold: publishers wait for three seconds. It grows with each try, for tenants that
	// need more.
	holdMost, holdMore, holdLongest = 2 * time.Second, time.Second, 8 * time.Second
	// quiesce is how long attempts under way get to end.
	quiesce = 700 * time.Millisecond
	// quiescePause is how often it is looked whether they have.
	quiescePause = 10 * time.Millisecond
)

var (
	errHoldOver = errors.New("the hold of the tenant ran out before it was moved")
	errNotYet   = errors.New("somebody still writes")
)

// catchUp copies what has changed until little is left and the hold can begin.
func (r *moveRun) catchUp(ctx context.Context) (MoveStep, error) {
	m := r.m
	n, err := r.takeUp(ctx, highestUUID)
	if err != nil {
		return MoveStep{}, err
	}
	if m.Progress.Left = n; n >= moveLittle {
		return MoveStep{}, m.note(ctx, r.Home, MoveCatchUp)
	}
	if err := errors.Join(r.sameReaders(ctx), r.source.CopyTopics(ctx)); err != nil {
		return MoveStep{Wait: moveWait}, err
	}
	if !m.Progress.Verified { // which takes a while, after which there is something to catch up with again
		if err := r.verify(ctx); err != nil {
			return MoveStep{Wait: moveWait}, err
		}
		m.Progress.Verified = true
		return MoveStep{}, m.note(ctx, r.Home, MoveCatchUp)
	}
	if err := tidyChanged(ctx, r.source, m); err != nil { // so that the hold is short
		return MoveStep{}, err
	}
	if err := r.makeStages(ctx); err != nil {
		return MoveStep{}, err
	}
	return MoveStep{}, m.note(ctx, r.Home, MoveSwitch)
}

// switchOver holds the tenant and has it leave the source.
func (r *moveRun) switchOver(ctx context.Context) (MoveStep, error) {
	m := r.m
	left, err := r.hasLeft(ctx)
	if err != nil {
		return MoveStep{}, err
	}
	if left {
		return MoveStep{}, m.note(ctx, r.Home, MoveRelease)
	}
	began := time.Now()
	m.Progress.HeldAt = began
	most := min(holdMost+time.Duration(m.Progress.Tries)*holdMore, holdLongest)
	m.Progress.Tries++
	r.lap("")
	if err := r.hold(ctx); err != nil {
		return MoveStep{}, err
	}
	r.lap("hold")
	if err := r.pause("hold"); err != nil {
		return MoveStep{}, err
	}
	err = r.leaveBy(ctx, began.Add(most))
	r.log().Debug("a tenant was held", append([]any{"tenant", m.TenantID, "left", err == nil}, r.laps...)...)
	if errors.Is(err, errHoldOver) {
		if err := r.letGo(ctx); err != nil {
			return MoveStep{}, err
		}
		r.log().Warn("a tenant that is to move could not be held for long enough; it is tried again", "tenant", m.TenantID, "held",
			time.Since(began))
		return MoveStep{Wait: moveWait}, m.note(ctx, r.Home, MoveCatchUp)
	}
	if err != nil {
		if left, asked := r.hasLeft(ctx); asked == nil && !left {
			_ = r.letGo(ctx) // else the hold ends by itself
		}
		return MoveStep{}, err
	}
	if err := r.pause("switch"); err != nil {
		return MoveStep{}, err
	}
	return MoveStep{}, m.note(ctx, r.Home, MoveRelease)
}

// hasLeft reports whether the source refuses the tenant already.
func (r *moveRun) hasLeft(ctx context.Context) (left bool, err error) {
	err = r.source.pool.QueryRow(ctx, "select coalesce(cell = $2, false) from tenants where key = $1", r.m.TenantKey, r.m.Target).Scan(&left)
	return left, err
}

// hold keeps the tenant from accepting. Those who are at it end first, and who changes something of it.
func (r *moveRun) hold(ctx context.Context) error {
	return pgx.BeginFunc(ctx, r.source.pool, func(tx pgx.Tx) error {
		for _, class := range []int32{lockCell, lockTenant} {
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", class, lockHash(r.m.TenantID)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "update tenants set held_until = clock_timestamp() + $2::interval where key = $1", r.m.TenantKey, holdFor)
		return err
	})
}

// letGo ends a hold that came to nothing.
func (r *moveRun) letGo(ctx context.Context) error {
	_, err := r.source.pool.Exec(ctx, "update tenants set held_until = null where key = $1 and cell is distinct from $2", r.m.TenantKey, r.m.Target)
	r.source.Queue.WakeAll()
	return err
}

// leaveBy is leave with an end: what takes longer is given up.
func (r *moveRun) leaveBy(ctx context.Context, until time.Time) error {
	within, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := r.leave(within, until)
	if err == nil || within.Err() == nil || ctx.Err() != nil {
		return err
	}
	if left, asked := r.hasLeft(ctx); asked != nil || left { // it may have been committed nevertheless
		return asked
	}
	return errHoldOver
}

// leave has the tenant leave the source once nobody writes, or until the time is over.
func (r *moveRun) leave(ctx context.Context, until time.Time) error {
	for end, first := time.Now().Add(quiesce), true; ; first = false {
		if _, err := r.takeUp(ctx, highestUUID); err != nil {
			return err
		}
		if first {
			r.lap("take up")
		}
		busy, err := r.busy(ctx)
		if err != nil {
			return err
		}
		if r.m.Progress.Running = busy; busy == 0 || time.Now().After(end) {
			break // what these have changed last is taken up with the rest
		}
		if err := pauseFor(ctx, quiescePause); err != nil {
			return err
		}
	}
	r.lap("quiesce")
	if err := r.fold(ctx); err != nil { // nearly always something was recorded in the last second
		return err
	}
	r.lap("fold")
	for {
		err := r.tryLeave(ctx)
		r.lap("commit")
		var pe *pgconn.PgError
		if errors.As(err, &pe) && (pe.Code == "55P03" || pe.Code == "40P01") { // a lock was not to be had, or two waited for each other
			err = errNotYet
		}
		if !errors.Is(err, errNotYet) {
			return err
		}
		if time.Now().After(until) {
			return errHoldOver
		}
		if err := r.fold(ctx); err != nil {
			return err
		}
		if err := pauseFor(ctx, quiescePause); err != nil {
			return err
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// busy counts jobs under way.
func (r *moveRun) busy(ctx context.Context) (n int, err error) {
	err = r.source.pool.QueryRow(ctx, "select count(*) from "+queue.Schema+`.river_job where state = 'running' and kind = 'deliver'
		and (args->>'d')::bigint in (select key from destinations where tenant_key = $1)`, r.m.TenantKey).Scan(&n)
	return n, err
}

// fold folds what was recorded of the tenant.
func (r *moveRun) fold(ctx context.Context) error {
	noted, err := r.recorded(ctx, r.source.pool)
	if err != nil || !noted {
		return err
	}
	// Only of what was recorded: not all open alerts are looked at.
	_, err = (&Watcher{s: r.source, log: r.log(), slow: time.Now().Add(time.Hour)}).Pass(ctx, time.Now())
	return err
}

// recorded reports whether something that was recorded of the tenant is not folded.
func (r *moveRun) recorded(ctx context.Context, db querier) (any bool, err error) {
	err = db.QueryRow(ctx, `select exists (select 1 from traffic_deltas where tenant_key = $1) or
		exists (select 1 from health_deltas where tenant_key = $1)`, r.m.TenantKey).Scan(&any)
	return any, err
}

// tryLeave is the transaction with which the tenant leaves the source.
func (r *moveRun) tryLeave(ctx context.Context) error {
	m := r.m
	feed, rows := m.Progress.Feed, m.Progress.Rows
	err := r.carry(ctx, func(p *movePipe) error {
		if err := m.emptyStages(ctx, p.to); err != nil {
			return err
		}
		if err := r.lockSource(ctx, p.from); err != nil {
			return err
		}
		r.lap("lock")
		if err := r.carryJobs(ctx, p); err != nil {
			return err
		}
		r.lap("jobs")
		// From here on nobody else writes anything of the tenant's, and all that was written is seen.
		if _, err := p.from.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", int32(lockMove), int32(m.TenantKey)); err != nil {
			return err
		}
		if err := r.nothingLeft(ctx, p.from); err != nil {
			return err
		}
		for {
			c, err := takeChanged(ctx, p.from, m, moveChanges)
			if err != nil {
				return err
			}
			if c.empty() {
				break
			}
			if err := p.changed(ctx, c); err != nil {
				return err
			}
		}
		r.lap("changes")
		if err := r.carryRest(ctx, p); err != nil {
			return err
		}
		r.lap("rest")
		if err := r.compareTail(ctx, p); err != nil {
			return err
		}
		r.lap("compare")
		err := r.closeSource(ctx, p.from)
		r.lap("close")
		return err
	})
	if err != nil {
		m.Progress.Feed, m.Progress.Rows = feed, rows
	}
	return err
}

// lockSource locks the tenant, and checks that it is still held.
func (r *moveRun) lockSource(ctx context.Context, from pgx.Tx) error {
	if _, err := from.Exec(ctx, "set local lock_timeout = '500ms'"); err != nil {
		return err
	}
	if _, err := from.Exec(ctx, "select pg_advisory_xact_lock($1, $2)", int32(lockTenant), lockHash(r.m.TenantID)); err != nil {
		return err
	}
	var held, told bool
	err := from.QueryRow(ctx, "select coalesce(held_until > clock_timestamp(), false) from tenants where key = $1 for no key update",
		r.m.TenantKey).Scan(&held)
	if err != nil {
		return err
	}
	if !held {
		return errHoldOver
	}
	// Nobody is publishing changes, some of which may be the tenant's.
	if err := from.QueryRow(ctx, "select pg_try_advisory_xact_lock($1, 0)", int32(lockPublish)).Scan(&told); err != nil {
		return err
	}
	if !told {
		return errNotYet
	}
	return nil
}

// jobsOf is the condition for the tenant's jobs.
func (m *Move) jobsOf() string {
	key := fmt.Sprint(m.TenantKey)
	return strings.NewReplacer("{t}", key, "{d}", "select key from destinations where tenant_key = "+key).Replace(queue.OfTenant)
}

// carryJobs takes the tenant's jobs away, to their place beside those of the target. A worker that has one cannot record anything with it
// any more, as if another had taken it over.
func (r *moveRun) carryJobs(ctx context.Context, p *movePipe) error {
	into := moveNames{r.m.TenantKey}.staged("river_job")
	n, err := p.copyRows(ctx, "delete from "+queue.Schema+".river_job where "+r.m.jobsOf()+" returning "+queue.CarriedAs, into, queue.Carried)
	r.m.Progress.MovedJob = n
	return err
}

// nothingLeft makes sure that no job came up while the others were taken away, and that all that was recorded is folded.
func (r *moveRun) nothingLeft(ctx context.Context, from pgx.Tx) error {
	var job bool
	if err := from.QueryRow(ctx, "select exists (select 1 from "+queue.Schema+".river_job where "+r.m.jobsOf()+")").Scan(&job); err != nil {
		return err
	}
	noted, err := r.recorded(ctx, from)
	if err == nil && (job || noted) {
		return errNotYet
	}
	return err
}

// closeSource deletes what somebody would act upon at the source, and has it refuse the tenant.
func (r *moveRun) closeSource(ctx context.Context, from pgx.Tx) error {
	m := r.m
	b := &pgx.Batch{}
	// Of the operators' rules, which stay.
	b.Queue(`update alerts set status = 'resolved', resolved_at = now(), updated_at = now(), resolution = 'The tenant went to another cell.'
		where tenant_key = $1 and owner_key <> $1 and status <> 'resolved'`, m.TenantKey)
	for _, t := range slices.Backward(tablesThat(movesStaged)) {
		if !strings.HasPrefix(t.name, "destination") {
			b.Queue("delete from " + t.name + " where " + t.where(m.TenantKey))
		}
	}
	b.Queue("delete from filter_counts where " + movedTableNamed("filter_counts").where(m.TenantKey)) // what is counted late is added by the clean
	b.Queue("delete from outcome_readers where tenant_key = $1", m.TenantKey)
	b.Queue("update destinations set deleted_at = now(), version = version + 1 where tenant_key = $1 and deleted_at is null", m.TenantKey)
	b.Queue("update tenants set cell = $2, held_until = null where key = $1", m.TenantKey, m.Target)
	b.Queue("update "+MoveSchema+".moving set closed = $2 where tenant_key = $1", m.TenantKey, m.Target)
	if err := from.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if m.Source != HomeCell {
		return nil
	}
	return noteCells(ctx, from)
}
