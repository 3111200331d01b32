package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

// typesFresh is how long the lists of types may be used without asking again: they change with the server's version only.
const typesFresh = time.Hour

// finalFresh is the same for what changes only when somebody does something.
const finalFresh = time.Minute

// cache says whether the caller may keep an answer, and for how long. What is read depends on who asks, so that it is for
// the caller's own cache at most, and is asked for again each time unless the answer says otherwise.
func (r *Reply) cache(get bool, set func(name, value string)) {
	fresh := r.Fresh
	if r.Final != nil && *r.Final {
		fresh = finalFresh
	}
	switch {
	case r.Secret, r.NoStore:
		set(fiber.HeaderCacheControl, "no-store")
	case get && fresh > 0:
		set(fiber.HeaderCacheControl, "private, max-age="+strconv.Itoa(int(fresh.Seconds())))
	case get || r.Final != nil:
		set(fiber.HeaderCacheControl, "private, no-cache")
	}
	if r.Final != nil && !*r.Final {
		set(fiber.HeaderRetryAfter, "1")
	}
	waits := r.Monitor != "" || r.Final != nil
	switch {
	case get && waits:
		set(fiber.HeaderVary, "Authorization, Prefer")
	case get:
		set(fiber.HeaderVary, "Authorization")
	case waits:
		set(fiber.HeaderVary, "Prefer")
	}
}

// unchanged gives what is read an ETag, where it has none, and reports whether the caller has it already.
func (r *Reply) unchanged(c *fiber.Ctx, body []byte) bool {
	tag := r.ETag
	if tag == "" {
		tag = tagOf(body)
		c.Set(fiber.HeaderETag, quoted(tag))
	}
	return etagMatches(c.Get(fiber.HeaderIfNoneMatch), quoted(tag))
}

// tagOf makes an ETag of what is shown, which is the same in every process.
func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:12])
}

// tagOfJSON is tagOf for what has not been printed yet.
func tagOfJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return tagOf(b), err
}

func quoted(tag string) string { return `"` + tag + `"` }

// etagMatches reads If-None-Match (RFC 9110, section 13.1.2).
func etagMatches(header, tag string) bool {
	if header == "" {
		return false
	}
	for _, t := range strings.Split(header, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == tag || t == "*" || t == encoded(tag) {
			return true
		}
	}
	return false
}
