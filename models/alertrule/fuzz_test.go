package alertrule

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// FuzzCondition: a condition that passes its check is printed so that it is read as the same again, and passes again.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `{"failures":3}`, `{"thresholds":[90,50,50]}`, `{"window":"NaN"}`, `{"window":1e300,"rate":-1}`,
		`[]`, `{"days":"1e4d"}`} {
		f.Add([]byte(s))
	}
	for _, field := range Fields() {
		for _, v := range []string{`1`, `-1`, `"5m"`, `[100,3]`, `true`, `""`, `1e300`, `9223372036854775808`} {
			f.Add([]byte(`{"` + field.Key + `":` + v + `}`))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c Condition
		err := json.Unmarshal(raw, &c)
		var bad ReadError
		if errors.As(err, &bad) && bad.Error() == "" {
			t.Errorf("%q is refused without a word", raw)
		}
		if err != nil {
			return
		}
		checked, problems := c.Check()
		if len(problems) > 0 {
			return
		}
		b, err := json.Marshal(checked)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		var again Condition
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("%q is printed as %s: %v", raw, b, err)
		}
		if again, problems = again.Check(); len(problems) > 0 || !reflect.DeepEqual(again, checked) {
			t.Errorf("%q is %v, printed as %s and read as %v: %v", raw, checked, b, again, problems)
		}
	})
}
