//go:build brokers

package awstest

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/waybill-dev/waybill/adapters"
)

// Moto is the address of a server that plays AWS, and settings with which the SDK's own clients reach it.
func Moto(tb testing.TB) (string, aws.Config) {
	tb.Helper()
	url := os.Getenv("WAYBILL_TEST_MOTO")
	if url == "" {
		tb.Fatal("WAYBILL_TEST_MOTO is not set; run scripts/test-brokers.sh moto")
	}
	return url, aws.Config{Region: Region, BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(Key, Secret, "")}
}

var names atomic.Int64

// Name makes one that no other test has.
func Name(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().UnixNano(), names.Add(1))
}

// MotoSettings lead to the server, with these fields of the configuration.
func MotoSettings(tb testing.TB, config map[string]string) adapters.Settings {
	url, _ := Moto(tb)
	set := adapters.Settings{ID: "des_1", TenantID: "ten_1", Version: 1, Timeout: 20 * time.Second,
		Config:      map[string]string{"region": Region, "endpoint": url},
		Credentials: map[string]string{"key": Key, "secret": Secret, "session": Session}}
	for k, v := range config {
		set.Config[k] = v
	}
	return set
}
