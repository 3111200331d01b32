package adapters

import (
	"context"
	"sync"
	"time"
)

// WithTimeout is context.WithTimeout for one attempt. It costs less: there is a timer, and something that the parent has to end,
// only once somebody asks for Done. Most senders put the deadline on their connection and never do.
func WithTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(timeout)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	a := &attemptContext{parent: parent, deadline: deadline}
	return a, a.end
}

// WithoutTimeout is the context that WithTimeout has limited, for those who see to its deadline themselves; any other context is
// returned as it is.
func WithoutTimeout(ctx context.Context) context.Context {
	if a, ok := ctx.(*attemptContext); ok {
		return a.parent
	}
	return ctx
}

// attemptContext is what WithTimeout returns.
type attemptContext struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context // with a timer, once somebody waits
	cancel context.CancelFunc
	err    error // why it has ended, once that was asked
}

// ended is the channel of contexts that had ended before somebody waited for it.
var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Deadline implements context.Context.
func (a *attemptContext) Deadline() (time.Time, bool) { return a.deadline, true }

// Done implements context.Context.
func (a *attemptContext) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timed == nil {
		if a.look() != nil {
			return ended
		}
		a.timed, a.cancel = context.WithDeadline(a.parent, a.deadline)
	}
	return a.timed.Done()
}

// Err implements context.Context.
func (a *attemptContext) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.look()
}

// look says why the context has ended, if it has. The lock is held.
func (a *attemptContext) look() error {
	switch {
	case a.err != nil:
	case a.timed != nil:
		a.err = a.timed.Err()
	case a.parent.Err() != nil:
		a.err = a.parent.Err()
	case !time.Now().Before(a.deadline):
		a.err = context.DeadlineExceeded
	}
	return a.err
}

// Value implements context.Context. By it the contexts made of this one find out which context ends them.
func (a *attemptContext) Value(key any) any {
	a.mu.Lock()
	from := a.timed
	a.mu.Unlock()
	if from == nil {
		from = a.parent
	}
	return from.Value(key)
}

// end cancels the context.
func (a *attemptContext) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timed != nil {
		a.cancel()
	}
	if a.look() == nil {
		a.err = context.Canceled
	}
}
