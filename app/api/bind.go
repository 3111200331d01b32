package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/alertrule"
)

// SetParam reads the values of a parameter into a field.
func SetParam(dst reflect.Value, values []string) error {
	if dst.Kind() == reflect.Slice && dst.Type().Elem().Kind() == reflect.String {
		for _, v := range values {
			for _, s := range strings.Split(v, ",") {
				if s = strings.TrimSpace(s); s != "" {
					dst.Set(reflect.Append(dst, reflect.ValueOf(s).Convert(dst.Type().Elem())))
				}
			}
		}
		return nil
	}
	v := values[len(values)-1]
	if v == "" {
		return nil
	}
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	switch dst.Addr().Interface().(type) {
	case *time.Time:
		t, err := ParseTime(v)
		if err != nil {
			return err
		}
		if message := badTime(t); message != "" {
			return errors.New(message)
		}
		dst.Set(reflect.ValueOf(t))
		return nil
	case *models.Duration:
		d, err := models.ParseDuration(v)
		dst.Set(reflect.ValueOf(d))
		return err
	}
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(v)
	case reflect.Int:
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("must be a whole number, not %q", v)
		}
		if n > math.MaxInt32 || n < math.MinInt32 {
			return fmt.Errorf("must be at most %d", math.MaxInt32) // what the database's integers hold
		}
		dst.SetInt(int64(n))
	case reflect.Bool:
		x, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be true or false")
		}
		dst.SetBool(x)
	default:
		panic("a parameter of kind " + dst.Kind().String())
	}
	return nil
}

// ParseTime reads RFC 3339, also without seconds or zone, or a date; without a zone it is UTC.
func ParseTime(v string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, strings.Replace(v, " ", "+", 1)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("must be a time like 2026-01-31T12:00:00Z, not %q", v)
}

// body is the request's body as it was sent.
func body(c *fiber.Ctx) ([]byte, error) {
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && e != "identity" {
		return nil, &models.Error{Kind: models.KindMalformed, Message: "Send the body without Content-Encoding: " + e + " is not accepted."}
	}
	return c.Request().Body(), nil // not c.Body(), which would decompress without limit
}

// decodeBody reads a JSON body into a struct (an array into a slice), field by field, so that every problem can be
// reported with the field's name.
func decodeBody(c *fiber.Ctx, dst reflect.Value, strict bool) error {
	b, err := body(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil // a request that says nothing; what is required is asked for by validation
	}
	read, err := decodeJSON(b, dst, strict)
	if err != nil {
		return err
	}
	dst = read
	bad := map[string]string{}
	unreadable(dst, "", bad)
	if len(bad) > 0 {
		return &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}
	}
	return nil
}

// DecodeJSON reads JSON into a struct, a slice, or a patch (see shaped).
func DecodeJSON(b []byte, dst reflect.Value, strict bool) error {
	_, err := decodeJSON(b, dst, strict)
	return err
}

// shaped is a document that is kept as it was sent, such as a merge patch. Its mistakes are those of a struct.
type shaped interface{ Shape() reflect.Type }

// decodeJSON is DecodeJSON; read is what was read field by field.
func decodeJSON(b []byte, dst reflect.Value, strict bool) (read reflect.Value, err error) {
	document, ok := dst.Interface().(shaped)
	if !ok {
		return dst, decodeFields(b, dst, strict)
	}
	read = reflect.New(document.Shape()).Elem()
	if err := decodeFields(b, read, strict); err != nil {
		return read, err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return read, JSONProblem(b, err)
	}
	dst.Set(reflect.MakeMap(dst.Type()))
	for name, value := range raw {
		dst.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
	}
	return read, nil
}

