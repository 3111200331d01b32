package awsconf

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

const (
	// maxAnswer bounds what is read of an answer. The largest, of 500 Kinesis records, has well below 200 kB.
	maxAnswer = 1 << 20
	// callLimit ends requests that nobody waits for: credentials are fetched beside the messages that need them.
	callLimit = 30 * time.Second
	// idleTimeout and maxIdle are about connections that are kept unused, as in package outbound.
	idleTimeout = 30 * time.Second
	maxIdle     = 64
)

// Resource is what a destination sends to, in the words that errors and checks need.
type Resource struct {
	Service string // "SQS"
	Kind    string // "queue"
	Name    string
	Action  string // the permission that sending takes: "sqs:SendMessage"
	Look    string // the permission that the check makes use of: "sqs:GetQueueAttributes"
	URL     string // for receipts, without credentials
	// Limit is the advice for a message that the service finds too large.
	Limit string
}

// Client is what a sender needs, whatever the service. It is safe for concurrent use.
type Client struct {
	Config   aws.Config // for the service's NewFromConfig
	Resource Resource
	limit    time.Duration
	region   string
	endpoint *outbound.Endpoint // of the service
	env      adapters.Env
	role     string
	http     *httpClient

	mu     sync.Mutex
	hidden map[string][]string // secrets, by where they come from
	redact atomic.Pointer[outbound.Redactor]
}

// New makes a client. endpoint is the address of the service, set.Endpoint or the region's own. It does not touch the
// network.
func New(env adapters.Env, s adapters.Settings, set Settings, endpoint string, res Resource) (*Client, error) {
	at, err := outbound.ParseURL(endpoint)
	if err != nil {
		return nil, adapters.ConfigError("The address of " + res.Service + " " + err.Error() + ".")
	}
	c := &Client{limit: s.Limit(), Resource: res, region: set.Region, endpoint: at, env: env, role: set.RoleARN, http: newHTTP(env)}
	c.Config = aws.Config{Region: set.Region, HTTPClient: c.http, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	c.Config.BaseEndpoint = aws.String(strings.TrimSuffix(at.Label(), "/"))
	if c.Config.Credentials, err = c.provider(s, set); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends what is under way and closes the connections.
func (c *Client) Close() {
	c.http.stop()
	c.http.transport.CloseIdleConnections()
}

// Deadline bounds an attempt by the destination's timeout.
func (c *Client) Deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.limit)
}

// Exchange is what HTTP told about the last request of a call.
type Exchange struct {
	Header     string // of the request, as lines; credentials masked
	Status     int    // 0 when no answer came
	NotSent    bool   // there was no connection to send it on
	RequestID  string // AWS's own, for its support
	Timing     adapters.Timing
	RetryAfter time.Duration
	Region     string // of the bucket, where the service says so
}

type exchangeKey struct{}

// Watch makes x hold what the next request under the returned context is answered. Only the service's own requests
// count, not those for credentials.
func Watch(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// Receipt says what was answered to an operation; said becomes JSON. It is empty when no answer came.
func (c *Client) Receipt(operation string, x *Exchange, said any) adapters.Receipt {
	if x.Status == 0 {
		if x.Header == "" {
			return adapters.Receipt{}
		}
		return adapters.Receipt{Method: operation, URL: c.Resource.URL, ReqHeader: c.clean(x.Header), NotSent: x.NotSent, Timing: x.Timing}
	}
	body, err := json.Marshal(said)
	if err != nil {
		body = nil
	}
	return adapters.Receipt{Method: operation, URL: c.Resource.URL, ReqHeader: c.clean(x.Header), Code: x.Status,
		Body: []byte(c.clean(string(body))), Retry: x.RetryAfter,
		Timing: x.Timing}
}

func (c *Client) clean(s string) string { return c.redact.Load().Text(s) }

// httpClient is the HTTP client of the SDK. It follows no redirect, uses no proxy, and dials through the guard.
type httpClient struct {
	transport *http.Transport
	base      context.Context // ends with Close
	stop      context.CancelFunc
	agent     string
}

func newHTTP(env adapters.Env) *httpClient {
	c := &httpClient{agent: env.UserAgent, transport: &http.Transport{
		DialContext:            outbound.NewDialer(env.Egress).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	c.base, c.stop = context.WithCancel(context.Background())
	return c
}

var errTooLong = errors.New("the answer is too long")

// shownHeader is the header of a signed request for people to look at: in lines, one order, and without the signature, the
// session's token and whatever else may be a credential. The SDK's own lines about its tries say nothing here, for there are
// none.
func shownHeader(req *http.Request) string {
	var b strings.Builder
	line := func(name, value string) {
		if outbound.Sensitive(name) {
			value = "***"
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	line("Host", cmp.Or(req.Host, req.URL.Host))
	if req.ContentLength > 0 {
		line("Content-Length", strconv.FormatInt(req.ContentLength, 10))
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		if name == "Content-Length" || strings.HasPrefix(name, "Amz-Sdk-") {
			continue
		}
		for _, value := range req.Header[name] {
			line(name, value)
		}
	}
	return b.String()
}

// Do implements aws.HTTPClient. The answer has been read when it returns, so that no connection hangs on a reader.
func (c *httpClient) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), callLimit)
	defer cancel()
	defer context.AfterFunc(c.base, cancel)()
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	var t tracer
	resp, err := c.transport.RoundTrip(req.WithContext(t.watch(ctx)))
	if err != nil {
		if x, ok := ctx.Value(exchangeKey{}).(*Exchange); ok && x != nil {
			var dialled *adapters.Error
			*x = Exchange{Header: shownHeader(req), Timing: t.timing(), NotSent: errors.As(err, &dialled)}
		}
		return nil, err
	}
	defer resp.Body.Close()
	if x, ok := ctx.Value(exchangeKey{}).(*Exchange); ok && x != nil {
		*x = Exchange{Header: shownHeader(req), Status: resp.StatusCode, Timing: t.timing(), Region: resp.Header.Get("X-Amz-Bucket-Region"),
			RetryAfter: outbound.RetryAfter(resp.Header.Get("Retry-After"), t.begun), RequestID: resp.Header.Get("X-Amzn-Requestid")}
		if x.RequestID == "" {
			x.RequestID = resp.Header.Get("X-Amz-Request-Id")
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLong
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
