package jobs

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPool: everything that is handed over runs at once, whatever else is under way; goroutines serve again, those that are not needed
// any more end, and none is left when the pool is closed (the bubble would wait for it for ever).
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		idle := func() int {
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.idle)
		}
		together := func(n int) {
			var all, ended sync.WaitGroup
			all.Add(n)
			for range n {
				ended.Add(1)
				p.run(func() {
					all.Done()
					all.Wait() // none of them ends before all have begun
					ended.Done()
				})
			}
			ended.Wait()
		}
		together(3)
		if n := idle(); n != 3 {
			t.Fatalf("%d goroutines wait for more, not 3", n)
		}
		time.Sleep(pooledFor / 2) //nolint:forbidigo // a clock of its own
		together(1)
		together(2)
		if n := idle(); n != 3 {
			t.Errorf("%d goroutines wait for more, not the 3 that there were", n)
		}
		time.Sleep(pooledFor/2 + time.Second) //nolint:forbidigo // a clock of its own
		p.sweep(time.Now().Add(-pooledFor))
		if n := idle(); n != 2 {
			t.Errorf("%d goroutines wait for more, not the 2 that have been used", n)
		}
		together(2 * maxIdlePooled)
		if n := idle(); n != maxIdlePooled {
			t.Errorf("%d goroutines wait for more", n)
		}
		late := make(chan struct{})
		p.run(func() { <-late })
		p.close()
		if n := idle(); n != 0 {
			t.Errorf("%d goroutines wait for more, and nobody will come", n)
		}
		close(late)
		together(2)
		if n := idle(); n != 0 {
			t.Errorf("%d goroutines wait for more, and nobody will come", n)
		}
	})
}
