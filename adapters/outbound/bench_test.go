package outbound

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// loopback lets tests reach themselves.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func benchSink(b *testing.B) (url, addr string) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"ok":true}`) }}
	go srv.Serve(ln)
	b.Cleanup(func() { ln.Close() })
	return "http://" + ln.Addr().String() + "/hook", ln.Addr().String()
}

var benchBody = bytes.Repeat([]byte(`{"a":1234567}   `), 64) // 1 KiB

// benchHeader is what a webhook sends.
var benchHeader = [][2]string{{"User-Agent", "Waybill/1"}, {"Content-Type", "application/json"},
	{"webhook-id", "evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f"}, {"webhook-timestamp", "1614265330"},
	{"webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, {"waybill-topic", "order.created"},
	{"waybill-attempt", "1"}}

// BenchmarkPost compares one post of 1 KiB with headers like a webhook's, answered by a sink in the same process, over
// this client, fasthttp's and net/http's. All of them have a deadline and keep the answer's body; only this one also
// makes a receipt of the header lines.
func BenchmarkPost(b *testing.B) {
	url, addr := benchSink(b)
	run := func(name string, post func(ctx context.Context) error) {
		for _, parallel := range []int{1, 16} {
			b.Run(name+map[int]string{1: "/serial", 16: "/parallel"}[parallel], func(b *testing.B) {
				b.ReportAllocs()
				one := func() {
					ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
					if err := post(ctx); err != nil {
						b.Error(err)
					}
					cancel()
				}
				if parallel == 1 {
					for b.Loop() {
						one()
					}
					return
				}
				b.SetParallelism(parallel)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			})
		}
	}

	e, err := ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	c := New(e, Options{Egress: loopback})
	b.Cleanup(func() { c.Close() })
	base := new(Header)
	for _, h := range benchHeader[:2] {
		base.AddPublic(h[0], h[1])
	}
	run("outbound", func(ctx context.Context) error {
		h := AcquireHeader(base)
		for _, l := range benchHeader[2:] {
			h.AddPublic(l[0], l[1])
		}
		_, err := c.Do(ctx, Request{Header: h, Body: benchBody})
		ReleaseHeader(h)
		return err
	})

	hc := &fasthttp.HostClient{Addr: addr, MaxConns: 1 << 10, MaxIdemponentCallAttempts: 1,
		MaxResponseBodySize: MaxRead, ConnPoolStrategy: fasthttp.LIFO}
	run("fasthttp", func(ctx context.Context) error {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.SetRequestURI(url)
		req.Header.SetMethod("POST")
		for _, l := range benchHeader {
			req.Header.Set(l[0], l[1])
		}
		req.SetBodyRaw(benchBody)
		deadline, _ := ctx.Deadline()
		err := hc.DoDeadline(req, resp, deadline)
		bytes.Clone(resp.Body())
		return err
	})

	nc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1 << 10}}
	run("nethttp", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(benchBody))
		if err != nil {
			return err
		}
		for _, l := range benchHeader {
			req.Header.Set(l[0], l[1])
		}
		resp, err := nc.Do(req)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		return err
	})
}
