package models

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// gate is a writer that waits to be let through, and remembers its groups.
type gate struct {
	began chan []int // a copy of each group, when it begins
	let   chan struct{}
}

func newGate() *gate { return &gate{began: make(chan []int, 100), let: make(chan struct{})} }

func (g *gate) write(group []int) {
	g.began <- slices.Clone(group)
	<-g.let
}

func TestBatcherGroupsWhatQueuesUp(t *testing.T) {
	b := newBatcher(batchLimits[int]{Waiting: 10, Group: 4})
	g := newGate()
	b.start(g.write)
	b.offer(1)
	if got := <-g.began; !slices.Equal(got, []int{1}) {
		t.Fatalf("the first group is %v; an idle writer takes a value at once", got)
	}
	for v := 2; v <= 7; v++ {
		b.offer(v)
	}
	g.let <- struct{}{}
	if got := <-g.began; !slices.Equal(got, []int{2, 3, 4, 5}) {
		t.Errorf("the second group is %v, want what queued up, four at most", got)
	}
	close(g.let)
	b.close()
	if got := <-g.began; !slices.Equal(got, []int{6, 7}) {
		t.Errorf("the last group is %v, want what was left when it closed", got)
	}
}

func TestBatcherBoundsGroupsBySize(t *testing.T) {
	b := newBatcher(batchLimits[int]{Waiting: 10, Group: 10, Bytes: 100, Size: func(v int) int { return v }})
	for _, v := range []int{60, 30, 20, 5} {
		b.offer(v)
	}
	var groups [][]int
	b.start(func(group []int) { groups = append(groups, slices.Clone(group)) })
	b.close()
	if want := [][]int{{60, 30, 20}, {5}}; !slices.EqualFunc(groups, want, slices.Equal) {
		t.Errorf("groups are %v, want %v: the last value of a group may go past its size, and ends it", groups, want)
	}
}

func TestBatcherRefusesTooMany(t *testing.T) {
	b := newBatcher(batchLimits[int]{Waiting: 1, Group: 1})
	if !b.offer(1) || b.offer(2) {
		t.Error("offer takes one value and refuses the second")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.put(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("put returned %v although its caller had gone away", err)
	}
	b.start(func([]int) {})
	if err := b.put(t.Context(), 2); err != nil {
		t.Errorf("put returned %v; it waits for room", err)
	}
	b.close()
}

// TestBatcherPause: after a rest a value is written at once, those behind it wait for the time of the next group, unless somebody is in
// a hurry or the group before was full.
func TestBatcherPause(t *testing.T) {
	b := newBatcher(batchLimits[int]{Waiting: 10, Group: 3, Every: time.Hour})
	g := newGate()
	close(g.let)
	b.start(g.write)
	next := func(want ...int) {
		t.Helper()
		select {
		case got := <-g.began:
			if !slices.Equal(got, want) {
				t.Errorf("a group is %v, want %v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no group of %v", want)
		}
	}
	b.offer(1)
	next(1)
	b.offer(2)
	b.offer(3)
	b.hurry()
	next(2, 3)
	for v := 4; v <= 7; v++ {
		b.offer(v)
	}
	if len(g.began) > 0 {
		t.Error("a group begins before its time")
	}
	b.hurry()
	next(4, 5, 6)
	next(7) // the group before was full
	b.close()
}

// TestBatcherStandby holds the first writer up. What may be taken out of turn is written meanwhile by the standby writer,
// and what keeps its order is not.
func TestBatcherStandby(t *testing.T) {
	b := newBatcher(batchLimits[int]{Waiting: 1000, Group: 10})
	b.keepOrder()
	first := newGate()
	var mu sync.Mutex
	var second []int
	wrote := make(chan struct{}, 1000)
	b.standBy(func(group []int) {
		mu.Lock()
		second = append(second, group...)
		mu.Unlock()
		wrote <- struct{}{}
	})
	b.start(first.write)
	b.offer(1)
	<-first.began
	b.offerInTurn(-1)
	// Only what queues up later than stuckAfter wakes the standby writer.
	for tick := time.NewTicker(stuckAfter / 5); len(wrote) == 0; <-tick.C {
		if !b.offer(2) {
			t.Fatal("the standby writer did not step in")
		}
	}
	first.let <- struct{}{}
	if got := <-first.began; !slices.Contains(got, -1) {
		t.Errorf("the first writer went on with %v, want what keeps its order", got)
	}
	close(first.let)
	b.close()
	if slices.Contains(second, -1) || !slices.Contains(second, 2) {
		t.Errorf("the standby writer wrote %v", second)
	}
}
