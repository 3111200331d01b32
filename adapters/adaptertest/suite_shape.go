package adaptertest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/adapters"
)

var classes = []adapters.Class{adapters.ClassDNS, adapters.ClassConnect, adapters.ClassTLS, adapters.ClassTimeout,
	adapters.ClassRedirect, adapters.ClassAuth, adapters.ClassNotFound, adapters.ClassGone, adapters.ClassTooLarge,
	adapters.ClassRejected, adapters.ClassThrottled, adapters.ClassServer, adapters.ClassBlocked, adapters.ClassConfig,
	adapters.ClassProtocol, adapters.ClassAborted, adapters.ClassInternal}

// checkSentence looks at a text that people read.
func checkSentence(t testing.TB, what, s string) {
	t.Helper()
	first, _ := utf8.DecodeRuneInString(s)
	if s == "" || len(s) > 600 || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") || unicode.IsSpace(first) ||
		!strings.HasSuffix(s, ".") {
		t.Errorf("%s is no sentence: %q", what, s)
	}
}

// checkOutcome looks at the form of what Send returned.
func checkOutcome(t testing.TB, r adapters.Receipt, err error) {
	t.Helper()
	if err != nil {
		var e *adapters.Error
		if !errors.As(err, &e) || e == nil {
			t.Errorf("an error is not an *adapters.Error: %#v", err)
			return
		}
		checkSentence(t, "the message of "+string(e.Class), e.Message)
		if e.Advice != "" && (strings.ContainsAny(e.Advice, "\r\n\x00") || !utf8.ValidString(e.Advice)) {
			t.Errorf("the advice is not one line: %q", e.Advice)
		}
		if !slices.Contains(classes, e.Class) {
			t.Errorf("the class %q does not exist", e.Class)
		}
		if e.Kind < adapters.KindTransient || e.Kind > adapters.KindAbort {
			t.Errorf("the kind %d does not exist", e.Kind)
		}
		if !utf8.ValidString(e.Raw) || strings.Contains(e.Raw, "\x00") {
			t.Errorf("Raw cannot be stored as text: %q", e.Raw)
		}
		if e.Kind != adapters.KindThrottled && e.After != 0 || e.After < 0 {
			t.Errorf("After is %v with kind %d", e.After, e.Kind)
		}
	}
	if len(r.Body) > adapters.MaxBodyKept {
		t.Errorf("the receipt keeps %d bytes of the answer", len(r.Body))
	}
	for what, lines := range map[string]string{"request": r.ReqHeader, "response": r.RespHeader} {
		if lines == "" {
			continue
		}
		if !utf8.ValidString(lines) || strings.ContainsAny(lines, "\x00\r") || !strings.HasSuffix(lines, "\n") {
			t.Errorf("the %s header cannot be stored as lines of text: %q", what, lines)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
			if !strings.Contains(line, ": ") {
				t.Errorf("the %s header has the line %q", what, line)
			}
		}
	}
	if tm := r.Timing; tm.DNS < 0 || tm.Connect < 0 || tm.TLS < 0 || tm.FirstByte < 0 || r.Retry < 0 {
		t.Errorf("a duration is negative: %+v", r)
	}
}

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	badIcon     = regexp.MustCompile(`(?i)<script|<style|<image|<use|<foreignobject|\son[a-z]+=|href|url\(|style=|` +
		`#[0-9a-f]{3}|rgb|<!|data:`)
)

