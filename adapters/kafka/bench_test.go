package kafka

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// BenchmarkSend measures how many events of 1 KiB a second go to a cluster inside this process.
func BenchmarkSend(b *testing.B) {
	for _, at := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("%d_at_once", at), func(b *testing.B) {
			f := newFake(b, []string{"events"})
			benchmark(b, f.settings("events"), at)
		})
	}
}

func benchmark(b *testing.B, set *adapters.Settings, at int) {
	snd := open(b, set)
	data := append(append([]byte("{"), bytes.Repeat([]byte(" "), 1022)...), '}')
	mustSend(b, snd, message("evt_first"))
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range at {
		all.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				m := &adapters.Message{EventID: fmt.Sprintf("evt_%08d", i), Topic: "order.created", Time: time.Now(), Attempt: 1,
					Data: data}
				if _, err := snd.Send(context.Background(), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
