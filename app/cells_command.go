package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/models"
)

const cellsUsage = `Manages the further databases that hold tenants, which the database of DATABASE_URL knows (docs/scaling.md).

Usage: waybill cells <command>

  list                lists them, and how many tenants each has
  add NAME ADDRESS    makes one of an empty PostgreSQL database; ADDRESS is postgres://…, the name of a file that holds it, or - for the
                      input
  drain NAME          has new tenants go elsewhere; the database of DATABASE_URL is called main
  undrain NAME        no longer
  remove NAME         forgets one that has no tenants
  move TENANT NAME    moves a tenant to one, or to main, while it goes on, and tells how that gets on; it goes on without this command
  moves               lists the moves of tenants, the newest first
  cancel MOVE         cancels one whose tenant is not there yet

Processes that run follow within seconds.
`

// errCellsUsage asks for a command line as the usage says.
var errCellsUsage = errors.New("see `waybill cells -h`")

// cellsCommand manages cells from the command line.
func cellsCommand(ctx context.Context, args []string, env func(string) string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "-help" || args[0] == "help" {
		fmt.Fprint(stdout, cellsUsage)
		return nil
	}
	values, known := map[string]int{"list": 0, "add": 2, "drain": 1, "undrain": 1, "remove": 1, "move": 2, "moves": 0, "cancel": 1}[args[0]]
	if !known {
		return fmt.Errorf("cells: there is no command %q: %w", args[0], errCellsUsage)
	}
	if len(args)-1 != values {
		return fmt.Errorf("cells %s takes %d values, and there are %d: %w", args[0], values, len(args)-1, errCellsUsage)
	}
	store, err := openUsers(ctx, env)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.CheckKey(ctx); err != nil {
		return err
	}
	ctx = models.WithAsker(ctx, models.Asker{Actor: operatorActor.Name, ActorKind: operatorActor.Kind})
	switch args[0] {
	case "list":
		return listCells(ctx, store, stdout)
	case "add":
		address, err := cellAddress(args[2], stdin)
		if err != nil {
			return err
		}
		c, err := store.AddCell(ctx, args[1], address)
		if err != nil {
			return readable(err)
		}
		fmt.Fprintf(stdout, "The cell %s is there: %s\n", c.Name, c.MaskedAddress())
	case "drain", "undrain":
		if err := store.DrainCell(ctx, args[1], args[0] == "drain"); err != nil {
			return readable(err)
		}
		fmt.Fprintf(stdout, "New tenants go to the cell %s %s.\n", args[1], map[string]string{"drain": "no more", "undrain": "again"}[args[0]])
	case "move":
		return moveTenant(ctx, store, args[1], args[2], stdout)
	case "moves":
		return listMoves(ctx, store, stdout)
	case "cancel":
		m, err := store.CancelMove(ctx, args[1])
		if err != nil {
			return readable(err)
		}
		fmt.Fprintf(stdout, "The tenant %s stays in the cell %s; what was copied is deleted.\n", m.TenantID, m.Source)
	case "remove":
		if err := store.RemoveCell(ctx, args[1]); err != nil {
			return readable(err)
		}
		fmt.Fprintf(stdout, "The cell %s is removed. Its database is as it was.\n", args[1])
	}
	return nil
}

// cellAddress is the address itself, or what a file or the input holds: on the command line others see its password.
func cellAddress(given string, stdin io.Reader) (string, error) {
	if strings.Contains(given, "://") {
		return given, nil
	}
	if given == "-" {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && (err != io.EOF || line == "") {
			return "", fmt.Errorf("read the address from the input: %w", err)
		}
		return strings.TrimSpace(line), nil
	}
	b, err := os.ReadFile(given) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("read the address: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func listCells(ctx context.Context, store *models.Store, stdout io.Writer) error {
	n, err := store.CellTenants(ctx)
	if err != nil {
		return err
	}
	home, err := store.HomeDraining(ctx)
	if err != nil {
		return err
	}
	list, err := store.ListCells(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTENANTS\tNEW TENANTS\tADDRESS")
	row := func(name, address string, draining *time.Time) {
		takes := "yes"
		if draining != nil {
			takes = "no, since " + draining.UTC().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", name, n[name], takes, address)
	}
	row(models.HomeCell, "DATABASE_URL", home)
	for _, c := range list {
		row(c.Name, c.MaskedAddress(), c.DrainingAt)
	}
	return w.Flush()
}
