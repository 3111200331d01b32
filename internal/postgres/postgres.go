// Package postgres runs a private PostgreSQL server from binaries that are already on the machine, so that a first run
// needs neither a database server nor any configuration.
//
// The server is an ordinary PostgreSQL with ordinary durability. It keeps everything in one directory:
//
//	pgdata        the cluster
//	pgdata.lock   held by the process that runs the server; a crash releases it
//	pgpassword    the random password of the superuser "waybill", readable by its owner only
//	postgres.log  what the server says
//
// It listens on the loopback address only, on a free port chosen at each start, and asks for the password. It runs as a
// child of the calling process and ends with it: Stop ends it cleanly, and when the process dies without a chance to
// call Stop, the kernel asks the server to shut down (Linux) or the next Start does (macOS). Either way, what was
// committed stays.
//
// PostgreSQL refuses to run as root. When the calling process is root, the server runs as another account (see
// accountsFor), so that containers and rented machines need no set-up either.
package postgres

import (
	"errors"
	"strings"
	"time"
)

// Options says where a server keeps its data and how it runs. Only Dir is required.
type Options struct {
	// Dir holds all files of the server, and is made when missing. Each directory is used by one server at a time.
	Dir string

	// BinDirs are searched for PostgreSQL's programs (postgres, initdb) before the usual places.
	BinDirs []string

	// Logf receives a line for each step that takes noticeable time or may surprise. Nil discards them.
	Logf func(format string, args ...any)

	// Settings override single server settings by name, for example {"fsync": "off"} where the data may be lost.
	// Those that say where the server listens and where its files are cannot be overridden.
	Settings map[string]string

	// Socket has the server's URL name a Unix socket, which costs each query 5 to 6 µs less than TCP. It lies in Dir, where
	// nobody else may go. A path that is too long for a socket (about a hundred bytes) means TCP, which always works too.
	Socket bool
}

// MinMajor is the oldest major version of PostgreSQL that Start uses.
const MinMajor = 14

// ErrInUse is wrapped by the error of Start when another live process runs a server in the same directory. The error's
// text names its pid.
var ErrInUse = errors.New("the PostgreSQL data directory is in use")

// ErrNoBinaries is wrapped by the errors of Start and Find when no usable PostgreSQL programs are on this machine. The
// error's text says what can be done about it, one line each.
var ErrNoBinaries = errors.New("no PostgreSQL programs found")

// ClusterName marks servers that this package started (in postmaster.opts, in the process list, and as a setting), so that it
// never stops one that somebody else runs on the same files, say with pg_ctl to look into them.
const ClusterName = "waybill-private"

const (
	// superuser owns the cluster, and database is the one that Server.URL names.
	superuser = "waybill"
	database  = "waybill"

	// goneTimeout bounds the wait for the server of an earlier process to finish its shutdown.
	goneTimeout = 20 * time.Second

	// killedTimeout bounds the wait for a process that was killed to be gone, which the killer need not have waited for.
	killedTimeout = time.Second

	// readyTimeout bounds the wait for a started server. After a crash it replays at most max_wal_size and a bit, so
	// that even slow disks need only a part of it.
	readyTimeout = 3 * time.Minute

	// stopTimeout bounds a clean shutdown before the server is ended the hard way.
	stopTimeout = 20 * time.Second

	// pollInterval is used wherever the system offers no event to wait for.
	pollInterval = 20 * time.Millisecond

	// maxLogSize is the size at which postgres.log is set aside at the next start (one older file is kept).
	maxLogSize = 8 << 20
)

// defaultSettings suit a server that shares its machine with the program it serves. Durability is PostgreSQL's own:
// fsync and synchronous_commit stay on.
var defaultSettings = map[string]string{
	"max_connections": "100",
	// Enough to hold the hot tables and indexes of a busy single machine, little enough not to matter on a laptop.
	"shared_buffers": "128MB",
	// Bounds both the disk that the log takes and the time that recovery takes after a crash, which reads about half of it. What
	// vacuum marks before the next checkpoint needs no image of its page in the log (see migrations, tableSettings), so that
	// checkpoints are far apart: a quarter of an hour, up to about 500 events a second.
	"max_wal_size":                 "2GB",
	"checkpoint_timeout":           "15min",
	"checkpoint_completion_target": "0.9",
	// The program's statements are short: compiling them costs more than it saves.
	"jit":          "off",
	"timezone":     "UTC",
	"log_timezone": "UTC",
	// Since version 15 checkpoints are logged by default, a line every five minutes that nobody asked for.
	"log_checkpoints": "off",
}

// temporarySettings suit a server that serves one run of tests and is then thrown away: it never waits for the disk, and
// has room for the connections of many tests at once.
var temporarySettings = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"max_connections":    "500",
}

// remedies says what to do when there are no programs, one line each. It ends every such error.
func remedies() string {
	return strings.Join([]string{
		"Any one of these helps:",
		"  npm ci                           in the source directory: brings PostgreSQL into node_modules",
		"  apt-get install postgresql       on Debian and Ubuntu",
		"  brew install postgresql@17       on macOS",
		"  DATABASE_URL=postgres://...      use a PostgreSQL server that runs already",
	}, "\n")
}
