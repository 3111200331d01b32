// Package gather makes few calls out of many messages, for systems that take several at once. Nothing waits for a timer:
// a message goes out at once while there is a call to spare, and those that arrive while all calls are under way go out
// together in the next one. So a quiet destination has no delay, and a busy one large batches.
package gather

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Config says how much goes into a call. Items, Calls and Call are required.
type Config[T, R any] struct {
	Items int // most items of a call
	Calls int // most calls at the same time
	Eager int // how many of them are made for whatever waits; further ones only when a full call waits. 0 for all
	Bytes int // most bytes of a call, by Size; an item that is larger goes alone. 0 for no limit
	Size  func(T) int

	// Call sends the items and returns a result for each, in their order; the error is that of the call as a whole, and
	// then nothing else counts. Its context ends when those of all its items have ended, or with Close.
	Call func(ctx context.Context, items []T) ([]R, error)

	// Divide reports whether the error of a call may be the fault of one of its items and nothing of it was taken.
	// Then each half is called for itself, until the culprit is alone. nil is for never.
	Divide func(error) bool
}

// Gatherer turns items into calls. It is safe for concurrent use.
type Gatherer[T, R any] struct {
	cfg    Config[T, R]
	base   context.Context // of all calls
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*entry[T, R] // in order of arrival
	calls   int            // goroutines that make calls
	closed  bool
}

// entry is an item until it has its result. What follows done belongs to the Gatherer's mutex.
type entry[T, R any] struct {
	ctx  context.Context
	item T
	size int
	done chan struct{} // closed when result and err are there

	settled bool
	left    bool // nobody waits for it any more
	call    *call
	result  R
	err     error
}

// call is one call under way.
type call struct {
	awaited int // how many of its items somebody still waits for
	cancel  context.CancelFunc
}

// EndedError is the error of an item whose context ended before it had a result.
type EndedError struct {
	Sent bool  // it was part of a call, so it may have arrived
	Err  error // the context's
}

func (e *EndedError) Error() string { return e.Err.Error() }

// Unwrap makes errors.Is find the context's error.
func (e *EndedError) Unwrap() error { return e.Err }

// ErrClosed is the error of items that come after Close.
var ErrClosed = errors.New("gather: closed")

// New makes a Gatherer. It has goroutines only while there are items.
func New[T, R any](cfg Config[T, R]) *Gatherer[T, R] {
	g := &Gatherer[T, R]{cfg: cfg}
	g.base, g.cancel = context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	return g
}

// Do sends the item in a call, together with others or alone, and returns its result. It returns as soon as ctx ends,
// with an *EndedError: an item that still waited is then never sent, and the call that it was part of goes on for the others.
func (g *Gatherer[T, R]) Do(ctx context.Context, item T) (R, error) {
	e := &entry[T, R]{ctx: ctx, item: item, done: make(chan struct{})}
	if g.cfg.Size != nil {
		e.size = g.cfg.Size(item)
	}
	if err := ctx.Err(); err != nil {
		return e.result, &EndedError{Err: err}
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return e.result, ErrClosed
	}
	g.waiting = append(g.waiting, e)
	if g.calls < g.eager() || g.calls < g.cfg.Calls && len(g.waiting) >= g.cfg.Items {
		g.calls++
		g.active.Go(g.work)
	}
	g.mu.Unlock()
	select {
	case <-e.done:
		return e.result, e.err
	case <-ctx.Done():
		return g.leave(e)
	}
}

// Waiting is how many items wait for a call.
func (g *Gatherer[T, R]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func (g *Gatherer[T, R]) eager() int {
	if g.cfg.Eager > 0 {
		return g.cfg.Eager
	}
	return g.cfg.Calls
}

// leave is for an item whose context has ended. A result that came at the same moment counts.
func (g *Gatherer[T, R]) leave(e *entry[T, R]) (R, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.settled {
		return e.result, e.err
	}
	e.left = true
	if e.call != nil {
		if e.call.awaited--; e.call.awaited == 0 {
			e.call.cancel()
		}
	}
	return e.result, &EndedError{Sent: e.call != nil, Err: e.ctx.Err()}
}

// Close ends the calls that are under way and waits for them. Items that wait get ErrClosed.
func (g *Gatherer[T, R]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.active.Wait()
}

// work makes calls as long as items wait.
func (g *Gatherer[T, R]) work() {
	for {
		batch := g.next()
		if batch == nil {
			return
		}
		g.send(batch)
	}
}

// next takes the items of the next call from the queue; nil, and the goroutine's place is free, when none wait.
func (g *Gatherer[T, R]) next() []*entry[T, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls > g.eager() && len(g.waiting) < g.cfg.Items {
		g.calls-- // the others take what waits
		return nil
	}
	var batch []*entry[T, R]
	taken, bytes := 0, 0
	for _, e := range g.waiting {
		full := len(batch) == g.cfg.Items || g.cfg.Bytes > 0 && len(batch) > 0 && bytes+e.size > g.cfg.Bytes
		if full {
			break // not even a smaller one may pass: the order is kept
		}
		taken++
		if !e.left && e.ctx.Err() == nil {
			batch = append(batch, e)
			bytes += e.size
		}
	}
	clear(g.waiting[:taken]) // what was sent must not be kept alive by what waits
	g.waiting = g.waiting[taken:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
	if len(batch) == 0 {
		g.calls--
		return nil
	}
	return batch
}

// send makes one call, or several when it has to be divided.
func (g *Gatherer[T, R]) send(batch []*entry[T, R]) {
	ctx, cancel := context.WithCancel(g.base)
	defer cancel()
	batch, items := g.begin(batch, cancel)
	if len(batch) == 0 {
		return
	}
	results, err := g.safely(ctx, items)
	if err == nil && len(results) != len(items) {
		err = fmt.Errorf("gather: %d results for %d items", len(results), len(items))
	}
	if err != nil && len(batch) > 1 && ctx.Err() == nil && g.cfg.Divide != nil && g.cfg.Divide(err) {
		half := len(batch) / 2
		g.send(batch[:half])
		g.send(batch[half:])
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, e := range batch {
		if e.settled = true; err != nil {
			e.err = err
		} else {
			e.result = results[i]
		}
		close(e.done)
	}
}

// begin notes that the items are under way, but for those that nobody waits for any more.
func (g *Gatherer[T, R]) begin(batch []*entry[T, R], cancel context.CancelFunc) (live []*entry[T, R], items []T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &call{cancel: cancel}
	for _, e := range batch {
		switch {
		case e.left:
		case g.closed:
			e.settled, e.err = true, ErrClosed
			close(e.done)
		default:
			e.call = c
			live, items = append(live, e), append(items, e.item)
		}
	}
	c.awaited = len(live)
	return live, items
}

// safely is the call. A panic in it must not end the process: it runs in a goroutine that no caller guards.
func (g *Gatherer[T, R]) safely(ctx context.Context, items []T) (results []R, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gather: panic: %v", r)
		}
	}()
	return g.cfg.Call(ctx, items)
}
