package models

import (
	"fmt"
	"strings"
	"time"
)

// What becomes of each table when a tenant goes to another cell. TestMoveKnowsAllTables holds this against the schema.

// moving says how the rows of a table go along.
type moving int

const (
	// movesLive is for what may be much: copied while the tenant goes on, and what changes meanwhile is copied again.
	movesLive moving = iota
	// movesHistory is for what may be much and is only added to: copied while the tenant goes on, and its end once more.
	movesHistory
	// movesStaged is for what is little, or what somebody would act upon at the target before the tenant is there: copied during the
	// hold, to a place beside its table, and put there when the hold is released.
	movesStaged
	// movesApart has steps of its own.
	movesApart
)

// movedTable is a table with rows of tenants.
type movedTable struct {
	name string
	how  moving
	// of is the condition for the rows of a tenant: {t} is its key, {d} the keys of its destinations.
	of    string
	key   []string // what names a row; none for tables that are copied as a whole
	tail  string   // of movesHistory: the condition for its end, {since} on; {id} is the first event id of then
	order string   // in which rows are put at the target, where that matters
	// fresh is a column that the target fills anew.
	fresh string
	// fenced tables take nothing of a tenant that has left. The others are folded or tidied in statements over all tenants, which
	// must not fail for that; nothing is lost with them.
	fenced bool
}

const ofTenant, ofOwner, ofDestinations = "tenant_key = {t}", "owner_key = {t}", "destination_key in ({d})"

// movedTables are in an order in which rows may be added. They are deleted the other way round.
var movedTables = []movedTable{
	{name: "tenants", how: movesApart, of: "key = {t}"},
	{name: "destinations", how: movesStaged, of: ofTenant, fenced: true},
	{name: "destination_filters", how: movesStaged, of: ofDestinations},
	{name: "destination_transforms", how: movesStaged, of: ofDestinations},
	{name: "destination_health", how: movesStaged, of: ofTenant},
	{name: "channels", how: movesStaged, of: ofOwner, fenced: true},
	{name: "channel_unsubscribes", how: movesStaged, of: "channel_key in (select key from channels where owner_key = {t})"},
	{name: "alert_rules", how: movesStaged, of: ofOwner, fenced: true},
	// Those of the operators' rules stay where these are.
	{name: "alerts", how: movesStaged, of: ofOwner, fenced: true},
	{name: "ordered_deliveries", how: movesStaged, of: ofDestinations, order: "destination_key, ordering_key, seq", fresh: "seq"},
	{name: "bulk_retries", how: movesStaged, of: ofTenant, fenced: true},
	{name: "erasures", how: movesStaged, of: ofTenant, fenced: true},
	{name: "kept_marks", how: movesStaged, of: ofTenant},
	{name: "kept_later", how: movesStaged, of: ofTenant},
	{name: "kept_topic_marks", how: movesStaged, of: ofTenant},
	{name: "retry_minutes", how: movesStaged, of: ofTenant},
	{name: "destination_retry_minutes", how: movesStaged, of: ofDestinations},
	{name: "traffic", how: movesStaged, of: ofTenant},
	{name: "usage_days", how: movesStaged, of: ofTenant},

	{name: "events", how: movesLive, of: ofTenant, key: []string{"id"}, fenced: true},
	{name: "deliveries", how: movesLive, of: ofTenant, key: []string{"event_id", "destination_key"}, fenced: true},
	{name: "attempts", how: movesLive, of: ofTenant, key: []string{"event_id", "destination_key", "number"}, fenced: true},
	{name: "notifications", how: movesLive, of: ofOwner, key: []string{"id"}, fenced: true},

	{name: "health_minutes", how: movesHistory, of: ofDestinations, key: []string{"destination_key", "minute"},
		tail: "minute >= '{since}'"},
	{name: "filter_counts", how: movesHistory, of: "filter_key in (select key from destination_filters where destination_key in ({d}))",
		key: []string{"filter_key", "hour", "rule"}, tail: "hour >= date_trunc('hour', '{since}'::timestamptz)"},
	{name: "audit", how: movesHistory, of: ofTenant, key: []string{"id"}, tail: "id >= '{id}'"},

	{name: "changes", how: movesApart, of: ofTenant},         // with new positions, move_feed.go
	{name: "outcome_readers", how: movesApart, of: ofTenant}, // whose versions are the target's, move_feed.go
	// What was recorded and is not folded yet: it is folded before the switch, and the switch waits until there is none.
	{name: "traffic_deltas", how: movesApart, of: ofTenant, fenced: true},
	{name: "health_deltas", how: movesApart, of: ofTenant, fenced: true},
}

// notMoved are the other tables, with why their rows stay.
var notMoved = map[string]string{
	"api_keys":           "identity, which is at home",
	"identities":         "identity, which is at home",
	"invitations":        "identity, which is at home",
	"letters":            "mails about identity, which is at home",
	"login_steps":        "identity, which is at home",
	"login_tries":        "identity, which is at home",
	"logout_tokens":      "identity, which is at home",
	"memberships":        "identity, which is at home",
	"passkey_challenges": "identity, which is at home",
	"passkeys":           "identity, which is at home",
	"portal_links":       "identity, which is at home",
	"recovery_codes":     "identity, which is at home",
	"saved_views":        "people's own, who are at home",
	"sessions":           "identity, which is at home",
	"users":              "identity, which is at home",

	"api_processes":     "processes, not tenants",
	"cells":             "the directory, which is at home",
	"destination_waits": "why deliveries wait just now; workers of the target write it anew",
	"feed":              "one row about the database",
	"health_hours":      "made of health_minutes, at the target too: its trigger notes that they come late",
	"health_hours_late": "of the database: which of its hours are to be added up anew",
	"health_hours_span": "of the database: which of its hours are added up",
	"goose_db_version":  "the schema's version",
	"idempotency_keys":  "of callers, not of tenants: a key that was used before the move is not known after it",
	"processes":         "processes, not tenants",
	"rate_limits":       "sending times of the next second; a second's worth of the limit may be sent anew",
	"server_settings":   "of the server",
	"settings":          "of the server",
	"tenant_moves":      "the directory, which is at home",
	"topic_mismatches":  "of the server",
	"topics":            "of the server",
}

// where is the condition for the rows of a tenant, where its destinations are in the table named by destinations.
func (t *movedTable) where(tenant int64) string {
	key := fmt.Sprint(tenant)
	return strings.NewReplacer("{t}", key, "{d}", "select key from destinations where tenant_key = "+key).Replace(t.of)
}

// end is the condition for the rows of a tenant that were added since a time.
func (t *movedTable) end(tenant int64, since time.Time) string {
	return t.where(tenant) + " and " + strings.NewReplacer("{since}", since.UTC().Format(time.RFC3339), "{id}",
		lowestUUID(since).String()).Replace(t.tail)
}

// brought lists the tables whose rows are brought during the hold, to a place beside them.
func brought() []*movedTable { return append(tablesThat(movesStaged), tablesThat(movesHistory)...) }

// tablesThat lists tables in the order of movedTables.
func tablesThat(how moving) []*movedTable {
	var list []*movedTable
	for i := range movedTables {
		if movedTables[i].how == how {
			list = append(list, &movedTables[i])
		}
	}
	return list
}

func movedTableNamed(name string) *movedTable {
	for i := range movedTables {
		if movedTables[i].name == name {
			return &movedTables[i]
		}
	}
	panic("no table " + name)
}
