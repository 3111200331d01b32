package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// Problem is the body of every error in the API.
type Problem struct {
	Status    int               `json:"status" doc:"The HTTP status."`
	Message   string            `json:"message" doc:"What to do, in a sentence."`
	Data      []string          `json:"data,omitempty" doc:"The fields' problems as sentences."`
	Code      string            `json:"code" api:"schema=ErrorCode"`
	Fields    map[string]string `json:"fields,omitempty" doc:"What is wrong, by field."`
	Position  *models.Position  `json:"position,omitempty" doc:"Where in a filter, a transform or the body."`
	RequestID string            `json:"request_id" doc:"Tell it when you ask for help."`
}

func problemOf(e *models.Error, requestID string) Problem {
	return Problem{Status: e.Status(), Message: e.Message, Data: e.Problems(), Code: e.Code(), Fields: e.Fields, Position: e.Position,
		RequestID: requestID}
}

// OnError answers every error, once: as JSON under the API, as a page elsewhere. What is not known in advance is
// logged with its request id, and the caller sees one fixed sentence.
func (a *API) OnError(c *fiber.Ctx, err error) error {
	var fe *fiber.Error
	if errors.As(err, &fe) {
		err = FromFiber(fe)
	}
	e := models.AsError(err)
	id := RequestID(c)
	early := id == "" // it could not be read, so that no route has seen it
	if early {
		id = a.Identify(c)
	}
	if e.Kind == models.KindInternal || e.Kind == models.KindUnavailable && e.Err != nil { // back-pressure is counted, not told
		a.Log.Error("request failed", slog.String("request_id", id), slog.String("method", c.Method()), slog.String("path", c.Path()),
			slog.Any("error", err))
	}
	SayWhen(c, e)
	if e.Kind == models.KindUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	if IsAPI(c) || early && !strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
		return c.Status(e.Status()).JSON(problemOf(e, id))
	}
	return a.ErrorPage(c, e, id)
}

// SayWhen says in a header when a request may be tried again, where an error knows (RFC 9110, section 10.2.3).
func SayWhen(c *fiber.Ctx, e *models.Error) {
	if e.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(max(1, int(e.RetryAfter.Seconds()))))
	}
}

// FromFiber turns an error of the HTTP layer (no such route, method not allowed, body too large) into one of ours.
func FromFiber(fe *fiber.Error) error {
	switch fe.Code {
	case fiber.StatusNotFound:
		return &models.Error{Kind: models.KindNotFound, Message: "There is nothing at this address."}
	case fiber.StatusMethodNotAllowed:
		return &models.Error{Kind: models.KindMethod,
			Message: "This address does not answer to this method. The header Allow lists those that it does answer to."}
	case fiber.StatusNotImplemented:
		return &models.Error{Kind: models.KindMalformed, Message: "There is no such method. Use GET, HEAD, POST, PUT, PATCH or DELETE."}
	case fiber.StatusRequestEntityTooLarge:
		return &models.Error{Kind: models.KindTooLarge, Message: "The request is too large."}
	case fiber.StatusRequestTimeout:
		return &models.Error{Kind: models.KindTimeout, Message: "The request did not come in time."}
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return &models.Error{Kind: models.KindTooLarge, Message: "The request's headers are too large."}
	}
	if fe.Code >= 400 && fe.Code < 500 {
		return &models.Error{Kind: models.KindMalformed, Message: "The request could not be read: " + unquoted(fe.Message) + "."}
	}
	return errors.New(fe.Message)
}

// unquoted is what is wrong with a request without what was sent, which the parser quotes: there may be a key in it.
func unquoted(message string) string {
	message, _, _ = strings.Cut(message, `"`)
	message, _, _ = strings.Cut(message, "Buffer size")
	return strings.TrimRight(strings.TrimSuffix(strings.TrimRight(message, " .:"), " in"), " .:")
}

func IsAPI(c *fiber.Ctx) bool {
	return strings.HasPrefix(c.Path(), "/api/")
}

const requestIDKey = "request-id"

func RequestID(c *fiber.Ctx) string {
	id, _ := c.Locals(requestIDKey).(string)
	return id
}

// Identify gives a request its id, which is returned, and its answer the headers that all have.
func (a *API) Identify(c *fiber.Ctx) string {
	var b [12]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	c.Locals(requestIDKey, id)
	c.Set("X-Request-Id", id)
	c.Set("X-Content-Type-Options", "nosniff")
	if a.hsts != "" {
		c.Set(fiber.HeaderStrictTransportSecurity, a.hsts)
	}
	return id
}

// Refusal returns what a form shows of an error, or nil when the error is none that another input would mend.
func Refusal(err error) *models.Error {
	e := models.AsError(err)
	switch e.Kind {
	case models.KindInvalid, models.KindConflict, models.KindTooLarge, models.KindStale, models.KindLimited, models.KindMalformed:
		return e
	}
	return nil
}
