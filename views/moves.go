package views

import (
	"net/url"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// MovesURL is the list of moves of tenants between databases. NewMoveURL is the form that starts one, of a tenant or of one that is
// named there; MoveURL the page of one, or with tail an action on it: "cancel".
func MovesURL() string { return path("server", "moves") }
func NewMoveURL(tenant string) string {
	u := path("server", "moves", "new")
	if tenant != "" {
		u = with(u, url.Values{"tenant_id": {tenant}})
	}
	return u
}
func MoveURL(id string, tail ...string) string {
	return path(append([]string{"server", "moves", id}, tail...)...)
}

// Moves lists moves of tenants.
type Moves struct {
	Page
	Query url.Values // tenant_id, status, limit, next and prev
	List  *models.Page[*models.Move]
	Err   *models.Error
}

func (v Moves) pager() Pager {
	return newPager(MovesURL(), v.Query, len(v.List.Items), "move", CursorsOf(v.List, time.Time{}))
}

func (v Moves) views() []View {
	status := v.Query.Get("status")
	out := []View{{Label: "All", URL: with(MovesURL(), without(v.Query, "status", status)), Current: status == ""}}
	for _, o := range moveStatuses {
		out = append(out, View{Label: o.Label, URL: with(MovesURL(), replaced(v.Query, "status", o.Value)), Current: status == o.Value})
	}
	return out
}

var moveStatuses = []Option{{Value: models.MoveRunning, Label: "Under way"}, {Value: models.MoveFinished, Label: "Done"},
	{Value: models.MoveCancelled, Label: "Cancelled"}}

// movePhases are the words for the phases of a move, and what happens in each.
var movePhases = map[string]struct{ word, text string }{
	models.MovePrepare: {"Preparing", "Where the tenant goes to is made ready; it goes on where it is."},
	models.MoveCopy:    {"Copying", "Events, deliveries and attempts are copied while the tenant goes on."},
	models.MoveCatchUp: {"Catching up", "What has changed meanwhile is copied, until little is left."},
	models.MoveSwitch:  {"Switching", "The tenant is held for about a second while the rest is copied; publishing waits."},
	models.MoveRelease: {"Switching", "The tenant begins to go on where it goes to."},
	models.MoveClean:   {"Cleaning up", "The tenant is there. What it left behind is being deleted."},
	models.MoveUndo:    {"Being cancelled", "What was copied is being deleted. The tenant is where it was."},
	models.MoveDone:    {"Done", "The tenant is there, and nothing is left behind."},
	models.MoveUndone:  {"Cancelled", "The tenant is where it was, and nothing that was copied is left."},
}

func moveLook(m *models.Move) Look {
	l := Look{ToneInfo, "arrow-right", movePhases[m.Phase].word}
	switch {
	case m.Phase == models.MoveDone:
		l.Tone, l.Icon = ToneOK, "check"
	case m.Phase == models.MoveUndone:
		l.Tone, l.Icon = ToneMute, "ban"
	case m.Error != "":
		l.Tone, l.Icon = ToneWarn, "triangle-alert"
	}
	return l
}

// moveCopied says how many events were copied; empty before the first.
func moveCopied(m *models.Move) string {
	switch p := m.Progress; {
	case p.Total == 0 && p.Events == 0:
		return ""
	case m.Phase == models.MoveCopy:
		return count(int(p.Events)) + " of " + count(int(p.Total))
	default:
		return count(int(p.Events))
	}
}

// moveHeld says for how long the tenant was held last; empty for not at all.
func moveHeld(m *models.Move) string {
	if m.Progress.Tries == 0 {
		return ""
	}
	return Lasts(time.Duration(m.Progress.HeldMs) * time.Millisecond)
}

// Move is a move under way, or what became of it.
type Move struct {
	Page
	*models.Move
}

func (v Move) self() string { return MoveURL(v.ID()) }

// done and total are how far the step is that takes long; 0 of 0 for no such step.
func (v Move) done() string {
	if v.Phase == models.MoveClean {
		return strconv.FormatInt(v.Progress.Deleted, 10)
	}
	return strconv.FormatInt(v.Progress.Events, 10)
}

func (v Move) total() string {
	if v.Phase == models.MoveClean {
		return strconv.FormatInt(max(v.Progress.Events, v.Progress.Deleted), 10)
	}
	return strconv.FormatInt(v.Progress.Total, 10)
}

func (v Move) measured() bool {
	return v.Phase == models.MoveCopy && v.Progress.Total > 0 || v.Phase == models.MoveClean && v.Progress.Events > 0
}

// text says what happens now.
func (v Move) text() string { return movePhases[v.Phase].text }

// numbers are what was done so far.
func (v Move) numbers() []Fact {
	p := v.Progress
	var facts []Fact
	add := func(label string, n int64) {
		if n > 0 {
			facts = append(facts, Fact{Label: label, Text: count(int(n))})
		}
	}
	if s := moveCopied(v.Move); s != "" {
		facts = append(facts, Fact{Label: "Events copied", Text: s})
	}
	add("Rows copied", p.Rows)
	if v.Cancellable() {
		add("Changes not copied yet", p.Left)
	}
	if s := moveHeld(v.Move); s != "" {
		if p.Tries > 1 {
			s += ", at the " + ordinal(p.Tries) + " try"
		}
		facts = append(facts, Fact{Label: "Held for", Text: s})
	}
	add("Jobs moved", p.MovedJob)
	add("Jobs cut off, done again", int64(p.Running))
	add("Events deleted behind it", p.Deleted)
	return facts
}

func ordinal(n int) string {
	end := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			end = "st"
		case 2:
			end = "nd"
		case 3:
			end = "rd"
		}
	}
	return strconv.Itoa(n) + end
}

func (v Move) facts() []Fact {
	facts := []Fact{{Label: "Tenant", Text: v.TenantID, URL: OverviewURL(v.TenantID)}, {Label: "From", Text: v.Source},
		{Label: "To", Text: v.Target}, {Label: "Asked for by", Text: v.Actor}, {Label: "Started", Time: v.CreatedAt}}
	if v.SwitchedAt != nil {
		facts = append(facts, Fact{Label: "There since", Time: *v.SwitchedAt})
	}
	if v.FinishedAt != nil {
		facts = append(facts, Fact{Label: "Finished", Time: *v.FinishedAt})
	}
	return append(facts, Fact{Label: "Move ID", Text: v.ID(), Mono: true, Copy: true})
}

// NewMove is the form that starts a move. Its fields are tenant_id and cell.
type NewMove struct {
	Page
	Form  Form
	Of    string   // the tenant that is to be moved; empty for one that is named in the form
	At    string   // where it is
	Cells []Option // where it may go
}

var newMoveLabels = []Label{{"tenant_id", "Tenant"}, {"cell", "To the cell"}}

// back is where the form leads when nothing is moved.
func (v NewMove) back() string {
	if v.Of != "" {
		return TenantSettingsURL(v.Of)
	}
	return MovesURL()
}
