package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/models"
)

// liveVariables are the variables of settings that can be changed while the server runs; models.SharedSettings declares them.
func liveVariables() []variable {
	var out []variable
	for _, f := range models.SettingFields() {
		out = append(out, variable{f.Variable, f.Default, f.Help, func(r *reader, v string) error { return f.SetRule(&r.Rules, v) }})
	}
	return append(out, variable{lockedVariable, "",
		"settings of this group that cannot be changed by page and API, comma-separated: retention_days,max_payload; all for every one",
		func(r *reader, v string) error { return r.lock(v) }})
}

const lockedVariable = "SETTINGS_LOCKED"

// lock reads SETTINGS_LOCKED.
func (c *Config) lock(v string) error {
	c.Locked = nil
	for _, name := range List(v) {
		if strings.EqualFold(name, "all") {
			c.Locked = nil
			for _, f := range models.SettingFields() {
				c.Locked = append(c.Locked, f.Name)
			}
			return nil
		}
		f := models.LookUpSetting(name)
		if f == nil {
			return fmt.Errorf("%q is not a setting that can be changed while the server runs; name some of them, such as retention_days, or all",
				name)
		}
		if !slices.Contains(c.Locked, f.Name) {
			c.Locked = append(c.Locked, f.Name)
		}
	}
	return nil
}

// webhookProblem says what is wrong with the defaults of webhooks together.
func webhookProblem(key, message string) string {
	setting, field := models.WebhookSetting(key)
	if field == "signature" {
		return strings.ToUpper(setting) + ": " + message
	}
	return strings.ToUpper(setting) + ": " + field + " " + message
}

// Live reports whether a variable is that of a setting that can be changed while the server runs.
func Live(variable string) bool {
	f := models.LookUpSetting(variable)
	return f != nil && f.Variable == variable
}
