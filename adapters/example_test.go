package adapters_test

import (
	"context"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/adapters"
)

// journal is a destination type that writes a line for each event. One that leads elsewhere looks like this, too: it is
// one folder, registers itself, and is held against adaptertest.Run by its tests.
type journal struct{}

// Spec draws the form, the API's description, the checks and the masking.
func (journal) Spec() adapters.Spec {
	return adapters.Spec{
		Name: "journal", Label: "Journal", Description: "Writes a line for each event.", Needs: "a file",
		Config: []adapters.Field{{Key: "file", Label: "File", Type: adapters.FieldText, Required: true, Pattern: `[a-z-]+`,
			PatternHelp: "may have lower-case letters and dashes"}},
		Credentials: []adapters.Field{{Key: "pen", Label: "Pen", Type: adapters.FieldText, Sensitive: true}},
	}
}

// Validate checks what the fields alone cannot say.
func (journal) Validate(s *adapters.Settings) []adapters.FieldError {
	if s.Config["file"] == "null" {
		return []adapters.FieldError{{Key: "config.file", Message: "would keep nothing"}}
	}
	return nil
}

// Target says where events go.
func (journal) Target(s adapters.Settings) (label, url string) { return s.Config["file"], "" }

// Open makes a sender for one version of one destination, without touching the network.
func (journal) Open(_ adapters.Env, s adapters.Settings) (adapters.Sender, error) {
	if s.Config["file"] == "" {
		return nil, adapters.ConfigError("The destination names no file.")
	}
	return writer{s.Config["file"]}, nil
}

type writer struct{ file string }

// Send returns when the other side has acknowledged the message, with what it said. Its errors are *adapters.Error, whose
// kind and class decide what follows.
func (w writer) Send(_ context.Context, m *adapters.Message) (adapters.Receipt, error) {
	line := fmt.Sprintf("%s: %s %s %s\n", w.file, m.EventID, m.Topic, m.Data)
	if _, err := os.Stdout.WriteString(line); err != nil {
		return adapters.Receipt{}, &adapters.Error{Kind: adapters.KindTransient, Class: adapters.ClassConnect,
			Message: "The journal cannot be written.", Raw: err.Error()}
	}
	return adapters.Receipt{Method: "Write", URL: w.file, Body: fmt.Appendf(nil, `{"bytes":%d}`, len(line))}, nil
}

func (writer) Close() error { return nil }

// A type registers itself from init; the server then finds it by its name, checks what people enter, and opens senders.
func Example() {
	adapters.Register(journal{})

	r := adapters.Lookup("journal")
	fmt.Println(r.Check(&adapters.Settings{Config: map[string]string{"fiel": "orders"}}))

	set := adapters.Settings{ID: "des_1", Config: map[string]string{"file": "orders"}}
	fmt.Println(r.Check(&set))
	sender, err := r.Open(adapters.Env{}, set)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()
	receipt, err := sender.Send(context.Background(), &adapters.Message{EventID: "evt_1", Topic: "order.created",
		Data: []byte(`{"total":12}`), Attempt: 1})
	fmt.Println(receipt.Method, string(receipt.Body), err)
	// Output:
	// [{config.file is required} {config.fiel is not a field of journal destinations}]
	// []
	// orders: evt_1 order.created {"total":12}
	// Write {"bytes":41} <nil>
}
