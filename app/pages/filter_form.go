package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/filter"
	"github.com/waybill-dev/waybill/views"
)

// filterState is what is in the filter builder: a filter in one of the views, finished or not.
type filterState struct {
	view    filter.Notation
	match   string
	rows    []views.FilterRow
	text    string          // in the views of text
	keep    json.RawMessage // the filter, where the view is read-only
	pinned  string          // id of an event to try it on
	sample  string          // an event of somebody's own
	version string          // of the destination that the page was made of
}

// maxRows bounds the rows that are read from a form, as many as a filter may have conditions.
const maxRows = filter.MaxConditions

func readFilterState(form views.Form) *filterState {
	st := &filterState{view: filter.Notation(form.Value("view")), match: orElse(form.Value("match"), string(filter.GroupAll)),
		text:   form.Value("filter"),
		pinned: form.Value("event"), sample: form.Value("sample"), version: form.Value("version")}
	if !isView(st.view) {
		st.view = filter.NotationRules
	}
	if keep := form.Value("keep"); keep != "" {
		st.keep = json.RawMessage(keep)
	}
	st.rows = readRows(form, "", 0)
	return st
}

func isView(n filter.Notation) bool {
	return slices.Contains([]filter.Notation{filter.NotationRules, filter.NotationJSON, filter.NotationSearch, filter.NotationExpression},
		n)
}

func readRows(form views.Form, parent string, depth int) []views.FilterRow {
	var rows []views.FilterRow
	for i := range maxRows {
		name := views.RowName(parent, i)
		_, rule := form.Values[name+".condition"]
		_, group := form.Values[name+".group"]
		if !rule && !group {
			break
		}
		r := views.FilterRow{Field: strings.TrimSpace(form.Value(name + ".field"))}
		if group && depth == 0 {
			r.Group = form.Value(name + ".group")
			r.Rows = readRows(form, name, 1)
		} else {
			r.Condition, r.As = form.Value(name+".condition"), form.Value(name+".as")
			r.Value = strings.ReplaceAll(form.Value(name+".value"), "\r\n", "\n")
		}
		rows = append(rows, r)
	}
	return rows
}

// change does what a button of the form says to the rows: "add", "add:2", "group", "remove:2.0", "up:1", "down:1",
// "example:amount". It returns the name of the control to go on at.
func (st *filterState) change(do string, fields []models.SuggestedField) (focus string) {
	verb, target, _ := strings.Cut(do, ":")
	if verb == "example" {
		for _, e := range views.FilterExamples(fields) {
			if e.Name == target {
				st.rows = append(st.rows, e.Row)
			}
		}
		return views.RowName("", len(st.rows)-1) + ".value"
	}
	list, parent, at := &st.rows, "", -1
	if outer, inner, nested := strings.Cut(target, "."); nested || verb == "add" && target != "" {
		i, err := strconv.Atoi(outer)
		if err != nil || i < 0 || i >= len(st.rows) {
			return ""
		}
		list, parent, target = &st.rows[i].Rows, views.RowName("", i), inner
	}
	if n, err := strconv.Atoi(target); err == nil && n >= 0 && n < len(*list) {
		at = n
	}
	switch {
	case verb == "add":
		*list = append(*list, views.FilterRow{})
		return views.RowName(parent, len(*list)-1) + ".field"
	case verb == "group":
		*list = append(*list, views.FilterRow{Group: string(filter.GroupAny), Rows: []views.FilterRow{{}}})
		return views.RowName(parent, len(*list)-1) + ".group"
	case at < 0:
		return ""
	case verb == "remove":
		*list = slices.Delete(*list, at, at+1)
		return "add"
	case verb == "up" && at > 0:
		(*list)[at-1], (*list)[at] = (*list)[at], (*list)[at-1]
		at--
	case verb == "down" && at < len(*list)-1:
		(*list)[at+1], (*list)[at] = (*list)[at], (*list)[at+1]
		at++
	}
	if (*list)[at].Group != "" {
		return views.RowName(parent, at) + ".group"
	}
	return views.RowName(parent, at) + ".field"
}

// parsed is a filter that was read from the builder.
type parsed struct {
	filter *filter.Filter
	stored json.RawMessage // as it is kept; {} for none
	notes  []string        // about rules that were left out
	err    *models.Error   // what is wrong with it
}

// parse reads the filter. With lenient, rules that are not finished are left out and named in the notes.
func (st *filterState) parse(fields []models.SuggestedField, lenient bool) parsed {
	switch {
	case st.keep != nil:
		f, err := filter.Parse(st.keep)
		if err != nil {
			return parsed{err: models.FilterError("filter", err)}
		}
		return parsed{filter: f, stored: st.keep}
	case st.view == filter.NotationRules:
		return st.parseRows(fields, lenient)
	}
	raw, err := st.rawText()
	if err != nil {
		return parsed{err: models.FilterError("filter", err)}
	}
	f, err := filter.ParseNew(raw)
	if err != nil {
		return parsed{err: models.FilterError("filter", err)}
	}
	return parsed{filter: f, stored: raw}
}

