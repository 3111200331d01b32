package awstest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Bench lets senders hand over b.N messages of 500 bytes and reports how many went out in a second, and in how many
// requests.
func Bench(b *testing.B, srv *Server, senders int, send func(context.Context, *adapters.Message) error) {
	data := []byte(`{"text":"` + strings.Repeat("x", 489) + `"}`)
	before := srv.Requests()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range senders {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				m := &adapters.Message{EventID: fmt.Sprintf("evt-%d", i), Topic: "order.created", Time: time.Now(), Data: data, Attempt: 1}
				if err := send(context.Background(), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(b.N)/float64(len(srv.Requests())-len(before)), "messages/request")
}

// Slow makes a service answer after a time, as one does that is far away.
func Slow(after time.Duration, answer func(*Request) Answer) func(*Request) Answer {
	return func(r *Request) Answer {
		<-time.After(after)
		return answer(r)
	}
}
