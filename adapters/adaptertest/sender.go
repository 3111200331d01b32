package adaptertest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// Open opens a sender that may reach this machine, and closes it with the test.
func Open(tb testing.TB, typ adapters.Type, s adapters.Settings) adapters.Sender {
	tb.Helper()
	snd, err := typ.Open(Env(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { snd.Close() })
	return snd
}

// Event is an event of topic order.created and of 2023-11-14T22:13:20Z, whose payload holds its id.
func Event(id string) *adapters.Message { return message(id) }

// Bench measures how many times a second snd sends m with 20 sends under way, as many as a destination has by default.
func Bench(b *testing.B, snd adapters.Sender, m *adapters.Message) {
	b.SetParallelism(max(1, 20/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			if _, err := snd.Send(ctx, m); err != nil {
				b.Error(err)
			}
			cancel()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
