package app

import (
	"bytes"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"

	"github.com/waybill-dev/waybill/app/api"
)

// Behind a proxy, the server may be reached under a path of its host: https://example.com/waybill. Pages, redirects and
// answers of the API are made as if that were not so. This file alone adds the path to every address that leaves the server,
// and takes it off every address that comes in, whether the proxy has done so already or not. So a page that is added
// tomorrow works under a path without knowing of it.

// underPath serves next below base.
func underPath(base string, next fasthttp.RequestHandler) fasthttp.RequestHandler {
	if base == "" {
		return next
	}
	return func(ctx *fasthttp.RequestCtx) {
		if rest, ok := api.WithoutBase(base, string(ctx.RequestURI())); ok {
			ctx.Request.SetRequestURI(rest)
		}
		next(ctx)
		addBase(base, &ctx.Response)
	}
}

// addBase puts base before every address in an answer: its headers, and its links if it is a page.
func addBase(base string, r *fasthttp.Response) {
	for _, name := range []string{fasthttp.HeaderLocation, fasthttp.HeaderContentLocation} {
		if v := r.Header.Peek(name); len(v) > 0 {
			r.Header.Set(name, api.WithBase(base, string(v)))
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
	if len(r.Header.ContentEncoding()) == 0 { // else it was done before
		pageUnder(base, r)
	}
}

// pageUnder puts base before the links of an answer, if it is a page.
func pageUnder(base string, r *fasthttp.Response) {
	if !r.IsBodyStream() && bytes.HasPrefix(r.Header.ContentType(), []byte("text/html")) {
		r.SetBodyRaw(linksUnder(base, r.Body()))
	}
}

// linkAttributes are the attributes of our pages that hold addresses. Scripts that need one take it from data-url.
var linkAttributes = []string{"href", "src", "action", "formaction", "hx-get", "hx-post", "data-url", "data-from", "data-panel", "data-part",
	"data-live", "data-new", "data-counts"}

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
				tag.Attr[i].Val = api.WithBase(base, a.Val)
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
