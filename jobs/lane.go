package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// lane is what this process knows of one destination's traffic: how many attempts are under way, how many may be, and
// how long they take. It keeps a slow destination from taking the places that others need.
type lane struct {
	mu       sync.Mutex
	limit    int // attempts at once, as the destination permits
	allowed  int // attempts at once for now: halved when asked to slow down, back by one with each success
	inFlight int
	waiting  []chan struct{} // jobs that wait for a place, first come first served
	jobs     int             // jobs that this process has taken for the destination
	took     time.Duration   // moving average of an attempt
	moved    time.Time       // when an attempt last ended, or the first of those under way began
	paused   time.Time       // nothing is sent before, because the receiver asked for it
	eased    time.Time       // no first attempt is made before, because the receiver asked to slow down and did not say for how long
	lastUsed time.Time
	longest  time.Duration // that a delivery waits between two attempts, by the destination's policy; 0 while not known
	retries  time.Time     // until when retries that were put off come back: first attempts leave them places meanwhile
	told     string        // what was last written down of why deliveries wait (see waits.go); empty for nothing
	toldAt   time.Time
	rate     float64 // attempts that the destination takes in a second; 0 for any number
	failures int     // in a row
	lacks    int     // runs in a row that ended because this server lacked something
	pace     pace
	version  int64     // of the destination
	looked   time.Time // when that was seen
	late     bool      // jobs were put off for longer than the destination's state may last
	recalled time.Time // when such jobs were last called back

	heldUntil time.Time // nothing is sent before, for the tenant goes to another cell
}

const (
	// maxJobsOfLane is how many jobs of one destination a crowded process takes: a part of what it can hold, so that
	// a backlog leaves places for the others.
	maxJobsOfLane = maxJobs / 4
	// slowAttempt is from when a destination counts as slow, and maxWaitingOfSlow how many jobs then wait in this
	// process beside those under way. The others are put off.
	slowAttempt      = time.Second
	maxWaitingOfSlow = 4
	// maxWait is how long a job waits for a place before it looks again whether the destination has become slow.
	maxWait   = 2 * time.Second
	minPutOff = time.Second
	maxPutOff = time.Minute
	// minPaced is for how long a job is put off at least that only waits for its turn among others, or for the end of a pause.
	minPaced       = 100 * time.Millisecond
	pauseWithoutIt = 5 * time.Second // when asked to slow down without being told for how long
	// failingAfter is after how many failures in a row a destination counts as one that keeps failing, and failingRate
	// how many attempts a second this process then makes. They are enough to see that it works again, and do not take
	// the time that others need. The first success ends it.
	failingAfter = 100
	failingRate  = 20.0
)

// coming is a job that asks to be worked on.
type coming struct {
	limit      int // attempts at once, while the lane does not know what the destination permits
	deliveries int
	crowded    bool      // the process holds many jobs already
	retry      bool      // these are no first attempts
	since      time.Time // with retry: when the attempts before were recorded
}

// enter asks to work on a job of the destination. When the job must be put off enter returns for how long.
func (l *lane) enter(now time.Time, c coming) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastUsed = now
	if l.limit == 0 {
		l.setLimit(c.limit)
	}
	if wait := l.pause(now, c); wait > 0 {
		l.late = l.late || wait > minPutOff
		return wait, false
	}
	if wait, full := l.full(now, c.crowded); full {
		l.late = l.late || wait > minPutOff
		l.keepPlaces(now, c, wait)
		return wait, false
	}
	if rate := l.pacingLocked(); rate > 0 {
		wait := l.pace.reserve(now, rate, c.deliveries, l.jobs == 0)
		places := maxWaitingOfSlow
		if !c.retry && now.Before(l.retries) {
			places = 1 // the others are for retries, which are due
		}
		if l.jobs >= places {
			l.late = l.late || rate != l.rate
			l.keepPlaces(now, c, wait)
			return wait, false
		}
	}
	l.jobs++
	return 0, true
}

