//go:build brokers && moto

package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// accounts are the users of a server that plays AWS and knows who may do what.
type accounts struct {
	t     *testing.T
	url   string
	admin accessKey
}

type accessKey struct {
	ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
	Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
}

// credentials are a destination's.
func (k accessKey) credentials() map[string]string {
	return map[string]string{"key": k.ID, "secret": k.Secret}
}

func newAccounts(t *testing.T) *accounts {
	t.Helper()
	a := &accounts{t: t, url: moto(t, "WAYBILL_TEST_MOTO_IAM"), admin: accessKey{"nobody", "nobody"}}
	// The first user is made by nobody, in three requests.
	resp, err := http.Post(a.url+"/moto-api/reset-auth", "text/plain", bytes.NewReader([]byte("3")))
	must(t, err)
	resp.Body.Close()
	a.admin = a.user(unique("admin"), "*")
	return a
}

// user makes one that may do what is said.
func (a *accounts) user(name, action string) accessKey {
	a.t.Helper()
	a.do(url.Values{"Action": {"CreateUser"}, "UserName": {name}}, nil)
	a.permit(name, action)
	return a.key(name)
}

// permit gives a user permission for an action, instead of what it was permitted before.
func (a *accounts) permit(name, action string) {
	a.t.Helper()
	a.do(url.Values{"Action": {"PutUserPolicy"}, "UserName": {name}, "PolicyName": {"only"}, "PolicyDocument": {
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`}}, nil)
}

// key makes another access key for a user.
func (a *accounts) key(name string) (k accessKey) {
	a.t.Helper()
	a.do(url.Values{"Action": {"CreateAccessKey"}, "UserName": {name}}, &k)
	return k
}

func (a *accounts) delete(name string, k accessKey) {
	a.t.Helper()
	a.do(url.Values{"Action": {"DeleteAccessKey"}, "UserName": {name}, "AccessKeyId": {k.ID}}, nil)
}

// do makes a request of IAM, whose Go client would be one more module.
func (a *accounts) do(form url.Values, answer any) {
	a.t.Helper()
	form.Set("Version", "2010-05-08")
	body := []byte(form.Encode())
	req, err := http.NewRequest("POST", a.url+"/", bytes.NewReader(body))
	must(a.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256(body)
	must(a.t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: a.admin.ID, SecretAccessKey: a.admin.Secret}, req,
		hex.EncodeToString(sum[:]), "iam", "us-east-1", time.Now()))
	resp, err := http.DefaultClient.Do(req)
	must(a.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(a.t, err)
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %d %s", form.Get("Action"), resp.StatusCode, text)
	}
	if answer != nil {
		must(a.t, xml.Unmarshal(text, answer))
	}
}

// TestBrokerAWSCredentialsChangedWhileBusy renews the access key of a user whose events are under way, and takes the
// user's permission away for a while. Nothing is lost, and the delivery log says which of both it was. It is S3 that is
// spoken to, for moto refuses users of the other services in a form that is not theirs.
func TestBrokerAWSCredentialsChangedWhileBusy(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	name := unique("waybill")
	b := bucketAt(amazon(a.url, a.admin.ID, a.admin.Secret), name)
	b.create(t)
	first := a.user(name, "s3:PutObject")
	s := newStream(t, map[string]any{"type": "aws_s3", "credentials": first.credentials(), "timeout": slowly,
		"config": map[string]string{"bucket": name, "region": "eu-west-1", "endpoint": a.url}})
	s.pause = 150 * time.Millisecond
	(&cloud{gate: &gate{t: t}, receive: b.receive}).consume(s.ledger)
	refused := func(words string) {
		t.Helper()
		s.failing("auth")
		if o := s.a.want(200, "GET", "/deliveries?limit=1&status=retrying&error_class=auth", nil); !strings.Contains(o.raw, words) {
			t.Errorf("%q is not in %s", words, o.raw)
		}
	}
	s.run()
	second := a.key(name)
	s.rotated(func() {
		a.delete(name, first)
		refused("AWS does not know the access key.")
	}, map[string]any{"credentials": second.credentials()})
	a.permit(name, "s3:GetObject")
	refused("AWS denied s3:PutObject on bucket " + name)
	a.permit(name, "s3:PutObject")
	s.more(20)
	s.settled()
}
