package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// tailViewers is how many viewers of the live tail there are in the cases tail and tailed.
const tailViewers = 50

// measureTailed measures while viewers read the live tail of all events.
func measureTailed(ctx context.Context, b *bencher, c benchCase) (r benchResult, err error) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var open atomic.Int64
	var read atomic.Int64
	client := &http.Client{}
	for range tailViewers {
		wg.Go(func() {
			for ctx.Err() == nil {
				b.view(ctx, client, &open, &read)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); open.Load() < tailViewers; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return r, fmt.Errorf("%d of %d viewers are connected", open.Load(), tailViewers)
		}
	}
	r, err = measure(ctx, b, c)
	stop()
	if wg.Wait(); err == nil && read.Load() == 0 {
		err = fmt.Errorf("the viewers were told nothing")
	}
	return r, err
}

// view reads the live tail until the server ends it or ctx does.
func (b *bencher) view(ctx context.Context, client *http.Client, open, read *atomic.Int64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/events/stream", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		time.Sleep(100 * time.Millisecond)
		return
	}
	open.Add(1)
	defer open.Add(-1)
	n, _ := io.Copy(io.Discard, resp.Body)
	read.Add(n)
}
