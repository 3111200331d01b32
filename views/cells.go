package views

import (
	"time"

	"github.com/waybill-dev/waybill/models"
)

// CellsURL is the page about the databases that hold tenants, CellURL an action on one: "drain" or "undrain".
func CellsURL() string                 { return path("server", "cells") }
func CellURL(name, tail string) string { return path("server", "cells", name, tail) }

// Cells shows the databases that hold tenants, and the moves between them.
type Cells struct {
	Page
	List  []models.CellState // home first; it alone where there are no others
	Moves []*models.Move     // under way
}

// cellLook says in a word how a cell is.
func cellLook(c models.CellState) Look {
	switch {
	case !c.Served:
		return Look{ToneMute, "", "Not served here"}
	case !c.Reachable:
		return Look{ToneBad, "circle-alert", "Away"}
	case c.Health != nil && c.Health.Workers == 0:
		return Look{ToneBad, "circle-alert", "No worker"}
	case c.DrainingAt != nil:
		return Look{ToneHold, "pause", "Drained"}
	}
	return Look{ToneOK, "check", "Answers"}
}

// cellDue says how many jobs of a cell could be taken now.
func cellDue(c models.CellState) string {
	if c.Health == nil || c.Health.Due == nil {
		return "–"
	}
	return count(*c.Health.Due)
}

// cellLate says how long the oldest of them has been waiting; empty for none.
func cellLate(c models.CellState) string {
	if c.Health == nil || c.Health.OldestDue < time.Second {
		return ""
	}
	return "oldest " + brisk(c.Health.OldestDue)
}

// cellSchema is the version of a cell's schema, and whether it differs from that of home.
func cellSchema(home, c models.CellState) (version string, other bool) {
	if c.Health == nil {
		return "–", false
	}
	return count(int(c.Health.Schema)), home.Health != nil && home.Health.Schema != c.Health.Schema
}

// addCell is how a cell is added, at the command line.
const addCell = `createdb -h db2 waybill            # an empty database of its own
waybill cells add eu1 ./eu1.address # a file with postgres://user:password@db2/waybill`