// keepPlaces keeps places for a retry that is put off. The lock is held.
func (l *lane) keepPlaces(now time.Time, c coming, wait time.Duration) {
	if back := now.Add(wait); c.retry && back.After(l.retries) {
		l.retries = back
	}
}

// pause is for how long a job has to wait because the receiver asked for it; 0 for not at all. A retry has a time of its own,
// which only a receiver that said for how long can put off, and not for longer than its policy allows between two attempts.
// The lock is held.
func (l *lane) pause(now time.Time, c coming) time.Duration {
	d := l.paused.Sub(now)
	if !c.retry {
		d = max(d, l.eased.Sub(now))
	} else if l.longest > 0 {
		d = min(d, l.longest-now.Sub(c.since))
	}
	if d <= 0 {
		return 0
	}
	return min(max(d, minPaced), maxPutOff)
}

// full reports whether another job has to be put off, and for how long. The lock is held.
func (l *lane) full(now time.Time, crowded bool) (wait time.Duration, full bool) {
	if l.isSlow(now) && l.jobs >= l.inFlight+maxWaitingOfSlow {
		return min(max(2*l.took, 2*now.Sub(l.moved), minPutOff), maxPutOff), true
	}
	return minPutOff, crowded && l.jobs >= maxJobsOfLane
}

// isSlow reports whether attempts take long, or none of those under way has ended for long. The lock is held.
func (l *lane) isSlow(now time.Time) bool {
	return l.took > slowAttempt || l.inFlight >= l.allowed && now.Sub(l.moved) > slowAttempt
}

// pacing is how many attempts may be made in a second for now; 0 for any number.
func (l *lane) pacing() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pacingLocked()
}

// pacingLocked is pacing. The lock is held.
func (l *lane) pacingLocked() float64 {
	if l.failures >= failingAfter && (l.rate == 0 || l.rate > failingRate) {
		return failingRate
	}
	return l.rate
}

func (l *lane) leave() {
	l.mu.Lock()
	l.jobs--
	l.mu.Unlock()
}

// setLimit takes over what the destination permits. The lock is held.
func (l *lane) setLimit(limit int) {
	if l.limit != limit {
		l.limit, l.allowed = limit, limit
	}
}

// permit takes over what a version of the destination permits that was the current one at a time. What was learned of another version
// says nothing about this one.
func (l *lane) permit(t *models.Target, looked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Version < l.version {
		return // it has changed since
	}
	if l.version < t.Version {
		l.version, l.failures, l.took, l.paused, l.eased, l.allowed = t.Version, 0, 0, time.Time{}, time.Time{}, l.limit
	}
	l.longest = time.Duration(t.Policy.MaxInterval)
	if looked.After(l.looked) {
		l.looked = looked
	}
	l.setLimit(t.InFlight)
	l.rate = t.Rate()
	l.wakeNext()
}

// outdated reports whether a version of the destination is not the current one, or whether that has to be looked at. One
// of those who ask looks, for all.
func (l *lane) outdated(version int64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version > version {
		return true
	}
	if now.Sub(l.looked) < lookAgain {
		return false
	}
	l.looked = now
	return true
}

// hold has nothing sent to the destination for a moment: its tenant goes to another cell.
func (l *lane) hold(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heldUntil = now.Add(heldAgain)
}

func (l *lane) held(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.heldUntil)
}

// errPutOff says that the destination has become slow while a job waited for a place.
var errPutOff = errors.New("put off")

// acquire waits for a place.
func (l *lane) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.inFlight < l.allowed && len(l.waiting) == 0 {
		l.begin()
		l.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	l.waiting = append(l.waiting, c)
	l.mu.Unlock()
	for timer := time.NewTimer(maxWait); ; timer.Reset(maxWait) {
		select {
		case <-c:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			l.giveUp(c)
			return ctx.Err()
		case now := <-timer.C:
			l.mu.Lock()
			tooMany := l.isSlow(now) && len(l.waiting) > maxWaitingOfSlow
			l.mu.Unlock()
			if tooMany {
				l.giveUp(c)
				return errPutOff
			}
		}
	}
}

