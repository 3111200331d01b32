package models

import (
	"bytes"
	"strings"
	"testing"
)

const sampleRequest = "Host: 127.0.0.1:44061\nContent-Length: 966\nUser-Agent: Waybill/1.4.2\nContent-Type: application/json\n" +
	"webhook-id: evt_01a227f8229c7e3c883f071890a1fc88\nwebhook-timestamp: 1795966902\n" +
	"webhook-signature: v1,T4+cYFlxkgLdM5FkcLBr292dbvvCtOZQnWWFfkeDMEI=\nwaybill-topic: order.created\nwaybill-attempt: 1\n"

const sampleAnswer = "Date: Sun, 29 Nov 2026 15:41:42 GMT\nContent-Type: text/plain; charset=utf-8\nContent-Length: 2\n"

func TestHeadersPacked(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("X-Long: "+strings.Repeat("ü", 300)+"\n", 200)
	for _, c := range [][2]string{{"", ""}, {"A: b\n", ""}, {"", "A: b\n"}, {sampleRequest, sampleAnswer}, {long, sampleAnswer}, {"A: b", long}} {
		var packed []byte
		packHeaders(c[0], c[1], func(b []byte) { packed = bytes.Clone(b) })
		request, response, err := unpackHeaders(packed)
		if err != nil || request != c[0] || response != c[1] {
			t.Errorf("%.60q %.60q became %.60q %.60q (%v)", c[0], c[1], request, response, err)
		}
		if c[0] == sampleRequest && len(packed) > (len(c[0])+len(c[1]))/2 {
			t.Errorf("headers of %d bytes take %d", len(c[0])+len(c[1]), len(packed))
		}
	}
	for _, broken := range [][]byte{{2, 1}, {1}, {1, 255, 255}, {1, 1, 0, 'a'}} {
		if _, _, err := unpackHeaders(broken); err == nil {
			t.Errorf("%v was read", broken)
		}
	}
}

// TestHeadersDictionary fails when the dictionary in use is changed: what is kept could not be read any more.
func TestHeadersDictionary(t *testing.T) {
	t.Parallel()
	packed := []byte{
		1, 132, 3, 9, 0, 56, 49, 50, 55, 46, 48, 46, 48, 46, 49, 58, 52, 52, 48, 54, 49, 21, 168, 17, 213, 8, 57, 54, 54, 82,
		212, 0, 16, 49, 46, 52, 46, 50, 206, 214, 0, 108, 50, 55, 102, 56, 50, 50, 57, 99, 55, 101, 51, 99, 56, 56, 51, 102, 48,
		55, 49, 56, 57, 48, 97, 49, 102, 99, 56, 56, 21, 219, 54, 242, 0, 20, 53, 57, 54, 54, 57, 48, 57, 16, 54, 249, 0, 172,
		84, 52, 43, 99, 89, 70, 108, 120, 107, 103, 76, 100, 77, 53, 70, 107, 99, 76, 66, 114, 50, 57, 50, 100, 98, 118, 118,
		67, 116, 79, 90, 81, 110, 87, 87, 70, 102, 107, 101, 68, 77, 69, 73, 61, 53, 8, 142, 37, 1, 1, 0, 0, 0, 157, 88, 4, 50,
		57, 121, 245, 28, 49, 53, 58, 52, 49, 58, 52, 50, 74, 244, 3, 97, 176, 21, 0, 32,
	}
	request, response, err := unpackHeaders(packed)
	if err != nil || request != sampleRequest || response != sampleAnswer {
		t.Errorf("what version 1 packed is read as %q %q (%v); leave its dictionary as it is, and give another one the next number", request, response, err)
	}
}

func BenchmarkPackHeaders(b *testing.B) {
	for b.Loop() {
		packHeaders(sampleRequest, sampleAnswer, func(packed []byte) { b.ReportMetric(float64(len(packed)), "bytes") })
	}
}
