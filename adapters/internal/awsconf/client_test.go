package awsconf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/adaptertest"
	"github.com/waybill-dev/waybill/adapters/internal/awstest"
)

// look is a call of the kind that checks make.
func look(c *Client) func(context.Context) error {
	api := sqs.NewFromConfig(c.Config)
	return func(ctx context.Context) error {
		_, err := api.GetQueueAttributes(ctx,
			&sqs.GetQueueAttributesInput{QueueUrl: aws.String("https://sqs.eu-west-1.amazonaws.com/1/orders")})
		return err
	}
}

// try makes a call and returns what a sender would make of it.
func try(c *Client) *adapters.Error {
	if f := fail(c); f != nil {
		return f.Fault
	}
	return nil
}

func fail(c *Client) *CallError {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var x Exchange
	if err := look(c)(Watch(ctx, &x)); err != nil {
		return c.Explain("GetQueueAttributes", &x, err)
	}
	return nil
}

func ok(*awstest.Request) awstest.Answer { return awstest.Answer{Body: map[string]any{}} }

// What an assumed role signs with.
const (
	roleKey, roleSecret, roleToken = "ASIAROLETESTKEY00001", "rolesecret0123456789abcdefghijklmnopqrst", "rolesessiontoken0123456789"
	roleARN                        = "arn:aws:iam::123456789012:role/waybill"
)

// withRole starts a server with SQS and STS, and returns a client that assumes the role there.
func withRole(t *testing.T, answer func(*awstest.Request) awstest.Answer) (*awstest.Server, *Client) {
	srv := awstest.Start(t, "sqs,sts", answer)
	srv.Know(roleKey, roleSecret, roleToken)
	s := settings()
	s.Config["role_arn"], s.Config["external_id"], s.Config["endpoint"] = roleARN, "tenant/7", srv.URL
	return srv, client(t, s, srv.URL)
}

