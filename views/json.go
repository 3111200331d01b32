package views

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// MaxInline is the greatest payload that a page shows, in bytes. Greater ones can be downloaded.
const MaxInline = maxFolded

// jsonNode is one value of a payload, with its members in the order in which they came and numbers as they were written.
type jsonNode struct {
	kind    byte // '{', '[', 's' string, 'n' number, 'w' true, false or null
	text    string
	members []jsonMember
	open    bool
	omitted int // members that are not among members
}

type jsonMember struct {
	key   string // as JSON, with quotes; empty within arrays
	value *jsonNode
	last  bool
}

// Objects deeper than openDepth start closed when the whole payload has more than openNodes values.
const (
	openDepth    = 2
	openNodes    = 200
	maxJSONDepth = 100
)

// maxNodes is how many values of a payload are shown as a tree. A page of a hundred thousand takes a browser seconds, so
// what is beyond is counted, and is to be seen in the raw view.
const maxNodes = 2000

// parseJSON reads a payload; nil when it is not JSON, or nested too deep to be shown as a tree.
func parseJSON(data []byte) *jsonNode {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	n := 0
	root, err := readNode(d, 0, &n)
	if err != nil {
		return nil
	}
	if _, err := d.Token(); err != io.EOF {
		return nil
	}
	root.unfold(0, n <= openNodes)
	return root
}

func readNode(d *json.Decoder, depth int, n *int) (*jsonNode, error) {
	if *n++; depth > maxJSONDepth {
		return nil, fmt.Errorf("nested too deep")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		node := &jsonNode{kind: byte(t)}
		for d.More() {
			m := jsonMember{}
			if t == '{' {
				key, err := d.Token()
				if err != nil {
					return nil, err
				}
				m.key = quoted(key.(string))
			}
			full := *n >= maxNodes
			if m.value, err = readNode(d, depth+1, n); err != nil {
				return nil, err
			}
			if full {
				node.omitted++
				continue
			}
			node.members = append(node.members, m)
		}
		if k := len(node.members); k > 0 && node.omitted == 0 {
			node.members[k-1].last = true
		}
		_, err = d.Token() // the closing one
		return node, err
	case string:
		return &jsonNode{kind: 's', text: quoted(t)}, nil
	case json.Number:
		return &jsonNode{kind: 'n', text: t.String()}, nil
	case bool:
		return &jsonNode{kind: 'w', text: fmt.Sprint(t)}, nil
	}
	return &jsonNode{kind: 'w', text: "null"}, nil
}

// quoted is a string as JSON, without the escapes that are only needed within HTML.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}

func (n *jsonNode) unfold(depth int, all bool) {
	n.open = all || depth <= openDepth
	for _, m := range n.members {
		m.value.unfold(depth+1, all)
	}
}

// closing is the bracket that ends an object or an array.
func (n *jsonNode) closing() string {
	if n.kind == '[' {
		return "]"
	}
	return "}"
}

// holds says how much is in an object or an array.
func (n *jsonNode) holds() string {
	if n.kind == '[' {
		return plural(len(n.members)+n.omitted, "item")
	}
	return plural(len(n.members)+n.omitted, "field")
}

func comma(last bool) string {
	if last {
		return ""
	}
	return ","
}
