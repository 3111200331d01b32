package models

import (
	"cmp"

	"github.com/waybill-dev/waybill/adapters"
)

// unalias turns what a patch says under another name of a field into what it says of the field. A caller may send back
// both names as it has read them and have changed one: that one counts.
func (v Values) unalias(fields []adapters.Field, current map[string]string, bad problems) {
	for _, f := range fields {
		other, given := v[f.Alias]
		if f.Alias == "" || !given {
			continue
		}
		delete(v, f.Alias)
		own, both := v[f.Key]
		old := cmp.Or(current[f.Key], f.Default)
		switch {
		case !both, said(own) == old:
			v[f.Key] = other
		case said(other) != old && said(other) != said(own):
			bad.add("config."+f.Alias, "says something else than "+f.Key+", which means the same; give one of them")
		}
	}
}

func said(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}

// ShownConfig is MaskedConfig as the API shows it: with every name that a value has.
func (d *Destination) ShownConfig() map[string]string {
	out := d.MaskedConfig()
	if r := d.Registration(); r != nil {
		for _, f := range r.Spec.Config {
			if v, ok := out[f.Key]; ok && f.Alias != "" {
				out[f.Alias] = v
			}
		}
	}
	return out
}
