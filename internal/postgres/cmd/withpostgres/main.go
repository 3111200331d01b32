// Command withpostgres runs another command with a private PostgreSQL server of its own, and passes on its exit status:
//
//	go run ./internal/postgres/cmd/withpostgres go test ./...
//
// The command finds the server's address in TEST_DATABASE_URL. The server, with all that is in it, lives as long as the
// command, so it is set up for speed and not for keeping data. When TEST_DATABASE_URL is set already, the command just
// runs.
//
// With -find it starts nothing, but says which PostgreSQL programs would be used, or what to do when there are none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/waybill-dev/waybill/internal/postgres"
)

const urlVariable = "TEST_DATABASE_URL"

func main() {
	find := flag.String("find", "", "only look for programs that can serve the data in this `directory`, which need not exist")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: withpostgres command [argument ...]\n       withpostgres -find directory")
	}
	flag.Parse()
	status, err := run(*find, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
	}
	os.Exit(status)
}

func run(find string, args []string) (status int, err error) {
	if find != "" {
		b, err := postgres.Find(context.Background(), find, nil)
		if err != nil {
			return 1, err
		}
		fmt.Printf("PostgreSQL %s in %s\n", b.Version, b.Dir)
		return 0, nil
	}
	if len(args) == 0 {
		flag.Usage()
		return 2, nil
	}
	// A Ctrl-C reaches the command too, and an end asked for by anyone else is passed on below. In both cases we stay
	// until it has ended, to stop the server after it.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if os.Getenv(urlVariable) == "" {
		server, err := postgres.StartTemporary(context.Background())
		if err != nil {
			return 1, err
		}
		defer func() {
			if e := server.Stop(); e != nil {
				status, err = max(status, 1), errors.Join(err, e)
			}
		}()
		cmd.Env = append(cmd.Env, urlVariable+"="+server.URL)
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != os.Interrupt {
				_ = cmd.Process.Signal(s) // it fails only when the command has ended
			}
			continue
		case err = <-ended:
		}
		break
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // it has said itself what is wrong
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
