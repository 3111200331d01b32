package views

import "github.com/waybill-dev/waybill/models"

// Topics is the catalogue of topics. Its form, which adds a topic or changes one, has name, description and example.
type Topics struct {
	Page
	List []models.Topic
	Form Form
	Open bool // the form is unfolded
}

var topicLabels = []Label{{"name", "Name"}, {"description", "Description"}, {"example", "Example payload"}}
