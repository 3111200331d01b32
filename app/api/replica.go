package api

import (
	"cmp"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// WrittenHeader tells when an answer to a write was given, by the database's clock. A caller that sends it with what it reads next is
// answered from a state that has all of it. Browsers get and send the same as a cookie. Both are there only with a replica.
const (
	WrittenHeader = "Waybill-Written-At"
	WrittenCookie = "waybill_written_at"
)

// MarkWrites marks the answer to every request that may have written something.
func (a *API) MarkWrites(c *fiber.Ctx) error {
	err := c.Next()
	if !safe(c) {
		a.Mark(c)
	}
	return err
}

// safe reports whether a request changes nothing (RFC 9110, section 9.2.1).
func safe(c *fiber.Ctx) bool {
	return c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead || c.Method() == fiber.MethodOptions
}

// Mark has whoever gets the answer find what is so by now in all that they read next.
func (a *API) Mark(c *fiber.Ctx) {
	now := a.Store.Now()
	if now.IsZero() {
		return
	}
	value := now.UTC().Format(time.RFC3339Nano)
	if strings.HasPrefix(c.Path(), APIPrefix+"/") {
		c.Set(WrittenHeader, value)
		return
	}
	c.Cookie(&fiber.Cookie{Name: WrittenCookie, Value: value, Path: cmp.Or(a.Cfg.BasePath(), "/"),
		Expires: time.Now().Add(2 * a.Store.ReplicaLag()), HTTPOnly: true, Secure: strings.HasPrefix(a.Cfg.BaseURL, "https://"), SameSite: fiber.CookieSameSiteLaxMode})
}

// sawLatest is Mark for a caller who was told of the primary's state, and may ask about what that tells of.
func (a *API) sawLatest(c *fiber.Ctx, call *Call) {
	a.Mark(c)
	a.Store.Wrote(call.callerName())
}

// Since is when a caller last wrote, as far as they or this process know; zero where that does not matter.
func (a *API) Since(c *fiber.Ctx, call *Call) (time.Time, error) {
	if !a.Store.HasReplica() || !safe(c) {
		return time.Time{}, nil
	}
	last := a.Store.LastWrite(call.callerName())
	said, name := c.Get(WrittenHeader), WrittenHeader
	if call.Page {
		said, name = c.Cookies(WrittenCookie), ""
	}
	if said == "" {
		return last, nil
	}
	at, err := time.Parse(time.RFC3339Nano, said)
	if err != nil && name != "" {
		return last, &models.Error{Kind: models.KindMalformed,
			Message: "The header " + WrittenHeader + " must be as an answer carried it: a time like 2026-11-29T15:04:05.123456Z.",
			Fields:  map[string]string{WrittenHeader: "must be a time (RFC 3339)"}}
	}
	if at.After(last) {
		last = at
	}
	return last, nil
}
