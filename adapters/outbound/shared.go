package outbound

import (
	"context"
	"sync"
	"time"
)

// Shared is a connection, or a client with its connections, that the first caller opens and all use. One that was lost
// or dropped is opened anew by the next caller. Nobody who waits for it to be opened can end that for the others.
type Shared[T comparable] struct {
	limit time.Duration
	open  func(context.Context) (T, error)
	alive func(T) bool

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	value   T // the zero value when there is none
	opening *sharedOpening[T]
}

type sharedOpening[T comparable] struct {
	done  chan struct{} // closed when the rest is set
	value T
	err   error
}

// NewShared makes one that is opened by open within limit, and is used as long as alive says so. It does not open it.
func NewShared[T comparable](limit time.Duration, open func(context.Context) (T, error), alive func(T) bool) *Shared[T] {
	s := &Shared[T]{limit: limit, open: open, alive: alive}
	s.ctx, s.cancel = context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	return s
}

// Get returns what is there, opening it when there is nothing. fresh says whether the caller had to wait for that. The
// error is what opening it ended with, or ctx's.
func (s *Shared[T]) Get(ctx context.Context) (value T, fresh bool, err error) {
	var none T
	s.mu.Lock()
	if s.value != none && s.alive(s.value) {
		defer s.mu.Unlock()
		return s.value, false, nil
	}
	o := s.opening
	if o == nil {
		o = &sharedOpening[T]{done: make(chan struct{})}
		s.opening = o
		s.running.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, s.limit)
			defer cancel()
			o.value, o.err = s.open(ctx)
			s.mu.Lock()
			s.value, s.opening = o.value, nil
			s.mu.Unlock()
			close(o.done)
		})
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.value, true, o.err
	case <-ctx.Done():
		return none, true, ctx.Err()
	}
}

// Drop makes the next caller open another one. It does not close value.
func (s *Shared[T]) Drop(value T) {
	var none T
	s.mu.Lock()
	if s.value == value {
		s.value = none
	}
	s.mu.Unlock()
}

// Take makes the next caller open another one, and returns the one that there was: the zero value for none.
func (s *Shared[T]) Take() T {
	var none T
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.value
	s.value = none
	return was
}

// Close ends what is being opened, and returns what there is to be closed: the zero value for nothing. No Get may be
// running.
func (s *Shared[T]) Close() T {
	s.cancel()
	s.running.Wait()
	return s.Take()
}