// rawText is the text of a view as a filter is stored.
func (st *filterState) rawText() (json.RawMessage, error) {
	text := strings.TrimSpace(strings.ReplaceAll(st.text, "\r\n", "\n"))
	switch {
	case text == "":
		return json.RawMessage("{}"), nil
	case st.view == filter.NotationSearch:
		return json.Marshal(text)
	case st.view == filter.NotationExpression:
		return json.Marshal(map[string]string{"$expr": text})
	case !strings.HasPrefix(text, "{"):
		return nil, &filter.Error{Message: "a filter as JSON is an object, such as {\"status\": \"paid\"}", Line: 1, Column: 1}
	}
	return json.RawMessage(text), nil
}

func (st *filterState) parseRows(fields []models.SuggestedField, lenient bool) parsed {
	var out parsed
	bad, titles := map[string]string{}, views.RowTitles(st.rows)
	leaveOut := func(name string) { out.notes = append(out.notes, titles[name]+" is not finished and was left out.") }
	rules := filter.Rules{Match: filter.Group(st.match)}
	for i, r := range st.rows {
		name := views.RowName("", i)
		row, finished := parseRow(r, views.FilterRow{}, fields, name, bad)
		if r.Group != "" {
			for j, child := range r.Rows {
				if c, ok := parseRow(child, r, fields, views.RowName(name, j), bad); ok {
					row.Rules = append(row.Rules, c)
				} else {
					leaveOut(views.RowName(name, j))
				}
			}
			if len(row.Rules) == 0 && len(r.Rows) > 0 {
				continue
			}
			if finished = noteRow(row, name, bad); !finished {
				leaveOut(name)
			}
		} else if !finished {
			leaveOut(name)
		}
		if finished {
			rules.Rules = append(rules.Rules, row)
		}
	}
	if len(bad) > 0 && !lenient {
		return parsed{err: &models.Error{Kind: models.KindInvalid, Message: "validation error", Fields: bad}}
	}
	f, err := filter.FromRules(rules)
	if err != nil {
		return parsed{err: models.FilterError("filter", err)}
	}
	out.filter, out.stored = f, json.RawMessage("{}")
	if !f.IsEmpty() {
		text, _, _ := f.JSON()
		out.stored = json.RawMessage(text)
	}
	return out
}

// parseRow reads a rule, or the head of a group, and notes what is wrong with it under the names of its controls.
func parseRow(r, group views.FilterRow, fields []models.SuggestedField, name string, bad map[string]string) (row filter.Row, ok bool) {
	row = filter.Row{Group: filter.Group(r.Group), Condition: filter.Condition(r.Condition)}
	if r.Group == "" || r.Group == string(filter.GroupOne) {
		row.Field = r.Field
	}
	if r.Group != "" {
		return row, true
	}
	info := views.ConditionInfo(r.Condition)
	var problem string
	switch {
	case info.Takes == "":
	case r.As == views.AsField:
		row.Ref = strings.TrimSpace(r.Value)
		if row.Ref == "" {
			bad[name+".value"] = "needs the path of another field"
			return row, false
		}
	default:
		if row.Value, problem = parseValue(r, info.Takes, views.SeenType(fields, group, r)); problem != "" {
			bad[name+".value"] = problem
			return row, false
		}
	}
	if group.Group == string(filter.GroupOne) {
		// By itself it would be no rule: its field is one of an element.
		return row, noteRow(filter.Row{Group: filter.GroupOne, Field: orElse(group.Field, "list"), Rules: []filter.Row{row}}, name, bad)
	}
	return row, noteRow(row, name, bad)
}

// noteRow notes what is wrong with a finished row.
func noteRow(row filter.Row, name string, bad map[string]string) bool {
	err := row.Check()
	if err == nil {
		return true
	}
	message, part := err.Error(), "field"
	if fe := (*filter.Error)(nil); errors.As(err, &fe) {
		message, part = fe.Message, fe.Path[strings.LastIndex(fe.Path, ".")+1:]
	}
	switch {
	case part == "ref":
		part = "value"
	case row.Group != "" && part != "field":
		part = "group"
	}
	bad[name+"."+part] = message
	if row.Group == "" && row.Field == "" && part == "condition" {
		bad[name+".field"] = "choose a field, such as customer.email"
	}
	return false
}

// parseValue reads what was typed as a value. seen is the type that the field has in recent events; empty for unknown.
func parseValue(r views.FilterRow, takes, seen string) (filter.Value, string) {
	text := r.Value
	if r.As == views.AsJSON {
		var v filter.Value
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return v, "must be JSON, such as \"text\", 10, [1, 2] or {\"a\": 1}"
		}
		return v, ""
	}
	switch takes {
	case "list":
		return parseList(r.As, lines(text), seen, takes)
	case "text or list":
		if many := lines(text); len(many) > 1 {
			return parseList(views.AsText, many, seen, takes)
		}
	}
	return parseScalar(r.As, strings.TrimRight(text, "\n"), seen, takes)
}

