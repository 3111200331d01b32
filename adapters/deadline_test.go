package adapters

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type key struct{}

// TestWithTimeout: whoever asks the context of an attempt, and in whatever order, learns the same as of one by the standard library.
func TestWithTimeout(t *testing.T) {
	for name, ends := range map[string]struct {
		timeout, parent time.Duration // of the attempt, of its parent; 0 for none
		cancel          bool          // the parent, after a second
		err             error
	}{
		"by itself":           {2 * time.Second, 0, false, context.DeadlineExceeded},
		"with its parent":     {2 * time.Second, 0, true, context.Canceled},
		"by parent's time":    {time.Minute, 2 * time.Second, false, context.DeadlineExceeded},
		"before it began":     {-1, 0, false, context.DeadlineExceeded},
		"longer than parents": {2 * time.Second, time.Minute, false, context.DeadlineExceeded},
	} {
		for _, waits := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
				defer cancel()
				if ends.parent > 0 {
					limited, cancel := context.WithTimeout(parent, ends.parent)
					defer cancel()
					parent = limited
				}
				standard, cancelStandard := context.WithTimeout(parent, ends.timeout)
				defer cancelStandard()
				ctx, over := WithTimeout(parent, ends.timeout)
				defer over()
				if a, _ := standard.Deadline(); true {
					if b, ok := ctx.Deadline(); !ok || !a.Equal(b) {
						t.Errorf("%s: the deadline is %v instead of %v", name, b, a)
					}
				}
				child := ctx
				if waits {
					made, cancel := context.WithCancel(ctx)
					defer cancel()
					child = made
				}
				if ctx.Value(key{}) != "value" || child.Value(key{}) != "value" {
					t.Errorf("%s: the parent's value is not known", name)
				}
				if ends.timeout > 0 && (ctx.Err() != nil || child.Err() != nil) {
					t.Errorf("%s: it has ended before its time", name)
				}
				time.Sleep(time.Second) //nolint:forbidigo // a clock of its own
				if ends.cancel {
					cancel()
				}
				time.Sleep(2 * time.Second) //nolint:forbidigo // a clock of its own
				synctest.Wait()
				if !errors.Is(ctx.Err(), ends.err) || !errors.Is(child.Err(), ends.err) || standard.Err() != ends.err {
					t.Errorf("%s: it ended with %v, its child with %v, instead of %v", name, ctx.Err(), child.Err(), ends.err)
				}
				<-ctx.Done()
				<-child.Done()
				cancel()
				if !errors.Is(ctx.Err(), ends.err) {
					t.Errorf("%s: what it ended with has changed to %v", name, ctx.Err())
				}
			})
		}
	}
}

// TestWithTimeoutOver: an attempt that is over has ended for those who still wait, and leaves nothing behind.
func TestWithTimeoutOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, waits := range []bool{false, true} {
			ctx, over := WithTimeout(t.Context(), time.Minute)
			woken := make(chan struct{})
			if waits {
				go func() {
					<-ctx.Done()
					close(woken)
				}()
				synctest.Wait()
			} else {
				close(woken)
			}
			over()
			<-woken
			<-ctx.Done()
			if ctx.Err() != context.Canceled {
				t.Error(ctx.Err())
			}
		}
	})
}

func TestWithoutTimeout(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx, over := WithTimeout(parent, time.Minute)
	defer over()
	if WithoutTimeout(ctx) != parent || WithoutTimeout(parent) != parent {
		t.Error("it is not the parent")
	}
}
