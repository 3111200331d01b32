package filter

// SeenField is a field of an event, to be suggested where a filter is written.
type SeenField struct {
	// Path is the field as notations and rows write it, such as "variants.price". It leads through lists
	// without brackets.
	Path string `json:"path"`
	// Type is "text", "number", "true or false", "null", "list" (an empty one) or "object" (an empty one).
	Type string `json:"type"`
	// Numeric tells of a text that it is compared as a number where a rule asks for one.
	Numeric bool `json:"numeric,omitempty"`
	// List tells that the path leads through a list, of which any element counts.
	List bool `json:"list,omitempty"`
	// Example is the first value seen, as JSON, shortened.
	Example string `json:"example"`
}

// Fields lists the fields of the document that hold values, payload first, each path once, up to most of
// them. A payload that is not JSON has none.
func (d *Doc) Fields(most int) []SeenField {
	s := seer{doc: d, most: most, seen: map[string]bool{}}
	for _, name := range []string{rootData, rootTopic, rootID, rootTime, rootMetadata} {
		if root := d.root(rootNumber(name)); root >= 0 {
			s.walk([]string{name}, root, false)
		}
	}
	return s.fields
}

type seer struct {
	doc    *Doc
	most   int
	seen   map[string]bool
	fields []SeenField
}

func (s *seer) walk(path []string, value at, list bool) {
	items := s.doc.tape.items
	it := &items[value]
	switch {
	case len(s.fields) >= s.most || len(path) > maxNesting:
		return
	case it.kind == kindList && it.bits > 0:
		for e := value + 1; e < it.end && len(s.fields) < s.most; e = items[e].end {
			s.walk(path, e, true)
		}
		return
	case it.kind == kindObject && it.bits > 0:
		for k := value + 1; k < it.end && len(s.fields) < s.most; k = items[k+1].end {
			if items[k].text != "" {
				s.walk(joinPath(path, []string{items[k].text}), k+1, list)
			}
		}
		return
	}
	name := formatPath(shortened(path))
	if s.seen[name] {
		return
	}
	s.seen[name] = true
	field := SeenField{Path: name, Type: typeOf(it.kind), List: list, Example: shorten(string(s.doc.tape.append(nil, value)))}
	if it.kind == kindText {
		_, field.Numeric = s.doc.tape.number(value)
	}
	s.fields = append(s.fields, field)
}

// typeOf names a type as the filter builder does.
func typeOf(k kind) string {
	switch k {
	case kindNull:
		return "null"
	case kindFalse, kindTrue:
		return "true or false"
	case kindNumber:
		return "number"
	case kindText:
		return "text"
	case kindList:
		return "list"
	}
	return "object"
}
