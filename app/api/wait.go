package api

import (
	"context"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/adapters/outbound"
	"github.com/waybill-dev/waybill/models"
)

// goneLook is how often wait checks that the caller is still connected.
const goneLook = time.Second

// wait holds a caller's answer until check reports that the work is over. It calls check at once and after each change. over is
// false when the time is up, the caller has gone or the process stops.
func (a *API) wait(ctx context.Context, c *Call, what models.Following, limit time.Duration,
	check func() (bool, error)) (over bool, err error) {
	sub := a.Follower.Follow(what)
	if sub == nil {
		return false, nil
	}
	defer sub.End()
	deadline, look := time.NewTimer(limit), time.NewTicker(goneLook)
	defer deadline.Stop()
	defer look.Stop()
	for {
		select {
		case <-sub.Changed:
			if over, err := check(); over || err != nil {
				return over, err
			}
		case <-look.C:
			if c.gone != nil && c.gone() {
				return false, nil
			}
		case <-deadline.C:
			return false, nil
		case <-a.Follower.Done():
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// poll answers a GET of something that changes by itself. With Prefer: wait and an If-None-Match that names its present
// state, the answer is held until the state is another one (RFC 7240, section 4.3); when the time is up first, sendJSON
// makes it a 304.
func (a *API) poll(ctx context.Context, c *Call, read func() (*Reply, models.Following, error)) (*Reply, error) {
	r, what, err := read()
	if err != nil || c.Prefer.wait == 0 || !etagMatches(c.IfNoneMatch, quoted(r.ETag)) {
		return r, err
	}
	_, err = a.wait(ctx, c, what, c.Prefer.wait, func() (bool, error) {
		now, _, err := read()
		if err != nil {
			return false, err
		}
		r = now
		return !etagMatches(c.IfNoneMatch, quoted(r.ETag)), nil
	})
	r.Applied = c.Prefer.waitApplied()
	return r, err
}

// callerGone makes a function that tells whether the caller has closed the connection. Fiber reads nothing from it while a
// request is answered, so it has to be looked at.
func callerGone(c *fiber.Ctx) func() bool {
	conn, ok := c.Context().Conn().(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	return func() (gone bool) {
		err := raw.Control(func(fd uintptr) { _, gone = outbound.Peek(fd) })
		return gone || err != nil
	}
}
