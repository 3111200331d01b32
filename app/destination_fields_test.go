package app

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/models"
)

// TestFieldsOfDestinations sets each plain field of destinations, also one that is added tomorrow, and finds it wherever a
// field is shown: in the answer, the audit log, the feed of changes and the form, which sets it and takes it away.
func TestFieldsOfDestinations(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	v := a.visitor()
	const path, settings = "/tenants/acme/destinations/inbox", "/t/acme/destinations/inbox/settings"
	typed := map[models.FieldKind]string{models.NumberField: "7", models.DecimalField: "1.5", models.DurationField: "5s",
		models.TextField:    "Some text",
		models.BooleanField: "true", models.WordsField: "one, two"}
	sent := map[models.FieldKind]any{models.NumberField: 7, models.DecimalField: 1.5, models.DurationField: "5s",
		models.TextField:    "Some text",
		models.BooleanField: true, models.WordsField: []string{"one", "two"}}
	names := 0
	for _, f := range models.DestinationFieldList() {
		if f.Kind == models.CompoundField {
			continue
		}
		names++
		text, value := typed[f.Kind], sent[f.Kind]
		if f.Kind == models.ChoiceField {
			text = f.Options[len(f.Options)-1].Value
			value = text
		}
		before := a.want(200, "GET", path, nil).str(f.Name)
		if out := a.want(200, "PATCH", path, map[string]any{f.Name: value}); out.str(f.Name) != fmt.Sprint(value) ||
			out.str(f.Name) == before {
			t.Errorf("%s is %q after it was set to %v, and was %q", f.Name, out.str(f.Name), value, before)
		}
		entry := a.want(200, "GET", "/audit?action=destination.update&limit=1", nil)
		if entry.str("models", "0", "changes", "0", "field") != f.Name ||
			entry.str("models", "0", "changes", "0", "to") != fmt.Sprint(value) {
			t.Errorf("the audit log does not tell of %s: %s", f.Name, entry.raw)
		}
		if list := a.want(200, "GET", "/changes?since=start&limit=500", nil).body["changes"].([]any); !told(list, f.Name, value) {
			t.Errorf("the feed of changes does not tell of %s", f.Name)
		}
		form := v.get(settings)
		if got := formValue(form, f.Name); got != text || !strings.Contains(form.text("form[data-guard]"), f.Label) {
			t.Errorf("%s is %q in the form, want %q, labelled %s", f.Name, got, text, f.Label)
		}
		pairs := append([]string{"version", form.value("version")}, formPairsOf(form)...)
		v.post(settings, pairs...).says("The changes are saved")
		if out := a.want(200, "GET", path, nil); out.str(f.Name) != fmt.Sprint(value) {
			t.Errorf("saving the form as it was made %q of %s", out.str(f.Name), f.Name)
		}
		form = v.get(settings)
		pairs = append([]string{"version", form.value("version")}, formPairsOf(form)...)
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == f.Name {
				pairs[i+1] = ""
			}
		}
		v.post(settings, pairs...).says("The changes are saved")
		if out := a.want(200, "GET", path, nil); out.str(f.Name) != before {
			t.Errorf("%s is %q after its control was emptied, and was %q at first", f.Name, out.str(f.Name), before)
		}
	}
	if names < 7 {
		t.Errorf("only %d plain fields", names)
	}
}

// formValue is what a form's control holds: an input's value, or the chosen option.
func formValue(p page, name string) string {
	pairs := formPairsOf(p)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return ""
}

// told reports whether the last change has a field with this value, among what has changed and in how the thing is now.
func told(list []any, field string, value any) bool {
	last := list[len(list)-1].(map[string]any)
	b, err := json.Marshal(value)
	if err != nil {
		return false
	}
	var want any
	if json.Unmarshal(b, &want) != nil {
		return false
	}
	changes, _ := last["changes"].([]any)
	changed := slices.ContainsFunc(changes, func(c any) bool {
		return c.(map[string]any)["field"] == field && fmt.Sprint(c.(map[string]any)["to"]) == fmt.Sprint(want)
	})
	return changed && fmt.Sprint(last["object"].(map[string]any)[field]) == fmt.Sprint(want)
}

// TestFieldsBesideConfig holds the settings of webhooks to where clients find them and where they are stored: the signature
// in its column, which processes of the release before read, and in no config.
func TestFieldsBesideConfig(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.tenant("acme")
	const list = "/tenants/acme/destinations"
	out := a.want(201, "POST", list,
		`{"id":"w","type":"webhook","topics":"*","signature":"outpost","await_completion":true,"config":{"url":"https://example.com/"}}`)
	if out.str("signature") != "outpost" || out.str("await_completion") != "true" || out.str("config", "await_completion") != "true" ||
		out.str("config", "signature") != "" {
		t.Errorf("%s", out.raw)
	}
	if n := a.count("select count(*) from destinations where id = 'w' and signature = 'outpost' and config->>'await_completion' = 'true' and config->>'signature' is null"); n != 1 {
		t.Error("it is not stored where processes of the release before look for it")
	}
	// What such a process has written is read.
	if _, err := a.db.Exec(t.Context(), "update destinations set signature = 'v1a', version = version + 1 where id = 'w'"); err != nil {
		t.Fatal(err)
	}
	if out = a.want(200, "GET", list+"/w", nil); out.str("signature") != "v1a" {
		t.Errorf("%s", out.raw)
	}
	for body, want := range map[string]string{`{"signature":"md5"}`: `must be "standard", "v1a", "outpost" or "custom"`,
		`{"signature":5}`: "must be a string, not a number"} {
		if got := a.want(422, "PATCH", list+"/w", body).str("fields", "signature"); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	// Destinations of other types take the names, too, as they always did.
	if out = a.want(200, "PATCH", list+"/inbox", `{"signature":"v1a","await_completion":false}`, "Prefer",
		"handling=strict"); out.str("signature") != "v1a" || out.str("await_completion") != "false" {
		t.Errorf("%s", out.raw)
	}
	if out = a.want(422, "PATCH", list+"/w", `{"config":{"signature":"v1a"}}`); out.str("fields", "config.signature") == "" {
		t.Errorf("%s", out.raw)
	}
}