func decodeFields(b []byte, dst reflect.Value, strict bool) error {
	if !utf8.Valid(b) {
		return &models.Error{Kind: models.KindMalformed, Message: "The body is not valid UTF-8."}
	}
	if dst.Kind() != reflect.Struct {
		if err := json.Unmarshal(b, dst.Addr().Interface()); err != nil {
			return JSONProblem(b, err)
		}
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return JSONProblem(b, err)
	}
	if raw == nil {
		return &models.Error{Kind: models.KindMalformed, Message: "The body must be a JSON object."}
	}
	bad := map[string]string{}
	patch, isPatch := dst.Addr().Interface().(interface{ Remove(field string) })
	for _, f := range reflect.VisibleFields(dst.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		value, given := raw[name]
		delete(raw, name)
		if !given {
			continue
		}
		if err := json.Unmarshal(value, dst.FieldByIndex(f.Index).Addr().Interface()); err != nil {
			field, message := FieldProblem(name, err)
			parts := map[string]string{}
			var several alertrule.ReadError
			if errors.As(err, &several) {
				for key, err := range several {
					part, message := FieldProblem(name+"."+key, err)
					parts[part] = message
				}
			} else if field == name {
				parts = problemsWithin(name, value, f.Type)
			}
			if len(parts) == 0 {
				if must := f.Tag.Get("must"); must != "" && field == name && f.Type.Kind() == reflect.Pointer {
					message = must
				}
				parts[field] = message
			}
			maps.Copy(bad, parts)
			continue
		}
		if isPatch && string(value) == "null" {
			patch.Remove(name)
		}
	}
	if strict {
		for name := range raw {
			bad[name] = "is not a field of this request"
		}
	}
	if len(bad) > 0 {
		return &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}
	}
	return nil
}

// problemsWithin names the parts of an object that are wrong, where the field's own error does not tell: those of types that
// read themselves, like durations.
func problemsWithin(name string, value json.RawMessage, t reflect.Type) map[string]string {
	out := map[string]string{}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return out
	}
	var e *models.Error
	if err := DecodeJSON(value, reflect.New(t).Elem(), false); errors.As(err, &e) {
		for field, message := range e.Fields {
			out[name+"."+field] = message
		}
	}
	return out
}

// FieldProblem says in words what is wrong with a field's type.
func FieldProblem(name string, err error) (field, message string) {
	var te *json.UnmarshalTypeError
	var pe *time.ParseError
	switch {
	case errors.As(err, &pe):
		return name, fmt.Sprintf("must be a time like 2026-01-31T12:00:00Z, not %q", pe.Value)
	case !errors.As(err, &te):
		return name, err.Error()
	}
	if te.Field != "" {
		name += "." + te.Field
	}
	return name, "must be " + typeName(te.Type) + ", not " + withArticle(te.Value)
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	case reflect.Pointer:
		return typeName(t.Elem())
	}
	return "an object"
}

func withArticle(v string) string {
	v, _, _ = strings.Cut(v, " ") // "number 12.5"
	switch v {
	case "bool":
		return "true or false"
	case "array", "object":
		return "an " + v
	}
	return "a " + v
}

// JSONProblem says where a text stops being JSON.
func JSONProblem(b []byte, err error) error {
	offset := int64(len(b))
	var se *json.SyntaxError
	var te *json.UnmarshalTypeError
	switch {
	case errors.As(err, &se):
		offset = se.Offset
	case errors.As(err, &te):
		return &models.Error{Kind: models.KindMalformed, Message: "The body must be " + typeName(te.Type) + ", not " +
			withArticle(te.Value) + "."}
	}
	upTo := b[:max(0, min(offset, int64(len(b))))]
	line := 1 + bytes.Count(upTo, []byte("\n"))
	column := len(upTo) - (bytes.LastIndexByte(upTo, '\n') + 1)
	return &models.Error{Kind: models.KindMalformed, Position: &models.Position{Line: line, Column: max(column, 1)},
		Message: fmt.Sprintf("The body is not valid JSON at line %d, column %d: %s.", line, max(column, 1),
			strings.TrimPrefix(err.Error(), "json: "))}
}
