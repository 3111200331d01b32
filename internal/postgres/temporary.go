//go:build linux || darwin

package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// temporaryPrefix begins the names of the directories of temporary servers.
	temporaryPrefix = "waybill-test-"

	// abandonedAfter is the age at which a directory that no process holds is taken for left behind. It is far longer
	// than it takes from making the directory to locking it.
	abandonedAfter = time.Minute
)

// StartTemporary starts a server for tests, with all its files in a new directory of the system's temporary one. It is
// tuned for speed alone. The directory is removed when the server ends; when the calling process is killed, the next
// call of StartTemporary by anybody of the same account removes it.
func StartTemporary(ctx context.Context) (*Server, error) {
	if err := removeAbandoned(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", temporaryPrefix)
	if err != nil {
		return nil, err
	}
	// As root we run the server as another account, which must be able to pass.
	var s *Server
	if err = os.Chmod(dir, 0o755); err == nil {
		s, err = start(ctx, Options{Dir: dir, Settings: temporarySettings}, dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// removeAbandoned removes the directories of temporary servers whose process did not come to it.
func removeAbandoned(ctx context.Context) error {
	all, err := os.ReadDir(os.TempDir())
	if err != nil {
		return err
	}
	for _, e := range all {
		dir := filepath.Join(os.TempDir(), e.Name())
		st, err := os.Lstat(dir)
		if err != nil || !strings.HasPrefix(e.Name(), temporaryPrefix) || !st.IsDir() ||
			int(st.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() || time.Since(st.ModTime()) < abandonedAfter {
			continue
		}
		if err := removeIfAbandoned(ctx, dir); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		// Any other error is not worth failing for: the directory is in use, or will be tried again next time.
	}
	return nil
}

func removeIfAbandoned(ctx context.Context, dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		defer lock.Close()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return err
		}
		if err := endPredecessor(ctx, filepath.Join(dir, "pgdata"), func(string, ...any) {}); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
