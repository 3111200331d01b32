package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// version is a destination as a run uses it, until the destination is changed.
type version struct {
	target  *models.Target
	sender  adapters.Sender
	release func()
	openErr error // why there is no sender
}

const (
	// lookAgain is after what time one of the jobs under way asks for the version of a destination, where no job has begun meanwhile
	// that has seen it.
	lookAgain = models.VersionHolds
	// lookTimeout bounds how long attempts wait for that.
	lookTimeout = time.Second
	// heldAgain is after what time a job is looked at again whose tenant goes to another cell.
	heldAgain = 250 * time.Millisecond
	// heldPause is for how long such a job is put off that has not begun: as a rule the tenant has left then, with its jobs.
	heldPause = time.Second
)

// current is the version that a run uses. A job may take minutes, when its destination is slow or takes few at once, and
// what is changed meanwhile, credentials, an address, that it is disabled, is in force for the next attempt.
type current struct {
	mu   sync.Mutex
	used []*version // the last one is in force
}

// use makes a version the one in force.
func (r *run) use(e *models.Target) {
	v := &version{target: e, release: func() {}}
	if sender, release, err := r.w.senders.get(e); err != nil {
		v.openErr = err
	} else {
		v.sender, v.release = sender, release
	}
	r.current.used = append(r.current.used, v)
}

// version returns the one in force, after a look at whether the destination was changed. When the database does not say,
// what is known goes on being used: a process that is cut off from it stops sending by itself.
func (r *run) version() *version {
	c := &r.current
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.used[len(c.used)-1]
	if !r.lane.outdated(v.target.Version, time.Now()) {
		return v
	}
	ctx, cancel := context.WithTimeout(r.ctx, lookTimeout)
	defer cancel()
	e, _, _, err := r.w.loader.Load(ctx, v.target.Key, nil, true)
	if held := (*models.HeldError)(nil); errors.As(err, &held) {
		r.lane.hold(time.Now())
	}
	if err != nil || e.Version <= v.target.Version {
		return v
	}
	r.lane.permit(e, time.Now())
	r.use(e)
	return c.used[len(c.used)-1]
}

// releaseSenders gives the senders back. No attempt is under way any more.
func (r *run) releaseSenders() {
	for _, v := range r.current.used {
		v.release()
	}
}
