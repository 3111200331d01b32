package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"text/template/parse"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/outbound"
)

// Templates are written as Go's text/template has them, for that is how receivers' formats are described elsewhere. They are
// not run by it: whoever may create a destination would decide how long that takes. What is taken is text, fields, and join.

// The fields of templates.
const (
	partText = iota
	partEventID
	partTopic
	partUnix
	partUnixMilli
	partTime // in a layout
	partBody
	partSignatures // with a separator between them
)

// part is a piece of a template.
type part struct {
	kind int
	text string // the text, the layout, or the separator
}

var templateFields = map[string]int{"EventID": partEventID, "Topic": partTopic, "Timestamp.Unix": partUnix,
	"Timestamp.UnixMilli": partUnixMilli,
	"Timestamp":           partTime, "Body": partBody, "Signatures": partSignatures}

// compileTemplate reads a template that may have these fields only, and must have the last of them. Error texts follow the
// field's name.
func compileTemplate(text string, allowed ...int) ([]part, error) {
	trees, err := parse.Parse("template", text, "", "", map[string]any{"join": true})
	if err != nil {
		return nil, errors.New("is not a template: write fields like {{.Body}}, and {{.Signatures | join \",\"}}")
	}
	tree := trees["template"]
	if len(trees) > 1 || tree == nil || tree.Root == nil {
		return nil, errors.New("must be one template without others in it")
	}
	var out []part
	for _, n := range tree.Root.Nodes {
		p, err := compilePart(n)
		if err != nil {
			return nil, err
		}
		if p.kind != partText && !slices.Contains(allowed, p.kind) {
			return nil, fmt.Errorf("cannot have %s here", n)
		}
		out = append(out, p)
	}
	last := allowed[len(allowed)-1]
	if !slices.ContainsFunc(out, func(p part) bool { return p.kind == last }) {
		name := map[int]string{partBody: "{{.Body}}", partSignatures: `{{.Signatures}}`}[last]
		return nil, fmt.Errorf("must have %s in it", name)
	}
	return out, nil
}

func compilePart(n parse.Node) (part, error) {
	if t, ok := n.(*parse.TextNode); ok {
		if !outbound.ValidValue(string(t.Text)) {
			return part{}, errors.New("must be one line of text")
		}
		return part{partText, string(t.Text)}, nil
	}
	bad := fmt.Errorf("has %s, which is none of {{.EventID}}, {{.Topic}}, {{.Timestamp.Unix}}, {{.Timestamp.UnixMilli}}, {{.Timestamp.Format \"layout\"}}, {{.Body}} and {{.Signatures | join \",\"}}", n)
	a, ok := n.(*parse.ActionNode)
	if !ok || len(a.Pipe.Decl) > 0 || len(a.Pipe.Cmds) == 0 || len(a.Pipe.Cmds) > 2 {
		return part{}, bad
	}
	first := a.Pipe.Cmds[0].Args
	field, ok := first[0].(*parse.FieldNode)
	if !ok {
		return part{}, bad
	}
	name := field.String()[1:]
	p := part{kind: templateFields[name]}
	switch {
	case name == "Timestamp.Format" && len(first) == 2:
		layout, ok := first[1].(*parse.StringNode)
		if !ok || !outbound.ValidValue(layout.Text) {
			return part{}, bad
		}
		p = part{partTime, layout.Text}
	case p.kind == partText || len(first) != 1:
		return part{}, bad
	case p.kind == partTime:
		p.text = time.RFC3339
	case p.kind == partSignatures:
		p.text = ","
	}
	if len(a.Pipe.Cmds) == 1 {
		return p, nil
	}
	args := a.Pipe.Cmds[1].Args
	if p.kind != partSignatures || len(args) != 2 || args[0].String() != "join" {
		return part{}, bad
	}
	by, ok := args[1].(*parse.StringNode)
	if !ok || !outbound.ValidValue(by.Text) {
		return part{}, bad
	}
	p.text = by.Text
	return p, nil
}

// appendPart writes a part that is neither the body nor the signatures.
func appendPart(b []byte, p part, m *adapters.Message, now time.Time) []byte {
	switch p.kind {
	case partText:
		return append(b, p.text...)
	case partEventID:
		return append(b, m.EventID...)
	case partTopic:
		return append(b, m.Topic...)
	case partUnix:
		return strconv.AppendInt(b, now.Unix(), 10)
	case partUnixMilli:
		return strconv.AppendInt(b, now.UnixMilli(), 10)
	}
	return now.UTC().AppendFormat(b, p.text)
}
