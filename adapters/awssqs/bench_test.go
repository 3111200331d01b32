package awssqs

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// BenchmarkSend has senders at the same time, with gathering and with a request for each message, against a fake in this
// process that answers at once, and one that is 10 ms away.
func BenchmarkSend(b *testing.B) {
	for name, answer := range map[string]func(*awstest.Request) awstest.Answer{"near": queue(b),
		"far": awstest.Slow(10*time.Millisecond, queue(b))} {
		srv := awstest.Start(b, "sqs", answer)
		for _, kind := range []string{"", ".fifo"} {
			snd := awstest.Open(b, Type{}, srv.Settings(awstest.Good, map[string]string{"queue_url": queueURL + kind})).(*sender)
			b.Run(name+kind+"/gathered", func(b *testing.B) {
				awstest.Bench(b, srv, 20, func(ctx context.Context, m *adapters.Message) error { _, err := snd.Send(ctx, m); return err })
			})
			b.Run(name+kind+"/single", func(b *testing.B) {
				awstest.Bench(b, srv, 20, func(ctx context.Context, m *adapters.Message) error {
					e, err := snd.entry(m)
					if err == nil {
						_, err = snd.call(ctx, []entry{e})
					}
					return err
				})
			})
		}
	}
}
