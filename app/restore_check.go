package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/models"
)

// restoreCheck says what workers would send when they are started with a database that was restored, and holds it with -hold.
func restoreCheck(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	fs := flag.NewFlagSet("restore-check", flag.ContinueOnError)
	fs.SetOutput(stdout)
	asJSON := fs.Bool("json", false, "print it as JSON")
	hold := fs.Bool("hold", false, "also disable these destinations, so that workers hold what is for them until somebody enables them")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("restore-check takes no arguments beside -hold and -json, and %q is one", fs.Arg(0))
	}
	needKey := ""
	if *hold {
		needKey = "is required with -hold, which changes destinations"
	}
	store, err := openBeside(ctx, env, needKey)
	if err != nil {
		return err
	}
	defer store.Close()
	list, closeAll, err := restoredEverywhere(ctx, store)
	if err != nil {
		return err
	}
	defer closeAll()
	if *hold {
		if err := holdEverywhere(ctx, list); err != nil {
			return err
		}
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(restoredJSON(list)); err != nil {
			return err
		}
	} else {
		for _, r := range list {
			if len(list) > 1 {
				fmt.Fprintf(stdout, "\nIn the cell %s:\n", r.cell)
			}
			if r.err != nil {
				fmt.Fprintf(stdout, "It could not be looked at: %v\n", r.err)
				continue
			}
			printRestored(stdout, r.Restored)
		}
	}
	return unseen(list)
}

type restoredDestinationJSON struct {
	Cell        string    `json:"cell,omitempty"`
	Tenant      string    `json:"tenant_id"`
	Destination string    `json:"destination_id"`
	Type        string    `json:"type"`
	Deliveries  int       `json:"deliveries"`
	Begun       int       `json:"begun"`
	Oldest      time.Time `json:"oldest_event_at"`
	Held        bool      `json:"held"`
}

type restoredCellJSON struct {
	Name       string     `json:"name"`
	Newest     *time.Time `json:"newest_event_at"`
	Workers    int        `json:"workers"`
	Deliveries int        `json:"deliveries"`
	Problem    string     `json:"problem,omitempty"`
}

// restoredJSON tells of all databases together, and where there are several of each. The newest event is that of the database whose
// newest is the oldest: what was accepted later is not in all of them.
func restoredJSON(list []*restoredCell) any {
	out := struct {
		Newest       *time.Time                `json:"newest_event_at"`
		Workers      int                       `json:"workers"`
		Deliveries   int                       `json:"deliveries"`
		Destinations []restoredDestinationJSON `json:"destinations"`
		Cells        []restoredCellJSON        `json:"cells,omitempty"`
	}{Destinations: []restoredDestinationJSON{}}
	for _, r := range list {
		c, name := restoredCellJSON{Name: r.cell, Workers: r.Workers}, ""
		if len(list) > 1 {
			name = r.cell
		}
		if r.err != nil {
			c.Problem = r.err.Error()
		}
		if !r.Newest.IsZero() {
			c.Newest = &r.Newest
			if out.Newest == nil || r.Newest.Before(*out.Newest) {
				out.Newest = c.Newest
			}
		}
		for _, d := range r.Destinations {
			c.Deliveries += d.Deliveries
			out.Destinations = append(out.Destinations,
				restoredDestinationJSON{name, d.TenantID, d.DestinationID, d.Type, d.Deliveries, d.Begun, d.Oldest, d.Held})
		}
		out.Workers += c.Workers
		out.Deliveries += c.Deliveries
		if len(list) > 1 {
			out.Cells = append(out.Cells, c)
		}
	}
	return out
}

func printRestored(w io.Writer, r models.Restored) {
	if r.Newest.IsZero() {
		fmt.Fprintln(w, "There is no event in this database.")
		return
	}
	fmt.Fprintf(w, "The last event in this database was received at %s. What was accepted later is not in it: have it published again.\n",
		r.Newest.UTC().Format(time.RFC3339))
	all, held := 0, 0
	for _, d := range r.Destinations {
		if all += d.Deliveries; d.Held {
			held += d.Deliveries
		}
	}
	if all == 0 {
		fmt.Fprintln(w, "All of it is delivered, or has ended otherwise: nothing is sent again.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nTenant\tDestination\tType\tTo send\tBegun\tOldest event\t")
	for _, d := range r.Destinations {
		note := ""
		if d.Held {
			note = "held: the destination is disabled"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", d.TenantID, d.DestinationID, d.Type, d.Deliveries, d.Begun,
			d.Oldest.UTC().Format(time.RFC3339), note)
	}
	_ = t.Flush() // as Fprintln above: where nobody reads there is nobody to tell
	fmt.Fprintf(w, "\n%d deliveries are not delivered as far as this database knows, %d of them held. Workers send the other %d, each with the ID\n"+
		"that its event always had. Of those that were delivered after the backup was made, no more than these are sent again.\n",
		all, held, all-held)
	if r.Workers > 0 {
		fmt.Fprintf(w, "%d workers are alive: they send already.\n", r.Workers)
	} else {
		fmt.Fprintln(w, "No worker is alive: nothing is sent yet. `waybill restore-check -hold` holds them, by destination;",
			"docs/backup.md says how to go on.")
	}
}
