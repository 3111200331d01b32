//go:build linux || darwin

package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account says as whom PostgreSQL runs. The zero value is the calling process's own account. The rest is for root, as
// which PostgreSQL refuses to run.
type account struct {
	// cred is another account to become.
	cred *syscall.Credential

	// capability (Linux only) is the one privilege of root that cred keeps, or 0: see passCapabilities.
	capability uintptr

	// namespace (Linux only) stays root, but appears to the programs as an ordinary account: they run in a user
	// namespace of their own in which root has another number.
	namespace bool
}

func (a account) String() string {
	switch {
	case a.namespace:
		return "as root in a user namespace"
	case a.cred == nil:
		return "as oneself"
	case a.capability != 0:
		return fmt.Sprintf("as user %d with capability %d", a.cred.Uid, a.capability)
	default:
		return fmt.Sprintf("as user %d", a.cred.Uid)
	}
}

// Find returns the PostgreSQL programs that Start would use for dir, which need not exist: those in binDirs if any, else
// those that npm has installed beside the program, else those on PATH or where packages put them. When there is a cluster
// in dir, only its major version will do. The error wraps ErrNoBinaries when nothing was found.
func Find(ctx context.Context, dir string, binDirs []string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	b, _, err := choose(ctx, dir, binDirs)
	return b, err
}

// choose decides which programs to run on dir, and as whom.
func choose(ctx context.Context, dir string, binDirs []string) (Binaries, account, error) {
	bins, err := installed(ctx, dir, binDirs)
	if err != nil {
		return Binaries{}, account{}, err
	}
	if os.Geteuid() != 0 {
		return bins[0], account{}, nil
	}
	accounts, err := accountsFor(dir)
	if err != nil {
		return Binaries{}, account{}, err
	}
	from := dir
	for ; !isDir(from); from = filepath.Dir(from) {
	}
	var tried []string
	for _, acc := range accounts {
		for _, b := range bins {
			err := acc.try(ctx, from, b.Dir)
			if err == nil {
				return b, acc, nil
			}
			tried = append(tried, fmt.Sprintf("  %s, %s: %v", b.Dir, acc, err))
		}
	}
	return Binaries{}, account{},
		fmt.Errorf("PostgreSQL refuses to run as root, and no other account can use both its programs and %s: run as an ordinary user, use directories that others may pass through, or set DATABASE_URL. Tried:\n%s",
			dir, strings.Join(tried, "\n"))
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir() || path == filepath.Dir(path)
}

// accountsFor returns the accounts as which root may run the server in dir, the best first: whoever owns the cluster,
// when there is one, and otherwise
//
//  1. the owner of dir, the account that packages of PostgreSQL make, or nobody (the account must have a name, which
//     initdb looks up);
//  2. one of those with the privilege to pass through closed directories, for data below a private home directory such
//     as /root;
//  3. root in a user namespace, for programs below such a directory, which they themselves insist on being able to
//     reach without any privilege.
func accountsFor(dir string) ([]account, error) {
	data := filepath.Join(dir, "pgdata")
	var creds []*syscall.Credential
	uid, gid, err := ownerOf(data)
	switch {
	case err == nil && uid == 0:
		return []account{{namespace: true}}, nil // nothing else makes such a cluster
	case err == nil:
		creds = append(creds, &syscall.Credential{Uid: uid, Gid: gid})
	case errors.Is(err, fs.ErrNotExist):
		creds = credentialsFor(dir)
	default:
		return nil, err
	}
	var accounts []account
	for _, capability := range append([]uintptr{0}, passCapabilities...) {
		for _, cred := range creds {
			accounts = append(accounts, account{cred: cred, capability: capability})
		}
	}
	if newCluster := err != nil; newCluster && haveNamespaces {
		accounts = append(accounts, account{namespace: true})
	}
	return accounts, nil
}

// credentialsFor returns the ordinary accounts that may own a new cluster in dir, the best first.
func credentialsFor(dir string) []*syscall.Credential {
	var users []*user.User
	if uid, _, err := ownerOf(dir); err == nil {
		if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			users = append(users, u)
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			users = append(users, u)
		}
	}
	var creds []*syscall.Credential
	for _, u := range users {
		if c, err := credential(u); err == nil && c.Uid != 0 {
			creds = append(creds, c)
		}
	}
	return creds
}

func credential(u *user.User) (*syscall.Credential, error) {
	// macOS prints the ids of nobody as negative numbers.
	uid, err := strconv.ParseInt(u.Uid, 10, 64)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseInt(u.Gid, 10, 64)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// command prepares a program to be run as the account in dir.
func (a account) command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if a.capability != 0 {
		// A process that changes its account has its capabilities again only after its next exec. Going to dir and
		// finding the program come before that, so a shell, which everybody can reach, does it.
		cmd = exec.Command("/bin/sh", append([]string{"-c", `cd "$0" && exec "$@"`, dir, program}, args...)...)
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = a.procAttr()
	return cmd
}

// try runs a harmless command as the account, from dir. Whatever may stand in the way (permissions, access lists, a
// container that allows less than others) shows itself here better than it could be worked out. The command does what
// every start begins with: it refuses to run as root, and looks for its own file and its neighbours'.
func (a account) try(ctx context.Context, dir, binDir string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := a.command(dir, filepath.Join(binDir, "initdb"), "--show", "-D", dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := runChild(ctx, cmd); err != nil {
		return fmt.Errorf("%w %s", err, firstLine(said.String()))
	}
	return nil
}
