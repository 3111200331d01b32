package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// DestinationPatch is what a caller says of a destination, by the API's names of the fields: to create it and, as a merge patch
// (RFC 7396), to change it. What is absent stays as it is; null takes a field away, so that the default is in force. Of config,
// credentials and metadata single keys can be changed; all else is replaced as a whole. Values are those of JSON, or
// json.RawMessage as a request has them.
type DestinationPatch map[string]any

// Shape is the struct that requests are held against before a patch is made of them.
func (DestinationPatch) Shape() reflect.Type { return destinationShape() }

var destinationShape = sync.OnceValue(func() reflect.Type { return DestinationShape(reflect.TypeFor[destinationRequest]()) })

// raw is the JSON of what the patch says of a field. given is false when it says nothing.
func (p DestinationPatch) raw(name string) (raw json.RawMessage, given bool) {
	v, given := p[name]
	if raw, ok := v.(json.RawMessage); ok || !given {
		return raw, given
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(strconv.Quote(err.Error())), true // which no field takes but texts
	}
	return raw, true
}

// read reads what the patch says of a field into v. It is false for null, and when the patch says nothing.
func (p DestinationPatch) read(name string, v any, bad problems) bool {
	raw, given := p.raw(name)
	if !given || string(raw) == "null" {
		return false
	}
	if err := json.Unmarshal(raw, v); err != nil {
		bad.add(name, err.Error())
		return false
	}
	return true
}

// Since are the times of a destination that was made elsewhere, as far as the patch says them.
func (p DestinationPatch) Since() Since {
	var created, updated time.Time
	var s Since
	if p.read("created_at", &created, problems{}) {
		s.CreatedAt = &created
	}
	if p.read("updated_at", &updated, problems{}) {
		s.UpdatedAt = &updated
	}
	return s
}

// Fields are those of a destination that the patch alone would make, unchecked.
func (p DestinationPatch) Fields() (d DestinationFields) {
	of := reflect.ValueOf(&d).Elem()
	for _, f := range destinationFields {
		if raw, given := p.raw(f.Name); given {
			_ = f.patch(of, raw) // what cannot be read is missing
		}
	}
	return d
}

// disabledAt reads disabled_at: whether it was given, and the time, which is zero for null.
func (p DestinationPatch) disabledAt() (at time.Time, given bool, err error) {
	raw, given := p.raw("disabled_at")
	if !given || string(raw) == "null" {
		return at, given, nil
	}
	if err := json.Unmarshal(raw, &at); err != nil || at.IsZero() {
		return at, true, Invalid("disabled_at", "must be a time like 2026-05-03T12:00:00Z, or null")
	}
	if now := time.Now(); at.After(now) {
		at = now
	}
	return at, true, nil
}

// DestinationInput is what a caller says of a destination, and who that is.
type DestinationInput struct {
	Patch    DestinationPatch
	Actor    string
	Disabled bool // when creating from a page: save without starting to deliver
}

// MaxDisableAfter is the greatest number of failures in a row that a destination can be allowed before it is disabled.
const MaxDisableAfter = 1_000_000

const maxRate = 100_000

// merge writes a patch into d and reports what is wrong with the result.
func (s *Store) merge(ctx context.Context, d *Destination, p DestinationPatch) error {
	bad := problems{}
	before := d.DestinationFields
	of := reflect.ValueOf(&d.DestinationFields).Elem()
	var at *Position // of the mistake in an expression or a filter
	for _, f := range destinationFields {
		raw, given := p.raw(f.Name)
		if _, settings := f.in(of).Interface().(TypeSettings); !given || settings {
			continue
		}
		if err := f.patch(of, raw); err != nil {
			bad.add(f.Name, f.mustOr(err.Error()))
			continue
		}
		if f.check(of, bad); bad[f.Name] == "" {
			if pos := s.checkField(ctx, f.Name, d, bad); pos != nil {
				at = pos
			}
		}
	}
	if d.Ordered {
		// Workers look at a delivery's row before they send it, to see whether it is its turn.
		d.EverOrdered, d.ClaimFirst = true, true
	}
	if err := s.checkRetryLimits(ctx, d, &before, bad); err != nil {
		return err
	}
	d.patchBeside(p, false, bad)
	s.mergeSettings(d, p, bad)
	err := bad.err()
	var e *Error
	if errors.As(err, &e) {
		e.Position = at
	}
	return err
}

