package models

import (
	"testing"
	"time"
)

// at is a moment of the tests' day, in seconds.
func at(s int) time.Time { return time.Date(2026, 1, 2, 3, 4, s, 0, time.UTC) }

func failure(s, previous int) result {
	r := result{At: at(s)}
	if previous >= 0 {
		r.Previous = at(previous)
	}
	return r
}

func success(s int) result { return result{At: at(s), OK: true} }

func TestHealthOfADestination(t *testing.T) {
	t.Parallel()
	const first = -1
	for name, c := range map[string]struct {
		groups                   [][]result // recorded one after the other
		failures, attempts, peak int
		since                    int // -1 for none
	}{
		"nothing failed":   {[][]result{{success(1), success(2)}}, 0, 0, 0, -1},
		"three deliveries": {[][]result{{failure(1, first), failure(2, first)}, {failure(3, first)}}, 3, 3, 3, 1},
		"one delivery, four attempts": {[][]result{{failure(1, first)}, {failure(2, 1)}, {failure(3, 2), failure(4, 3)}}, 1, 4, 1,
			1},
		"a success in between": {[][]result{{failure(1, first), success(2), failure(3, first)}}, 1, 1, 1, 3},
		"a retry after a success counts anew": {[][]result{{failure(1, first)}, {success(2)}, {failure(3, 1), failure(4, 3)}}, 1, 2, 1,
			3},
		"recorded in another order": {[][]result{{failure(3, first), success(2), failure(1, first)}}, 1, 1, 1, 3},
		"a success that comes late": {[][]result{{failure(1, first), failure(2, first), failure(5, first)}, {success(4)}}, 1, 1,
			3, 5},
		"a late success before the first":       {[][]result{{failure(3, first), failure(5, first)}, {success(2)}}, 2, 2, 2, 3},
		"a failure that comes late":             {[][]result{{success(5)}, {failure(4, first)}}, 0, 0, 0, -1},
		"failed and recovered within one group": {[][]result{{failure(1, first), failure(2, first), success(3)}}, 0, 0, 2, -1},
		"a first failure that comes late": {[][]result{{failure(5, first)}, {failure(3, first)}, {failure(6, 3), failure(7, 5)}}, 2,
			4, 2, 3},
		"at the same instant": {[][]result{{failure(1, first), failure(1, first)}}, 2, 2, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Health
			peak := 0
			for _, g := range c.groups {
				h.Fold(unpackResults(packResults(g)))
				peak = max(peak, h.Peak)
			}
			since := -1
			if h.Since != nil {
				since = h.Since.Second()
			}
			if h.Failures != c.failures || h.Attempts != c.attempts || peak != c.peak || since != c.since {
				t.Errorf("%d deliveries, %d attempts, peak %d, since %d; want %d, %d, %d, %d", h.Failures, h.Attempts, peak, since,
					c.failures, c.attempts, c.peak, c.since)
			}
		})
	}
}

func TestEnablingStartsAnew(t *testing.T) {
	t.Parallel()
	var h Health
	h.Fold([]result{failure(1, -1), failure(2, -1)})
	h.reset(at(10))
	h.Fold([]result{failure(9, -1)}) // recorded late
	if h.Failures != 0 || h.Since != nil {
		t.Errorf("%+v", h)
	}
	h.Fold([]result{failure(11, 2)})
	if h.Failures != 1 || h.Attempts != 1 || !h.Since.Equal(at(11)) {
		t.Errorf("%+v", h)
	}
}

func TestWhenToDisable(t *testing.T) {
	t.Parallel()
	var h Health
	for s := range 20 {
		h.Fold([]result{failure(s, -1)})
	}
	for _, c := range []struct {
		after int
		least time.Duration
		want  bool
	}{{20, 0, true}, {21, 0, false}, {0, 0, false}, {20, 19 * time.Second, true}, {20, 20 * time.Second, false}} {
		if got := h.ShouldDisable(c.after, c.least); got != c.want {
			t.Errorf("after %d for %v: %v", c.after, c.least, got)
		}
	}
	// Ten attempts for one event are one failure.
	h = Health{}
	for s := range 10 {
		h.Fold([]result{failure(s, s-1)})
	}
	if h.Failures != 1 || h.ShouldDisable(2, 0) {
		t.Errorf("%+v", h)
	}
}

func TestWhatCountsForHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a    Attempt
		want bool
	}{
		{Attempt{Trigger: TriggerAutomatic, ErrorClass: "server"}, true}, {Attempt{Trigger: TriggerManual, OK: true}, true},
		{Attempt{Trigger: TriggerTest, ErrorClass: "server"}, false}, {Attempt{Trigger: TriggerAutomatic, ErrorClass: "aborted"}, false},
		{Attempt{Trigger: TriggerAutomatic, ErrorClass: "internal"}, false},
	} {
		if counts(&c.a) != c.want {
			t.Errorf("%+v", c.a)
		}
	}
}
