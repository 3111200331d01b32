package app

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/waybill-dev/waybill/app/config"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/models"
)

const usersUsage = `Manages the users of the dashboard, in the database that the environment names.

Usage: waybill users <command> [flags] [email]

  list                                        lists all users
  add -name NAME [-role ROLE] EMAIL           makes a user; the role is owner unless told otherwise
  reset-password [-second-factor] EMAIL       gives a user another password and ends their sessions
  set-role ROLE EMAIL                         gives a user another role for the whole server

Roles: owner, admin, developer, viewer; set-role also takes none.
A password is made up and printed once, unless -password-stdin reads it from the first line of the input.
`

// operatorActor is whoever has the server's environment at a shell.
var operatorActor = &models.Actor{Name: "command line", Kind: models.ActorServer, Scope: models.AllTenants(),
	May: []models.Permission{models.MayAdmin}, Role: models.RoleOwner}

// errUsage asks for a command line as the usage says.
var errUsage = errors.New("see `waybill users -h`")

// users manages users from the command line: the way in when nobody can log in.
func users(ctx context.Context, args []string, env func(string) string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "-help" || args[0] == "help" {
		fmt.Fprint(stdout, usersUsage)
		return nil
	}
	c := usersCommand{stdin: stdin, stdout: stdout}
	run := map[string]func(context.Context) error{"list": c.list, "add": c.add, "reset-password": c.reset, "set-role": c.setRole}[args[0]]
	if run == nil {
		return fmt.Errorf("users: there is no command %q: %w", args[0], errUsage)
	}
	c.flags(args[0])
	if err := c.fs.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return fmt.Errorf("users %s: %w", args[0], errUsage) // the flag set has said what is wrong
	}
	if want := map[string]int{"add": 1, "reset-password": 1, "set-role": 2}[args[0]]; c.fs.NArg() != want {
		return fmt.Errorf("users %s takes %d values after its flags, and there are %d: %w", args[0], want, c.fs.NArg(), errUsage)
	}
	store, err := openUsers(ctx, env)
	if err != nil {
		return err
	}
	defer store.Close()
	c.store = store
	ctx = models.WithAsker(ctx, models.Asker{Actor: operatorActor.Name, ActorKind: operatorActor.Kind})
	return readable(run(ctx))
}

// readable says what is wrong with single fields, which an error's sentence leaves out.
func readable(err error) error {
	var e *models.Error
	if errors.As(err, &e) && len(e.Fields) > 0 {
		return errors.New(strings.Join(e.Problems(), "; "))
	}
	return err
}

// openUsers opens the database that the environment names: without DATABASE_URL that of serve, which has to run.
func openUsers(ctx context.Context, env func(string) string) (*models.Store, error) {
	cfg, err := config.ReadConfig("doctor", env)
	if err != nil {
		return nil, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	if cfg.Private() {
		if cfg.DatabaseURL, err = postgres.Running(cfg.DataDir); err != nil {
			return nil, err
		}
	}
	if cfg.SecretKey == "" && cfg.DataDir != "" {
		if b, err := os.ReadFile(filepath.Join(cfg.DataDir, models.KeyFile)); err == nil {
			cfg.SecretKey = strings.TrimSpace(string(b))
		}
	}
	return openMigrated(ctx, cfg)
}

type usersCommand struct {
	store  *models.Store
	stdin  io.Reader
	stdout io.Writer
	fs     *flag.FlagSet

	name, role  string
	fromInput   bool
	dropsFactor bool
	madeUp      string // password
}

func (c *usersCommand) flags(command string) {
	c.fs = flag.NewFlagSet("users "+command, flag.ContinueOnError)
	c.fs.SetOutput(c.stdout)
	switch command {
	case "add":
		c.fs.StringVar(&c.name, "name", "", "the user's name")
		c.fs.StringVar(&c.role, "role", string(models.RoleOwner), "role for the whole server")
		c.fs.BoolVar(&c.fromInput, "password-stdin", false, "read the password from the first line of the input")
	case "reset-password":
		c.fs.BoolVar(&c.dropsFactor, "second-factor", false, "take the second factor away, too")
		c.fs.BoolVar(&c.fromInput, "password-stdin", false, "read the password from the first line of the input")
	}
}

// password is that of the input, or one that is made up.
func (c *usersCommand) password() (string, error) {
	if !c.fromInput {
		c.madeUp = rand.Text()
		return c.madeUp, nil
	}
	line, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// tellPassword prints a password that was made up.
func (c *usersCommand) tellPassword() {
	if c.madeUp != "" {
		fmt.Fprintf(c.stdout, "Password, shown this once: %s\n", c.madeUp)
	}
}

func (c *usersCommand) list(ctx context.Context) error {
	list, err := c.store.Users(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EMAIL\tNAME\tROLE\tTENANTS\tLAST LOGIN")
	for _, u := range list {
		tenants := make([]string, len(u.Members))
		for i, m := range u.Members {
			tenants[i] = m.TenantID + " (" + string(m.Role) + ")"
		}
		role, last := string(u.Role), "never"
		if u.Role == models.RoleNone {
			role = "none"
		}
		if u.LastLoginAt != nil {
			last = u.LastLoginAt.UTC().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Email, u.Name, role, strings.Join(tenants, ", "), last)
	}
	return w.Flush()
}

func (c *usersCommand) add(ctx context.Context) error {
	password, err := c.password()
	if err != nil {
		return err
	}
	u, err := c.store.AddUser(ctx, models.UserInput{Name: c.name, Email: c.fs.Arg(0), Password: password}, models.Role(c.role))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s is a user now, as %s.\n", u.Email, u.Role)
	c.tellPassword()
	return nil
}

func (c *usersCommand) reset(ctx context.Context) error {
	u, err := c.store.UserByEmail(ctx, c.fs.Arg(0))
	if err != nil {
		return err
	}
	password, err := c.password()
	if err != nil {
		return err
	}
	if err := c.store.ResetPassword(ctx, u, password, c.dropsFactor); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s has another password, and no open session.\n", u.Email)
	c.tellPassword()
	return nil
}

func (c *usersCommand) setRole(ctx context.Context) error {
	u, err := c.store.UserByEmail(ctx, c.fs.Arg(1))
	if err != nil {
		return err
	}
	role := models.Role(c.fs.Arg(0))
	if role == "none" {
		role = models.RoleNone
	}
	if _, err := c.store.SetRole(ctx, operatorActor, u.ID(), role); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s is %s now.\n", u.Email, c.fs.Arg(0))
	return nil
}
