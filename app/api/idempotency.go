package api

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// maxIdempotencyKey bounds an Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// keptHeaders are the headers of an answer that are given again with it.
var keptHeaders = []string{fiber.HeaderContentType, fiber.HeaderLocation, fiber.HeaderContentLocation, fiber.HeaderLink, fiber.HeaderETag,
	fiber.HeaderVary, headerApplied}

// Where a request with an Idempotency-Key keeps its call for its handler, and its handler the whole of an answer of which
// the caller prefers a part.
const (
	callLocal  = "call"
	wholeLocal = "whole answer"
)

// Once makes a POST safe to send again: with an Idempotency-Key, a request is carried out once and its answer given again
// (draft-ietf-httpapi-idempotency-key-header). Requests without one pass through.
func (a *API) Once(r route) fiber.Handler {
	if r.Method != http.MethodPost {
		return r.Handler
	}
	return func(c *fiber.Ctx) error {
		header := c.Request().Header.Peek("Idempotency-Key")
		if len(header) == 0 {
			return r.Handler(c)
		}
		key, err := idempotencyKey(string(header))
		if err != nil {
			return err
		}
		ctx, cancel := CallContext()
		defer cancel()
		call, err := a.APICall(ctx, c, r.Perm)
		if err != nil {
			return err
		}
		claim, kept, err := a.Store.ClaimKey(ctx, call.Actor.IdempotencyCaller(c.Get(fiber.HeaderAuthorization)), key, fingerprint(c))
		if err != nil {
			return err
		}
		if kept != nil {
			return sendKept(c, call, kept)
		}
		call.claim = claim
		c.Locals(callLocal, call)
		return a.first(c, claim, r.Handler)
	}
}

// first carries out the first request with an Idempotency-Key, and keeps what is answered.
func (a *API) first(c *fiber.Ctx, claim *models.Claim, run fiber.Handler) error {
	answered := false
	end := func(keep bool) {
		ctx, cancel := CallContext()
		defer cancel()
		var err error
		if keep {
			err = a.Store.KeepAnswer(ctx, claim, keptAnswer(c))
		} else {
			err = a.Store.Release(ctx, claim)
		}
		if err != nil {
			// The caller gets the answer all the same. Sent again, the request is refused for as long as it counts as being
			// answered, and afterwards if it had an effect.
			a.Log.Error("the answer to a request with an Idempotency-Key could not be kept", "request_id", RequestID(c), "error", err)
		}
	}
	defer func() {
		if !answered { // it panics
			end(false)
		}
	}()
	if err := run(c); err != nil {
		if models.IsMoving(err) { // nothing was done, and it is sent on
			answered = true
			end(false)
			return err
		}
		if err := a.OnError(c, err); err != nil {
			return err
		}
	}
	answered = true
	status := c.Response().StatusCode()
	end(status < http.StatusInternalServerError && status != http.StatusTooManyRequests)
	return nil
}

// keepPublished makes the accepting transaction keep the answer to a single event: a caller that sends the event again after
// a crash gets the same answer.
func (a *API) keepPublished(c *Call, tenantID string) {
	if c.claim != nil {
		c.claim.Published = func(res models.PublishResult) (*models.KeptAnswer, error) {
			return a.publishReply(c, tenantID, &res).keep(c)
		}
	}
}

// idempotencyKey reads the header: a string of RFC 8941 in quotes, as the draft asks for, or the bare text that most
// clients send.
func idempotencyKey(header string) (string, error) {
	key, problem := strings.TrimSpace(header), ""
	if strings.HasPrefix(key, `"`) {
		inner, closed := strings.CutSuffix(key[1:], `"`)
		if key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(inner); !closed {
			problem = "ends without a quotation mark"
		}
	}
	switch {
	case problem != "":
	case key == "":
		problem = "must not be empty"
	case len(key) > maxIdempotencyKey:
		problem = fmt.Sprintf("must be at most %d characters long", maxIdempotencyKey)
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }):
		problem = "must be of printable ASCII characters"
	default:
		return key, nil
	}
	return "", &models.Error{Kind: models.KindMalformed, Message: "The Idempotency-Key " + problem +
		". Send a text that is unique to this request, such as a UUID.",
		Fields: map[string]string{"Idempotency-Key": problem}}
}

// fingerprint stands for a request: two are the same when method, address and body are.
func fingerprint(c *fiber.Ctx) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", c.Method(), c.OriginalURL())
	h.Write(c.Request().Body())
	return h.Sum(nil)
}

// keptAnswer is the answer that is given again: the one that was sent, or what it is a part of.
func keptAnswer(c *fiber.Ctx) *models.KeptAnswer {
	if k, ok := c.Locals(wholeLocal).(*models.KeptAnswer); ok {
		return k
	}
	k := &models.KeptAnswer{Status: c.Response().StatusCode(), Header: map[string]string{}, Body: bytes.Clone(c.Response().Body())}
	for _, name := range keptHeaders {
		if v := c.GetRespHeader(name); v != "" {
			k.Header[name] = v
		}
	}
	return k
}

// keepWhole remembers the whole of an answer that is sent without its body: who sends the request again may prefer it with.
func keepWhole(c *fiber.Ctx, call *Call, r *Reply) error {
	if !call.Prefer.minimal {
		return nil
	}
	k, err := r.keep(call)
	c.Locals(wholeLocal, k)
	return err
}

// keep is the answer as it is given again for its request's Idempotency-Key, whatever part of it the caller prefers.
func (r *Reply) keep(call *Call) (k *models.KeptAnswer, err error) {
	whole := *call
	whole.Prefer.minimal = false
	k = &models.KeptAnswer{Header: map[string]string{}}
	k.Status, k.Body, err = r.write(&whole, false, func(name, value string) { k.Header[name] = value })
	return k, err
}

// sendKept gives an answer again, as this request prefers it.
func sendKept(c *fiber.Ctx, call *Call, k *models.KeptAnswer) error {
	for name, value := range k.Header {
		if name != headerApplied {
			c.Set(name, value)
		}
	}
	status, body := k.Status, k.Body
	applied := call.Prefer.honoured(k.Header[headerApplied])
	if call.Prefer.minimal && status < http.StatusMultipleChoices {
		status, body, applied = withoutBody(status), nil, append(applied, returnMinimal)
		c.Response().Header.Del(fiber.HeaderContentType)
	}
	if len(applied) > 0 {
		c.Set(headerApplied, strings.Join(applied, ", "))
	}
	c.Set("Idempotent-Replayed", "true")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(status).Send(body)
}
