package awsconf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// renewBefore is how long before their end an assumed role's credentials are replaced.
const renewBefore = 2 * time.Minute

// provider says where the credentials come from: the destination's own or the host's, and from there to a role.
func (c *Client) provider(s adapters.Settings, set Settings) (aws.CredentialsProvider, error) {
	c.hide("own", set.key, set.secret, set.session)
	var from aws.CredentialsProvider
	switch {
	case set.static():
		from = credentials.NewStaticCredentialsProvider(set.key, set.secret, set.session)
	case c.env.HostCredentials:
		from = &explained{name: "host", source: hostCredentials{}, c: c, wrap: func(err error) error { return &hostError{err} }}
	default:
		return nil, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConfig,
			Message: "The destination has no access key, and this server does not lend its own credentials.",
			Advice:  "Enter an access key id and its secret, or ask the operator to allow the credentials of the host."}
	}
	if set.RoleARN == "" {
		return from, nil
	}
	base := c.Config
	base.Credentials = from
	base.BaseEndpoint = nil
	if at := set.Endpoint; at != nil && !AWSHost(at.Host) {
		base.BaseEndpoint = c.Config.BaseEndpoint // a compatible server has its own roles
	}
	assume := stscreds.NewAssumeRoleProvider(assumer(sts.NewFromConfig(base).AssumeRole), set.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = sessionName(s.ID)
		o.Duration = time.Hour
		if set.ExternalID != "" {
			o.ExternalID = aws.String(set.ExternalID)
		}
	})
	cache := aws.NewCredentialsCache(unwatched{assume}, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewBefore })
	return &explained{name: "role", source: cache, c: c, wrap: func(err error) error { return &roleError{err} }}, nil
}

// assumer is the one operation of STS that is needed. Handing over its client would keep all of them in the binary.
type assumer func(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)

func (f assumer) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return f(ctx, in, opts...)
}

// sessionName is how the destination shows in the logs of the role's account.
func sessionName(id string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune("_+=,.@-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r) {
			return r
		}
		return '-'
	}, "waybill-"+id)
	return name[:min(len(name), 64)]
}

// hide makes texts be shown without these secrets. They replace those that came from the same place before.
func (c *Client) hide(from string, secrets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hidden == nil {
		c.hidden = map[string][]string{}
	}
	c.hidden[from] = secrets
	var all []string
	for _, list := range c.hidden {
		all = append(all, list...)
	}
	r := outbound.NewRedactor(all)
	c.redact.Store(&r)
}

// unwatched keeps a request for credentials from being taken for the message's own.
type unwatched struct{ aws.CredentialsProvider }

func (u unwatched) Retrieve(ctx context.Context) (aws.Credentials, error) {
	return u.CredentialsProvider.Retrieve(Watch(ctx, nil))
}

// explained marks the errors of a source, and hides the credentials that it gives.
type explained struct {
	name   string
	source aws.CredentialsProvider
	c      *Client
	wrap   func(error) error
	last   atomic.Pointer[string] // what is hidden
}

func (p *explained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := p.source.Retrieve(ctx)
	if err != nil {
		return got, p.wrap(err)
	}
	id := got.AccessKeyID + got.SessionToken
	if last := p.last.Load(); last == nil || *last != id {
		p.c.hide(p.name, got.AccessKeyID, got.SecretAccessKey, got.SessionToken)
		p.last.Store(&id)
	}
	return got, nil
}

// hostError and roleError say which credentials could not be had.
type (
	hostError struct{ error }
	roleError struct{ error }
)

func (e *hostError) Unwrap() error { return e.error }
func (e *roleError) Unwrap() error { return e.error }

// hostCredentials are those of the machine: environment, shared files, web identity, container or instance role. One
// source serves all destinations, so that the metadata service is asked once and not by each of them. Its requests do
// not go through the guard, which forbids just the addresses of such services; the operator has allowed them.
type hostCredentials struct{}

var host struct {
	sync.Mutex
	provider aws.CredentialsProvider
}

func (hostCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	host.Lock()
	if host.provider == nil {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err == nil && cfg.Credentials == nil {
			err = errors.New("no source of credentials was found")
		}
		if err != nil {
			host.Unlock()
			return aws.Credentials{}, fmt.Errorf("load the host's settings: %w", err)
		}
		host.provider = cfg.Credentials
	}
	p := host.provider
	host.Unlock()
	return p.Retrieve(ctx)
}
