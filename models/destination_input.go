package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
)

// Topics is a destination's subscription as callers write it: "*" or a list of topics and patterns; see Subscribes.
type Topics []string

// UnmarshalJSON reads "*", a list, or a single topic.
func (t *Topics) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = Topics{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New(`must be "*" or an array of topics`)
	}
	*t = list
	return nil
}

// MarshalJSON prints "*" for all topics, otherwise a list.
func (t Topics) MarshalJSON() ([]byte, error) {
	if slices.Contains(t, AllTopics) {
		return []byte(`"*"`), nil
	}
	return json.Marshal([]string(t))
}

// DestinationInput is what a caller may say of a destination, to create it and, as a merge patch (RFC 7396), to change
// it. What is nil stays as it is.
type DestinationInput struct {
	ID                   *string         `json:"id" doc:"When creating; made up when missing."`
	Type                 *string         `json:"type" api:"schema=DestinationType" doc:"Cannot be changed."`
	Name                 *string         `json:"name" doc:"For people."`
	Topics               *Topics         `json:"topics"`
	Filter               json.RawMessage `json:"filter" api:"schema=Filter" doc:"'{}', '\"\"' or null for none."`
	Transform            json.RawMessage `json:"transform" api:"type=string,null" doc:"Expression that makes another body; '\"\"' or null for the payload as it is."`
	Config               Values          `json:"config" doc:"Settings of the type, by key; null removes one."`
	Credentials          Values          `json:"credentials" doc:"Secrets of the type, by key; null removes one. What comes back masked stays as it is."`
	DeliveryMetadata     StringPatch     `json:"delivery_metadata" doc:"Strings that go out with every event; null removes one. Numbers and booleans become strings."`
	Metadata             StringPatch     `json:"metadata" doc:"Strings for the platform's own use; null removes one. Numbers and booleans become strings."`
	Retry                *RetryPolicy    `json:"retry" doc:"Replaced as a whole; '{}' for the server's default."`
	Timeout              *Duration       `json:"timeout" doc:"For one attempt."`
	MaxInFlight          *int            `json:"max_in_flight" api:"min=1" doc:"Attempts at the same time."`
	ManualRetryLimit     *int            `json:"manual_retry_limit" api:"min=1,max=30000" doc:"Manual retries of one delivery, at most those of the tenant; null for these."`
	ManualRetriesPerHour *int            `json:"manual_retries_per_hour" api:"min=1" doc:"Manual retries within an hour, single and in bulk, at most those of the tenant; null for these."`
	DisableAfter         json.RawMessage `json:"disable_after" api:"type=integer,min=0,null" doc:"Failing deliveries in a row after which it is disabled; null for the server's default, 0 for never."`
	Signature            *string         `json:"signature" api:"schema=Signature"`
	Format               *string         `json:"format" api:"schema=Format"`
	Ordered              *bool           `json:"ordered" doc:"Deliveries with one ordering key go out one after the other."`
	OnExhausted          *string         `json:"on_exhausted" api:"schema=OnExhausted" doc:"With 'ordered', what becomes of those behind a delivery that failed for good."`
	RateLimit            *RateLimit      `json:"rate_limit" doc:"'{}' for none."`
	AwaitCompletion      *bool           `json:"await_completion" doc:"The webhooks' config field of this name."`
	// DisabledAt disables the destination when it is a time, and enables it when it is null. The events held meanwhile
	// are delivered then, unless the settings say otherwise; EnableDestination offers more.
	DisabledAt json.RawMessage `json:"disabled_at" api:"type=string,format=date-time,null" doc:"A time disables it; null enables it and delivers what was held."`
	CreatedAt  *time.Time      `json:"created_at" doc:"When creating, for operators: since when there is the destination; now when missing."`
	UpdatedAt  *time.Time      `json:"updated_at" doc:"When creating, for operators: as 'created_at' when missing."`
	removed    []string        // maps that were given as null
	Disabled   *bool           `json:"-"` // when creating from a page: save without starting to deliver
	Actor      string          `json:"-"` // who asks
}

