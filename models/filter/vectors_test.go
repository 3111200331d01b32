package filter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// testEvent is an event as the test data write it.
type testEvent struct {
	ID       string            `json:"id"`
	Topic    string            `json:"topic"`
	Time     time.Time         `json:"time"`
	Metadata map[string]string `json:"metadata"`
	Data     json.RawMessage   `json:"data"`
}

func (e testEvent) doc() *Doc { return NewDoc(e.ID, e.Topic, e.Time, e.Metadata, e.Data) }

// vector is one conformance case of the language.
type vector struct {
	Name   string          `json:"name"`
	Filter json.RawMessage `json:"filter"`
	Event  testEvent       `json:"event"`
	Match  bool            `json:"match"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.ReadFile("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("line %d: %v", len(all)+1, err)
		}
		all = append(all, v)
	}
	return all
}

func mustParse(t testing.TB, raw string) *Filter {
	t.Helper()
	f, err := Parse([]byte(raw))
	if err != nil {
		t.Fatalf("Parse(%s): %v", raw, err)
	}
	return f
}

// Each case is also run through both printers: what they write must decide the same, and reading it again
// must give the same tree.
func TestVectors(t *testing.T) {
	t.Parallel()
	all := vectors(t)
	if len(all) < 112 {
		t.Fatalf("%d vectors, expected at least 112", len(all))
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			f := mustParse(t, string(v.Filter))
			if got := f.Match(v.Event.doc()); got.Match != v.Match || got.Failed != nil {
				t.Errorf("%s: %+v, want match %v", v.Filter, got, v.Match)
			}
			if verdict := f.Explain(v.Event.doc()); verdict.Match != v.Match || verdict.Reason == "" {
				t.Errorf("%s: explained as %+v, want match %v", v.Filter, verdict, v.Match)
			}
			asJSON, lossless, reason := f.JSON()
			if !lossless {
				t.Fatalf("%s cannot be printed as JSON: %s", v.Filter, reason)
			}
			again := mustParse(t, asJSON)
			if !Equal(f.Tree(), again.Tree()) {
				t.Errorf("%s printed as %s is another tree", v.Filter, asJSON)
			}
			asSearch, lossless, reason := f.Search()
			if !lossless {
				if reason == "" {
					t.Errorf("%s is not shown in full, without a reason", v.Filter)
				}
				return
			}
			searched, err := ParseSearch(asSearch)
			if err != nil {
				t.Fatalf("%s printed as %s: %v", v.Filter, asSearch, err)
			}
			if got := searched.Match(v.Event.doc()); got.Match != v.Match {
				t.Errorf("%s printed as %s: %+v, want match %v", v.Filter, asSearch, got, v.Match)
			}
		})
	}
}
