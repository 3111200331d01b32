package awsconf

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

func settings() adapters.Settings {
	return adapters.Settings{ID: "des_1", Config: map[string]string{"region": "eu-west-1"},
		Credentials: map[string]string{"key": awstest.Key, "secret": awstest.Secret, "session": awstest.Session}}
}

func client(t *testing.T, s adapters.Settings, endpoint string) *Client {
	t.Helper()
	set, errs := Read(&s)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	c, err := New(adaptertest.Env(), s, set, endpoint, Resource{Service: "SQS", Kind: "queue", Name: "orders",
		Action: "sqs:SendMessage", Look: "sqs:GetQueueAttributes", Limit: "Send less."})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := client(t, settings(), "https://sqs.eu-west-1.amazonaws.com")
	const transient, permanent, throttled = adapters.KindTransient, adapters.KindPermanent, adapters.KindThrottled
	for _, v := range []struct {
		code, text string
		status     int
		kind       adapters.Kind
		class      adapters.Class
		words      string // that the message or the advice has
	}{
		{"AccessDenied", "", 403, transient, adapters.ClassAuth, "sqs:SendMessage on queue orders in eu-west-1"},
		{"AccessDeniedException", "", 400, transient, adapters.ClassAuth, "IAM policy"},
		{"InvalidClientTokenId", "", 403, transient, adapters.ClassAuth, "does not know the access key"},
		{"UnrecognizedClientException", "", 400, transient, adapters.ClassAuth, "does not know the access key"},
		{"SignatureDoesNotMatch", "The request signature we calculated", 403, transient, adapters.ClassAuth, "secret does not belong"},
		{"SignatureDoesNotMatch", "Signature not yet current: 1 is still later than 2", 403, transient, adapters.ClassAuth, "clock"},
		{"InvalidSignatureException", "Signature expired: 1 is now earlier than 2", 400, transient, adapters.ClassAuth, "clock"},
		{"RequestTimeTooSkewed", "", 403, transient, adapters.ClassAuth, "clock"},
		{"ExpiredToken", "", 400, transient, adapters.ClassAuth, "session token has expired"},
		{"ExpiredTokenException", "", 400, transient, adapters.ClassAuth, "session token has expired"},
		{"InvalidToken", "", 400, transient, adapters.ClassAuth, "ASIA"},
		{"AWS.SimpleQueueService.NonExistentQueue", "", 400, transient, adapters.ClassNotFound, "There is no queue orders in eu-west-1"},
		{"QueueDoesNotExist", "", 400, transient, adapters.ClassNotFound, "region"},
		{"ResourceNotFoundException", "", 400, transient, adapters.ClassNotFound, "There is no queue"},
		{"NoSuchBucket", "", 404, transient, adapters.ClassNotFound, "There is no queue"},
		{"NotFound", "", 404, transient, adapters.ClassNotFound, "There is no queue"},
		{"ThrottlingException", "", 400, throttled, adapters.ClassThrottled, "slow down"},
		{"RequestThrottled", "", 403, throttled, adapters.ClassThrottled, "slow down"},
		{"ProvisionedThroughputExceededException", "", 0, throttled, adapters.ClassThrottled, "slow down"},
		{"SlowDown", "", 503, throttled, adapters.ClassThrottled, "slow down"},
		{"KMSThrottlingException", "", 400, throttled, adapters.ClassThrottled, "slow down"},
		{"KmsAccessDenied", "", 400, transient, adapters.ClassAuth, "kms:GenerateDataKey"},
		{"KMSNotFoundException", "", 400, transient, adapters.ClassAuth, "key"},
		{"BatchRequestTooLong", "", 400, permanent, adapters.ClassTooLarge, "Send less."},
		{"InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.", 400,
			permanent, adapters.ClassTooLarge, "larger"},
		{"InvalidParameterValue", "The message attribute is bad", 400, permanent, adapters.ClassRejected, "InvalidParameterValue"},
		{"ValidationException", "Value at 'streamName' failed to satisfy constraint", 400, transient, adapters.ClassConfig, "settings"},
		{"MalformedDetail", "Detail is malformed.", 0, permanent, adapters.ClassRejected, "MalformedDetail"},
		{"InvalidStorageClass", "", 400, transient, adapters.ClassConfig, "settings"},
		{"InternalFailure", "", 500, transient, adapters.ClassServer, "failed"},
		{"InternalException", "", 0, transient, adapters.ClassServer, "failed"},
		{"ServiceUnavailable", "", 503, transient, adapters.ClassServer, "failed"},
		{"PermanentRedirect", "", 301, transient, adapters.ClassConfig, "us-west-2"},
		{"UnknownError", "", 418, transient, adapters.ClassProtocol, "418"},
		{"UnknownError", "", 502, transient, adapters.ClassServer, "failed"},
		{"SomethingNew", "", 400, transient, adapters.ClassRejected, "SomethingNew"},
		{"", "", 0, transient, adapters.ClassRejected, "refused"},
	} {
		x := Exchange{Status: v.status, Region: "us-west-2", RetryAfter: 7 * time.Second}
		e := c.Refused(v.code, v.text, x)
		if e.Kind != v.kind || e.Class != v.class || !strings.Contains(e.Message+" "+e.Advice, v.words) {
			t.Errorf("%s %d: %+v", v.code, v.status, e)
		}
		if e.Message == "" || e.Advice == "" || !strings.HasSuffix(e.Message, ".") || !strings.HasSuffix(e.Advice, ".") {
			t.Errorf("%s is not worded: %+v", v.code, e)
		}
		if wait := e.After; e.Kind == throttled && wait != 7*time.Second || e.Kind != throttled && wait != 0 {
			t.Errorf("%s waits %v", v.code, wait)
		}
	}
	for _, hidden := range []string{awstest.Key, awstest.Secret, awstest.Session} {
		if e := c.Refused("Odd"+hidden, "it is "+hidden+"\x00\n", Exchange{Status: 400}); strings.Contains(e.Raw+e.Message, hidden) ||
			strings.ContainsAny(e.Raw, "\x00\n") {
			t.Errorf("the error shows a secret, or cannot be stored: %+v", e)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		config, credentials map[string]string
		wrong               string // the field with a problem; empty for none
	}{
		"all": {map[string]string{"region": "us-gov-west-1", "role_arn": "arn:aws-us-gov:iam::123456789012:role/path/waybill",
			"external_id": "a/b", "endpoint": "https://vpce-1.sqs.us-gov-west-1.vpce.amazonaws.com"},
			map[string]string{"key": " AKIA1 ", "secret": "s/+ \n", "session": "t=="}, ""},
		"pasted":               {nil, map[string]string{"key": " AKIA1 \n", "secret": "\ts/+=\n"}, ""},
		"nothing":              {nil, nil, ""},
		"key alone":            {nil, map[string]string{"key": "AKIA1"}, "credentials.secret"},
		"secret alone":         {nil, map[string]string{"secret": "abc"}, "credentials.key"},
		"session alone":        {nil, map[string]string{"session": "abc"}, "credentials.key"},
		"key with a break":     {nil, map[string]string{"key": "AK\nIA", "secret": "abc"}, "credentials.key"},
		"region of four parts": {map[string]string{"region": "us-iso-east-1"}, nil, ""},
		"zone":                 {map[string]string{"region": "eu-west-1a"}, nil, "config.region"},
		"user as role":         {map[string]string{"role_arn": "arn:aws:iam::123456789012:user/x"}, nil, "config.role_arn"},
		"id without role":      {map[string]string{"external_id": "abc"}, nil, "config.external_id"},
		"endpoint with user":   {map[string]string{"endpoint": "https://a:b@example.com"}, nil, "config.endpoint"},
		"endpoint with query":  {map[string]string{"endpoint": "https://example.com/?a=b"}, nil, "config.endpoint"},
	} {
		s := adapters.Settings{Config: v.config, Credentials: v.credentials}
		set, errs := Read(&s)
		if name == "all" {
			if len(errs) > 0 || set.RoleARN == "" || set.key != "AKIA1" || s.Credentials["key"] != "AKIA1" ||
				s.Credentials["secret"] != "s/+" {
				t.Errorf("all: %+v, %+v from %+v", errs, set, s)
			}
			continue
		}
		if v.wrong == "" && len(errs) > 0 || v.wrong != "" && (len(errs) == 0 || errs[0].Key != v.wrong) {
			t.Errorf("%s: %+v", name, errs)
		}
	}
}

func TestConsoleURL(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{
		"eu-west-1":     "https://eu-west-1.console.aws.amazon.com/x",
		"cn-north-1":    "https://cn-north-1.console.amazonaws.cn/x",
		"us-gov-west-1": "https://us-gov-west-1.console.amazonaws-us-gov.com/x",
		"us-iso-east-1": "", "": "",
	} {
		if got := (Settings{Region: region}).ConsoleURL("/x"); got != want {
			t.Errorf("%s: %s", region, got)
		}
	}
}