// Remove notes that a field was given as null, which takes it away from the destination (RFC 7396): the default is in force
// then. Fields that tell null from nothing by themselves are not its business, nor are those that cannot be taken away.
func (in *DestinationInput) Remove(field string) {
	switch field {
	case "name":
		in.Name = new(string)
	case "topics":
		in.Topics = &Topics{}
	case "retry":
		in.Retry = &RetryPolicy{}
	case "timeout":
		in.Timeout = new(Duration)
	case "max_in_flight":
		in.MaxInFlight = new(int)
	case limitPerDelivery:
		in.ManualRetryLimit = new(int)
	case limitPerHour:
		in.ManualRetriesPerHour = new(int)
	case "signature":
		in.Signature = new(string)
	case "format":
		in.Format = new(string)
	case "ordered":
		in.Ordered = new(bool)
	case "await_completion":
		in.AwaitCompletion = new(bool)
	case "on_exhausted":
		in.OnExhausted = new(string)
	case "rate_limit":
		in.RateLimit = &RateLimit{}
	case "config", "credentials", "delivery_metadata", "metadata":
		in.removed = append(in.removed, field)
	}
}

// Signatures are the schemes by which webhooks can be signed; empty is the first of them, Standard Webhooks.
var Signatures = []string{"", "standard", "v1a", "outpost", "custom"}

// RateLimit is how fast a destination may be sent to.
type RateLimit struct {
	PerSecond *float64 `json:"per_second" api:"null" doc:"null for no limit."`
}

const maxRate = 100_000

// awaitCompletion is the config field with which webhooks wait for what a 202 announces.
const awaitCompletion = "await_completion"

// AwaitsCompletion reports whether a 202 with a status resource is not an acknowledgement yet.
func (d *Destination) AwaitsCompletion() bool { return d.Config[awaitCompletion] == "true" }

// mergePace takes over what the input says about order and speed.
func (in *DestinationInput) mergePace(d *Destination, bad problems) {
	if in.Ordered != nil {
		d.Ordered = *in.Ordered
		if d.Ordered {
			// Workers look at a delivery's row before they send it, to see whether it is its turn.
			d.EverOrdered, d.Careful = true, true
		}
	}
	if in.OnExhausted != nil {
		switch d.OnExhausted = *in.OnExhausted; d.OnExhausted {
		case ExhaustedSkip:
			d.OnExhausted = ""
		case "", ExhaustedBlock:
		default:
			bad.add("on_exhausted", "must be skip or block")
		}
	}
	if in.RateLimit != nil {
		d.RatePerSecond = in.RateLimit.PerSecond
		if r := d.RatePerSecond; r != nil && !(*r >= 0.01 && *r <= maxRate) {
			bad.add("rate_limit.per_second", fmt.Sprintf("must be between 0.01 and %d", maxRate))
		}
	}
}

// disabledAt reads DisabledAt: whether it was given, and the time, which is zero for null.
func (in *DestinationInput) disabledAt() (at time.Time, given bool, err error) {
	if in.DisabledAt == nil || string(in.DisabledAt) == "null" {
		return at, in.DisabledAt != nil, nil
	}
	if err := json.Unmarshal(in.DisabledAt, &at); err != nil || at.IsZero() {
		return at, true, Invalid("disabled_at", "must be a time like 2026-05-03T12:00:00Z, or null")
	}
	if now := time.Now(); at.After(now) {
		at = now
	}
	return at, true, nil
}

// MaxDisableAfter is the greatest number of failures in a row that a destination can be allowed before it is disabled.
const MaxDisableAfter = 1_000_000

