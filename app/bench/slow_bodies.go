package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// slowBodies is how many connections attack at once in the case slowbodies.
const slowBodies = 2000

// measureSlowBodies measures publishing while many connections announce bodies of 8 MiB, have no key and send five bytes. One
// that is closed is opened anew. The memory is the most that there was.
func measureSlowBodies(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	u, err := url.Parse(b.base)
	if err != nil {
		return r, err
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var open atomic.Int64
	for range slowBodies {
		wg.Go(func() {
			for ctx.Err() == nil {
				holdSlowBody(ctx, u.Host, &open)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); open.Load() < slowBodies*9/10; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, fmt.Errorf("%d of %d connections are open", open.Load(), slowBodies)
		}
	}
	var most atomic.Int64
	wg.Go(func() {
		for ctx.Err() == nil {
			most.Store(max(most.Load(), b.memory()))
			time.Sleep(200 * time.Millisecond)
		}
	})
	r, err = measure(ctx, b, c)
	r.memory = max(r.memory, float64(most.Load()>>20))
	return r, err
}

// holdSlowBody makes one connection that attacks, until the server closes it or ctx ends.
func holdSlowBody(ctx context.Context, address string, open *atomic.Int64) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	open.Add(1)
	defer open.Add(-1)
	if _, err := io.WriteString(conn,
		"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\n{\"a\":"); err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}
