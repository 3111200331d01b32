package jobs

import (
	"sync"
	"time"
)

// pool runs functions on goroutines that stay for a while. An attempt needs a stack that is several times as large as the one a
// goroutine begins with, and growing it for each attempt is a twentieth of the process's time under load. A pool does not bound how
// many run at once: places do.
type pool struct {
	mu     sync.Mutex
	idle   []*pooled // a stack, so that those which are not needed any more grow old
	closed bool
}

// pooled is one goroutine of a pool.
type pooled struct {
	work  chan func() // closed to end it
	since time.Time   // when it became idle
}

const (
	// maxIdlePooled is how many goroutines a pool keeps that have nothing to do, and pooledFor for how long.
	maxIdlePooled = 256
	pooledFor     = 10 * time.Second
)

// run calls do on a goroutine of the pool. It does not wait.
func (p *pool) run(do func()) {
	p.mu.Lock()
	n := len(p.idle) - 1
	if n < 0 {
		p.mu.Unlock()
		go p.serve(do)
		return
	}
	g := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	p.mu.Unlock()
	g.work <- do // which has room for one
}

func (p *pool) serve(do func()) {
	g := &pooled{work: make(chan func(), 1)}
	for {
		do()
		if !p.keep(g) {
			return
		}
		var ok bool
		if do, ok = <-g.work; !ok {
			return
		}
	}
}

// keep takes back a goroutine that has nothing to do. It reports false when that is to end.
func (p *pool) keep(g *pooled) bool {
	g.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdlePooled {
		return false
	}
	p.idle = append(p.idle, g)
	return true
}

// sweep ends goroutines that have had nothing to do since.
func (p *pool) sweep(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].since.Before(since) {
		close(p.idle[n].work)
		n++
	}
	left := copy(p.idle, p.idle[n:])
	clear(p.idle[left:])
	p.idle = p.idle[:left]
}

// close ends those that have nothing to do, and the others as soon as they are through.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.sweep(time.Now().Add(time.Hour))
}