// merge writes the input into d and reports what is wrong with the result.
func (s *Store) merge(ctx context.Context, d *Destination, in *DestinationInput) error {
	bad := problems{}
	var at *Position // of the mistake in an expression or a filter
	if in.Name != nil {
		d.Name = strings.TrimSpace(*in.Name)
		checkText("name", d.Name, maxNameLength, bad)
	}
	if in.Topics != nil {
		d.Topics = s.checkTopics(ctx, *in.Topics, d.TenantID == OperatorTenant, bad)
	}
	if in.Filter != nil {
		d.Filter, at = checkFilter(in.Filter, bad)
	}
	if in.Transform != nil {
		d.Transform = readTransform(in.Transform, bad)
	}
	for _, field := range in.removed {
		of := map[string]*map[string]string{"config": &d.Config, "credentials": &d.Credentials, "delivery_metadata": &d.DeliveryMetadata, "metadata": &d.Metadata}[field]
		*of = map[string]string{}
	}
	d.DeliveryMetadata = in.DeliveryMetadata.apply(d.DeliveryMetadata)
	checkMetadata("delivery_metadata", d.DeliveryMetadata, bad)
	d.Metadata = in.Metadata.apply(d.Metadata)
	checkMetadata("metadata", d.Metadata, bad)
	s.mergeDelivery(d, in, bad)
	in.mergePace(d, bad)
	if err := s.checkRetryLimits(ctx, d, in, bad); err != nil {
		return err
	}
	s.mergeSettings(d, in, bad)
	err := bad.err()
	var e *Error
	if errors.As(err, &e) {
		e.Position = at
	}
	return err
}

func (s *Store) mergeDelivery(d *Destination, in *DestinationInput, bad problems) {
	if in.Retry != nil {
		in.Retry.check("retry", bad)
		d.Retry = in.Retry
		if b, _ := json.Marshal(in.Retry); string(b) == "{}" {
			d.Retry = nil
		}
	}
	if in.Timeout != nil {
		ms := int(time.Duration(*in.Timeout).Milliseconds())
		d.TimeoutMS = &ms
		if ms == 0 {
			d.TimeoutMS = nil
		} else if ms < 100 || ms > 120_000 {
			bad.add("timeout", "must be between 100ms and 2m")
		}
	}
	if in.MaxInFlight != nil {
		d.MaxInFlight = in.MaxInFlight
		if *in.MaxInFlight == 0 {
			d.MaxInFlight = nil
		} else if *in.MaxInFlight < 1 || *in.MaxInFlight > maxInFlight {
			bad.add("max_in_flight", "must be between 1 and 1000")
		}
	}
	if in.DisableAfter != nil {
		d.DisableAfter = nil
		if string(in.DisableAfter) != "null" {
			var n int
			if err := json.Unmarshal(in.DisableAfter, &n); err != nil || n < 0 || n > MaxDisableAfter {
				bad.add("disable_after", fmt.Sprintf("must be a whole number between 0 (never) and %d, or null for the server's default", MaxDisableAfter))
			}
			d.DisableAfter = &n
		}
	}
	if in.Signature != nil {
		d.Signature = *in.Signature
		if !slices.Contains(Signatures, d.Signature) {
			bad.add("signature", `must be "standard", "v1a", "outpost" or "custom"`)
		}
	}
	if in.Format != nil {
		d.Format = *in.Format
		if !slices.Contains(adapters.Formats, d.Format) {
			bad.add("format", `must be "cloudevents-binary", "cloudevents-structured", or "" for the payload as it is`)
		}
	}
}

