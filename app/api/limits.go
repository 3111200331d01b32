package api

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/time/rate"

	"github.com/waybill-dev/waybill/models"
)

// Limits of what comes in are token buckets, in the memory of each process: one set for each key that has limits, and one for
// each tenant. Of several processes that answer the API each has its share of a limit, so that together they let through what it says;
// a share is never less than one request at a time. Whoever has no limit costs a look at two pointers.

// The units that are counted.
const (
	unitRequests = iota
	unitEvents
	unitBytes
	units
)

// amount is how much of each unit a request uses.
type amount [units]int

// The names of the units, of the settings that limit them, and of the quota units of RateLimit-Policy. "events" is not among the
// registered ones.
var (
	unitNames    = [units]string{"requests", "events", "bytes"}
	unitSettings = [units]string{"requests_per_second", "events_per_second", "bytes_per_second"}
	quotaUnits   = [units]string{"requests", "events", "content-bytes"}
)

// limited is a key or a tenant with the buckets that it has.
type limited struct {
	kind string // "key" or "tenant", as policies are called after
	id   string // of the tenant, or of the key

	mu      sync.Mutex
	intake  models.Intake
	among   int                  // processes that share it
	buckets [units]*rate.Limiter // nil where there is no limit
}

// limitedKey finds a limited.
type limitedKey struct{ kind, id string }

// buckets are all of a process.
type buckets struct{ all sync.Map } // limitedKey to *limited

// of returns the buckets of a key or tenant, as its limits are now and as many processes share them.
func (l *buckets) of(kind, id string, intake models.Intake, among int, now time.Time) *limited {
	if intake.None() {
		return nil
	}
	v, has := l.all.Load(limitedKey{kind, id})
	if !has {
		v, _ = l.all.LoadOrStore(limitedKey{kind, id}, &limited{kind: kind, id: id})
	}
	x := v.(*limited)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.intake == intake && x.among == among {
		return x
	}
	x.intake, x.among = intake, among
	for unit, each := range x.limits() {
		share := rate.Limit(float64(each) / float64(among))
		burst := max(1, x.burst(each)/among) // of a limit below the number of processes, too, something comes through everywhere
		switch b := x.buckets[unit]; {
		case each == 0:
			x.buckets[unit] = nil
		case b == nil:
			x.buckets[unit] = rate.NewLimiter(share, burst)
		default: // what was used stays used
			b.SetLimitAt(now, share)
			b.SetBurstAt(now, burst)
		}
	}
	return x
}

// limits are how much there is in a second, of all processes together.
func (x *limited) limits() [units]int {
	return [units]int{x.intake.Requests, x.intake.Events, x.intake.Bytes}
}

// burst is how much may come at once of so much a second, in all processes together.
func (x *limited) burst(each int) int { return int(float64(each) * x.intake.Burst.Seconds()) }

// wait is how long it takes until there is room for an amount; zero when there is now, and then which units it is about. What is
// more than all that a bucket holds goes when the bucket is full, and is made up for afterwards: it could never go otherwise.
func (x *limited) wait(n amount, now time.Time) (longest time.Duration, unit int) {
	for u, b := range x.buckets {
		if b == nil || n[u] == 0 {
			continue
		}
		if missing := float64(min(n[u], b.Burst())) - b.TokensAt(now); missing > 1e-6 {
			if d := time.Duration(math.Ceil(missing/float64(b.Limit())*1e9)) * time.Nanosecond; d > longest {
				longest, unit = d, u
			}
		}
	}
	return longest, unit
}

// take uses an amount up.
func (x *limited) take(n amount, now time.Time) {
	for u, b := range x.buckets {
		if b == nil {
			continue
		}
		for left := n[u]; left > 0; left -= b.Burst() {
			b.ReserveN(now, min(left, b.Burst()))
		}
	}
}

