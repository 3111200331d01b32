package filter

import "encoding/json"

// Convert writes a stored filter in another notation: json, search, expression, or rules for the JSON of
// [Rules]. Converting to its own notation tidies it up.
//
// lossless is false when the result does not say the same in every case, with a sentence about the
// difference; such a result is for reading and must not be stored in place of the filter. It is nil when
// nothing similar can be said. The error is an [*Error] about raw itself, or about an unknown notation.
func Convert(raw []byte, to Notation) (out json.RawMessage, lossless bool, reason string, err error) {
	f, err := Parse(raw)
	if err != nil {
		return nil, false, "", err
	}
	return f.Convert(to)
}

// Convert is like the function of this name for a filter that was parsed already.
func (f *Filter) Convert(to Notation) (out json.RawMessage, lossless bool, reason string, err error) {
	var text string
	switch to {
	case NotationJSON:
		if f != nil && f.expression != nil {
			return nil, false, reasonExpression, nil
		}
		text, lossless, reason = f.JSON()
		out = json.RawMessage(text)
	case NotationSearch:
		text, lossless, reason = f.Search()
		out = appendQuoted(nil, text)
	case NotationExpression:
		text, lossless, reason = f.AsExpression()
		out = append(appendQuoted([]byte(`{"$expr":`), text), '}')
		if f.IsEmpty() {
			out = json.RawMessage("{}")
		}
	case NotationRules:
		rules, lossless, reason := f.Rows()
		if !lossless {
			return nil, false, reason, nil
		}
		out, err := json.Marshal(rules)
		return out, true, "", err
	default:
		return nil, false, "", &Error{Message: "a filter is converted to json, search, expression or rules", Path: "to"}
	}
	if text == "" && !lossless {
		return nil, false, reason, nil
	}
	if lossless {
		if _, err := Parse(out); err != nil {
			//nolint:nilerr // the reason is the answer, not a failure
			return out, false, "written like this it would be refused: " + err.Error(), nil
		}
	}
	return out, lossless, reason, nil
}
