package gcppubsub

import (
	"bytes"
	"net"
	"strconv"
	"testing"

	"github.com/valyala/fasthttp"
)

// newBenchSink answers every request with an id for each message, without looking at them.
func newBenchSink(b *testing.B) string {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	srv := &fasthttp.Server{MaxRequestBodySize: 20 << 20, Handler: func(ctx *fasthttp.RequestCtx) {
		out := []byte(`{"messageIds":[`)
		for i := range bytes.Count(ctx.PostBody(), []byte(`{"data":`)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendQuote(out, strconv.Itoa(9183724500000000+i))
		}
		ctx.SetBody(append(out, "]}"...))
	}}
	go srv.Serve(ln)
	return "http://" + ln.Addr().String()
}