func assumed(expires time.Time) awstest.Answer {
	return awstest.Answer{Body: fmt.Sprintf(`<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey>`+
		`<SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		roleKey, roleSecret, roleToken, expires.UTC().Format(time.RFC3339))}
}

func TestRole(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(time.Hour)
	srv, c := withRole(t, func(r *awstest.Request) awstest.Answer {
		if r.Service == "sqs" {
			return awstest.Answer{Error: "InternalFailure", Status: 500,
				Text: "it had " + roleSecret + " and " + roleToken + " and " + roleKey}
		}
		form, err := url.ParseQuery(string(r.Body))
		if err != nil || form.Get("Action") != "AssumeRole" || form.Get("RoleArn") != roleARN || form.Get("ExternalId") != "tenant/7" ||
			form.Get("RoleSessionName") != "waybill-des_1" || r.Key != awstest.Key {
			t.Errorf("STS was asked %v by %s", form, r.Key)
		}
		return assumed(expires)
	})
	count := func() (sts, role int) {
		for _, r := range srv.Requests() {
			if r.Service == "sts" {
				sts++
			} else if r.Key == roleKey {
				role++
			}
		}
		return sts, role
	}
	for range 3 {
		e := try(c)
		if e == nil || e.Class != adapters.ClassServer || strings.Contains(e.Raw, "role") || !strings.Contains(e.Raw, "it had") {
			t.Errorf("the call says %+v", e)
		}
	}
	if sts, role := count(); sts != 1 || role != 3 {
		t.Errorf("STS was asked %d times, and %d calls were signed by the role", sts, role)
	}
	// Credentials that end soon are replaced before they do.
	srv, c = withRole(t, func(r *awstest.Request) awstest.Answer {
		if r.Service == "sts" {
			return assumed(time.Now().Add(renewBefore / 2))
		}
		return ok(r)
	})
	for range 3 {
		if e := try(c); e != nil {
			t.Errorf("the call says %+v", e)
		}
	}
	if sts, role := count(); sts != 3 || role != 3 {
		t.Errorf("STS was asked %d times, and %d calls were signed by the role", sts, role)
	}
}

func TestRoleRefused(t *testing.T) {
	t.Parallel()
	for code, words := range map[string]string{"AccessDenied": "denied assuming the role " + roleARN,
		"ExpiredToken":            "session token has expired",
		"RegionDisabledException": "could not be assumed", "Throttling": "could not hand out"} {
		srv, c := withRole(t, func(r *awstest.Request) awstest.Answer {
			return awstest.Answer{Status: 403, Error: code, Text: "User is not authorized to perform: sts:AssumeRole; key " +
				awstest.Secret}
		})
		f := fail(c)
		if f == nil || f.Receipt.Method != "" {
			t.Fatalf("%s: nothing was sent, and the call says %+v", code, f)
		}
		e := f.Fault
		if e.Kind != adapters.KindTransient || !strings.Contains(e.Message, words) || strings.Contains(e.Raw, awstest.Secret) {
			t.Errorf("%s: %+v", code, e)
		}
		stages := c.Check(context.Background(), look(c))
		if last := stages[len(stages)-1]; last.Name != "auth" || last.OK || !strings.Contains(last.Message, words) {
			t.Errorf("%s: the check says %+v", code, stages)
		}
		for _, r := range srv.Requests() {
			if r.Service != "sts" {
				t.Errorf("%s: a message was sent without the role", code)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		stage, words string
		ok           bool
	}{
		"":                            {"publish", "The queue orders in eu-west-1 is there.", true},
		"AccessDeniedException":       {"publish", "Sending may still work", true},
		"QueueDoesNotExist":           {"publish", "There is no queue orders", false},
		"UnrecognizedClientException": {"auth", "does not know the access key", false},
		"SignatureDoesNotMatch":       {"auth", "secret does not belong", false},
		"InternalFailure":             {"publish", "failed", false},
	} {
		srv := awstest.Start(t, "sqs", func(*awstest.Request) awstest.Answer {
			return awstest.Answer{Error: code, Text: "x", Body: map[string]any{}}
		})
		c := client(t, settings(), srv.URL)
		stages := c.Check(context.Background(), look(c))
		last := stages[len(stages)-1]
		if last.Name != want.stage || last.OK != want.ok || !strings.Contains(last.Message, want.words) || last.OK != (last.Advice == "") {
			t.Errorf("%q: %+v", code, stages)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Credentials = nil
	set, errs := Read(&s)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	_, err := New(adaptertest.Env(), s, set, "https://sqs.eu-west-1.amazonaws.com", Resource{})
	if e := adapters.AsError(err); err == nil || e.Class != adapters.ClassConfig || !strings.Contains(e.Advice, "ask the operator") {
		t.Errorf("without credentials of its own: %+v", err)
	}
}

// TestHostCredentials is not parallel: the credentials of the host are in the environment.
func TestHostCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", awstest.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", awstest.Secret)
	t.Setenv("AWS_SESSION_TOKEN", awstest.Session)
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_ENDPOINT_URL", "http://"+adaptertest.ClosedPort(t)) // is not for destinations
	t.Setenv("HTTP_PROXY", "http://"+adaptertest.ClosedPort(t))
	srv := awstest.Start(t, "sqs", func(r *awstest.Request) awstest.Answer {
		return awstest.Answer{Status: 500, Error: "InternalFailure", Text: awstest.Secret + r.Key}
	})
	s := settings()
	s.Credentials = nil
	set, _ := Read(&s)
	env := adaptertest.Env()
	env.HostCredentials = true
	c, err := New(env, s, set, srv.URL, Resource{Service: "SQS", Kind: "queue", Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e := try(c)
	if e == nil || e.Class != adapters.ClassServer || strings.Contains(e.Raw, awstest.Secret) || strings.Contains(e.Raw, awstest.Key) {
		t.Errorf("the call says %+v", e)
	}
	if n := len(srv.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestAnswers lets something else than AWS answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := adaptertest.NewSink(t)
	for name, v := range map[string]struct {
		answer adaptertest.Answer
		class  adapters.Class
	}{
		"page": {adaptertest.Answer{Status: 404, Body: "<html>nothing here</html>", Header: []string{"Content-Type: text/html"}},
			adapters.ClassProtocol},
		"page of 200": {adaptertest.Answer{Body: "<html>hello</html>"}, adapters.ClassProtocol},
		"redirect":    {adaptertest.Answer{Status: 307, Header: []string{"Location: " + elsewhere.URL("/")}}, adapters.ClassConfig},
		"too long":    {adaptertest.Answer{Body: `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, Chunked: true}, adapters.ClassProtocol},
		"cut off":     {adaptertest.Answer{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Close: true}, adapters.ClassConnect},
		"closed":      {adaptertest.Answer{Close: true}, adapters.ClassConnect},
		"no HTTP":     {adaptertest.Answer{Raw: "220 smtp.example.com ESMTP\r\n", Close: true}, adapters.ClassProtocol},
		"busy":        {adaptertest.Answer{Status: 503, Body: "busy"}, adapters.ClassThrottled},
		"gateway":     {adaptertest.Answer{Status: 502, Body: "bad gateway"}, adapters.ClassServer},
	} {
		sink := adaptertest.NewSink(t, v.answer)
		c := client(t, settings(), sink.URL(""))
		e := try(c)
		if e == nil || e.Kind == adapters.KindPermanent || e.Class != v.class {
			t.Errorf("%s: %+v", name, e)
		}
		if n := len(sink.Requests()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	if n := elsewhere.Accepted(); n != 0 {
		t.Errorf("a redirect was followed, with %d connections", n)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "sqs", ok)
	s := settings()
	set, _ := Read(&s)
	c, err := New(adapters.Env{}, s, set, srv.URL, Resource{Service: "SQS", Kind: "queue", Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if e := try(c); e == nil || e.Class != adapters.ClassBlocked {
		t.Errorf("a loopback address that is not allowed: %+v", e)
	}
}

// TestCloseEnds looks whether a call that nobody ends is ended by Close.
func TestCloseEnds(t *testing.T) {
	t.Parallel()
	srv := awstest.Start(t, "sqs", ok)
	c := client(t, settings(), srv.URL+"/"+awstest.Hang)
	done := make(chan error, 1)
	go func() { done <- look(c)(context.Background()) }()
	adaptertest.Eventually(t, "the request", func() bool { return len(srv.Requests()) == 1 })
	c.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Close ended the call with %v", err)
	}
	adaptertest.Eventually(t, "the connection to close", func() bool { return srv.Open() == 0 })
}

// TestShownHeader sees that people are shown what was sent, and neither the signature nor what proves a session.
func TestShownHeader(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequest(http.MethodPost, "https://sqs.eu-west-1.amazonaws.com/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"X-Amz-Target": "AmazonSQS.SendMessageBatch", "X-Amz-Date": "20260131T120000Z",
		"Content-Type":  "application/x-amz-json-1.0",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/…, Signature=abc", "X-Amz-Security-Token": "tok",
		"Amz-Sdk-Invocation-Id": "0123"} {
		req.Header.Set(name, value)
	}
	const want = "Host: sqs.eu-west-1.amazonaws.com\nContent-Length: 2\nAuthorization: ***\nContent-Type: application/x-amz-json-1.0\nX-Amz-Date: 20260131T120000Z\n" +
		"X-Amz-Security-Token: ***\nX-Amz-Target: AmazonSQS.SendMessageBatch\n"
	if got := shownHeader(req); got != want {
		t.Errorf("%s", got)
	}
}