func testSpec(t *testing.T, h Harness) {
	s := h.Type.Spec()
	if !namePattern.MatchString(s.Name) {
		t.Errorf("the name is %q", s.Name)
	}
	reg := adapters.Lookup(s.Name)
	if reg == nil {
		t.Fatalf("%s is not registered", s.Name)
	}
	if s.Label == "" || s.Needs == "" {
		t.Errorf("label %q, needs %q", s.Label, s.Needs)
	}
	checkSentence(t, "the description", s.Description)
	if !strings.HasPrefix(s.Icon, "<svg ") || !strings.Contains(s.Icon, `viewBox="0 0 24 24"`) ||
		!strings.Contains(s.Icon, "currentColor") || badIcon.MatchString(s.Icon) {
		t.Errorf("the icon is not a plain glyph of 24 by 24 in the current colour: %s", s.Icon)
	}
	if len(s.Instructions) < 100 || strings.HasPrefix(s.Instructions, "# ") || strings.Contains(s.Instructions, "\n# ") {
		t.Errorf("the instructions are missing, or have a title of their own: %.80q", s.Instructions)
	}
	seen := map[string]bool{}
	for i, f := range reg.Fields() {
		credential := i >= len(s.Config)
		if !namePattern.MatchString(f.Key) || seen[f.Key] && !credential {
			t.Errorf("the field %q is misnamed or there twice", f.Key)
		}
		seen[f.Key] = true
		if f.Label == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s has the label %q and the help %q", f.Key, f.Label, f.Help)
		}
		if f.Pattern != "" {
			if _, err := regexp.Compile(f.Pattern); err != nil || f.PatternHelp == "" {
				t.Errorf("%s: pattern %v, help %q", f.Key, err, f.PatternHelp)
			}
		}
		if f.Sensitive && f.Default != "" {
			t.Errorf("%s is sensitive and has a default", f.Key)
		}
		if f.Required && (f.Default != "" || f.Hidden) {
			t.Errorf("%s is required, and has a default or is hidden", f.Key)
		}
		values := map[string]bool{}
		for _, o := range f.Options {
			if o.Value == "" || o.Label == "" || values[o.Value] {
				t.Errorf("%s has the option %+v", f.Key, o)
			}
			values[o.Value] = true
		}
		switch f.Type {
		case adapters.FieldText, adapters.FieldMap:
		case adapters.FieldCheckbox:
			if f.Default != "" && f.Default != "true" && f.Default != "false" {
				t.Errorf("%s has the default %q", f.Key, f.Default)
			}
		case adapters.FieldSelect:
			if len(values) == 0 || f.Default != "" && !values[f.Default] {
				t.Errorf("%s has the default %q and the options %+v", f.Key, f.Default, f.Options)
			}
		default:
			t.Errorf("%s has the type %q", f.Key, f.Type)
		}
	}
}

// copySettings returns settings whose maps may be changed.
func copySettings(s adapters.Settings) adapters.Settings {
	config, credentials := map[string]string{}, map[string]string{}
	for k, v := range s.Config {
		config[k] = v
	}
	for k, v := range s.Credentials {
		credentials[k] = v
	}
	s.Config, s.Credentials = config, credentials
	return s
}

// testSettings checks what is accepted: the good settings, twice with the same result; the required fields alone; and
// none of them without a required field.
func testSettings(t *testing.T, h Harness) {
	side := h.Start(t)
	reg := adapters.Lookup(h.Type.Spec().Name)
	once := copySettings(side.Good)
	if errs := reg.Check(&once); len(errs) > 0 {
		t.Fatalf("the good settings are refused: %+v", errs)
	}
	twice := copySettings(once)
	if errs := reg.Check(&twice); len(errs) > 0 || fmt.Sprint(twice) != fmt.Sprint(once) {
		t.Errorf("checking checked settings changes them, or refuses them: %+v", errs)
	}
	if _, err := h.Type.Open(side.Env, twice); err != nil {
		t.Errorf("checked settings cannot be opened: %v", err)
	}
	if label, _ := h.Type.Target(twice); label == "" || strings.ContainsAny(label, "\r\n") {
		t.Errorf("the target is %q", label)
	}
	least := adapters.Settings{Config: map[string]string{}, Credentials: map[string]string{}}
	for part, fields := range map[string][]adapters.Field{"config": reg.Spec.Config, "credentials": reg.Spec.Credentials} {
		for _, f := range fields {
			from, to := side.Good.Config, least.Config
			if part == "credentials" {
				from, to = side.Good.Credentials, least.Credentials
			}
			if !f.Required {
				continue
			}
			to[f.Key] = from[f.Key]
			without := copySettings(side.Good)
			delete(without.Config, f.Key)
			if part == "credentials" {
				without = copySettings(side.Good)
				delete(without.Credentials, f.Key)
			}
			errs := reg.Check(&without)
			if !slices.ContainsFunc(errs, func(e adapters.FieldError) bool { return e.Key == part+"."+f.Key }) {
				t.Errorf("%s may be missing: %+v", f.Key, errs)
			}
		}
	}
	if errs := reg.Check(&least); len(errs) > 0 {
		t.Errorf("the required fields and the defaults are not enough: %+v", errs)
	}
	more := copySettings(side.Good)
	more.Config["no_such_field"] = "x"
	if errs := reg.Check(&more); len(errs) == 0 {
		t.Error("an unknown field is accepted")
	}
	// Types must cope with settings that nobody has checked.
	h.Type.Target(adapters.Settings{})
	h.Type.Validate(&adapters.Settings{})
	if snd, err := h.Type.Open(side.Env, adapters.Settings{}); err == nil {
		snd.Close()
	} else if e := adapters.AsError(err); e.Class != adapters.ClassConfig || e.Kind != adapters.KindTransient {
		t.Errorf("opening empty settings: %+v", e)
	}
}
