package gcppubsub

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// BenchmarkSend is one event of 1 KiB with 20 under way, to another side in the same process that only answers.
func BenchmarkSend(b *testing.B) {
	for name, key := range map[string]string{"plain": "", "ordered": "k"} {
		b.Run(name, func(b *testing.B) {
			m := adaptertest.Event("evt_018f3c2e5b7a7c3e9d1f2a3b4c5d6e7f")
			m.Data = []byte(`{"a":"` + strings.Repeat("x", 1016) + `"}`)
			m.Computed = map[string]string{orderingField: key}
			adaptertest.Bench(b, open(b, at(newBenchSink(b), "orders")), m)
		})
	}
}

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
