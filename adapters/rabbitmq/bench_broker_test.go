//go:build brokers

package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
)

// BenchmarkSend measures how many events of 1 KiB a second a local broker confirms, into one durable queue.
func BenchmarkSend(b *testing.B) {
	n := node(b)
	for _, at := range []int{1, 20, 100, 200} {
		b.Run(fmt.Sprintf("%d_at_once", at), func(b *testing.B) {
			queue := n.queue(b, nil)
			set := n.settings("")
			set.Config["routing_key_template"] = `"` + queue + `"`
			snd, err := Type{}.Open(adaptertest.Env(), set)
			if err != nil {
				b.Fatal(err)
			}
			defer snd.Close()
			data := make([]byte, 1<<10)
			for i := range data {
				data[i] = ' '
			}
			data[0], data[len(data)-1] = '{', '}'
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range at {
				all.Go(func() {
					for i := left.Add(-1); i >= 0; i = left.Add(-1) {
						m := &adapters.Message{EventID: fmt.Sprintf("evt_%08d", i), Topic: "order.created", Time: time.Now(), Attempt: 1,
							Data:     data,
							Computed: map[string]string{"routing_key_template": queue}}
						if _, err := snd.Send(context.Background(), m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
