package outbound

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// soon is a deadline that is certain to pass, and slack how much later than its deadline a call may return on a busy
// machine.
const (
	soon  = 300 * time.Millisecond
	slack = 30 * time.Second
)

// inTime fails the test when f takes much longer than the deadline that it was given.
func inTime(t *testing.T, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	if took := time.Since(begun); took > soon+slack {
		t.Errorf("it took %v", took)
	}
}

func TestNoAnswerWithinDeadline(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Hang: true}, adaptertest.Answer{}, adaptertest.Answer{Hang: true})
	c := client(t, s, Options{})
	inTime(t, func() {
		r, err := c.Do(deadline(t, soon), Request{Body: []byte("x")})
		e := wantError(t, err, adapters.ClassTimeout, "No answer within ", " ms (connected after ")
		if e.Kind != adapters.KindTransient || r.Code != 0 || r.Method != "POST" || r.ReqHeader == "" || r.Timing.Connect == 0 {
			t.Errorf("%+v %+v", e, r)
		}
	})
	mustPost(t, c, "y")
	inTime(t, func() {
		_, err := c.Do(context.Background(), Request{Body: []byte("z"), Timeout: soon})
		wantError(t, err, adapters.ClassTimeout, "No answer within 300 ms (on an open connection)")
	})
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests arrived", n)
	}
}

// The deadline is one for all: an answer that comes byte by byte does not extend it.
func TestSlowAnswerIsCut(t *testing.T) {
	t.Parallel()
	t.Run("header", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewSink(t, adaptertest.Answer{Header: []string{"X: " + strings.Repeat("x", 2000)}, Drip: 2 * time.Millisecond})
		c := client(t, s, Options{})
		inTime(t, func() {
			r, err := c.Do(context.Background(), Request{Body: []byte("x"), Timeout: soon})
			wantError(t, err, adapters.ClassTimeout, "not complete within 300 ms")
			if r.RespHeader != "" {
				t.Errorf("%+v", r)
			}
		})
	})
	t.Run("body", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewSink(t, adaptertest.Answer{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"})
		c := client(t, s, Options{})
		inTime(t, func() {
			r, err := c.Do(context.Background(), Request{Body: []byte("x"), Timeout: soon})
			wantError(t, err, adapters.ClassTimeout, "status 200", "300 ms")
			if r.Code != 200 || string(r.Body) != "abc" || !r.Truncated || r.RespHeader == "" {
				t.Errorf("%+v", r)
			}
		})
	})
}

// An answer that comes after the deadline belongs to nobody. The next post gets its own.
func TestLateAnswerIsNotMixedUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := adaptertest.NewSink(t, adaptertest.Answer{}, adaptertest.Answer{Wait: release, Body: "late"}, adaptertest.Answer{Body: "mine"})
	c := client(t, s, Options{})
	mustPost(t, c, "warm up")
	_, err := c.Do(deadline(t, soon), Request{})
	wantError(t, err, adapters.ClassTimeout)
	close(release)
	if r := mustPost(t, c, "next"); string(r.Body) != "mine" {
		t.Errorf("got %q", r.Body)
	}
}

func TestCanceledContext(t *testing.T) {
	t.Parallel()
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		s := adaptertest.NewSink(t)
		c := client(t, s, Options{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r, err := c.Do(ctx, Request{})
		wantError(t, err, adapters.ClassInternal, "stopped the attempt before it began")
		if r.Method != "" || s.Accepted() != 0 {
			t.Errorf("%+v, %d connections", r, s.Accepted())
		}
		past, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel()
		_, err = c.Do(past, Request{})
		wantError(t, err, adapters.ClassTimeout)
	})
	for name, limit := range map[string]func(context.Context, time.Duration) (context.Context, context.CancelFunc){
		"while waiting": context.WithTimeout, "while an attempt is waiting": adapters.WithTimeout} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, adaptertest.Answer{Hang: true}, adaptertest.Answer{})
			c := client(t, s, Options{})
			stopping, stop := context.WithCancel(context.Background())
			ctx, over := limit(stopping, time.Minute)
			defer over()
			failed := make(chan error)
			go func() {
				_, err := c.Do(ctx, Request{Body: []byte("x")})
				failed <- err
			}()
			s.WaitRequests(1)
			stop()
			inTime(t, func() { wantError(t, <-failed, adapters.ClassInternal, "stopped the attempt") })
			mustPost(t, c, "y")
		})
	}
	t.Run("while connecting", func(t *testing.T) {
		t.Parallel()
		c := clientFor(t, "http://nowhere.test/", Options{Resolver: names{}}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := c.Do(ctx, Request{})
			failed <- err
		}()
		cancel()
		inTime(t, func() { wantError(t, <-failed, adapters.ClassInternal, "stopped the attempt") })
	})
}

// A connection on which the context ended exactly when the answer was complete has a deadline in the past, or will
// have. It must not serve another post.
func TestContextEndingWithTheAnswer(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t)
	c := client(t, s, Options{})
	for range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		n := len(s.Requests())
		go func() {
			defer close(done)
			c.Do(ctx, Request{Body: []byte("maybe")})
		}()
		s.WaitRequests(n + 1)
		cancel()
		<-done
		mustPost(t, c, "certainly")
	}
}

const megabytes = 8 << 20

// A receiver may refuse a large body before it has read it, and leave the connection open or close it.
func TestAnswerBeforeBodyIsRead(t *testing.T) {
	t.Parallel()
	for name, closes := range map[string]bool{"kept open": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaptertest.NewSink(t, adaptertest.Answer{Status: 413, Body: "too much", Early: true, Close: closes}, adaptertest.Answer{})
			c := client(t, s, Options{})
			r, err := c.Do(deadline(t, 20*time.Second), Request{Body: make([]byte, megabytes)})
			if err != nil || r.Code != 413 || string(r.Body) != "too much" {
				t.Errorf("%+v %v", r, err)
			}
			mustPost(t, c, "next")
			if s.Accepted() != 2 {
				t.Errorf("%d connections", s.Accepted())
			}
		})
	}
}

func TestLargeBody(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*adaptertest.Sink{"plain": adaptertest.NewSink(t),
		"tls": adaptertest.NewTLSSink(t, adaptertest.Certificate{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, s, Options{})
			for _, size := range []int{inlineBody - 1, inlineBody, inlineBody + 1, 1 << 20, 3} {
				mustPost(t, c, strings.Repeat("x", size))
				got := s.Requests()
				if last := got[len(got)-1]; len(last.Body) != size {
					t.Errorf("%d of %d bytes arrived", len(last.Body), size)
				}
			}
			if s.Accepted() != 1 {
				t.Errorf("%d connections", s.Accepted())
			}
		})
	}
}

// A receiver that takes neither the body nor the time to answer is cut off as well.
func TestReceiverThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := adaptertest.NewSink(t, adaptertest.Answer{Early: true, Raw: " "})
	s.AnswerWith(func(*adaptertest.SinkRequest) adaptertest.Answer { return adaptertest.Answer{Early: true, Hang: true} })
	c := client(t, s, Options{})
	body := make([]byte, megabytes)
	inTime(t, func() {
		_, err := c.Do(deadline(t, soon), Request{Body: body})
		wantError(t, err, adapters.ClassTimeout, "No answer within")
	})
}
