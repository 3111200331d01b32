package views

import (
	"net/url"

	"github.com/waybill-dev/waybill/models"
)

// UsageRow is what a tenant has used, on a day or on all that are shown.
type UsageRow = models.Usage

// Usage is what tenants have used: of the page's tenant by day, or without one of each tenant.
type Usage struct {
	Page
	Query    url.Values // from and to
	From, To string     // that are shown, as dates
	Err      *models.Error
	Rows     []UsageRow
	Months   []UsageMonth
}

// UsageMonth leads to a month.
type UsageMonth struct {
	Label string
	Query url.Values
}

var usageLabels = []Label{{"from", "From"}, {"to", "To"}}

func (v Usage) form() Form {
	return Form{Values: map[string][]string{"from": {v.From}, "to": {v.To}}, Err: v.Err}
}

func (v Usage) total() (sum UsageRow) {
	for _, u := range v.Rows {
		sum.Add(u)
	}
	return sum
}

func (v Usage) totalWord() string {
	if v.Tenant == "" {
		return "All tenants"
	}
	return "All days"
}

func (v Usage) note() string {
	if v.Tenant == "" {
		return "What each tenant has used on these days, deleted ones among them. Days are those of UTC. " +
			"A delivery that is retried by hand counts once more."
	}
	return "What this tenant has used, by day. The figures of today grow. A delivery that is retried by hand counts once more."
}

// UsageURL is the page of usage: of a tenant, or without one of all.
func UsageURL(tenant string, q url.Values) string {
	if tenant == "" {
		return with("/server/usage", q)
	}
	return with(path("t", tenant, "usage"), q)
}

// UsageExportURL is the same as a file.
func UsageExportURL(tenant string, q url.Values) string {
	return with(UsageURL(tenant, nil)+"/export", q)
}
