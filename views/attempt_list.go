package views

import (
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// AttemptsURL is the list of a tenant's attempts.
func AttemptsURL(tenant string) string { return path("t", tenant, "attempts") }

// Attempts is the list of a tenant's attempts. Query holds the API's parameters, and range, as in the address.
type Attempts struct {
	Page
	Query        url.Values
	List         *models.Page[*models.Attempt]
	Destinations []Option
	Since        time.Time // where the range in force began; zero without one
	Notice       string    // about the address
	Err          *models.Error
}

// triggerOptions are why attempts are made, as choices.
var triggerOptions = []Option{
	{Value: "", Label: "Any trigger"}, {Value: models.TriggerAutomatic, Label: "Automatic"}, {Value: models.TriggerManual, Label: "Manual"},
	{Value: models.TriggerBulk, Label: "Bulk retry"}, {Value: models.TriggerProbe, Label: "Probe"},
	{Value: models.TriggerTest, Label: "Test"},
}

var attemptOutcomes = []Option{{Value: "", Label: "Any outcome"}, {Value: "success", Label: "Succeeded"},
	{Value: "failed", Label: "Failed"}}

var byHand = []Option{{Value: "true", Label: "By hand"}, {Value: "false", Label: "Not by hand"}}

func (v Attempts) chips() []Chip {
	return chips[models.AttemptQuery](AttemptsURL(v.Tenant), v.Query, map[string][]Option{timeRange: Ranges, "destination": v.Destinations})
}

func (v Attempts) views() []View {
	base := AttemptsURL(v.Tenant)
	out := []View{{Label: "All", URL: base, Current: len(firstPage(v.Query)) == 0}}
	for _, x := range []struct{ label, name, value string }{{"By hand", "manual", "true"}, {"Failed", "status", "failed"},
		{"Tests", "trigger", models.TriggerTest}} {
		out = append(out, View{Label: x.label, URL: with(base, replaced(v.Query, x.name, x.value)),
			Current: v.Query.Get(x.name) == x.value})
	}
	return out
}

func (v Attempts) sort() SortLink {
	return Sorts{Base: AttemptsURL(v.Tenant), Query: v.Query, Default: "time"}.link("Started (UTC)", "time", "desc")
}

func (v Attempts) pager() Pager {
	return newPager(AttemptsURL(v.Tenant), v.Query, len(v.List.Items), "attempt", CursorsOf(v.List, v.Since))
}

func (v Attempts) form() Form { return Form{Values: v.Query, Err: v.Err} }

// narrowed reports whether a condition was refused whose control is folded away.
func (v Attempts) narrowed() bool {
	return narrowed[models.AttemptQuery](v.Err, "status", "trigger", "actor", "manual")
}
