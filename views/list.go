package views

import (
	"net/url"
	"slices"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// What a page says of a list's conditions comes from the fields of the list's query struct (models.Filter): the names of chips
// and of problems, and the vocabularies of values. What is a control is written in the page's template.

// vocabularies are the words for values of filters, by the name in the field's tag. Those of what a tenant has, such as
// "destination", are given by the page.
func vocabularies() map[string][]Option {
	return map[string][]Option{
		"delivery status": statusOptions(), "error class": ErrorClasses, "attempt status": attemptOutcomes, "trigger": triggerOptions,
		"by hand":          byHand,
		"destination type": typeOptions(adapters.All()), "destination state": stateOptions,
		"audit action": auditWords, "actor type": actorKindWords, "audit outcome": auditOutcomes,
		"notification status": notificationOptions(), "notification kind": noticeOptions,
	}
}

// TimeFields are the parameters of lists that hold a time.
var TimeFields = map[string]bool{"since": true, "until": true, "time[gte]": true, "time[gt]": true, "time[lte]": true, "time[lt]": true}

// timeRange names the vocabulary of a page whose list can be limited to a range relative to now.
const timeRange = "range"

// chips lists the conditions of a list that are in force, in the order of the fields of its query struct. own are vocabularies
// of the page.
func chips[Q any](base string, q url.Values, own map[string][]Option) []Chip {
	known := vocabularies()
	var out []Chip
	add := func(name, label string, words []Option) {
		for _, v := range q[name] {
			switch {
			case v == "":
			case TimeFields[name]:
				out = append(out, Chip{label + ":", v, with(base, without(q, name, v))})
			default:
				out = append(out, Chip{label + ": " + optionLabel(words, v), "", with(base, without(q, name, v))})
			}
		}
	}
	for _, f := range models.FiltersOf[Q]() {
		if f.Name == "since" && own[timeRange] != nil && q.Get(timeRange) != "" {
			add(timeRange, "Time", own[timeRange]) // since goes with the cursor then
			continue
		}
		words := known[f.Words]
		if own[f.Words] != nil {
			words = own[f.Words]
		}
		add(f.Name, f.Label, words)
	}
	return out
}

// filterLabels name the parameters of a list, where one is refused.
func filterLabels[Q any]() []Label {
	var out []Label
	for _, f := range models.FiltersOf[Q]() {
		out = append(out, Label{f.Name, f.Label})
	}
	return append(out, Label{"limit", "Rows"}, Label{"dir", "Order"})
}

// narrowed reports whether a condition was refused whose control is folded away. open are the controls in sight.
func narrowed[Q any](refused *models.Error, open ...string) bool {
	return slices.ContainsFunc(models.FiltersOf[Q](), func(f models.Filter) bool {
		return !slices.Contains(open, f.Name) && (Form{Err: refused}).Problem(f.Name) != ""
	})
}