func (s *Store) mergeSettings(d *Destination, in *DestinationInput, bad problems) {
	r := d.Registration()
	if r == nil {
		return // refused when it was created
	}
	for key, v := range in.Credentials {
		// A masked value that comes back as it was shown changes nothing.
		if v != nil && *v != "" && d.Credentials[key] != "" && *v == mask(d.Credentials[key]) {
			delete(in.Credentials, key)
		} else if v != nil && isMasked(*v) {
			bad.add("credentials."+key, maskedHelp)
		}
	}
	for _, f := range d.sensitiveConfig() {
		if v, old := in.Config[f.Key], d.Config[f.Key]; v != nil && old != "" {
			plain := unmask(f, old, *v)
			in.Config[f.Key] = &plain
		}
		if v := in.Config[f.Key]; v != nil && isMasked(*v) {
			bad.add("config."+f.Key, maskedHelp)
		}
	}
	in.Config.unmaskURLs(d.Config, func(key string) string {
		for _, f := range r.Spec.Config {
			if f.Alias == key {
				return f.Key
			}
		}
		return key
	}, bad)
	in.Config.unalias(r.Spec.Config, d.Config, bad)
	d.Config = in.Config.apply(d.Config)
	if in.AwaitCompletion != nil {
		delete(d.Config, awaitCompletion)
		if *in.AwaitCompletion {
			d.Config[awaitCompletion] = "true"
		}
	}
	d.Credentials = in.Credentials.apply(d.Credentials)
	set := d.Settings()
	for _, fe := range r.Check(&set) {
		bad.add(fe.Key, fe.Message)
	}
	if b, can := r.Type.(adapters.Borrower); can && !s.HostCredentials && (d.Key == 0 || len(in.Config)+len(in.Credentials) > 0) {
		if key := b.Borrows(set); key != "" {
			bad.add(key, "is required, because this server's operator does not lend its own credentials to destinations")
		}
	}
	d.Config, d.Credentials = set.Config, set.Credentials
	d.checkExpressions(bad)
}

// maxStars is how many * a pattern of topics may have.
const maxStars = 8

// operators is true for the operators' own destinations, which get no events of tenants but those about them.
func (s *Store) checkTopics(ctx context.Context, topics []string, operators bool, bad problems) []string {
	if len(topics) == 0 {
		bad.add("topics", `must be "*" or name at least one topic`)
		return nil
	}
	if len(topics) > 1000 {
		bad.add("topics", "must name at most 1,000 topics")
		return nil
	}
	if slices.Contains(topics, AllTopics) {
		return []string{AllTopics}
	}
	catalogue, err := s.TopicNames(ctx)
	if err != nil {
		bad.add("topics", "could not be checked")
		return nil
	}
	out := slices.Clone(topics)
	slices.Sort(out)
	out = slices.Compact(out)
	for i, t := range out {
		field := fmt.Sprintf("topics[%d]", i)
		checkTopic(field, strings.ReplaceAll(t, "*", "x"), bad)
		switch {
		case strings.Count(t, "*") > maxStars:
			bad.add(field, fmt.Sprintf("must have at most %d *", maxStars))
		case operators:
			checkOwnTopic(field, t, slices.Concat(OperatorTopics, OwnTopics), bad)
		case OwnTopic(t): // which is in no catalogue
			checkOwnTopic(field, t, OwnTopics, bad)
		case Subscribes([]string{t}, notify.Topic):
		case len(catalogue) > 0 && isPattern(t) && !slices.ContainsFunc(catalogue, func(known string) bool { return matchesPattern(t, known) }):
			bad.add(field, fmt.Sprintf("%q takes none of the catalogue: %s", cut(t, 80), listSome(catalogue)))
		case len(catalogue) > 0 && !isPattern(t) && !slices.Contains(catalogue, t):
			bad.add(field, fmt.Sprintf("%q is not in the catalogue: %s", cut(t, 80), listSome(catalogue)))
		}
	}
	return out
}

func checkOwnTopic(field, topic string, own []string, bad problems) {
	if !slices.ContainsFunc(own, func(o string) bool { return Subscribes([]string{topic}, o) }) {
		bad.add(field, fmt.Sprintf("%q is not one of the server's own topics: %s", cut(topic, 80), strings.Join(own, ", ")))
	}
}

// listSome lists the first names of many.
func listSome(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

func typeNames() string {
	var names []string
	for _, r := range adapters.All() {
		names = append(names, r.Spec.Name)
	}
	return strings.Join(names, ", ")
}
