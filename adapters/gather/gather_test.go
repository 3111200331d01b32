package gather

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// desk is the other side: it notes every call and answers when it is told to.
type desk struct {
	mu      sync.Mutex
	calls   [][]string
	open    int // calls under way
	busiest int
	answer  chan struct{} // one receive for each call; nil to answer at once
}

func (d *desk) call(ctx context.Context, items []string) ([]string, error) {
	d.mu.Lock()
	d.calls = append(d.calls, slices.Clone(items))
	d.open++
	d.busiest = max(d.busiest, d.open)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.open--
		d.mu.Unlock()
	}()
	if d.answer != nil {
		select {
		case <-d.answer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var out []string
	for _, item := range items {
		if item == "poison" {
			return nil, errors.New("poison in a call of " + fmt.Sprint(len(items)))
		}
		out = append(out, "ok "+item)
	}
	return out, nil
}

func (d *desk) seen() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

type answer struct{ result, err string }

// got waits for an item's answer.
func got[T any](t *testing.T, c chan T) (a T) {
	t.Helper()
	select {
	case a = <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("waited in vain for an answer")
	}
	return a
}

// watched is a context that tells when it is waited for, which Do does once the item is in the queue.
type watched struct {
	context.Context
	handed *atomic.Bool
}

func (w watched) Done() <-chan struct{} {
	w.handed.Store(true)
	return w.Context.Done()
}

// send hands the item over in a goroutine, and waits until it is in the queue or on its way.
func send(t *testing.T, g *Gatherer[string, string], ctx context.Context, item string) chan answer {
	t.Helper()
	var handed atomic.Bool
	ctx = watched{ctx, &handed}
	result := make(chan answer, 1)
	go func() {
		r, err := g.Do(ctx, item)
		result <- answer{r, fmt.Sprint(err)}
	}()
	adaptertest.Eventually(t, item+" to be handed over", handed.Load)
	return result
}

// busy returns a Gatherer with one call at a time, which is taken by an item "first".
func busy(t *testing.T, cfg Config[string, string]) (*Gatherer[string, string], *desk, chan answer) {
	t.Helper()
	d := &desk{answer: make(chan struct{}, 100)}
	cfg.Call, cfg.Calls = d.call, 1
	g := New(cfg)
	t.Cleanup(g.Close)
	first := make(chan answer, 1)
	go func() {
		r, err := g.Do(context.Background(), "first")
		first <- answer{r, fmt.Sprint(err)}
	}()
	adaptertest.Eventually(t, "the first call", func() bool { return len(d.seen()) == 1 })
	return g, d, first
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	t.Parallel()
	g, d, first := busy(t, Config[string, string]{Items: 3})
	var rest []chan answer
	for i := range 5 {
		rest = append(rest, send(t, g, context.Background(), fmt.Sprint(i)))
	}
	for range 3 {
		d.answer <- struct{}{}
	}
	if a := got(t, first); a.result != "ok first" {
		t.Errorf("the first item got %+v", a)
	}
	for i, c := range rest {
		if a := got(t, c); a.result != fmt.Sprintf("ok %d", i) || a.err != "<nil>" {
			t.Errorf("item %d got %+v", i, a)
		}
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [0 1 2] [3 4]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
}

// TestEager has a second call only for as many items as a call can have.
func TestEager(t *testing.T) {
	t.Parallel()
	d := &desk{answer: make(chan struct{}, 100)}
	g := New(Config[string, string]{Items: 3, Calls: 2, Eager: 1, Call: d.call})
	t.Cleanup(g.Close)
	first := send(t, g, context.Background(), "first")
	adaptertest.Eventually(t, "the first call", func() bool { return len(d.seen()) == 1 })
	rest := []chan answer{first}
	for _, item := range []string{"a", "b"} {
		rest = append(rest, send(t, g, context.Background(), item))
	}
	if n := len(d.seen()); n != 1 {
		t.Errorf("%d calls while less than a full one waits", n)
	}
	rest = append(rest, send(t, g, context.Background(), "c"))
	adaptertest.Eventually(t, "the second call", func() bool { return len(d.seen()) == 2 })
	rest = append(rest, send(t, g, context.Background(), "d"))
	for range 3 {
		d.answer <- struct{}{}
	}
	for _, c := range rest {
		got(t, c)
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [a b c] [d]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	g, d, _ := busy(t, Config[string, string]{Items: 10, Bytes: 8, Size: func(s string) int { return len(s) }})
	var rest []chan answer
	for _, item := range []string{"aaaa", "bbbb", "c", "dddddddddddd", "e", "f"} {
		rest = append(rest, send(t, g, context.Background(), item))
	}
	for range 5 {
		d.answer <- struct{}{}
	}
	for _, c := range rest {
		got(t, c)
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [aaaa bbbb] [c] [dddddddddddd] [e f]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
}

func TestEndedBeforeSent(t *testing.T) {
	t.Parallel()
	g, d, _ := busy(t, Config[string, string]{Items: 10})
	ctx, cancel := context.WithCancel(context.Background())
	gone := send(t, g, ctx, "gone")
	stays := send(t, g, context.Background(), "stays")
	cancel()
	if a := got(t, gone); a.err != context.Canceled.Error() {
		t.Errorf("the item whose context ended got %+v", a)
	}
	d.answer <- struct{}{}
	d.answer <- struct{}{}
	if a := got(t, stays); a.result != "ok stays" {
		t.Errorf("the other item got %+v", a)
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [stays]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
	_, err := g.Do(ctx, "dead")
	var ended *EndedError
	if !errors.As(err, &ended) || ended.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("an item with an ended context got %v", err)
	}
}

// TestEndedTakeNoPlace has items in the queue whose contexts have ended. They must not make the call smaller.
func TestEndedTakeNoPlace(t *testing.T) {
	t.Parallel()
	g, d, _ := busy(t, Config[string, string]{Items: 2})
	ctx, cancel := context.WithCancel(context.Background())
	var rest []chan answer
	for i, item := range []string{"gone", "a", "gone too", "b"} {
		if i%2 == 0 {
			send(t, g, ctx, item)
		} else {
			rest = append(rest, send(t, g, context.Background(), item))
		}
	}
	cancel()
	d.answer <- struct{}{}
	d.answer <- struct{}{}
	for _, c := range rest {
		got(t, c)
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [a b]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
}

func TestEndedUnderWay(t *testing.T) {
	t.Parallel()
	g, d, _ := busy(t, Config[string, string]{Items: 10})
	ctx, cancel := context.WithCancel(context.Background())
	leaves := make(chan error, 2)
	for _, item := range []string{"a", "b"} {
		go func() {
			_, err := g.Do(ctx, item)
			leaves <- err
		}()
	}
	adaptertest.Eventually(t, "both to wait", func() bool { return g.Waiting() == 2 })
	stays := send(t, g, context.Background(), "stays")
	d.answer <- struct{}{}
	adaptertest.Eventually(t, "the second call", func() bool { return len(d.seen()) == 2 })
	cancel()
	for range 2 {
		var ended *EndedError
		if err := got(t, leaves); !errors.As(err, &ended) || !ended.Sent {
			t.Errorf("an item that left its call got %v", err)
		}
	}
	d.answer <- struct{}{}
	if a := got(t, stays); a.result != "ok stays" {
		t.Errorf("the item that stayed got %+v", a)
	}
	// A call that nobody waits for any more is given up.
	alone, cancel := context.WithCancel(context.Background())
	last := make(chan error, 1)
	go func() { _, err := g.Do(alone, "last"); last <- err }()
	adaptertest.Eventually(t, "the third call", func() bool { return len(d.seen()) == 3 })
	cancel()
	got(t, last)
	adaptertest.Eventually(t, "the call to end", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.open == 0 })
}

func TestDivide(t *testing.T) {
	t.Parallel()
	g, d, _ := busy(t, Config[string, string]{Items: 10, Divide: func(err error) bool { return strings.HasPrefix(err.Error(), "poison") }})
	var rest []chan answer
	items := []string{"a", "b", "poison", "c", "d"}
	for _, item := range items {
		rest = append(rest, send(t, g, context.Background(), item))
	}
	for range 20 {
		d.answer <- struct{}{}
	}
	for i, c := range rest {
		want := answer{"ok " + items[i], "<nil>"}
		if items[i] == "poison" {
			want = answer{"", "poison in a call of 1"}
		}
		if a := got(t, c); a != want {
			t.Errorf("%s got %+v, want %+v", items[i], a, want)
		}
	}
	if calls, want := fmt.Sprint(d.seen()), "[[first] [a b poison c d] [a b] [poison c d] [poison] [c d]]"; calls != want {
		t.Errorf("calls %s, want %s", calls, want)
	}
}

func TestDefects(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(context.Context, []int) ([]int, error){
		"panic":       func(context.Context, []int) ([]int, error) { panic("oops") },
		"few results": func(context.Context, []int) ([]int, error) { return nil, nil },
	} {
		g := New(Config[int, int]{Items: 2, Calls: 1, Call: call})
		if _, err := g.Do(context.Background(), 1); err == nil {
			t.Errorf("%s: no error", name)
		}
		g.Close()
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	g, d, first := busy(t, Config[string, string]{Items: 1})
	second := send(t, g, context.Background(), "second")
	g.Close()
	if a := got(t, first); a.err != context.Canceled.Error() {
		t.Errorf("the item under way got %+v", a)
	}
	if a := got(t, second); a.err != ErrClosed.Error() {
		t.Errorf("the waiting item got %+v", a)
	}
	if _, err := g.Do(context.Background(), "third"); !errors.Is(err, ErrClosed) {
		t.Errorf("an item after Close got %v", err)
	}
	if n := len(d.seen()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestMany lets many items with contexts that end at odd times go through, and looks whether each got its own result.
func TestMany(t *testing.T) {
	t.Parallel()
	d := &desk{}
	g := New(Config[string, string]{Items: 7, Calls: 3, Eager: 2, Bytes: 20, Size: func(s string) int { return len(s) }, Call: d.call})
	const senders, each = 40, 200
	delivered := make(chan string, senders*each)
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				item := fmt.Sprintf("%d-%d", s, i)
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if i%5 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(s*i)*time.Microsecond/10)
				}
				r, err := g.Do(ctx, item)
				cancel()
				var ended *EndedError
				switch {
				case err == nil && r == "ok "+item:
					delivered <- item
				case errors.As(err, &ended) && i%5 == 0:
				default:
					t.Errorf("%s got %q, %v", item, r, err)
				}
			}
		})
	}
	all.Wait()
	g.Close()
	close(delivered)
	times := map[string]int{}
	for _, c := range d.seen() {
		if len(c) > 7 {
			t.Errorf("a call has %d items", len(c))
		}
		for _, item := range c {
			times[item]++
		}
	}
	for item := range delivered {
		if times[item] != 1 {
			t.Errorf("%s was sent %d times", item, times[item])
		}
	}
	if d.busiest > 3 {
		t.Errorf("%d calls at the same time", d.busiest)
	}
}
