package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// DestinationFields are the fields of a destination that a caller may set. Everything that shows or takes a field follows from its line
// here: the column, the API's JSON and description, merge patches (RFC 7396), the audit log, the feed of changes, and for
// plain fields their control on the form and how it is read.
//
// A field is plain when it is a number (*int, *float64), a duration, a text, a boolean or a list of words, and has a label.
// Other fields have controls of their own in views/destination_form.templ. The tags:
//
//	json     its name everywhere
//	doc      the API's description, as in package openapi; indoc is that of requests, where it is another
//	api      as in package openapi; in is what holds for requests only
//	limits   "1..1000", "100ms..2m", of texts their bytes "..200"; a value of 0 stands for null where it is below them
//	or       what one may also say, at the end of the message about the limits
//	must     the message for a value that is not allowed, of numbers also for what is none; without it, limits make one
//	options  the choices of a text, "value=Label|value=Label"; with must, the message for others
//	label    what people call it; help is a line below that
//	form     "main": it is not one of the delivery settings, which are folded
//	audit    "parts": its parts are told apart in the audit log; otherwise a struct is told as one JSON text
//
// The server's default for null is shown in the control where views/destination_fields.go (placeholder) knows it.
type DestinationFields struct {
	Name   string `json:"name" doc:"For people; may be empty." indoc:"For people." limits:"..200" label:"Name" help:"Shown in lists and alerts. Without one, its target is shown." form:"main"`
	Topics Topics `gorm:"serializer:topics" json:"topics" label:"Topics" form:"main"`
	// Filter is as the caller wrote it; nil for none.
	Filter json.RawMessage `gorm:"type:json" json:"filter" api:"schema=Filter" doc:"Only events that match are sent, see 'POST /filters/test'; null for all." indoc:"'{}', '\"\"' or null for none." label:"Filter" form:"main"`
	// Transform is an expression that makes the body of its messages; empty for the payload as it is.
	Transform Expression `json:"transform" api:"null" doc:"Expression that makes another body of the payload; null for the payload as it is." indoc:"Expression that makes another body; '\"\"' or null for the payload as it is." label:"Body" form:"main"`
	// Config and Credentials are in clear text, and shown by ShownConfig and Masked only: the type's fields say who may see what.
	Config           TypeSettings `gorm:"-" json:"config" doc:"Settings of the type, by key. Sensitive ones are masked." indoc:"Settings of the type, by key; null removes one." form:"main"`
	Credentials      TypeSettings `gorm:"-" json:"credentials" doc:"Secrets of the type, by key, masked unless the key may see secrets." indoc:"Secrets of the type, by key; null removes one. What comes back masked stays as it is." form:"main"`
	DeliveryMetadata Metadata     `gorm:"serializer:json" json:"delivery_metadata" api:"null" doc:"Goes out with every event." indoc:"Strings that go out with every event; null removes one. Numbers and booleans become strings." label:"Sent with every event"`
	Metadata         Metadata     `gorm:"serializer:json" json:"metadata" api:"null" doc:"For the platform's own use; never sent." indoc:"Strings for the platform's own use; null removes one. Numbers and booleans become strings." label:"Notes"`
	Retry            *RetryPolicy `gorm:"serializer:json" json:"retry" doc:"When failed attempts are made again; null for the server's default." indoc:"Replaced as a whole; '{}' for the server's default." label:"Retries"`
	Timeout          *Duration    `gorm:"column:timeout_ms;serializer:milliseconds" json:"timeout" doc:"For one attempt; null for the server's default." indoc:"For one attempt." limits:"100ms..2m" label:"Timeout" help:"For one attempt, 100ms to 2m."`
	MaxInFlight      *int         `json:"max_in_flight" doc:"Attempts at the same time; null for the server's default." indoc:"Attempts at the same time." limits:"1..1000" label:"Concurrency" help:"Attempts at the same time, 1 to 1,000."`
	// Limits of manual retries, below the tenant's.
	ManualRetryLimit     *int `json:"manual_retry_limit" doc:"Manual retries of one delivery; null for the tenant's limit." indoc:"Manual retries of one delivery, at most those of the tenant; null for these." limits:"1..30000" or:"null for the tenant's" label:"Manual retries of a delivery" help:"At most the tenant's limit."`
	ManualRetriesPerHour *int `json:"manual_retries_per_hour" doc:"Manual retries within an hour, single and in bulk; null for the tenant's limit only." indoc:"Manual retries within an hour, single and in bulk, at most those of the tenant; null for these." limits:"1..100000000" or:"null for the tenant's" label:"Manual retries an hour" help:"Of all its deliveries, at most the tenant's limit."`
	DisableAfter         *int `json:"disable_after" in:"null" doc:"Failing deliveries in a row after which it is disabled; null for the server's default, 0 for never." limits:"0..1000000" must:"must be a whole number between 0 (never) and 1000000, or null for the server's default" label:"Disable after failures in a row" help:"Counts deliveries, not attempts. 0 for never."`
	// Beside are settings of the type that the API has here; see adapters.BesideField.
	Beside      BesideSettings `gorm:"-" json:"-"`
	Format      string         `json:"format" api:"schema=Format" options:"=The payload as it was published|cloudevents-binary=CloudEvents 1.0, binary: the payload, attributes beside it|cloudevents-structured=CloudEvents 1.0, structured: an envelope around the payload" must:"must be \"cloudevents-binary\", \"cloudevents-structured\", or \"\" for the payload as it is" label:"Message format" help:"What arrives there."`
	Ordered     bool           `json:"ordered" doc:"Whether deliveries with one ordering key go out one after the other." indoc:"Deliveries with one ordering key go out one after the other."`
	OnExhausted Exhausted      `json:"on_exhausted" api:"schema=OnExhausted" doc:"With 'ordered', what becomes of those behind a delivery that failed for good."`
	RateLimit   *RateLimit     `gorm:"column:rate_per_second;serializer:rate" json:"rate_limit" doc:"null for no limit." indoc:"'{}' for none." audit:"parts"`
}

