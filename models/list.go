package models

import "reflect"

// Filter is one condition of a list. It is declared once, as a field of the list's query struct; the tags say the rest:
//
//	query:"status"                the parameter, of the API and of the page's address
//	label:"Status"                what people call it, where a page shows the conditions in force
//	words:"delivery status"       the vocabulary in which a page shows its values; as they are without one
//	doc:"…" api:"schema=…"        what the description of the API says of it (internal/openapi)
//
// Fields without a label, such as the order, are no conditions: they choose no rows.
type Filter struct {
	Name, Label, Words string
}

// FiltersOf lists the conditions of a list by its query struct, in the order of the fields.
func FiltersOf[Q any]() []Filter {
	var out []Filter
	eachField(reflect.ValueOf(*new(Q)), func(f reflect.StructField, _ reflect.Value) {
		if label := f.Tag.Get("label"); label != "" {
			out = append(out, Filter{f.Tag.Get("query"), label, f.Tag.Get("words")})
		}
	})
	return out
}

// eachField visits the fields of a query struct, and those of structs embedded in it. The part of the list that is wanted
// (PageQuery) is none of them.
func eachField(query reflect.Value, visit func(reflect.StructField, reflect.Value)) {
	for i := range query.NumField() {
		f := query.Type().Field(i)
		switch {
		case f.Type == reflect.TypeFor[PageQuery]():
		case f.Anonymous:
			eachField(query.Field(i), visit)
		default:
			visit(f, query.Field(i))
		}
	}
}

// given are the fields of a query struct that say something, by their parameters. A field that says nothing is left out, so
// that a cursor outlives a release that adds a filter.
func given(query any) map[string]any {
	out := map[string]any{}
	eachField(reflect.ValueOf(query), func(f reflect.StructField, v reflect.Value) {
		if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			return
		}
		name := f.Tag.Get("query")
		if name == "" {
			name = f.Name
		}
		out[name] = v.Interface()
	})
	return out
}
