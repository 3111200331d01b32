package models

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// withoutSession has a connection leave nothing behind on the server that a later transaction needs, as a pooler in transaction
// mode demands: no settings and no prepared statements. What is remembered of a statement is its types. (Poolers that keep prepared
// statements for their clients gain little: most of the cost is the pooler itself, see docs/high-availability.md.)
func withoutSession(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe }

// hotSettingsOnce gives the settings of the hot path to one transaction.
var hotSettingsOnce = func() string {
	var b strings.Builder
	b.WriteString("select ")
	for i, name := range slices.Sorted(maps.Keys(hotSettings)) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("set_config('" + name + "', '" + hotSettings[name] + "', true)")
	}
	return b.String()
}()
