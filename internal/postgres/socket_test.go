//go:build linux || darwin

package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSocket: the URL names a Unix socket where its path is short enough, sockets of servers that were killed go away, and others
// reach the server by TCP as ever.
func TestSocket(t *testing.T) {
	t.Parallel()
	o := Options{Dir: filepath.Join(passable(t), "data"), Socket: true, Settings: map[string]string{"fsync": "off"}}
	sockets := func() (found []string) {
		files, err := os.ReadDir(filepath.Join(o.Dir, "pgdata"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasPrefix(f.Name(), ".s.PGSQL.") && !strings.HasSuffix(f.Name(), ".lock") {
				found = append(found, f.Name())
			}
		}
		return found
	}
	for range 2 {
		s, err := Start(deadline(t, time.Minute), o)
		if err != nil {
			t.Fatal(err)
		}
		var network *string
		c := connect(t, s.URL)
		if err := c.QueryRow(t.Context(), "select inet_server_addr()::text").Scan(&network); err != nil || network != nil {
			t.Errorf("connected over the network to %v, %v", network, err)
		}
		c.Close(context.Background())
		if found := sockets(); len(found) != 1 {
			t.Errorf("sockets: %v", found)
		}
		url, err := Running(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		run(t, url, "select 1")
		p, _ := readPidFile(filepath.Join(o.Dir, "pgdata"))
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		_ = s.Stop()
		if len(sockets()) != 1 {
			t.Error("a server that was killed takes its socket away, so this test shows nothing")
		}
	}
}

func TestSocketInDeepDirectory(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{Dir: filepath.Join(passable(t), strings.Repeat("deep", 25), "data"), Socket: true})
	if !strings.Contains(s.URL, "127.0.0.1") {
		t.Error(s.URL)
	}
	run(t, s.URL, "select 1")
}
