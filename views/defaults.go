package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// Defaults is the form of the server's settings that can be changed while it runs. Its fields are those of the API; an empty one
// stands for what the environment says.
type Defaults struct {
	Page
	Form    Form
	Version int64
	List    []DefaultSetting
}

// DefaultSetting is one of them as it is in force.
type DefaultSetting struct {
	models.SettingState
	SourceSaid string // in words, where the value comes from
	StartSaid  string // in words, where the value comes from that is in force when this one is empty
}

// DefaultsURL is the page of the settings that can be changed while the server runs.
func DefaultsURL() string { return "/server/defaults" }

// groups are the headings, in order.
func (v Defaults) groups() (out []string) {
	for _, s := range v.List {
		if len(out) == 0 || out[len(out)-1] != s.Group {
			out = append(out, s.Group)
		}
	}
	return out
}

func (v Defaults) of(group string) (out []DefaultSetting) {
	for _, s := range v.List {
		if s.Group == group {
			out = append(out, s)
		}
	}
	return out
}

// groupHints say more about a group where that is needed.
var groupHints = map[string]string{"Retries": "Of destinations and tenants that do not say themselves.",
	"Disabling":    "Of destinations and tenants that do not say themselves.",
	"Retention":    "Of the server. What is older is dropped within the hour, for good.",
	"Alerts":       "For rules and tenants that are created from now on.",
	"New webhooks": "For those that are created from now on by tenants that do not say themselves."}

// labels name every control, for the error summary.
func (v Defaults) labels() (out []Label) {
	for _, s := range v.List {
		out = append(out, Label{s.Name, s.Label})
	}
	return out
}

// control is the control of a setting. While it is empty, it shows what is in force then.
func (s DefaultSetting) control() Control {
	c := settingControl(s.SettingField)
	if len(s.Options) > 0 {
		c.Options = append([]Option{{Value: "", Label: "As the environment says: " + SettingWords(s.SettingField, s.Base)}}, c.Options...)
		return c
	}
	c.Placeholder = s.Entered(s.Base)
	return c
}

// now says what is in force, and why.
func (s DefaultSetting) now() string {
	return Capital(SettingWords(s.SettingField, s.Value)) + " · " + s.SourceSaid
}

// otherwise says what would be in force without the value that is stored; empty where that is what is in force.
func (s DefaultSetting) otherwise() string {
	if s.InForce() && s.Base != s.Default {
		return s.StartSaid + ": " + SettingWords(s.SettingField, s.Base)
	}
	return ""
}

// ignored says which stored value is not in force since the environment has the last word; empty where there is none.
func (s DefaultSetting) ignored() string {
	if !s.Locked || !s.Has {
		return ""
	}
	return SettingWords(s.SettingField, s.Stored)
}

// settingControl is the control that a setting is entered with.
func settingControl(f *models.SettingField) Control {
	c := Control{Name: f.Name, Label: f.Label, Hint: settingHint(f), Unmarked: true, Mono: len(f.Options) == 0}
	if f.Number() {
		c.InputMode, c.Suffix = "numeric", f.Unit
	}
	for _, o := range f.Options {
		c.Options = append(c.Options, Option{Value: o.Value, Label: o.Label})
	}
	return c
}

// settingHint is the explanation of a setting as a sentence.
func settingHint(f *models.SettingField) string {
	hint := Capital(f.Help) + "."
	if strings.EqualFold(f.Help, f.Label) {
		hint = ""
	}
	if f.List() {
		hint += " “" + models.NoneWord + "” for an empty list."
	}
	return hint
}

// SettingWords is the value of a setting in the words of people: "15 s", "no limit", "30 days".
func SettingWords(f *models.SettingField, text string) string {
	n, err := strconv.Atoi(text)
	switch {
	case f.Zero != "" && (text == "0" || text == "0s"):
		return f.Zero
	case text == "" && f.Name == "retry_on":
		return "those that may pass"
	case text == "":
		return "none"
	case len(f.Options) > 0:
		word := optionLabelOf(f, text)
		if f.Name == "enable_backlog" {
			return strings.ToLower(word[:1]) + word[1:]
		}
		return word
	case err == nil && f.Unit == "days":
		return span(time.Duration(n) * 24 * time.Hour)
	case err == nil && f.Unit == "bytes":
		return size(n)
	case err == nil && f.Number():
		return count(n)
	}
	parts := strings.Split(text, ",")
	for i, p := range parts {
		if d, err := models.ParseDuration(p); err == nil && !f.Number() && strings.ContainsAny(p, "smhd") {
			parts[i] = Lasts(time.Duration(d))
		}
	}
	if f.List() {
		return strings.Join(parts, ", ")
	}
	if f.Lasts() {
		return parts[0]
	}
	return text
}

func optionLabelOf(f *models.SettingField, value string) string {
	for _, o := range f.Options {
		if o.Value == value {
			return o.Label
		}
	}
	return value
}
