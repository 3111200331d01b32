package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// checkupTime is how long a checkup takes at most. What `waybill doctor` looks at without an end may take minutes.
const checkupTime = 2 * time.Second

// Checkup is what the doctor's checks found within checkupTime. It is remembered, so that pages that show it do not keep the
// database busy.
type Checkup struct {
	At        time.Time
	Took      time.Duration
	Findings  []Finding   // the worst first
	Unchecked []Unchecked // what was not looked at
}

// Unchecked is a check that was not made to its end.
type Unchecked struct {
	Check string
	Why   string // a sentence
}

// Worst is the level of the worst finding; LevelOK for none.
func (c Checkup) Worst() string {
	if len(c.Findings) == 0 {
		return LevelOK
	}
	return c.Findings[0].Level
}

// Count is how many findings have a level.
func (c Checkup) Count(level string) (n int) {
	for _, f := range c.Findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// levels are those of findings, the worst first.
var levels = []string{LevelFail, LevelWarn, LevelOK}

// beforeEnd runs fn in a snapshot, in which no statement takes longer than ctx has left. Without it the database would go on with
// a statement that nobody waits for.
func (s *Store) beforeEnd(ctx context.Context, fn func(tx pgx.Tx) error) error {
	end, bounded := ctx.Deadline()
	if !bounded {
		return s.inSnapshot(ctx, fn)
	}
	return s.within(ctx, max(time.Until(end), time.Millisecond), fn)
}

// outOfTime reports whether an error only says that the time was over.
func outOfTime(ctx context.Context, err error) bool {
	return isCanceled(err) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
}

// Checkup makes the checks of the doctor, the quick ones first, as far as checkupTime goes. It changes nothing. What was found a
// moment ago is told again: at most a twentieth of the time goes into looking.
func (s *Store) Checkup(ctx context.Context) (Checkup, error) {
	c, _, err := s.checkups.get(OnPrimary(ctx), func(ctx context.Context) (Checkup, error) { return s.checkup(ctx, checkupTime) })
	return c, err
}

func (s *Store) checkup(ctx context.Context, most time.Duration) (Checkup, error) {
	began := time.Now()
	c := Checkup{At: began.UTC()}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	late := fmt.Sprintf("There was no time left: a page looks for %v at most.", Duration(most))
	schema := CheckSchema(ctx, s)
	if c.Findings = append(c.Findings, schema); schema.Level != LevelOK {
		c.Unchecked = append(c.Unchecked, Unchecked{"everything else", "The schema must be that of this version first."})
		return c, parent.Err()
	}
	var f findings
	list := s.checks()
	list = slices.Insert(list, len(list)-1, check{"workers", s.checkWorkers}) // the last one may take long
	list = append(list, check{"secrets", func(ctx context.Context, f *findings, _ time.Time) error { return s.checkSecrets(ctx, f) }})
	for _, check := range list {
		before := len(f)
		err := check.run(ctx, &f, began)
		switch {
		case err == nil:
		case parent.Err() == nil && outOfTime(ctx, err):
			f = f[:before]
			c.Unchecked = append(c.Unchecked, Unchecked{check.name, late})
		default:
			return c, fmt.Errorf("the check of %s: %w", check.name, err)
		}
	}
	d := &doctor{store: s}
	done := 0
	err := s.beforeEnd(ctx, func(tx pgx.Tx) (err error) {
		d.tx = tx
		if err := d.unpack(ctx); err != nil {
			return err
		}
		done, err = d.checkAll(ctx)
		return err
	})
	if err != nil && (parent.Err() != nil || !outOfTime(ctx, err)) {
		return c, fmt.Errorf("the checks of the job queue: %w", err)
	}
	for _, check := range queueChecks[done:] {
		c.Unchecked = append(c.Unchecked, Unchecked{check.name, late})
	}
	// One that was broken off may have found a part of what there is, which is true all the same.
	c.Findings = append(append(c.Findings, f...), d.findings...)
	slices.SortStableFunc(c.Findings, func(a, b Finding) int { return slices.Index(levels, a.Level) - slices.Index(levels, b.Level) })
	c.Took = time.Since(began)
	return c, nil
}

// checkWorkers is the doctor's look at the workers alone.
func (s *Store) checkWorkers(ctx context.Context, f *findings, _ time.Time) error {
	d := &doctor{store: s}
	err := s.beforeEnd(ctx, func(tx pgx.Tx) error {
		d.tx = tx
		return d.workers(ctx)
	})
	*f = append(*f, d.findings...)
	return err
}
