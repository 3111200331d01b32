package filter_test

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/models/filter"
)

// A filter is compiled once and then asked about events; Explain says what decided.
func Example() {
	f, err := filter.Parse([]byte(`"total:>=10 AND currency:EUR"`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, payload := range []string{`{"total": 29.95, "currency": "EUR"}`, `{"total": 4, "currency": "EUR"}`, `{"total": 29.95}`} {
		event := filter.NewDoc("evt_1", "order.created", time.Now(), nil, []byte(payload))
		verdict := f.Explain(event)
		fmt.Println(verdict.Match, verdict.Reason)
	}
	// Output:
	// true all 2 rules are met
	// false `data.total` is 4, needs at least 10
	// false `data.currency` is missing
}

// One filter can be written in each notation, as far as that can say it.
func ExampleFilter_JSON() {
	f, _ := filter.ParseSearch("total:>=10 AND NOT currency:USD")
	text, lossless, _ := f.JSON()
	fmt.Println(text, lossless)
	for _, rule := range f.Rules() {
		fmt.Println(rule.Number, rule.Words)
	}
	// Output:
	// {"total":{"$gte":10},"currency":{"$neq":"USD"}} true
	// 1 `data.total` is at least 10
	// 2 `data.currency` is not "USD"
}

// A mistake has a place.
func ExampleParse_mistake() {
	_, err := filter.Parse([]byte(`{"total": {"$near": 10}}`))
	fmt.Println(err)
	_, err = filter.ParseSearch("total:>=10 AND")
	fmt.Println(err)
	// Output:
	// total.$near: there is no operator `$near`; there are $eq $neq $gt $gte $lt $lte $in $nin $contains $startsWith $endsWith $regex $exist $empty $ref $and $or $not
	// line 1, column 12: `AND` stands between two terms, and the second one is not there
}
