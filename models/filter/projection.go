package filter

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
)

// MaxProjected is the largest body that a [Projection] makes, in bytes.
const MaxProjected = 1 << 20

// Projection is a compiled expression that computes a value from an event: the key of a message, or another
// body for it. It sees what a filter's expression sees, within the same limits, may make objects besides, and
// gives the same for the same event every time. It is immutable and safe for concurrent use.
type Projection struct{ expression *expression }

// ParseProjection reads the text of an expression that gives any value, such as `data.customer.id` or
// `{"id": id, "total": data.total}`. The error is an [*Error] whose line and column count in the text.
func ParseProjection(source string) (*Projection, error) {
	if err := checkText(source); err != nil {
		return nil, err
	}
	if strings.TrimSpace(source) == "" {
		return nil, &Error{Message: "the expression is empty; it has to give a value, as in `data.customer.id`"}
	}
	compiled, err := compileExpression(source, true, expr.AsAny())
	if err != nil {
		return nil, err
	}
	return &Projection{compiled}, nil
}

// Source returns the text of the expression.
func (p *Projection) Source() string { return p.expression.source }

// Eval returns what the expression gives: nil, bool, a number, string, time.Time, time.Duration, or lists and
// objects of these. Whoever gets it must not change it, for it may be a part of the document. The error is a
// sentence, without a full stop, for whoever wrote the expression.
func (p *Projection) Eval(doc *Doc) (any, error) { return p.expression.run(doc) }

// Text returns what the expression gives as a text, for keys and names: a text as it is, a number as JSON
// writes it, true or false, a time as RFC 3339 in UTC. Nothing (null) is the empty text. A list or an object is
// an error, which like those of Eval is a sentence for whoever wrote the expression.
func (p *Projection) Text(doc *Doc) (string, error) {
	value, err := p.Eval(doc)
	if err != nil {
		return "", err
	}
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	switch reflect.ValueOf(value).Kind() {
	case reflect.Slice, reflect.Map:
		return "", errors.New("the expression gives " + typeWord(value) + ", and a text or a number is needed; take one field of it")
	}
	w := projector{doc: doc}
	if err := w.write(value); err != nil {
		return "", err
	}
	return strings.Trim(string(w.out), `"`), nil
}

// Body returns what the expression gives as JSON, for the body of a message. Keys stand in the order of the
// alphabet; numbers that were not computed are those of the event, digit by digit. Nothing (null) is an error,
// for it is what a misspelled field gives, and so is a body of more than [MaxProjected] bytes.
func (p *Projection) Body(doc *Doc) ([]byte, error) {
	value, err := p.Eval(doc)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, errors.New("the expression gives nothing (null), which is no body to send")
	}
	w := projector{doc: doc}
	if err := w.write(value); err != nil {
		return nil, err
	}
	return w.out, nil
}

// projector writes values as JSON.
type projector struct {
	doc   *Doc
	out   []byte
	depth int
	// exact holds the text of numbers of the document that a float64 rounds, by that float64; empty for one that
	// stands for several. It is nil until it is needed.
	exact map[float64]string
}

// maxProjectedDepth is how deep what an expression gives may be nested. A payload is at most as deep as the
// decoder lets it be, and an expression adds a few levels.
const maxProjectedDepth = 10_000

func (w *projector) write(value any) error {
	switch v := value.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case string:
		w.out = appendQuoted(w.out, v)
	case int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case float64:
		return w.number(v)
	case time.Time:
		w.out = appendQuoted(w.out, v.UTC().Format(time.RFC3339Nano))
	case time.Duration:
		w.out = appendQuoted(w.out, v.String())
	case map[string]any:
		return w.object(slices.Sorted(maps.Keys(v)), func(key string) any { return v[key] })
	case map[string]string:
		return w.object(slices.Sorted(maps.Keys(v)), func(key string) any { return v[key] })
	default:
		return w.other(value)
	}
	return w.checkSize()
}

func (w *projector) checkSize() error {
	if len(w.out) > MaxProjected {
		return fmt.Errorf("the expression gives more than %d KiB", MaxProjected>>10)
	}
	return nil
}

// other writes the values whose types the expression language has besides those of JSON.
func (w *projector) other(value any) error {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
		return w.checkSize()
	case reflect.Float32, reflect.Float64:
		return w.number(v.Float())
	case reflect.Slice:
		return w.list(v)
	}
	return errors.New("the expression gives something that JSON cannot write")
}

func (w *projector) list(v reflect.Value) error {
	if err := w.deeper(); err != nil {
		return err
	}
	w.out = append(w.out, '[')
	for i := range v.Len() {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.write(v.Index(i).Interface()); err != nil {
			return err
		}
	}
	w.out = append(w.out, ']')
	w.depth--
	return w.checkSize()
}

func (w *projector) object(keys []string, get func(string) any) error {
	if err := w.deeper(); err != nil {
		return err
	}
	w.out = append(w.out, '{')
	for i, key := range keys {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(appendQuoted(w.out, key), ':')
		if err := w.write(get(key)); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	w.depth--
	return w.checkSize()
}

func (w *projector) deeper() error {
	if w.depth++; w.depth > maxProjectedDepth {
		return errors.New("the expression gives something that is nested too deep")
	}
	return nil
}

// number writes a number: that of the document where a float64 has rounded it, otherwise the shortest text that
// means the same float64.
func (w *projector) number(f float64) error {
	if text := w.originals()[f]; text != "" {
		w.out = append(w.out, text...)
		return w.checkSize()
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return errors.New("the expression gives a number that is too large, as a division by zero does")
	}
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	w.out = strconv.AppendFloat(w.out, f, format, -1, 64)
	return w.checkSize()
}

func (w *projector) originals() map[float64]string {
	if w.exact != nil {
		return w.exact
	}
	w.exact = map[float64]string{}
	for i := range w.doc.tape.items {
		it := &w.doc.tape.items[i]
		if it.kind != kindNumber {
			continue
		}
		if _, err := strconv.Atoi(it.text); err == nil {
			continue
		}
		f := floatOf(it.text)
		if math.IsInf(f, 0) || compareDigits(it.text, strconv.FormatFloat(f, 'e', -1, 64)) == 0 {
			continue
		}
		if other, seen := w.exact[f]; seen && other != it.text {
			w.exact[f] = ""
			continue
		}
		w.exact[f] = it.text
	}
	return w.exact
}
