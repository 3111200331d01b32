package views

import (
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// TopicRetentionURL is the page of the server's rules for how long the data of topics is kept.
func TopicRetentionURL() string { return path("server", "topic-retention") }

// TopicRetention is the form of the server's rules. Its field is topics.
type TopicRetention struct {
	Page
	Form Form
	Days int // that the server keeps everything
}

var topicRetentionLabels = []Label{{"topics", "Rules"}}

const retentionHint = "A topic or pattern and its days a line, like order.*: 7. The shortest of all that hold counts. "

// RetentionText are rules as people write them.
func RetentionText(rules []models.TopicRetention) string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = r.String()
	}
	return strings.Join(lines, "\n")
}