// patch writes what a patch says of the field.
func (f Field) patch(of reflect.Value, raw json.RawMessage) error {
	to := f.in(of)
	if string(raw) == "null" {
		if to.SetZero(); to.Kind() == reflect.Map {
			to.Set(reflect.MakeMap(to.Type()))
		}
		return nil
	}
	if m, ok := to.Addr().Interface().(interface{ patch(b []byte) error }); ok {
		return m.patch(raw)
	}
	v := reflect.New(to.Type())
	err := json.Unmarshal(raw, v.Interface())
	to.Set(v.Elem())
	return err
}

// checkField reports what is wrong with a field that the caller has said something of, where its tags cannot tell. It may
// write another form of the same value. The position is that of the mistake.
func (s *Store) checkField(ctx context.Context, name string, d *Destination, bad problems) (at *Position) {
	switch name {
	case "topics":
		d.Topics = s.checkTopics(ctx, d.Topics, d.TenantID == OperatorTenant, bad)
	case "filter":
		d.Filter, at = checkFilter(d.Filter, bad)
	case "transform":
		checkTransform(d.Transform, bad)
	case "delivery_metadata":
		checkMetadata(name, d.DeliveryMetadata, bad)
	case "metadata":
		checkMetadata(name, d.Metadata, bad)
	case "retry":
		if d.Retry != nil {
			d.Retry.check("retry", bad)
		}
	case "on_exhausted":
		switch d.OnExhausted {
		case ExhaustedSkip:
			d.OnExhausted = ""
		case "", ExhaustedBlock:
		default:
			bad.add(name, "must be skip or block")
		}
	case "rate_limit":
		if r := d.RateLimit; r != nil && !(*r.PerSecond >= 0.01 && *r.PerSecond <= maxRate) {
			bad.add("rate_limit.per_second", fmt.Sprintf("must be between 0.01 and %d", maxRate))
		}
	}
	return at
}

func (s *Store) mergeSettings(d *Destination, p DestinationPatch, bad problems) {
	r := d.Registration()
	if r == nil {
		return // refused when it was created
	}
	config, credentials := p.settings("config", &d.Config, bad), p.settings("credentials", &d.Credentials, bad)
	for key, v := range credentials {
		// A masked value that comes back as it was shown changes nothing.
		if v != nil && *v != "" && d.Credentials[key] != "" && *v == mask(d.Credentials[key]) {
			delete(credentials, key)
		} else if v != nil && isMasked(*v) {
			bad.add("credentials."+key, maskedHelp)
		}
	}
	for _, f := range d.sensitiveConfig() {
		if v, old := config[f.Key], d.Config[f.Key]; v != nil && old != "" {
			plain := unmask(f, old, *v)
			config[f.Key] = &plain
		}
		if v := config[f.Key]; v != nil && isMasked(*v) {
			bad.add("config."+f.Key, maskedHelp)
		}
	}
	config.unmaskURLs(d.Config, func(key string) string {
		for _, f := range r.Spec.Config {
			if f.Alias == key {
				return f.Key
			}
		}
		return key
	}, bad)
	config.unalias(r.Spec.Config, d.Config, bad)
	d.Config = config.apply(d.Config)
	d.patchBeside(p, true, bad)
	d.Credentials = credentials.apply(d.Credentials)
	set := d.Settings()
	for _, fe := range r.Check(&set) {
		bad.add(fe.Key, fe.Message)
	}
	if b, can := r.Type.(adapters.Borrower); can && !s.Rules().HostCredentials && (d.Key == 0 || len(config)+len(credentials) > 0) {
		if key := b.Borrows(set); key != "" {
			bad.add(key, "is required, because this server's operator does not lend its own credentials to destinations")
		}
	}
	d.Config, d.Credentials = set.Config, set.Credentials
	d.checkExpressions(bad)
}

// settings is what a patch says of config or credentials. Null takes all of them away.
func (p DestinationPatch) settings(name string, of *TypeSettings, bad problems) (v Values) {
	if raw, given := p.raw(name); given && string(raw) == "null" {
		*of = TypeSettings{}
	}
	p.read(name, &v, bad)
	return v
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
		case len(catalogue) > 0 && isPattern(t) && !slices.ContainsFunc(catalogue,
			func(known string) bool { return matchesPattern(t, known) }):
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
