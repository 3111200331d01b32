package api

import (
	"encoding/json"
	"reflect"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/waybill-dev/waybill/models"
)

// FuzzDecodePublish holds the quick way of reading events to what encoding/json makes of them.
func FuzzDecodePublish(f *testing.F) {
	for _, seed := range []string{
		`{"tenant_id":"acme","data":{"a":[1,2.5e300]}}`, `{"tenant_id":"acme","data":{},"data":{"b":1}}`, `{"TENANT_ID":"acme","data":{}}`,
		`{"tenant_id":null,"data":null}`,
		`{"tenant_id":"a","tenant_id":null,"data":{}}`, `{"metadata":{"a":"1"},"metadata":{"b":null},"data":{}}`,
		`{"time":"2026-01-31T12:00:00.5+02:00","eligible_for_retry":false,"data":{}}`,
		` null `, `{"data": { "x" : "\ud800" } }`, `{"data":{}} `, `{"data":{}}x`, "{\"id\":\"\xff\"}",
		`{"metadata":null,"eligible_for_retry":null,"time":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var quick, slow models.PublishInput
		if jsonv2.Unmarshal(body, &quick, quickly) != nil {
			return // encoding/json decides
		}
		if err := json.Unmarshal(body, &slow); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", body, err)
		}
		if !reflect.DeepEqual(quick, slow) {
			t.Fatalf("%q:\n%#v\n%#v", body, quick, slow)
		}
	})
}
