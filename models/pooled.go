package models

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/migrations"
)

// withoutSession has a connection leave nothing behind on the server that a later transaction needs, as a pooler in transaction
// mode demands: no settings and no prepared statements. What is remembered of a statement is its types. (Poolers that keep prepared
// statements for their clients gain little: most of the cost is the pooler itself, see docs/high-availability.md.)
func withoutSession(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe }

// hotSettingsOnce gives the settings of the hot path to one transaction. PostgreSQL ends it when it hears nothing more of it: a pooler
// does not notice for long that the machine of its client is gone.
var hotSettingsOnce = func() string {
	var b strings.Builder
	b.WriteString("select set_config('idle_in_transaction_session_timeout', '" + migrations.OrphanTime + "', true)")
	for _, name := range slices.Sorted(maps.Keys(hotSettings)) {
		b.WriteString(", set_config('" + name + "', '" + hotSettings[name] + "', true)")
	}
	return b.String()
}()
