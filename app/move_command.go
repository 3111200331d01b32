package app

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// movesListed is how many moves are listed at most, the newest first.
const movesListed = 200

// movePoll is how often it is looked how a move gets on.
const movePoll = 250 * time.Millisecond

// moveTenant starts a move and tells how it gets on, until it is over or ctx ends.
func moveTenant(ctx context.Context, store *models.Store, tenant, cell string, stdout io.Writer) error {
	m, err := store.StartMove(ctx, tenant, cell, operatorActor.Name)
	if err != nil {
		return readable(err)
	}
	fmt.Fprintf(stdout, "%s: the tenant %s goes from %s to %s\n", m.ID(), m.TenantID, m.Source, m.Target)
	for phase, problem := "", ""; m.Open(); {
		if m.Phase != phase || m.Error != problem {
			phase, problem = m.Phase, m.Error
			fmt.Fprintf(stdout, "%s  %s\n", time.Now().UTC().Format(time.TimeOnly), moveState(m))
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(stdout, "It goes on. `waybill cells moves` tells how, `waybill cells cancel %s` ends it.\n", m.ID())
			return nil
		case <-time.After(movePoll):
		}
		if m, err = store.Move(ctx, m.ID()); err != nil && ctx.Err() == nil {
			return readable(err)
		} else if err != nil {
			return nil //nolint:nilerr // it was interrupted
		}
	}
	fmt.Fprintf(stdout, "%s  %s\n", time.Now().UTC().Format(time.TimeOnly), moveState(m))
	return nil
}

// moveState says in a line how far a move is.
func moveState(m *models.Move) string {
	p := &m.Progress
	s := m.Phase
	switch m.Phase {
	case models.MoveCopy:
		s = fmt.Sprintf("%s: %d of %d events", m.Phase, p.Events, p.Total)
	case models.MoveClean:
		s = fmt.Sprintf("%s: the tenant is in the cell %s since %s, held for %d ms; its rows are being deleted in %s", m.Phase, m.Target,
			m.SwitchedAt.UTC().Format(time.TimeOnly), p.HeldMs, m.Source)
	case models.MoveDone:
		s = fmt.Sprintf("%s: %d events, held for %d ms, %d jobs cut off", m.Phase, p.Events, p.HeldMs, p.Running)
	}
	if m.Error != "" {
		s += " (" + m.Error + ")"
	}
	return s
}

func listMoves(ctx context.Context, store *models.Store, stdout io.Writer) error {
	list, err := store.Moves(ctx, models.MoveQuery{Page: models.PageQuery{Limit: movesListed}})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MOVE\tTENANT\tFROM\tTO\tSTARTED\tSTATE")
	for _, m := range list.Items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID(), m.TenantID, m.Source, m.Target, m.CreatedAt.UTC().Format("2006-01-02 15:04"), moveState(m))
	}
	return w.Flush()
}
