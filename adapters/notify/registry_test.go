package notify

import (
	"slices"
	"strings"
	"testing"
)

// TestRegister: a kind that registers is offered at its place and checks its settings; one that finds that this server
// cannot have it is none. It is not parallel, for it changes what is registered.
func TestRegister(t *testing.T) {
	pigeon := Type{Name: "pigeon", Order: 25, Target: func(map[string]string) string { return "the loft" },
		Open: func(Env, map[string]string, map[string]string) (Channel, error) { return &slack{}, nil }}
	Register(pigeon)
	defer delete(registry, "pigeon")
	var names []string
	for _, k := range Types() {
		names = append(names, k.Name)
	}
	if i := slices.Index(names, "pigeon"); i < 1 || names[i-1] != "slack" || names[i+1] != "pagerduty" {
		t.Errorf("it is offered among %v", names)
	}
	if errs := Check("", "pigeon", map[string]string{"ring": "7"}, nil); len(errs) != 1 || errs[0].Key != "config.ring" {
		t.Errorf("%v", errs)
	}
	if Target("pigeon", nil) != "the loft" || Recipients("pigeon", nil) != nil || Tenant("pigeon", nil) != "" {
		t.Error("it goes elsewhere")
	}

	for name, defect := range map[string]Type{"a name taken twice": pigeon, "no name": {Target: pigeon.Target, Open: pigeon.Open},
		"no Open": {Name: "dove", Target: pigeon.Target}, "no Target": {Name: "dove", Open: pigeon.Open}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", name)
				}
			}()
			Register(defect)
		}()
	}

	delete(registry, "pigeon")
	pigeon.Complete = func(*Type) bool { return false }
	Register(pigeon)
	if Lookup("pigeon") != nil {
		t.Error("a kind is offered that this server cannot have")
	}
	if errs := Check("", "pigeon", nil, nil); len(errs) != 1 || errs[0].Key != "type" || strings.Contains(errs[0].Message, "pigeon") {
		t.Errorf("%v", errs)
	}
}
