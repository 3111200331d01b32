package jobs

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pace spreads the attempts of one destination so that all processes together keep to its rate limit. Each process leases
// sending times from the database, a few at once.
type pace struct {
	mu    sync.Mutex
	rate  float64   // for which the times were leased
	next  time.Time // the first sending time that is left
	left  int       // how many are left
	ahead time.Time // when what was taken and put off so far will have been sent
}

// leaseSpan is how long the sending times last that a process leases at once.
const leaseSpan = 200 * time.Millisecond

// lease reserves n sending times and returns how long from now the first one is.
type lease func(ctx context.Context, n int) (time.Duration, error)

// take returns the time at which the next attempt may be made. Without ask this process alone keeps to the rate.
func (p *pace) take(ctx context.Context, rate float64, ask lease) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step := time.Duration(float64(time.Second) / rate)
	now := time.Now()
	// Times that have passed while nothing was to be sent are not caught up on: that would be a burst.
	for p.left > 0 && p.next.Before(now.Add(-step)) {
		p.next, p.left = p.next.Add(step), p.left-1
	}
	if ask == nil {
		at := p.next
		if at.Before(now) || p.rate != rate {
			at = now
		}
		p.rate, p.next, p.left = rate, at.Add(step), 0
		return at, nil
	}
	if p.left == 0 || p.rate != rate {
		n := max(1, int(rate*leaseSpan.Seconds()))
		wait, err := ask(ctx, n)
		if err != nil {
			return time.Time{}, err
		}
		p.rate, p.next, p.left = rate, time.Now().Add(wait), n
	}
	at := p.next
	p.next, p.left = p.next.Add(step), p.left-1
	return at, nil
}

// reserve takes note of n deliveries that this process has taken or put off, and returns for how long to put them off if
// they are more than it takes for now: until those before them will have been sent. Jobs that come back and are put off
// again are counted again, and others may have taken some. So idle, which says that nothing of the destination was under
// way, halves what is believed to be ahead: too much was put off for too long.
func (p *pace) reserve(now time.Time, rate float64, n int, idle bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ahead.Before(now) {
		p.ahead = now
	}
	if idle {
		p.ahead = now.Add(p.ahead.Sub(now) / 2)
	}
	wait := p.ahead.Sub(now)
	p.ahead = p.ahead.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	if wait > maxPutOff {
		// By then the destination may take more than now. Not all come back at once.
		wait = maxPutOff/2 + rand.N(maxPutOff/2)
	}
	return max(wait, minPaced)
}

// pause waits until at.
func pause(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
