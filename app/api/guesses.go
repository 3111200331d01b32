package api

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/waybill-dev/waybill/models"
)

// How many keys that are not valid a network may try: a burst, and so many a second from then on.
const (
	badKeyBurst  = 100
	badKeyRate   = 1
	badKeyPlaces = 10_000 // networks that are remembered
)

// badKeys counts API keys and tokens that were not valid, by network (see clientip.Network), in this process. Keys have 256
// random bits: this is for the database and the log, not for the keys. So whoever has a key that is known here is never kept
// waiting for what others from the same network do.
type badKeys struct {
	mu   sync.Mutex
	m    map[netip.Prefix]*rate.Limiter
	rest *rate.Limiter // of all networks for which there is no place
}

// of is the limiter of a network. What is full is forgotten first, by which nothing is lost.
func (b *badKeys) of(network netip.Prefix, now time.Time, add bool) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.m[network]
	if l != nil || !add {
		return l
	}
	if b.m == nil {
		b.m = map[netip.Prefix]*rate.Limiter{}
		b.rest = rate.NewLimiter(badKeyRate, badKeyBurst)
	}
	if len(b.m) >= badKeyPlaces {
		for n, l := range b.m {
			if l.TokensAt(now) >= badKeyBurst {
				delete(b.m, n)
			}
		}
	}
	if len(b.m) >= badKeyPlaces {
		return b.rest
	}
	l = rate.NewLimiter(badKeyRate, badKeyBurst)
	b.m[network] = l
	return l
}

// failed counts a key that was not valid.
func (b *badKeys) failed(network netip.Prefix, now time.Time) {
	b.of(network, now, true).AllowN(now, 1)
}

// refused is the error for keys from a network that has tried too many; nil for others.
func (b *badKeys) refused(network netip.Prefix, now time.Time) error {
	l := b.of(network, now, false)
	if l == nil || l.TokensAt(now) >= 1 {
		return nil
	}
	return &models.Error{Kind: models.KindLimited, RetryAfter: time.Second,
		Message: "Too many requests with keys that are not valid come from your network. Check your key, and try again in a few seconds."}
}
