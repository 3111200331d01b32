package views

import (
	"strconv"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// plain are the plain fields of destinations, with a control drawn from their tags: the choices, or all others.
func (v DestinationForm) plain(choices bool) (out []models.Field) {
	for _, f := range models.DestinationFieldList() {
		chosen := f.Kind == models.ChoiceField || f.Kind == models.BooleanField
		if f.Kind != models.CompoundField && !f.Main && chosen == choices {
			out = append(out, f)
		}
	}
	return out
}

// name is the field for what people call the destination.
func (v DestinationForm) name() models.Field { return models.DestinationFieldList()[0] }

// plainControl is the control that a plain field is entered with.
func (v DestinationForm) plainControl(f models.Field) Control {
	c := Control{Name: f.Name, Label: f.Label, Hint: f.Help, Placeholder: v.placeholder(f.Name), Mono: f.Kind != models.TextField}
	switch f.Kind {
	case models.NumberField:
		c.InputMode = "numeric"
	case models.DecimalField:
		c.InputMode = "decimal"
	case models.ChoiceField:
		c.Unmarked = true
		for _, o := range f.Options {
			c.Options = append(c.Options, Option{Value: o.Value, Label: o.Label})
		}
	}
	return c
}

// placeholder is what is in force while a field is empty.
func (v DestinationForm) placeholder(field string) string {
	switch field {
	case "timeout":
		return durationText(v.Defaults.Timeout)
	case "max_in_flight":
		return strconv.Itoa(v.Defaults.InFlightOf(v.Type))
	case "manual_retry_limit":
		return limitText(v.Limits.PerDelivery)
	case "manual_retries_per_hour":
		return limitText(v.Limits.PerHour)
	case "disable_after":
		return strconv.Itoa(v.Defaults.DisableAfter)
	}
	return ""
}

// besideControl is the control of a field that the type has beside config. Its first choice is what an empty value means: a
// new destination gets it by name, and one that has none keeps none.
func (v DestinationForm) besideControl(f adapters.Field) Control {
	c := Control{Name: f.Key, Label: f.Label, Hint: f.Help, Unmarked: true}
	for i, o := range f.Options {
		if i == 0 && v.Destination != nil && v.Form.Value(f.Key) != o.Value {
			o.Value = ""
		}
		c.Options = append(c.Options, Option{Value: o.Value, Label: o.Label})
	}
	return c
}

// labels name every control, for the error summary, in the order in which they are on the page.
func (v DestinationForm) labels() []Label {
	name := v.name()
	out := []Label{{name.Name, name.Label}}
	for _, f := range v.Type.Spec.Config {
		out = append(out, Label{"config." + f.Key, f.Label})
	}
	for _, f := range v.Type.Spec.Credentials {
		out = append(out, Label{"credentials." + f.Key, f.Label})
	}
	add := func(fields []models.Field, want func(models.Field) bool) {
		for _, f := range fields {
			if f.Label != "" && want(f) {
				out = append(out, Label{f.Name, f.Label})
			}
		}
	}
	all, every := models.DestinationFieldList(), func(models.Field) bool { return true }
	add(all[1:], func(f models.Field) bool { return f.Main })
	add(v.plain(false), every)
	out = append(out, Label{"rate_limit.per_second", "Rate limit (per second)"}, Label{"order", "Order"})
	for _, f := range v.Type.Spec.Beside {
		out = append(out, Label{f.Key, f.Label})
	}
	add(v.plain(true), every)
	out = append(out, Label{"retry.initial", "First delay"}, Label{"retry.multiplier", "Backoff factor"},
		Label{"retry.max_interval", "Longest wait"},
		Label{"retry.max_attempts", "Attempts"}, Label{"retry.schedule", "Waits"}, Label{"retry.retry_on", "Retry on"})
	add(all, func(f models.Field) bool { return !f.Main && f.Kind == models.CompoundField })
	return out
}