// refusal is the error of a request that has to wait so long.
func (x *limited) refusal(n amount, unit int, wait time.Duration) error {
	each, who, where := x.limits()[unit], "This API key", "PATCH /api-keys/"+x.id
	if x.kind == "tenant" {
		who, where = "Tenant "+x.id, "PATCH /tenants/"+x.id+"/settings"
	}
	seconds, shared := int(math.Ceil(wait.Seconds())), ""
	if x.among > 1 {
		shared = fmt.Sprintf(" %d processes share this.", x.among)
	}
	return &models.Error{Kind: models.KindLimited, RetryAfter: time.Duration(seconds) * time.Second,
		Message: fmt.Sprintf("%s may send %d %s a second (%s), at once up to %d; this request has %d.%s Try again in %d s. An operator changes it with %s.",
			who, each, unitNames[unit], unitSettings[unit], x.burst(each), n[unit], shared, seconds, where)}
}

// share is what of a request is for one tenant.
type share struct {
	x    *limited // nil for a tenant without limits
	n    amount
	err  error // why it is refused
	hold time.Duration
}

// admit uses up what a request needs: of its key, and of the tenants that it is for. Of several tenants some may be refused, in
// whole; the key's limit holds for those that are left. An error refuses everything, and then nothing is used up.
func admit(key *limited, shares []*share, now time.Time) error {
	if key != nil {
		key.mu.Lock()
		defer key.mu.Unlock()
	}
	for _, s := range shares { // in the order of their ids, so that nobody waits for each other in a circle
		if s.x != nil {
			s.x.mu.Lock()
			defer s.x.mu.Unlock()
		}
	}
	var whole, all amount
	var soonest *share
	for _, s := range shares {
		for u := range all {
			all[u] += s.n[u]
		}
		if s.x != nil {
			if wait, unit := s.x.wait(s.n, now); wait > 0 {
				s.err, s.hold = s.x.refusal(s.n, unit, wait), wait
				if soonest == nil || s.hold < soonest.hold {
					soonest = s
				}
				continue
			}
		}
		for u := range whole {
			whole[u] += s.n[u]
		}
	}
	if soonest != nil && !slices.ContainsFunc(shares, func(s *share) bool { return s.err == nil }) {
		if key != nil {
			if wait, unit := key.wait(all, now); wait > soonest.hold {
				return key.refusal(all, unit, wait)
			}
		}
		return soonest.err
	}
	if key != nil {
		if wait, unit := key.wait(whole, now); wait > 0 {
			return key.refusal(whole, unit, wait)
		}
		key.take(whole, now)
	}
	for _, s := range shares {
		if s.x != nil && s.err == nil {
			s.x.take(s.n, now)
		}
	}
	return nil
}

// keyLimits are the buckets of the caller's key; nil for none.
func (a *API) keyLimits(actor *models.Actor, now time.Time) *limited {
	if actor.Key == nil || actor.Key.Intake.None() {
		return nil
	}
	return a.limits.of("key", actor.Key.ID.String(), actor.Key.Intake, a.Store.IntakeShare(), now)
}

// tenantLimits are those of a tenant.
func (a *API) tenantLimits(tenantID string, now time.Time) *limited {
	if tenantID == "" || !a.Store.LimitsTenants() {
		return nil
	}
	return a.limits.of("tenant", tenantID, a.Store.TenantIntake(tenantID), a.Store.IntakeShare(), now)
}

// unlimited reports whether nothing limits a caller, whichever tenant a request is for.
func (a *API) unlimited(actor *models.Actor) bool {
	return actor.Key == nil && !a.Store.LimitsTenants()
}

// limitRequest counts a request.
func (a *API) limitRequest(c *fiber.Ctx, actor *models.Actor) error {
	if a.unlimited(actor) {
		return nil
	}
	now := time.Now()
	key, tenant := a.keyLimits(actor, now), a.tenantLimits(actor.TenantID, now)
	if key == nil && tenant == nil {
		return nil
	}
	err := admit(key, []*share{{x: tenant, n: amount{unitRequests: 1}}}, now)
	tellLimits(c, now, 1, key, tenant)
	return err
}

