package models

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/waybill-dev/waybill/adapters"
)

// Code is what an attempt's code is shown as: a status such as 503, or where there was no answer the class of the error,
// such as connect.
type Code string

// codeOf is the code of an attempt; empty when it has none.
func codeOf(status int, class string) Code {
	if status != 0 {
		return Code(strconv.Itoa(status))
	}
	return Code(class)
}

// number is the status; 0 for the class of an error.
func (c Code) number() int {
	n, err := strconv.Atoi(string(c))
	if err != nil {
		return 0
	}
	return n
}

// MarshalJSON prints a status as a number and a class as a string.
func (c Code) MarshalJSON() ([]byte, error) {
	if n := c.number(); n != 0 {
		return json.Marshal(n)
	}
	return json.Marshal(string(c))
}

// UnmarshalJSON reads a status, as a number or a string, or the class of an error.
func (c *Code) UnmarshalJSON(b []byte) error {
	var n int
	if json.Unmarshal(b, &n) == nil {
		*c = Code(strconv.Itoa(n))
		return nil
	}
	return json.Unmarshal(b, (*string)(c))
}

// problem says what is wrong with the code; empty for nothing.
func (c Code) problem() string {
	if n := c.number(); n >= 1 && n <= 999 || slices.Contains(adapters.Classes, adapters.Class(c)) {
		return ""
	}
	return fmt.Sprintf("cannot be %q: use a status like 503, or the class of an error like connect", cut(string(c), 40))
}

// checkShown checks conditions on what is shown of deliveries.
func checkShown(statuses []string, codes []Code) error {
	for _, st := range statuses {
		if !IsStatus(st) {
			return Invalid("status", fmt.Sprintf("%q is not a status: use %s", cut(st, 40), listSome(Statuses)))
		}
	}
	return checkCodes(codes)
}

func checkCodes(codes []Code) error {
	for _, c := range codes {
		if p := c.problem(); p != "" {
			return Invalid("code", p)
		}
	}
	return nil
}

// codesAre asks for rows that are shown with one of these codes. number and class are their columns.
func codesAre(q *query, codes []Code, number, class string) {
	numbers, classes := []int{}, []string{}
	for _, c := range codes {
		if n := c.number(); n != 0 {
			numbers = append(numbers, n)
		} else {
			classes = append(classes, string(c))
		}
	}
	switch {
	case len(codes) == 0:
	case len(classes) == 0:
		q.and(number+" = any(?)", numbers)
	case len(numbers) == 0:
		q.and("("+class+" = any(?) and coalesce("+number+", 0) = 0)", classes)
	default:
		q.and("("+number+" = any(?) or "+class+" = any(?) and coalesce("+number+", 0) = 0)", numbers, classes)
	}
}
