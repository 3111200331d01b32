package views

import "github.com/waybill-dev/waybill/models"

// Settings shows what the server is configured to do, and the reader's own preferences.
type Settings struct {
	Page
	Policy   models.RetryPolicy
	Settings []Setting
}

// Setting is one value with where it comes from.
type Setting struct {
	Label    string
	Value    string
	Variable string // of the environment
	FromEnv  bool   // it is set there; otherwise the value is the default
}

// Problem is the page for a request that could not be answered.
type Problem struct {
	Page
	Status    int
	Message   string
	Fields    []string // what exactly is wrong, one sentence each
	RequestID string
	Back      string // where to go on
	BackText  string
}

var problemTitles = map[int]string{
	400: "This request cannot be understood", 403: "Not allowed", 404: "Not found", 409: "Not possible now", 412: "Changed meanwhile",
	413: "Too large", 421: "Not this server", 422: "Not accepted", 429: "Too many tries", 500: "Something went wrong",
	503: "Not available now",
}

// ProblemTitle is the heading of the page for a status.
func ProblemTitle(status int) string {
	if t := problemTitles[status]; t != "" {
		return t
	}
	return problemTitles[500]
}

// preferences is the form of the reader's own choices.
func (v Settings) preferences() Form {
	return Form{Values: map[string][]string{"theme": {v.themeChoice()}, "times": {v.timesChoice()}, "shortcuts": {pressed(v.Shortcuts)}}}
}
