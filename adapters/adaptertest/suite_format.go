package adaptertest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// testFormats sends the same message in each of the CloudEvents formats.
func testFormats(t *testing.T, h Harness) {
	for _, format := range []string{adapters.FormatBinary, adapters.FormatStructured} {
		side := h.Start(t)
		set := side.Good
		set.Format = format
		snd := open(t, h, side, set)
		m := message("evt-format-" + format)
		m.Data = []byte(`{ "b": 1.50, "a": "\u00fc" }`)
		m.Metadata = map[string]string{"Team-Name": "Zoë 50%", "id": "forged", "specversion": "forged", "data": "forged", "---": "x"}
		m.DeliveryMetadata = map[string]string{"teamname": "second", "region": "eu"}
		mustSend(t, snd, m)
		if side.Received == nil {
			continue
		}
		var got []Delivery
		Eventually(t, "the message", func() bool { got = side.Received(); return len(got) > 0 })
		if len(got) != 1 {
			t.Fatalf("%s: one message was sent, %d arrived", format, len(got))
		}
		if format == adapters.FormatStructured {
			checkEnvelope(t, m, set, got[0].Data)
			continue
		}
		if !bytes.Equal(got[0].Data, m.Data) {
			t.Errorf("%s changed the payload: %s", format, got[0].Data)
		}
		checkBinary(t, m, got[0].Attributes)
	}
}

func checkEnvelope(t *testing.T, m *adapters.Message, set adapters.Settings, body []byte) {
	t.Helper()
	var e map[string]json.RawMessage
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("the envelope is not JSON: %v: %s", err, body)
	}
	if !bytes.Equal(e["data"], m.Data) {
		t.Errorf("the payload in the envelope is %s", e["data"])
	}
	delete(e, "data")
	want := map[string]string{"specversion": "1.0", "id": m.EventID, "source": "/tenants/" + set.TenantID, "type": m.Topic,
		"time": m.Time.UTC().Format(time.RFC3339Nano), "datacontenttype": "application/json", "teamname": "Zoë 50%", "region": "eu"}
	for name, text := range want {
		var got string
		if err := json.Unmarshal(e[name], &got); err != nil || got != text {
			t.Errorf("the envelope's %s is %s, want %q", name, e[name], text)
		}
		delete(e, name)
	}
	if len(e) > 0 {
		t.Errorf("the envelope has further attributes: %v", e)
	}
}

// checkBinary looks for the attributes under whatever prefix the protocol's binding has.
func checkBinary(t *testing.T, m *adapters.Message, attributes map[string]string) {
	t.Helper()
	if attributes == nil {
		return
	}
	got := map[string]string{}
	for name, value := range attributes {
		for _, prefix := range []string{"ce-", "ce_", "cloudevents:", "cloudevents_"} {
			if rest, ok := strings.CutPrefix(strings.ToLower(name), prefix); ok {
				got[rest] = value
			}
		}
	}
	for name, want := range map[string]string{"specversion": "1.0", "id": m.EventID, "type": m.Topic, "region": "eu"} {
		if got[name] != want {
			t.Errorf("the attribute %s is %q, want %q; there are %v", name, got[name], want, attributes)
		}
	}
	if team := got["teamname"]; team != "Zoë 50%" && team != "Zo%C3%AB 50%25" { // HTTP headers are percent-encoded
		t.Errorf("the metadata's teamname is %q", team)
	}
}