// RateLimit is how fast a destination may be sent to.
type RateLimit struct {
	PerSecond *float64 `json:"per_second" api:"null" doc:"null for no limit."`
}

// Expression is a text in the language of package filter, null in JSON when it is empty.
type Expression string

// MarshalJSON prints null for none.
func (x Expression) MarshalJSON() ([]byte, error) {
	if x == "" {
		return []byte("null"), nil
	}
	return plainJSON(string(x))
}

// UnmarshalJSON reads a text, or null for none.
func (x *Expression) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return errors.New(`must be a string: an expression such as {"id": id, "total": data.total}`)
	}
	*x = Expression(strings.TrimSpace(s))
	return nil
}

// Exhausted is what becomes of those behind a delivery that failed for good: ExhaustedBlock, or empty for ExhaustedSkip, which
// is what JSON says.
type Exhausted string

// MarshalJSON prints ExhaustedSkip for the empty one.
func (x Exhausted) MarshalJSON() ([]byte, error) {
	if x == "" {
		x = ExhaustedSkip
	}
	return json.Marshal(string(x))
}

// TypeSettings are settings of a destination's type, by key. JSON's own booleans, numbers, lists and objects are read as texts.
type TypeSettings map[string]string

// UnmarshalJSON reads what Values reads.
func (t *TypeSettings) UnmarshalJSON(b []byte) error {
	var v Values
	if err := v.UnmarshalJSON(b); err != nil {
		return err
	}
	*t = v.apply(nil)
	return nil
}

// Metadata are texts by key. Other values than strings are kept as their JSON text.
type Metadata map[string]string

// UnmarshalJSON reads what StringPatch reads.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	*m = nil
	return m.patch(b)
}

// patch merges as RFC 7396 says.
func (m *Metadata) patch(b []byte) error {
	var p StringPatch
	if err := p.UnmarshalJSON(b); err != nil {
		return err
	}
	*m = p.apply(*m)
	return nil
}

// plainJSON prints what people wrote as they wrote it.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
