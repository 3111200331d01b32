package models

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// BesideSettings are the values of the fields that types have beside config, by key; see adapters.BesideField.
type BesideSettings map[string]string

// besideColumn is the column of Beside, which holds the field of its name. It stays where it is: processes of the release
// before read the signature of webhooks there, and would sign with another one if it moved.
const besideColumn = "signature"

// besideJSON are the fields of all types beside config as the API shows them, with those that it has in config, too, if asked.
func (d *DestinationFields) besideJSON(inConfig bool) map[string]any {
	out := map[string]any{}
	for _, f := range adapters.Beside() {
		switch {
		case !f.InConfig:
			out[f.Key] = d.Beside[f.Key]
		case inConfig:
			out[f.Key] = d.Config[f.Key] == "true"
		}
	}
	return out
}

// BesideJSON are the fields of types beside config, as the API shows them.
func (d *DestinationFields) BesideJSON() map[string]any { return d.besideJSON(true) }

// patchBeside takes over what a patch says of the fields of types beside config. Those of config follow once that is
// patched itself.
func (d *Destination) patchBeside(p DestinationPatch, inConfig bool, bad problems) {
	for _, f := range adapters.Beside() {
		raw, given := p.raw(f.Key)
		if !given || f.InConfig != inConfig {
			continue
		}
		if f.InConfig {
			var on bool
			if err := json.Unmarshal(raw, &on); err != nil {
				bad.add(f.Key, "must be true or false")
			}
			delete(d.Config, f.Key)
			if on {
				d.Config[f.Key] = "true"
			}
			continue
		}
		var v string
		if err := json.Unmarshal(raw, &v); err != nil {
			bad.add(f.Key, "must be a string")
		} else if message := f.Problem(v); message != "" {
			bad.add(f.Key, message)
		}
		if delete(d.Beside, f.Key); v != "" {
			d.Beside[f.Key] = v
		}
	}
}

// DestinationShape is a struct with the fields of t, those of destinations and of types beside config among them. It is how
// requests are read and how the API is described.
func DestinationShape(t reflect.Type) reflect.Type {
	var fields []reflect.StructField
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			switch {
			case f.Anonymous:
				add(f.Type)
			case f.Type == reflect.TypeFor[BesideSettings]():
				for j, b := range adapters.Beside() {
					fields = append(fields, besideShape(j, b))
				}
			case f.IsExported():
				f.Offset, f.Index = 0, nil
				fields = append(fields, f)
			}
		}
	}
	add(t)
	return reflect.StructOf(fields)
}

func besideShape(n int, b adapters.BesideField) reflect.StructField {
	f := reflect.StructField{Name: fmt.Sprintf("Beside%d", n), Type: reflect.TypeFor[string](),
		Tag: reflect.StructTag(fmt.Sprintf("json:%q", b.Key))}
	switch {
	case b.InConfig:
		f.Type = reflect.TypeFor[bool]()
		f.Tag += reflect.StructTag(fmt.Sprintf(" doc:%q indoc:%q", b.Doc, "The "+lowerFirst(b.Owner)+"s' config field of this name."))
	case b.Options != nil:
		f.Tag += reflect.StructTag(fmt.Sprintf(" api:%q", "schema="+BesideSchema(b)))
	}
	return f
}

// BesideSchema names the schema of the words of a field beside config, in the API's description.
func BesideSchema(b adapters.BesideField) string { return strings.ToUpper(b.Key[:1]) + b.Key[1:] }

// destinationRequest is what requests may say of a destination, besides the fields of types.
type destinationRequest struct {
	ID   *string `json:"id" doc:"When creating; made up when missing."`
	Type *string `json:"type" api:"schema=DestinationType" doc:"Cannot be changed."`
	DestinationFields
	// DisabledAt disables the destination when it is a time, and enables it when it is null. The events held meanwhile
	// are delivered then, unless the settings say otherwise; EnableDestination offers more.
	DisabledAt json.RawMessage `json:"disabled_at" api:"type=string,format=date-time,null" doc:"A time disables it; null enables it and delivers what was held."`
	CreatedAt  *time.Time      `json:"created_at" doc:"When creating, for operators: since when there is the destination; now when missing."`
	UpdatedAt  *time.Time      `json:"updated_at" doc:"When creating, for operators: as 'created_at' when missing."`
}
