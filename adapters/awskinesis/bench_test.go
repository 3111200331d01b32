package awskinesis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// BenchmarkSend has senders at the same time, with gathering and with a request for each message, against a fake in this
// process that answers at once, and one that is 10 ms away.
func BenchmarkSend(b *testing.B) {
	for name, answer := range map[string]func(*awstest.Request) awstest.Answer{"near": stream(b),
		"far": awstest.Slow(10*time.Millisecond, stream(b))} {
		srv := awstest.Start(b, "kinesis", answer)
		snd := awstest.Open(b, Type{}, srv.Settings(awstest.Good, config)).(*sender)
		for _, senders := range []int{20, 200} {
			b.Run(fmt.Sprintf("%s/gathered/%d", name, senders), func(b *testing.B) {
				awstest.Bench(b, srv, senders, func(ctx context.Context, m *adapters.Message) error {
					_,
						err := snd.Send(ctx, m)
					return err
				})
			})
		}
		b.Run(name+"/single/20", func(b *testing.B) {
			awstest.Bench(b, srv, 20, func(ctx context.Context, m *adapters.Message) error {
				_, err := snd.call(ctx, []types.PutRecordsRequestEntry{{Data: m.Data, PartitionKey: aws.String(m.EventID)}})
				return err
			})
		})
	}
}
