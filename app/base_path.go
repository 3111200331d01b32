package app

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"
)

// Behind a proxy, the server may be reached under a path of its host: https://example.com/waybill. Pages, redirects and
// answers of the API are made as if that were not so. This file alone adds the path to every address that leaves the server,
// and takes it off every address that comes in, whether the proxy has done so already or not. So a page that is added
// tomorrow works under a path without knowing of it.

// BasePath is the path of BASE_URL, without a slash at its end; empty for none.
func (c *Config) BasePath() string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

// ownPaths are the first parts of this server's own addresses. A base path that begins with one of them could not be told
// from it.
var ownPaths = []string{"alerts", "api", "api-keys", "audit", "dev", "docs", "healthz", "login", "logout", "metrics", "openapi.json", "p",
	"preferences", "readyz", "setup", "static", "t", "tenants", "unsubscribe"}

// firstPart is the first part of a path: "t" of "/t/acme".
func firstPart(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// underPath serves next below base.
func underPath(base string, next fasthttp.RequestHandler) fasthttp.RequestHandler {
	if base == "" {
		return next
	}
	return func(ctx *fasthttp.RequestCtx) {
		if rest, ok := withoutBase(base, string(ctx.RequestURI())); ok {
			ctx.Request.SetRequestURI(rest)
		}
		next(ctx)
		addBase(base, &ctx.Response)
	}
}

// withoutBase takes base off the beginning of an address. ok is false where it was not there.
func withoutBase(base, uri string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, base)
	if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' {
		return uri, false
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return rest, true
}

// withBase puts base before an address of this server; others stay as they are, and so do those that have it.
func withBase(base, address string) string {
	if _, has := withoutBase(base, address); has || !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") {
		return address
	}
	return base + address
}

// addBase puts base before every address in an answer: its headers, and its links if it is a page.
func addBase(base string, r *fasthttp.Response) {
	for _, name := range []string{fasthttp.HeaderLocation, fasthttp.HeaderContentLocation} {
		if v := r.Header.Peek(name); len(v) > 0 {
			r.Header.Set(name, withBase(base, string(v)))
		}
	}
	links := r.Header.PeekAll(fasthttp.HeaderLink)
	all := make([]string, len(links))
	for i, v := range links {
		plain := strings.ReplaceAll(string(v), "<"+base+"/", "</")
		all[i] = strings.ReplaceAll(plain, "</", "<"+base+"/")
	}
	r.Header.Del(fasthttp.HeaderLink)
	for _, v := range all {
		r.Header.Add(fasthttp.HeaderLink, v)
	}
	if !r.IsBodyStream() && bytes.HasPrefix(r.Header.ContentType(), []byte("text/html")) {
		r.SetBodyRaw(linksUnder(base, r.Body()))
	}
}

// linkAttributes are the attributes of our pages that hold addresses. Scripts that need one take it from data-url.
var linkAttributes = []string{"href", "src", "action", "formaction", "hx-get", "hx-post", "data-url"}

// linksUnder puts base before every address of this server in a page. What needs no change is copied as it is.
func linksUnder(base string, page []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(page)+len(page)/16))
	z := html.NewTokenizer(bytes.NewReader(page))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return out.Bytes() // the end: reading from memory does not fail
		}
		raw := z.Raw()
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			out.Write(raw)
			continue
		}
		raw = bytes.Clone(raw) // reading the attributes changes it
		tag, changed := z.Token(), false
		for i, a := range tag.Attr {
			if slices.Contains(linkAttributes, a.Key) {
				tag.Attr[i].Val = withBase(base, a.Val)
				changed = changed || tag.Attr[i].Val != a.Val
			}
		}
		if changed {
			out.WriteString(tag.String())
		} else {
			out.Write(raw)
		}
		if tag.Data == "noscript" {
			z.NextIsNotRawText() // its links are links as well
		}
	}
}
