package views

import "github.com/waybill-dev/waybill/models"

// Topics is the catalogue of topics. Its form adds a topic or changes one.
type Topics struct {
	Page
	List []models.Topic
	Form Form
	Open bool // the form is unfolded
}

var topicLabels = []Label{{"name", "Name"}, {"description", "Description"}, {"example", "Example payload"}, {"schema", "JSON Schema"},
	{"enforce", "Events that do not match"}}

var enforceOptions = []Option{
	{Value: models.EnforceWarn, Label: "Accept them, and count them here"},
	{Value: models.EnforceReject, Label: "Refuse them (422)"},
	{Value: models.EnforceOff, Label: "Accept them"},
}

// schemaState says in words what a topic's schema does.
func schemaState(t models.Topic) string {
	return map[string]string{models.EnforceWarn: "Warns", models.EnforceReject: "Refuses", models.EnforceOff: "Not enforced"}[t.Enforce]
}
