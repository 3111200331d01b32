package api

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

const (
	// minCompressed is the least size of an answer that is compressed, in bytes: smaller ones are one packet anyway.
	minCompressed = 1400
	// encodedTag is what the ETag of a compressed answer ends with: other bytes are another representation (RFC 9110,
	// section 8.8.3.3).
	encodedTag = "-gzip"
)

// gzipped compresses an answer that has been made.
var gzipped = fasthttp.CompressHandlerLevel(func(*fasthttp.RequestCtx) {}, fasthttp.CompressDefaultCompression)

// Compress answers with gzip to clients that accept it. It is around routes that read, so that publishing does not pass it.
//
// How long a compressed answer is tells of what is in it, if somebody can put text of theirs beside it and see the length
// (BREACH). So what holds a secret is not compressed, which is what no-store says; nor is what a browser asks for because
// another site made it. docs/security.md has the whole reasoning. Streams are left alone, since they must be flushed.
func (a *API) Compress(c *fiber.Ctx) error {
	if err := c.Next(); err != nil {
		return err
	}
	r := c.Response()
	c.Vary(fiber.HeaderAcceptEncoding)
	tag := string(r.Header.Peek(fiber.HeaderETag))
	switch {
	case !c.Context().IsGet() || !c.Request().Header.HasAcceptEncoding("gzip"):
	case r.StatusCode() == http.StatusNotModified:
		// The representation that the caller has is named as it knows it.
		if tag != "" && strings.Contains(c.Get(fiber.HeaderIfNoneMatch), encoded(tag)) {
			c.Set(fiber.HeaderETag, encoded(tag))
		}
	case r.StatusCode() == http.StatusOK && !r.IsBodyStream() && len(r.Body()) >= minCompressed && !keptSecret(r) && a.ownRequest(c):
		if a.BeforeCompress != nil {
			a.BeforeCompress(r)
		}
		gzipped(c.Context())
		if tag != "" && len(r.Header.ContentEncoding()) > 0 {
			c.Set(fiber.HeaderETag, encoded(tag))
		}
	}
	return nil
}

func encoded(tag string) string { return strings.TrimSuffix(tag, `"`) + encodedTag + `"` }

// keptSecret reports whether an answer may hold a secret: no cache keeps those.
func keptSecret(r *fasthttp.Response) bool {
	return bytes.Contains(r.Header.Peek(fiber.HeaderCacheControl), []byte("no-store"))
}

// ownRequest reports whether no other site can have made a browser send a request with its cookies: by Sec-Fetch-Site, which
// every current browser sends over TLS. Without TLS who sees lengths sees everything.
func (a *API) ownRequest(c *fiber.Ctx) bool {
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return len(c.Request().Header.Peek(fiber.HeaderCookie)) == 0 || !strings.HasPrefix(strings.ToLower(a.Cfg.BaseURL), "https://")
	}
	return false
}
