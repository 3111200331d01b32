package models

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"gorm.io/gorm/schema"
)

// How fields of a destination are stored whose column has another form than the field.
func init() {
	schema.RegisterSerializer("topics", column[Topics]{
		read:  func(v any) (t Topics, err error) { return t, json.Unmarshal(columnText(v), (*[]string)(&t)) },
		write: func(t Topics) (any, error) { return json.Marshal([]string(t)) },
	})
	schema.RegisterSerializer("milliseconds", column[*Duration]{
		read: func(v any) (*Duration, error) {
			ms, err := columnNumber(v)
			d := Duration(time.Duration(ms) * time.Millisecond)
			return &d, err
		},
		write: func(d *Duration) (any, error) {
			if d == nil {
				return nil, nil
			}
			return time.Duration(*d).Milliseconds(), nil
		},
	})
	schema.RegisterSerializer("rate", column[*RateLimit]{
		read: func(v any) (*RateLimit, error) {
			n, err := columnNumber(v)
			return &RateLimit{PerSecond: &n}, err
		},
		write: func(r *RateLimit) (any, error) {
			if r == nil || r.PerSecond == nil {
				return nil, nil
			}
			return *r.PerSecond, nil
		},
	})
}

// column reads and writes a field of type T, whose zero value is null in the database.
type column[T any] struct {
	read  func(any) (T, error)
	write func(T) (any, error)
}

// Scan implements schema.SerializerInterface.
func (c column[T]) Scan(ctx context.Context, field *schema.Field, dst reflect.Value, value any) error {
	var v T
	if value != nil {
		var err error
		if v, err = c.read(value); err != nil {
			return fmt.Errorf("read column %s: %w", field.DBName, err)
		}
	}
	field.ReflectValueOf(ctx, dst).Set(reflect.ValueOf(&v).Elem())
	return nil
}

// Value implements schema.SerializerInterface.
func (c column[T]) Value(_ context.Context, field *schema.Field, _ reflect.Value, value any) (any, error) {
	v, ok := value.(T)
	if !ok {
		return nil, fmt.Errorf("write column %s: a %T", field.DBName, value)
	}
	return c.write(v)
}

func columnText(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return nil
}

func columnNumber(v any) (float64, error) {
	switch v := v.(type) {
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	}
	return 0, fmt.Errorf("%T is no number", v)
}
