package openapi

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

type inner struct {
	Count int    `json:"count"`
	Word  string `json:"word"`
}

type pageJSON[T any] struct {
	Models []T `json:"models"`
}

type thingJSON struct {
	inner
	Word   *string           `json:"word" doc:"Or 'none', of the tenant's own."`
	At     time.Time         `json:"at,omitzero"`
	Any    json.RawMessage   `json:"any,omitempty"`
	Limit  int               `json:"limit,omitempty" api:"min=1,max=9,default=5"`
	Kinds  []string          `json:"kinds" api:"required,enum=a|b"`
	Labels map[string]string `json:"labels" api:"null"`
	Hidden string            `json:"-"`
	Again  []thingJSON       `json:"again,omitempty"`
}

// TestSchemas holds schemas against what encoding/json does with the same types.
func TestSchemas(t *testing.T) {
	t.Parallel()
	r := &Reflector{Schemas: map[string]*Schema{}}
	refs := []string{r.Of(reflect.TypeFor[pageJSON[thingJSON]](), Answer, "").Ref, r.Of(reflect.TypeFor[thingJSON](), Request, "").Ref}
	for name, want := range map[string]string{
		"ThingPage": `{"type":"object","properties":{"models":{"type":"array","items":{"$ref":"#/components/schemas/Thing"}}},"required":["models"]}`,
		"Thing": `{"type":"object","properties":{"count":{"type":"integer"},"word":{"type":["string","null"],"description":"Or ` +
			"`none`" + `, of the tenant's own."},` +
			`"at":{"type":"string","format":"date-time"},"any":{},"limit":{"type":"integer","default":5,"minimum":1,"maximum":9},` +
			`"kinds":{"type":"array","items":{"type":"string","enum":["a","b"]}},"labels":{"type":["object","null"],"additionalProperties":{"type":"string"}},` +
			`"again":{"type":"array","items":{"$ref":"#/components/schemas/Thing"}}},"required":["count","word","kinds","labels"]}`,
		"ThingInput": `{"type":"object","properties":{"count":{"type":"integer"},"word":{"type":"string","description":"Or ` + "`none`" +
			`, of the tenant's own."},` +
			`"at":{"type":"string","format":"date-time"},"any":{},"limit":{"type":"integer","description":"Default: ` + "`5`" +
			`.","minimum":1,"maximum":9},` +
			`"kinds":{"type":"array","items":{"type":"string","enum":["a","b"]}},"labels":{"type":["object","null"],"additionalProperties":{"type":"string"}},` +
			`"again":{"type":"array","items":{"$ref":"#/components/schemas/ThingInput"}}},"required":["kinds"]}`,
	} {
		got, err := json.Marshal(r.Schemas[name])
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
	if refs[0] != "#/components/schemas/ThingPage" || refs[1] != "#/components/schemas/ThingInput" || len(r.Schemas) != 3 {
		t.Errorf("%v %d", refs, len(r.Schemas))
	}
}
