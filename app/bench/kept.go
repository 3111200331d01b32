package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kept is what a run writes down beside a filled database that is to be used again.
type kept struct {
	Events, Tenants int
	Sink            string // where deliveries go, host and port
}

const keptFile = "bench.json"

// keep writes down what the database is filled with, where it is to stay.
func (b *bencher) keep(k kept) error {
	if !b.stays {
		return nil
	}
	k.Sink = strings.TrimPrefix(b.host, "http://")
	out, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, keptFile), out, 0o600)
}

// findKept looks for what an earlier run has left in dir.
func (b *bencher) findKept(dir string) error {
	b.dir, b.stays = dir, true
	have, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(have) == 0 {
		return os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	out, err := os.ReadFile(filepath.Join(dir, keptFile))
	if err == nil {
		err = json.Unmarshal(out, &b.kept)
	}
	if err != nil {
		return fmt.Errorf("%s holds no database that was filled to its end: remove it, or give another directory (%w)", dir, err)
	}
	return nil
}
