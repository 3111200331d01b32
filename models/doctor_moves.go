package models

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// moveTries is how often a tenant may be held in vain before the doctor says so. A hold that takes too long is given up and tried again.
const moveTries = 5

// checkMoves looks at the moves of tenants that are not over: whether the last step of each went well.
func (s *Store) checkMoves(ctx context.Context, f *findings, now time.Time) error {
	rows, err := s.pool.Query(ctx, moveSelect+" where m.finished_at is null order by m.id")
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanMove)
	if err != nil || len(list) == 0 {
		return err
	}
	bad := len(*f)
	for _, m := range list {
		what := fmt.Sprintf("The move of tenant %s from %s to %s", m.TenantID, m.Source, m.Target)
		switch cancel := "Remove what is in its way, or cancel it: waybill cells cancel " + m.ID() + "."; {
		case m.Error != "" && m.SwitchedAt != nil && m.Phase == MoveRelease:
			f.add("moves", LevelFail, what+" does not get on after the switch, and nothing can be published to the tenant: "+m.Error,
				"Remove what is in its way: it goes on by itself then. It cannot be cancelled any more.", m.ID())
		case m.Error != "" && m.Cancellable():
			f.add("moves", LevelWarn, what+" does not get on ("+m.Phase+"): "+m.Error, cancel, m.ID())
		case m.Error != "":
			f.add("moves", LevelWarn, what+" does not get on ("+m.Phase+"): "+m.Error, "Remove what is in its way: it goes on by itself then.", m.ID())
		case m.Progress.Tries >= moveTries && m.SwitchedAt == nil:
			f.add("moves", LevelWarn, fmt.Sprintf("%s has held the tenant %d times in vain, the last time for %d ms.", what, m.Progress.Tries,
				m.Progress.HeldMs), "It is tried again by itself. Should it go on so, move the tenant when less is published to it.", m.ID())
		}
	}
	if len(*f) == bad {
		f.add("moves", LevelOK, fmt.Sprintf("%s, the oldest for %s.", countOf(len(list), "tenant is under way to another cell", "tenants are under way to other cells"),
			now.Sub(list[0].CreatedAt).Round(time.Second)), "")
	}
	return nil
}
