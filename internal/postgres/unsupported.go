//go:build !linux && !darwin

package postgres

import (
	"context"
	"errors"
)

// Server is a running private PostgreSQL server, which there is on Linux and macOS only.
type Server struct {
	URL      string
	Binaries Binaries
}

var errUnsupported = errors.New("a private PostgreSQL can be run on Linux and macOS only: set DATABASE_URL to a PostgreSQL server")

// Start always fails on this system.
func Start(context.Context, Options) (*Server, error) { return nil, errUnsupported }

// Find always fails on this system.
func Find(context.Context, string, []string) (Binaries, error) { return Binaries{}, errUnsupported }

// StartTemporary always fails on this system.
func StartTemporary(context.Context) (*Server, error) { return nil, errUnsupported }

// Running always fails on this system.
func Running(string) (string, error) { return "", errUnsupported }

// Pid returns 0.
func (*Server) Pid() int { return 0 }

// Done returns nil.
func (*Server) Done() <-chan struct{} { return nil }

// Err returns nil.
func (*Server) Err() error { return nil }

// Stop does nothing.
func (*Server) Stop() error { return nil }
