package models

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/filter"
)

// computing is what a destination computes from each event, compiled.
type computing struct {
	transform *filter.Projection // nil for the payload as it is
	fields    []computedField
	err       error // an expression that this build cannot read
}

// computedField is a field of the destination's type whose value is an expression.
type computedField struct {
	key, label string
	value      *filter.Projection
}

// expressionFields lists the settings of a destination that are expressions and have a value, by the API's name of the
// field, without credentials: those are no expressions.
func (d *Destination) expressionFields(each func(field, key, label, source string)) {
	r := d.Registration()
	if r == nil {
		return
	}
	for _, f := range r.Spec.Config {
		if source := d.Config[f.Key]; f.Expression && source != "" {
			each("config."+f.Key, f.Key, f.Label, source)
		}
	}
}

// checkExpressions reports what is wrong with the fields of the destination that are expressions.
func (d *Destination) checkExpressions(bad problems) {
	d.expressionFields(func(field, _, _, source string) {
		if _, err := filter.ParseProjection(source); err != nil {
			bad.add(field, filterMessage(err))
		}
	})
}

// computing compiles the destination's expressions. They were checked when they were saved.
func (d *Destination) computing() (c computing) {
	if d.Transform != "" {
		c.transform, c.err = filter.ParseProjection(string(d.Transform))
	}
	d.expressionFields(func(_, key, label, source string) {
		p, err := filter.ParseProjection(source)
		if err != nil {
			c.err = errors.Join(c.err, err)
			return
		}
		c.fields = append(c.fields, computedField{key, label, p})
	})
	return c
}

// Compute makes what the destination computes from an event: the body of the message, which is the payload as it was
// published unless there is a transform, and the values of the fields that are expressions, by their keys. The error is a
// sentence for the destination's owner; nothing must be sent then.
func (e *Target) Compute(ev *Event) (body []byte, computed map[string]string, err error) {
	c := &e.computing
	if c.err != nil {
		return nil, nil, fmt.Errorf("An expression of the destination cannot be read by this version of the server: %w.", c.err)
	}
	if c.transform == nil && len(c.fields) == 0 {
		return ev.Data, nil, nil
	}
	doc := ev.doc()
	if body = ev.Data; c.transform != nil {
		if body, err = c.transform.Body(doc); err != nil {
			return nil, nil, fmt.Errorf("The transform failed: %w.", err)
		}
	}
	for _, f := range c.fields {
		value, err := f.value.Text(doc)
		if err != nil {
			return nil, nil, fmt.Errorf("The expression of “%s” failed: %w.", f.label, err)
		}
		if computed == nil {
			computed = make(map[string]string, len(c.fields))
		}
		computed[f.key] = value
	}
	return body, computed, nil
}

// checkTransform reports what is wrong with a transform.
func checkTransform(x Expression, bad problems) {
	if x == "" {
		return
	}
	if checkText("transform", string(x), filter.MaxBytes, bad); bad["transform"] != "" {
		return
	}
	if _, err := filter.ParseProjection(string(x)); err != nil {
		bad.add("transform", filterMessage(err))
	}
}

// saveTransform keeps every transform that was ever in force, so that an attempt's page can show what was sent.
func saveTransform(ctx context.Context, tx *Tx, d *Destination) error {
	d.TransformKey = nil
	if d.Transform != "" {
		var key int64
		err := tx.Pgx.QueryRow(ctx, "insert into destination_transforms (destination_key, transform) values ($1, $2) returning key", d.Key,
			d.Transform).Scan(&key)
		if err != nil {
			return err
		}
		d.TransformKey = &key
	}
	_, err := tx.Pgx.Exec(ctx, "update destinations set transform_key = $2 where key = $1", d.Key, d.TransformKey)
	return err
}

// SentBody returns the body of the message that an attempt sent: the event's payload, or with transformed what the
// destination's transform at that time makes of it. It is nil once the event's data was erased.
func (s *Store) SentBody(ctx context.Context, a *Attempt, e *Event) (body []byte, transformed bool, err error) {
	if a.TransformKey == nil || e.ErasedAt != nil {
		return e.Data, false, nil
	}
	var source string
	err = s.pool.QueryRow(ctx, "select transform from destination_transforms where key = $1", *a.TransformKey).Scan(&source)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, true, fmt.Errorf("transform %d of attempt %s is gone", *a.TransformKey, a.ID())
	}
	if err != nil {
		return nil, true, err
	}
	p, err := filter.ParseProjection(source)
	if err == nil {
		body, err = p.Body(e.doc())
	}
	if err != nil {
		return nil, true, nil //nolint:nilerr // the attempt failed for this very reason, and says so: it had no body
	}
	return body, true, nil
}
