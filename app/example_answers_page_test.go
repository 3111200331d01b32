package app

import (
	"strings"
	"testing"
)

// TestExampleAnswersAreShown: the reference shows what the server says, beside what it is asked.
func TestExampleAnswersAreShown(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	p := a.stranger().get("/docs/api/events")
	p.says("Example answer 200")
	answer := p.Find("#getEvent-answer").Text()
	for _, want := range []string{`"topic": "order.created"`, `"received_at": "2026-01-31T12:00:0`} {
		if !strings.Contains(answer, want) {
			t.Errorf("the example of an event lacks %s: %s", want, answer)
		}
	}
	// Clients and tools find it in the description.
	media := lookup(a.want(200, "GET", "/openapi.json", nil).body, []string{"paths", "/events/{event}", "get", "responses", "200", "content",
		"application~1json", "example"})
	if m, _ := media.(map[string]any); m["tenant_id"] != "acme" {
		t.Errorf("the description: %v", media)
	}
}
