package api

import (
	_ "embed" // the answers
	"encoding/json"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// exampleFile holds an answer of the server to each operation, by operationId. A test of the whole server records them
// (TestExampleAnswers, with -update), and fails when the server does not answer like that any more.
//
//go:embed examples.json
var exampleFile []byte

// ExampleAnswer is an answer that the server once gave, with names and secrets made up.
type ExampleAnswer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// ExampleAnswers are the recorded answers by operationId.
var ExampleAnswers = sync.OnceValue(func() map[string]ExampleAnswer {
	var m map[string]ExampleAnswer
	if err := json.Unmarshal(exampleFile, &m); err != nil {
		panic("app/api/examples.json: " + err.Error()) // part of the program
	}
	return m
})

// exampleAnswer is the example of an answer with this status and media type; nil for none.
func exampleAnswer(id string, status int, media string) any {
	if a, ok := ExampleAnswers()[id]; ok && a.Status == status && media == fiber.MIMEApplicationJSON {
		return a.Body
	}
	return nil
}
