package outbound

import (
	"time"
)

// take returns a pooled connection that is fit for a request, or nil. The last one returned is the first one taken, so
// that connections which are no longer needed grow old and are closed.
func (c *Client) take(now time.Time) *conn {
	for {
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			return nil
		}
		cn := c.idle[n-1]
		c.idle[n-1] = nil
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		if !c.expired(cn, now) && cn.usable() {
			return cn
		}
		cn.nc.Close()
	}
}

// usable says whether the other side has kept the connection open and sent nothing on it meanwhile.
func (cn *conn) usable() bool {
	if cn.raw == nil {
		return true
	}
	cn.alive = false
	return cn.raw.Control(cn.probe) == nil && cn.alive
}

func (c *Client) expired(cn *conn, now time.Time) bool {
	limit := c.idleTimeout
	if cn.idleLimit > 0 && cn.idleLimit < limit {
		limit = cn.idleLimit
	}
	return now.Sub(cn.idleSince) >= limit
}

// put gives cn to the pool after a completed exchange, or closes it when there is no place or it is old. Old ones are
// closed so that a receiver that moves to another address is followed also under steady traffic.
func (c *Client) put(cn *conn) {
	now := time.Now()
	cn.reused, cn.idleSince = true, now
	c.mu.Lock()
	if c.closed || len(c.idle) >= c.maxIdle || now.Sub(cn.opened) > maxConnAge {
		c.mu.Unlock()
		cn.nc.Close()
		return
	}
	c.idle = append(c.idle, cn)
	if !c.pruning {
		c.pruning = true
		if c.pruner == nil {
			c.pruner = time.AfterFunc(c.idleTimeout, c.prune)
		} else {
			c.pruner.Reset(c.idleTimeout)
		}
	}
	c.mu.Unlock()
}

// prune closes what has been idle for too long. It runs on a timer that ticks only while there is something to close.
func (c *Client) prune() {
	now := time.Now()
	var old []*conn
	c.mu.Lock()
	kept := c.idle[:0]
	for _, cn := range c.idle {
		if c.expired(cn, now) {
			old = append(old, cn)
		} else {
			kept = append(kept, cn)
		}
	}
	clear(c.idle[len(kept):])
	c.idle = kept
	if c.pruning = len(kept) > 0; c.pruning {
		// The pool is a stack, so its first connection is the one that has been idle for the longest time.
		c.pruner.Reset(max(c.idleTimeout-now.Sub(kept[0].idleSince), 10*time.Millisecond))
	}
	c.mu.Unlock()
	for _, cn := range old {
		cn.nc.Close()
	}
}

// Close closes the idle connections. It is called when no exchange is running; one that is all the same closes its own
// connection when it ends.
func (c *Client) Close() error {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	if c.pruner != nil {
		c.pruner.Stop()
	}
	c.mu.Unlock()
	for _, cn := range idle {
		cn.nc.Close()
	}
	return nil
}
