package api

import (
	"context"
	"mime"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// eventData answers with the payload of an event and nothing around it.
func (a *API) eventData(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	return a.WhileAnswering(ctx, c, func(ctx context.Context) error {
		call, err := a.APICall(ctx, c, models.MayRead)
		if err != nil {
			return err
		}
		var req eventRequest
		if err := BinderOf[eventRequest]().fill(c, &req, call.Prefer.strict); err != nil {
			return err
		}
		scope, err := a.Store.Of(ctx, call.Scope(), req.Tenant)
		if err != nil {
			return err
		}
		e, err := a.Store.Event(ctx, scope, req.Event)
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderVary, fiber.HeaderAuthorization)
		return SendPayload(c, e)
	})
}

// SendPayload sends the payload of an event, byte for byte as it was published, as a file to be kept. Whatever is in it, a
// browser that is made to show it runs nothing: it is JSON and taken for nothing else, in a document without any rights.
func SendPayload(c *fiber.Ctx, e *models.Event) error {
	if e.ErasedAt != nil {
		return &models.Error{Kind: models.KindPast, Message: "The payload of this event is no longer kept. " + e.ErasedWhy}
	}
	tag := quoted(tagOf(e.Data))
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; sandbox")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": e.ID + ".json"}))
	if etagMatches(c.Get(fiber.HeaderIfNoneMatch), tag) {
		return c.SendStatus(http.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(e.Data)
}
