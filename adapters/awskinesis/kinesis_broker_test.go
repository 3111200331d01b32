//go:build brokers

package awskinesis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

func create(t *testing.T, api *kinesis.Client, name string) {
	t.Helper()
	if _, err := api.CreateStream(context.Background(), &kinesis.CreateStreamInput{StreamName: aws.String(name),
		ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "the stream", func() bool {
		out, err := api.DescribeStreamSummary(context.Background(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
		return err == nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
}

// read returns all records of a stream, shard by shard.
func read(t *testing.T, api *kinesis.Client, name string) (out []types.Record) {
	ctx := context.Background()
	shards, err := api.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(name)})
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, s := range shards.Shards {
		it, err := api.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String(name), ShardId: s.ShardId,
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Error(err)
			return nil
		}
		for next := it.ShardIterator; next != nil; {
			page, err := api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
			if err != nil {
				t.Error(err)
				return nil
			}
			out = append(out, page.Records...)
			if next = page.NextShardIterator; len(page.Records) == 0 {
				break
			}
		}
	}
	return out
}

func TestBrokerConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		_, cfg := awstest.Moto(t)
		api, name := kinesis.NewFromConfig(cfg), awstest.Name("orders")
		create(t, api, name)
		to := func(stream string) *adapters.Settings {
			set := awstest.MotoSettings(t, map[string]string{"stream_name": stream})
			return &set
		}
		nobody := to(name)
		nobody.Config["endpoint"] = "http://" + adaptertest.ClosedPort(t)
		return adaptertest.Side{Env: adaptertest.Env(), Good: *to(name), Refusing: to(name + "-missing"), Unreachable: nobody,
			PayloadOnly: true,
			Received: func() (out []adaptertest.Delivery) {
				for _, r := range read(t, api, name) {
					out = append(out, adaptertest.Delivery{EventID: *r.PartitionKey, Data: r.Data})
				}
				return out
			}}
	}})
}

// TestBrokerRecreated deletes the stream under the sender and makes it again.
func TestBrokerRecreated(t *testing.T) {
	t.Parallel()
	_, cfg := awstest.Moto(t)
	api, name := kinesis.NewFromConfig(cfg), awstest.Name("orders")
	create(t, api, name)
	snd := awstest.Open(t, Type{}, awstest.MotoSettings(t, map[string]string{"stream_name": name}))
	send := func() error {
		_, err := snd.Send(context.Background(), &adapters.Message{EventID: "evt-1", Time: time.Now(), Data: []byte(`{}`), Attempt: 1,
			Computed: map[string]string{keyTemplate: "customer 7"}})
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, api, name); len(got) != 1 || *got[0].PartitionKey != "customer 7" {
		t.Errorf("the stream holds %+v", got)
	}
	if _, err := api.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	err := send()
	if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient || e.Class != adapters.ClassNotFound ||
		!strings.Contains(e.Message, name) {
		t.Errorf("the stream is gone, and Send says %+v", err)
	}
	create(t, api, name)
	if err := send(); err != nil {
		t.Errorf("the stream is back, and Send says %v", err)
	}
}