func parseList(as string, texts []string, seen, takes string) (filter.Value, string) {
	if len(texts) == 0 {
		return filter.Value{}, "needs at least one value"
	}
	var list []filter.Value
	for _, t := range texts {
		v, problem := parseScalar(as, t, seen, takes)
		if problem != "" {
			return v, problem
		}
		list = append(list, v)
	}
	return filter.Values(list...), ""
}

func parseScalar(as, text, seen, takes string) (filter.Value, string) {
	trimmed := strings.TrimSpace(text)
	number, isNumber := filter.Number(trimmed)
	switch as {
	case views.AsText:
		return filter.String(text), ""
	case views.AsNull:
		return filter.Null(), ""
	case views.AsBool:
		if trimmed != "true" && trimmed != "false" {
			return filter.Value{}, "must be true or false"
		}
		return filter.Bool(trimmed == "true"), ""
	case views.AsNumber:
		if !isNumber {
			return filter.Value{}, "must be a number, such as 10 or -0.5"
		}
		return number, ""
	}
	switch {
	case trimmed == "":
		return filter.Value{}, "is required; for an empty text choose the type Text"
	case takes == "text" || takes == "text or list":
		return filter.String(text), ""
	case takes == "number":
		if !isNumber {
			return filter.Value{}, "must be a number, such as 10 or -0.5"
		}
		return number, ""
	case takes == "number or text" && isNumber:
		return number, ""
	case isNumber && seen != "text":
		return number, ""
	case (trimmed == "true" || trimmed == "false") && seen != "text" && takes != "number or text":
		return filter.Bool(trimmed == "true"), ""
	case trimmed == "null" && seen != "text" && takes != "number or text":
		return filter.Null(), ""
	}
	return filter.String(text), ""
}

// lines are the values of a list, one a line; what is only space is none.
func lines(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return out
}

// show puts a filter into a view. Where the view cannot say it, the filter is kept, the text is what the view could say
// that comes near it, and the reason tells what is different.
func (st *filterState) show(p parsed, view filter.Notation) (reason string) {
	st.view, st.keep, st.text, st.rows, st.match = view, nil, "", nil, string(filter.GroupAll)
	f, ok := p.filter, true
	switch view {
	case filter.NotationRules:
		var rules filter.Rules
		if rules, ok, reason = f.Rows(); ok {
			st.match, st.rows = string(rules.Match), showRows(rules.Rules)
		}
	case filter.NotationJSON:
		st.text, ok, reason = f.JSON()
		if f.Notation() == filter.NotationJSON && bytes.HasPrefix(bytes.TrimSpace(p.stored), []byte("{")) {
			st.text = string(p.stored)
		}
		var pretty bytes.Buffer
		if json.Indent(&pretty, []byte(st.text), "", "  ") == nil {
			st.text = pretty.String()
		}
		if f.IsEmpty() {
			st.text = ""
		}
	case filter.NotationSearch:
		st.text, ok, reason = f.Search()
	case filter.NotationExpression:
		st.text, ok, reason = f.AsExpression()
	}
	if ok {
		return ""
	}
	st.keep = p.stored
	return reason
}

// showRows makes the controls' values of rows.
func showRows(rows []filter.Row) []views.FilterRow {
	out := make([]views.FilterRow, len(rows))
	for i, r := range rows {
		out[i] = views.FilterRow{Group: string(r.Group), Field: r.Field, Condition: string(r.Condition), Rows: showRows(r.Rules)}
		if r.Ref != "" {
			out[i].As, out[i].Value = views.AsField, r.Ref
		} else {
			out[i].As, out[i].Value = showValue(r.Value, strings.Contains(views.ConditionInfo(string(r.Condition)).Takes, "list"))
		}
	}
	return out
}

// showValue makes the type and the text of a value. lists tells that the condition takes a list as one value a line.
func showValue(v filter.Value, lists bool) (as, text string) {
	switch v.Kind() {
	case filter.KindNone:
		return "", ""
	case filter.KindNull:
		return views.AsNull, ""
	case filter.KindBool:
		return views.AsBool, v.JSON()
	case filter.KindNumber:
		return views.AsNumber, v.JSON()
	case filter.KindString:
		if text := v.Text(); !strings.ContainsAny(text, "\r\n") {
			return views.AsText, text
		}
	case filter.KindList:
		if !lists {
			break // it is compared as a whole
		}
		var texts []string
		for _, item := range v.Items() {
			kind, text := showValue(item, false)
			if as == "" {
				as = kind
			}
			if kind != as || kind == views.AsJSON || strings.TrimSpace(text) == "" {
				return views.AsJSON, v.JSON()
			}
			texts = append(texts, text)
		}
		if len(texts) > 0 {
			return as, strings.Join(texts, "\n")
		}
	}
	return views.AsJSON, v.JSON()
}