// limitEvent counts an event that is so many bytes long.
func (a *API) limitEvent(c *fiber.Ctx, actor *models.Actor, tenantID string, size int) error {
	if a.unlimited(actor) {
		return nil
	}
	now := time.Now()
	key, tenant := a.keyLimits(actor, now), a.tenantLimits(tenantID, now)
	if key == nil && tenant == nil {
		return nil
	}
	err := admit(key, []*share{{x: tenant, n: amount{unitEvents: 1, unitBytes: size}}}, now)
	tellLimits(c, now, units, key, tenant)
	if err != nil {
		a.Store.MeterRefused(err)
	}
	return err
}

// limitBatch counts the events of a batch with their sizes in bytes. Those of a tenant that is over its limits are all refused,
// each with an error in its place; an error of its own refuses the batch.
func (a *API) limitBatch(c *fiber.Ctx, actor *models.Actor, ins []*models.PublishInput, sizes []int) ([]error, error) {
	if a.unlimited(actor) {
		return nil, nil
	}
	now := time.Now()
	key := a.keyLimits(actor, now)
	of := map[string]*share{}
	var ids []string
	for i, in := range ins {
		s := of[in.TenantID]
		if s == nil {
			s = &share{x: a.tenantLimits(in.TenantID, now)}
			of[in.TenantID], ids = s, append(ids, in.TenantID)
		}
		s.n[unitEvents]++
		s.n[unitBytes] += sizes[i]
	}
	slices.Sort(ids)
	shares := make([]*share, len(ids))
	for i, id := range ids {
		shares[i] = of[id]
	}
	err := admit(key, shares, now)
	if len(shares) == 1 {
		tellLimits(c, now, units, key, shares[0].x)
	} else {
		tellLimits(c, now, units, key) // a field names a policy once, and there is one of each tenant
	}
	if err != nil {
		for range ins {
			a.Store.MeterRefused(err)
		}
		return nil, err
	}
	errs := make([]error, len(ins))
	for i, in := range ins {
		if errs[i] = of[in.TenantID].err; errs[i] != nil {
			a.Store.MeterRefused(errs[i])
		}
	}
	return errs, nil
}

// tellLimits tells a caller's first so many limits and what is left of them (draft-ietf-httpapi-ratelimit-headers-10): of this
// process's share, for that is what the next request to it meets. A bucket is a quota for as long as it takes to fill it; "t" is
// said where nothing is left.
func tellLimits(c *fiber.Ctx, now time.Time, first int, of ...*limited) {
	var policies, left []string
	for _, x := range of {
		if x == nil {
			continue
		}
		x.mu.Lock()
		for u, b := range x.buckets[:first] {
			if b == nil {
				continue
			}
			name := strconv.Quote(x.kind + "-" + unitNames[u])
			policies = append(policies, fmt.Sprintf("%s;q=%d;qu=%q;w=%d", name, b.Burst(), quotaUnits[u],
				int(math.Ceil(float64(b.Burst())/float64(b.Limit())-1e-6))))
			tokens := b.TokensAt(now)
			item := fmt.Sprintf("%s;r=%d", name, max(0, int(tokens)))
			if tokens < 1 {
				item += fmt.Sprintf(";t=%d", int(math.Ceil((1-tokens)/float64(b.Limit()))))
			}
			left = append(left, item)
		}
		x.mu.Unlock()
	}
	if len(policies) > 0 {
		c.Set(headerPolicy, strings.Join(policies, ", "))
		c.Set(headerRateLimit, strings.Join(left, ", "))
	}
}

const (
	headerPolicy    = "RateLimit-Policy"
	headerRateLimit = "RateLimit"
)

// forgetEvery is how often buckets are looked through for those that are full, by whose loss nothing is lost.
const forgetEvery = time.Minute

// ForgetLimits forgets full buckets from time to time, until ctx ends.
func (a *API) ForgetLimits(ctx context.Context) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			a.limits.forget(now)
		}
	}
}

func (l *buckets) forget(now time.Time) {
	l.all.Range(func(key, v any) bool {
		x := v.(*limited)
		x.mu.Lock()
		defer x.mu.Unlock()
		full := true
		for _, b := range x.buckets {
			full = full && (b == nil || b.TokensAt(now) >= float64(b.Burst()))
		}
		if full {
			l.all.Delete(key)
		}
		return true
	})
}
