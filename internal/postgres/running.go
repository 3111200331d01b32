//go:build linux || darwin

package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Running returns the URL of the server that another process runs in dir. It neither starts nor keeps one; the error
// says what to do when there is none.
func Running(dir string) (url string, err error) {
	pid, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no PostgreSQL runs in %s: start `waybill serve`, or set DATABASE_URL", dir)
	}
	if err != nil {
		return "", err
	}
	// The lines are: process id, directory, start, port, socket directory, address, shared memory, status.
	lines := strings.Split(string(pid), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[7]) != "ready" {
		return "", fmt.Errorf("the PostgreSQL in %s is starting or stopping: try again", dir)
	}
	port, err := strconv.Atoi(strings.TrimSpace(lines[3]))
	if err != nil {
		return "", fmt.Errorf("the PostgreSQL in %s does not say where it listens: %w", dir, err)
	}
	c := cluster{dir: dir, data: filepath.Join(dir, "pgdata")}
	password, err := c.readPassword()
	if err != nil {
		return "", err
	}
	return connURL(password, "", port, database), nil
}
