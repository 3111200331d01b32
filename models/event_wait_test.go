package models

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"
)

// TestAwaited: outcomes are recorded at once for as long as a caller waits for some, and not for those who read the feed of changes.
func TestAwaited(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	f := NewFollower(s, slog.New(slog.DiscardHandler))
	t.Cleanup(f.Close)
	is := func(want int32) {
		t.Helper()
		if got := s.awaited.Load(); got != want {
			t.Errorf("%d callers are known to wait, of %d", got, want)
		}
	}
	event, retry := f.Follow(Following{Event: uuid.Must(uuid.NewV7())}), f.Follow(Following{Retry: uuid.Must(uuid.NewV7())})
	feed := f.Follow(FollowFeed(AllTenants()))
	is(2)
	event.End()
	event.End()
	feed.End()
	is(1)
	retry.End()
	is(0)
}
