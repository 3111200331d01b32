package awskinesis

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// sent is a call as Kinesis reads it.
type sent struct {
	StreamName, StreamARN string
	Records               []struct {
		Data         []byte
		PartitionKey string
	}
}

// stream plays Kinesis.
func stream(t testing.TB) func(*awstest.Request) awstest.Answer {
	return func(r *awstest.Request) awstest.Answer {
		if r.Operation == "DescribeStreamSummary" {
			return awstest.Answer{Body: map[string]any{"StreamDescriptionSummary": map[string]any{"StreamName": "orders"}}}
		}
		var in sent
		r.JSON(t, &in)
		if r.Operation != operation || in.StreamName+name(in.StreamARN) != "orders" || len(in.Records) == 0 || len(in.Records) > 500 {
			t.Errorf("%s to %s%s with %d records", r.Operation, in.StreamName, in.StreamARN, len(in.Records))
		}
		var results []map[string]string
		failed := 0
		for _, rec := range in.Records {
			if rec.PartitionKey == "" {
				t.Error("a record has no partition key")
			}
			if strings.Contains(string(rec.Data), "too much") {
				failed++
				results = append(results, map[string]string{"ErrorCode": "ProvisionedThroughputExceededException",
					"ErrorMessage": "Rate exceeded for shard shardId-000000000001 in stream orders under account 123456789012."})
				continue
			}
			results = append(results, map[string]string{"SequenceNumber": "seq-" + rec.PartitionKey, "ShardId": "shardId-000000000000"})
		}
		return awstest.Answer{Body: map[string]any{"FailedRecordCount": failed, "Records": results}}
	}
}

var config = map[string]string{"stream_name": "orders"}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		side := awstest.Start(t, "kinesis", stream(t)).Side(t, config, func(r awstest.Request) (out []adaptertest.Delivery) {
			if r.Operation != operation {
				return nil
			}
			var in sent
			r.JSON(t, &in)
			for _, rec := range in.Records {
				out = append(out, adaptertest.Delivery{EventID: rec.PartitionKey, Data: rec.Data})
			}
			return out
		})
		side.PayloadOnly = true
		side.AnswerTo = func(r adapters.Receipt) string {
			var got accepted
			if err := json.Unmarshal(r.Body, &got); err != nil {
				t.Errorf("%v in %s", err, r.Body)
			}
			return strings.TrimPrefix(got.SequenceNumber, "seq-")
		}
		return side
	}})
}
