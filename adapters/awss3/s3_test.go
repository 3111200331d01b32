package awss3

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// store plays S3.
func store(t testing.TB) func(*awstest.Request) awstest.Answer {
	return func(r *awstest.Request) awstest.Answer {
		if r.Method == http.MethodGet {
			return awstest.Answer{Body: `<ListBucketResult><Name>example-events</Name></ListBucketResult>`}
		}
		sum, tag := sha256.Sum256(r.Body), md5.Sum(r.Body)
		checksum := base64.StdEncoding.EncodeToString(sum[:])
		if r.Method != http.MethodPut || !strings.HasPrefix(r.Path, "example-events/") ||
			r.Header.Get("X-Amz-Checksum-Sha256") != checksum ||
			r.Header.Get("Content-Encoding") != "" || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s %s with the header %v", r.Method, r.Path, r.Header)
		}
		size := 0
		for name, values := range r.Header {
			if rest, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
				size += len(rest) + len(strings.Join(values, ""))
			}
		}
		if size > 2<<10 {
			t.Errorf("the metadata has %d bytes", size)
		}
		return awstest.Answer{Header: map[string]string{"ETag": `"` + hex.EncodeToString(tag[:]) + `"`, "X-Amz-Version-Id": "v1",
			"X-Amz-Checksum-Sha256": checksum, "X-Amz-Request-Id": "req-1"}}
	}
}

func metadataOf(r awstest.Request) map[string]string {
	out := map[string]string{}
	for name := range r.Header {
		if rest, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			out[strings.ToLower(rest)] = r.Header.Get(name)
		}
	}
	return out
}

var config = map[string]string{"bucket": "example-events"}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{Type: Type{}, Start: func(t *testing.T) adaptertest.Side {
		side := awstest.Start(t, "s3", store(t)).Side(t, config, func(r awstest.Request) []adaptertest.Delivery {
			if r.Method != http.MethodPut {
				return nil
			}
			a := metadataOf(r)
			return []adaptertest.Delivery{{EventID: awstest.First(a, "event-id", "ce-id"), Topic: awstest.First(a, "topic", "ce-type"),
				Data: r.Body, Attributes: a}}
		})
		side.AnswerTo = func(r adapters.Receipt) string {
			var got accepted
			if err := json.Unmarshal(r.Body, &got); err != nil {
				t.Errorf("%v in %s", err, r.Body)
			}
			return strings.TrimSuffix(path.Base(got.Key), ".json")
		}
		return side
	}})
}
