package postgres

import (
	"path/filepath"
	"testing"
	"time"
)

// The server ends by itself when its parent is killed, whatever account it runs as.
func TestServerEndsWithItsParent(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"passable": passable(t), "private": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick(filepath.Join(dir, "data"))
			c := startChildProcess(t, o.Dir, nil)
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := awaitGone(deadline(t, 20*time.Second), c.serverPid); err != nil {
				t.Errorf("the server is still there: %v", err)
			}
			if p, ok := readPidFile(filepath.Join(o.Dir, "pgdata")); ok {
				t.Errorf("it did not shut down cleanly, but left %+v", p)
			}
		})
	}
}
