package jobs

import (
	"container/heap"
	"testing"
	"time"
)

// TestFailingDestinationIsWorkedOff plays what becomes of 2,000 jobs of a destination that is tried 20 times a second, on
// a clock of its own: they are through not long after the 100 s that this takes at least. Jobs that are put off again and
// again must not make each other wait for more than there is to wait for.
func TestFailingDestinationIsWorkedOff(t *testing.T) {
	t.Parallel()
	const jobs = 2000
	start := time.Now()
	l := &lane{limit: 20, allowed: 20, failures: failingAfter}
	due := &times{}
	for range jobs {
		heap.Push(due, start)
	}
	var ends times // of the jobs under way
	free := start  // when the next attempt may be made
	done, now, putOff := 0, start, 0
	for done < jobs {
		if len(ends) > 0 && (due.Len() == 0 || !ends[0].After((*due)[0])) {
			now = ends[0]
			ends = ends[1:]
			l.leave()
			done++
			continue
		}
		now = heap.Pop(due).(time.Time)
		if wait, ok := l.enter(now, coming{limit: 20, deliveries: 1}); !ok {
			putOff++
			heap.Push(due, now.Add(wait))
			continue
		}
		if free.Before(now) {
			free = now
		}
		free = free.Add(time.Second / failingRate)
		ends = append(ends, free)
	}
	t.Logf("through after %v; put off %d times", now.Sub(start), putOff)
	if took := now.Sub(start); took > 150*time.Second {
		t.Errorf("it takes %v", took)
	}
	if putOff > 20*jobs {
		t.Errorf("each job was put off %d times", putOff/jobs)
	}
}

// times are a heap of times.
type times []time.Time

func (h times) Len() int           { return len(h) }
func (h times) Less(i, j int) bool { return h[i].Before(h[j]) }
func (h times) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *times) Push(v any)        { *h = append(*h, v.(time.Time)) }
func (h *times) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// TestRetriesComeFirst has first attempts and retries ask for the places of a destination that keeps failing, and of one that
// asked to slow down.
func TestRetriesComeFirst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	first, retry := coming{limit: 20, deliveries: 50}, coming{limit: 20, deliveries: 1, retry: true, since: now.Add(-time.Second)}
	l := &lane{limit: 20, allowed: 20, failures: failingAfter, longest: 3 * time.Second}
	for range maxWaitingOfSlow {
		if _, ok := l.enter(now, first); !ok {
			t.Fatal("first attempts have no place although nothing else waits")
		}
	}
	if wait, ok := l.enter(now, retry); ok || wait < minPaced {
		t.Errorf("a retry got a place beside all others, or no time: %v %v", wait, ok)
	}
	l.leave()
	if _, ok := l.enter(now, first); ok {
		t.Error("a first attempt took the place that a retry was put off for")
	}
	if _, ok := l.enter(now, retry); !ok {
		t.Error("the retry did not get its place")
	}
	for range maxWaitingOfSlow {
		l.leave()
	}
	if _, ok := l.enter(now, first); !ok {
		t.Error("first attempts get none of the places")
	}

	l = &lane{limit: 20, allowed: 20, longest: 3 * time.Second}
	l.learn(now, time.Millisecond, true, true, 0, 2*time.Second) // "slow down"
	if wait, ok := l.enter(now, first); ok || wait != 2*time.Second {
		t.Errorf("a first attempt: %v %v", wait, ok)
	}
	if _, ok := l.enter(now, retry); !ok {
		t.Error("a retry does not keep to its own time")
	}
	l.learn(now, time.Millisecond, true, true, 30*time.Second, 0) // "come back in 30 s"
	if wait, ok := l.enter(now, retry); ok || wait != 2*time.Second {
		t.Errorf("a retry whose attempt before was a second ago waits %v, of 3 s at most", wait)
	}
	if wait, ok := l.enter(now, first); ok || wait != 30*time.Second {
		t.Errorf("a first attempt: %v %v", wait, ok)
	}
}
