package app

import (
	"strings"
	"testing"
)

func TestBenchCases(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"mine": "must be a name", `mine={"config":{}}`: "with a type", "={}": "must be a name", `mine={"type":"kafka"}`: ""} {
		name, body, err := parseBenchDestination(text)
		switch {
		case want == "" && (err != nil || name != "mine" || body != `{"topics":"*","type":"kafka"}`):
			t.Errorf("%s: %q %s %v", text, name, body, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", text, err)
		}
	}
	mine := map[string]string{"kafka": `{"type":"kafka"}`, "mine": `{"type":"aws_sqs"}`}
	cases, err := chosenCases("one,kafka,mine,rabbitmq", mine)
	if err != nil || len(cases) != 4 || cases[0].broker || cases[1].to != mine["kafka"] || cases[2].to != mine["mine"] || cases[3].to != "" || !cases[3].broker {
		t.Errorf("%+v %v", cases, err)
	}
	for names, destinations := range map[string]map[string]string{"two": nil, "one": {"one": `{"type":"kafka"}`}} {
		if cases, err := chosenCases(names, destinations); err == nil {
			t.Errorf("%s: %+v", names, cases)
		}
	}
	for _, c := range benchCases {
		if c.to != "" {
			t.Errorf("the case %s keeps a caller's destination", c.name)
		}
	}
}
