package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// schema is what a caller's client can read of destinations. The published clients of Outpost hold every answer against
// lists of types and of fields that each must have, and refuse a whole list for one destination that does not fit. They
// get answers that fit. The zero value reads everything.
type schema struct {
	name    string // of the client, for people
	version int    // of Outpost's description of its API, as major*1000+minor; 0 for none
}

const (
	// schemaHeader says what a client reads that does not say so by its User-Agent: "outpost", or "outpost/1.6".
	schemaHeader = "Waybill-Schema"
	// OmittedHeader names the types of what is missing in a list.
	OmittedHeader = "Waybill-Omitted"

	newest = 1_007
)

// schemaOf tells what a client reads by the name and version that Outpost's clients give themselves, for example
// "speakeasy-sdk/python 1.7.0 2.943.0 0.0.1 outpost_sdk", or by what it asks for.
func schemaOf(userAgent, wanted string) schema {
	if name, version, _ := strings.Cut(wanted, "/"); name == "outpost" {
		return schema{"reads " + wanted, schemaVersion(version)}
	}
	rest, generated := strings.CutPrefix(userAgent, "speakeasy-sdk/")
	if !generated {
		return schema{}
	}
	words := strings.Fields(rest)
	if len(words) < 3 || !strings.Contains(words[len(words)-1], "outpost") {
		return schema{}
	}
	return schema{"is " + words[len(words)-1] + " " + words[1], schemaVersion(words[1])}
}

// schemaVersion reads the first two numbers of a version. What cannot be read is the newest that is known.
func schemaVersion(text string) int {
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil || a < 0 || a > 999 || b < 0 || b > 999 {
		return newest
	}
	return a*1000 + b
}

// peerType is what Outpost's schema demands of destinations of a type.
type peerType struct {
	since               int // the first version that knows it
	config, credentials []string
	choices             map[string][]string // the words that config fields may have; with an empty one, they need not be there
}

var (
	awsKeys   = []string{"key", "secret"}
	truth     = []string{"", "true", "false"}
	peerTypes = map[string]peerType{
		"webhook":           {config: []string{"url"}},
		"hookdeck":          {credentials: []string{"token"}},
		"aws_sqs":           {config: []string{"queue_url"}, credentials: awsKeys},
		"aws_kinesis":       {config: []string{"stream_name", "region"}, credentials: awsKeys},
		"aws_s3":            {config: []string{"bucket", "region"}, credentials: awsKeys},
		"aws_eventbridge":   {since: 1_007, config: []string{"region"}, credentials: awsKeys},
		"gcp_pubsub":        {config: []string{"project_id", "topic"}, credentials: []string{"service_account_json"}},
		"azure_servicebus":  {config: []string{"name"}, credentials: []string{"connection_string"}},
		"cloudflare_queues": {since: 1_007, config: []string{"account_id", "queue_id"}, credentials: []string{"api_token"}},
		"rabbitmq": {config: []string{"server_url", "exchange"}, credentials: []string{"username", "password"},
			choices: map[string][]string{"tls": truth}},
		"kafka": {since: 1_003, config: []string{"brokers", "topic"}, credentials: []string{"username", "password"},
			choices: map[string][]string{"tls": truth, "sasl_mechanism": {"plain", "scram-sha-256", "scram-sha-512"}}},
	}
)

// reads reports whether the client can read a destination.
func (s schema) reads(d *models.Destination) bool {
	if s.version == 0 {
		return true
	}
	t, known := peerTypes[d.Type]
	if !known || s.version < t.since {
		return false
	}
	for field, words := range t.choices {
		if !slices.Contains(words, d.Config[field]) {
			return false
		}
	}
	return true
}

// readable is what the client can read of a list, and the types of what it cannot.
func (s schema) readable(list []*models.Destination) (out []*models.Destination, omitted []string) {
	if s.version == 0 {
		return list, nil
	}
	for _, d := range list {
		if s.reads(d) {
			out = append(out, d)
		} else if !slices.Contains(omitted, d.Type) {
			omitted = append(omitted, d.Type)
		}
	}
	return out, omitted
}

// refuse is the error of an answer about a destination that the client cannot read.
func (s schema) refuse(d *models.Destination) error {
	if s.reads(d) {
		return nil
	}
	return &models.Error{Kind: models.KindUnreadable,
		Message: fmt.Sprintf("The client that asks %s, which cannot read this destination of type %s. "+
			"Use the dashboard, this API without that client, or a newer version of it.", s.name, d.Type)}
}

// answerable refuses a change before it is made whose answer the client could not read.
func (a *API) answerable(ctx context.Context, c *Call, tenant, id string) error {
	if c.Schema.version == 0 {
		return nil
	}
	d, err := a.Store.Destination(ctx, c.Scope(), tenant, id)
	if err != nil {
		return err
	}
	return c.Schema.refuse(d)
}

// attemptShows reports whether the client can read a destination within an attempt. There, newer clients take any type.
func (s schema) attemptShows(d *models.Destination) bool { return s.version >= 1_007 || s.reads(d) }

// destination fits a destination to the client's schema: fields that it demands and that are not set are empty, and a
// filter in search notation is an object, which is taken as well.
func (s schema) destination(j DestinationJSON) DestinationJSON {
	if s.version == 0 {
		return j
	}
	t := peerTypes[j.Type]
	j.Config, j.Credentials = withEmpty(j.Config, t.config), withEmpty(j.Credentials, t.credentials)
	j.Filter = models.SearchObject(j.Filter)
	return j
}

// withEmpty adds those keys that are missing to a map of the answer's own.
func withEmpty(m map[string]string, keys []string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			m[k] = ""
		}
	}
	return m
}
