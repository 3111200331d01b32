package adaptertest

import (
	"testing"
	"time"
)

// Eventually waits until ready returns true, and fails the test when that takes too long. It is for what happens in
// other goroutines or on the other side of a connection, where there is no signal to wait for.
func Eventually(tb testing.TB, what string, ready func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ready(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}