// begin counts an attempt. The lock is held.
func (l *lane) begin() {
	if l.inFlight == 0 {
		l.moved = time.Now()
	}
	l.inFlight++
}

// giveUp stops waiting; a place that was given meanwhile is passed on.
func (l *lane) giveUp(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == c {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
	l.inFlight--
	l.wakeNext()
}

// tryAcquire takes a place if one is free and nobody waits for it.
func (l *lane) tryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight >= l.allowed || len(l.waiting) > 0 {
		return false
	}
	l.begin()
	return true
}

func (l *lane) release() {
	l.mu.Lock()
	l.inFlight--
	l.wakeNext()
	l.mu.Unlock()
}

// wakeNext gives free places to those who wait. The lock is held.
func (l *lane) wakeNext() {
	for l.inFlight < l.allowed && len(l.waiting) > 0 {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		l.begin()
	}
}

// learn takes note of an attempt: how long it took, and whether it failed or the receiver asked to slow down: for after, or,
// when it did not say for how long, for ease. It reports whether it is the first to succeed since deliveries were said to wait.
func (l *lane) learn(now time.Time, took time.Duration, failed, throttled bool, after, ease time.Duration) (well bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures++; !failed {
		l.failures = 0
	}
	l.lacks = 0
	l.took += (took - l.took) / 8
	l.moved = now
	if throttled {
		l.allowed = max(1, l.allowed/2)
		if until := now.Add(min(after, maxPutOff)); until.After(l.paused) {
			l.paused = until
		}
		if until := now.Add(min(ease, pauseWithoutIt)); after == 0 && until.After(l.eased) {
			l.eased = until
		}
	} else if l.allowed < l.limit {
		l.allowed++
		l.wakeNext()
	}
	// That it is slow or has a rate limit is not over with a success.
	if !failed && l.told != "" && l.told != models.WaitSlow && l.told != models.WaitLimited {
		l.told, well = "", true
	}
	return well
}

// wait is for how long to put a job off.
func (l *lane) wait() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, _ := l.full(time.Now(), true)
	l.late = true
	return wait
}

// recallEvery is how often jobs are called back at most, and recallAtOnce how many at a time.
const (
	recallEvery  = 250 * time.Millisecond
	recallAtOnce = 1000
)

// recall reports, after an attempt that succeeded, whether to call jobs back that were put off: the destination is well
// again, and this process has not much to do for it.
func (l *lane) recall(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.late || l.failures > 0 || now.Before(l.paused) || now.Before(l.eased) || l.isSlow(now) || l.jobs > maxJobsOfLane/2 ||
		now.Sub(l.recalled) < recallEvery {
		return false
	}
	l.late, l.recalled = false, now
	return true
}

// recallAgain takes note that there are jobs to be called back yet.
func (l *lane) recallAgain() {
	l.mu.Lock()
	l.late = true
	l.mu.Unlock()
}

// slow reports whether attempts take long.
func (l *lane) slow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isSlow(time.Now())
}

// idle reports whether the lane has nothing to do and has not been used since.
func (l *lane) idle(since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobs == 0 && l.inFlight == 0 && l.lastUsed.Before(since)
}

// lanes are the lanes of a process by destination.
type lanes struct {
	mu sync.Mutex
	m  map[int64]*lane
}

func (ls *lanes) get(destination int64) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.m[destination]
	if l == nil {
		l = &lane{}
		if ls.m == nil {
			ls.m = map[int64]*lane{}
		}
		ls.m[destination] = l
	}
	return l
}

// sweep forgets lanes that have not been used since.
func (ls *lanes) sweep(since time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for k, l := range ls.m {
		if l.idle(since) {
			delete(ls.m, k)
		}
	}
}
